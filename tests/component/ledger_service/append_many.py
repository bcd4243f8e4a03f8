"""A process of its own that appends to the ledger: ``append_many.py DSN NAME WRITERS EVENTS_A_WRITER``."""

import asyncio
import sys

import uvloop
from tests.component.ledger_service import LEDGER, to

from hub_kernel.clock import SystemClock
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore

BATCH_EVENTS = 5


async def write(store: EventStore, writer: str, events: int) -> None:
    """Append to two streams of its own and to one shared by every writer of every process."""
    for first in range(0, events, BATCH_EVENTS):
        names = [f"{writer}-{n}" for n in range(first, first + BATCH_EVENTS)]
        stream = "entry-shared" if first % 4 == 0 else f"entry-{writer}-{first % 2}"
        await store.append([to(stream, *names)])


async def write_slowly(store: EventStore, writer: str, events: int) -> None:
    """Append in transactions that stay open for a while after they were given their positions."""
    for first in range(0, events, 100):
        names = [f"{writer}-{n}" for n in range(first, first + 100)]
        async with store.pool.acquire() as connection, connection.transaction():
            await store.append_in(connection, [to(f"entry-{writer}", *names)])
            await connection.execute("SELECT pg_sleep(0.01)")


async def main(dsn: str, process: str, writers: int, events: int) -> None:
    """Run all writers to their end, one of them slow."""
    pool = await open_pool(dsn, role=LEDGER.role, size=4)
    store = EventStore(pool, LEDGER.schema, SystemClock())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_slowly(store, f"{process}-slow", events))
        for n in range(1, writers):
            tasks.create_task(write(store, f"{process}-{n}", events))
    await pool.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
