"""Named points at which a chaos test can make this process die; off unless a test asks for one."""

import os
import signal

_armed: dict[str, int] = {}


def arm(name: str, hits: int) -> None:
    """Make the process SIGKILL itself at the ``hits``-th time (from 1) it passes the point ``name``."""
    _armed[name] = hits


def failpoint(name: str) -> None:
    """Pass a named point. Does nothing unless the point was armed."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
