"""Signals: the first one asks for an orderly end, a second one gets it at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelled_by_signals(is_heard_elsewhere: Callable[[], bool]) -> Iterator[None]:
    """The first signal cancels the task that entered here, unless somebody else hears it by now.

    The server, once it listens, does; when it has ended it hands on here each signal it took. A second signal
    ends the process at once; the database server it leaves behind is taken over at the next start. (Not
    through ``loop.add_signal_handler``, which would hear the server's signals as well.)
    """
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    received = 0

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 1:
            os._exit(INTERRUPTED)
        if main is not None and not is_heard_elsewhere():
            loop.call_soon_threadsafe(main.cancel)

    former = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    # The terminal went away: as if stopped by hand, whoever hears that now.
    former[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
