"""Coalescing: many callers' requests to one part of the database, written as a few batches."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Cut = Callable[["deque[Pending[Request, Answer]]"], "list[Pending[Request, Answer]]"]


class Pending(Generic[Request, Answer]):
    """A request waiting for its batch, and the future its caller awaits."""

    __slots__ = ("future", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Answer | Exception) -> None:
        """Answer the caller, if it is still there."""
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Coalescer(Generic[Request, Answer]):
    """Runs ``write`` on batches of what callers submit; nobody waits for a timer.

    While ``writers`` batches are under way, callers queue up for the next. ``cut`` takes the next batch from
    the queue. ``write`` answers each request, or raises, which then is every caller's answer. A caller that
    goes away does not take its request with it.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Request]], Awaitable[Sequence[Answer | Exception]]],
        cut: "Cut[Request, Answer]",
        *,
        writers: int,
    ) -> None:
        self._write, self._cut, self._limit = write, cut, writers
        self._queue: deque[Pending[Request, Answer]] = deque()
        self._writers: set[asyncio.Task[None]] = set()

    async def submit(self, request: Request) -> Answer:
        """Have the request written with the next batch."""
        pending: Pending[Request, Answer] = Pending(request)
        self._queue.append(pending)
        if len(self._writers) < self._limit:
            self._writers.add(asyncio.create_task(self._drain(), name="coalescer"))
        return await pending.future

    async def _drain(self) -> None:
        me = asyncio.current_task()
        try:
            while self._queue:
                batch = self._cut(self._queue)
                await self._write_batch(batch)
                # Callers answered just now queue their next request before the next batch is cut.
                await asyncio.sleep(0)
        finally:
            # In the same step as the last look at the queue, so that no request is left without a writer.
            if me is not None:
                self._writers.discard(me)

    async def _write_batch(self, batch: Sequence[Pending[Request, Answer]]) -> None:
        outcomes: Sequence[Answer | Exception]
        try:
            outcomes = await self._write([pending.request for pending in batch])
        except Exception as error:  # noqa: BLE001  whatever it is belongs to the callers
            outcomes = [error] * len(batch)
        for pending, outcome in zip(batch, outcomes, strict=True):
            pending.settle(outcome)
