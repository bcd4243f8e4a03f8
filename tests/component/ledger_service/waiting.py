"""Waiting for what must come, with a deadline, instead of sleeping for a guessed time."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Return when the condition holds; ``TimeoutError`` after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.005)


async def until_waiting_for_a_lock(owner: asyncpg.Connection, sessions: int = 1) -> None:
    """Return when so many other sessions of this database wait for a lock."""

    async def waiting() -> bool:
        await owner.execute("SELECT pg_stat_clear_snapshot()")
        return sessions <= int(
            await owner.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )

    await until(waiting)
