import asyncio
import os
import signal

import asyncpg
import pytest
from tests.component.ledger_service import LEDGER, to
from tests.component.ledger_service.waiting import until

from hub_kernel.event_store import EventStore
from hub_kernel.wakeups import Wakeups


async def listening(owner: asyncpg.Connection) -> int:
    """The server's process that serves the listener."""
    pid = 0

    async def listens() -> bool:
        nonlocal pid
        found = await owner.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'"
        )
        pid = found or 0
        return pid > 0

    await until(listens)
    return pid


async def test_whoever_waits_is_woken_when_the_log_has_grown(
    ledger_dsn: str, ledger: EventStore, owner: asyncpg.Connection
) -> None:
    wakeups = Wakeups(ledger_dsn)
    wakeups.start()
    wakeup, forget = wakeups.on(LEDGER.schema)
    forgotten, forget_it = wakeups.on(LEDGER.schema)
    forget_it()
    await listening(owner)
    await ledger.append([to("entry-a", "1")])
    async with asyncio.timeout(5):
        await wakeup.wait()
    assert not forgotten.is_set()
    forget()
    await wakeups.close()
    await wakeups.close()


async def test_a_listener_that_was_cut_off_listens_again(
    ledger_dsn: str, ledger: EventStore, owner: asyncpg.Connection
) -> None:
    wakeups = Wakeups(ledger_dsn)
    wakeups.start()
    wakeup, _ = wakeups.on(LEDGER.schema)
    first = await listening(owner)
    await owner.execute("SELECT pg_terminate_backend($1)", first)

    async def another() -> bool:
        return await listening(owner) != first

    await until(another)
    await ledger.append([to("entry-a", "1")])
    async with asyncio.timeout(5):
        await wakeup.wait()
    await wakeups.close()


@pytest.mark.kills
async def test_closing_does_not_wait_for_a_server_that_hangs(
    ledger_dsn: str, owner: asyncpg.Connection
) -> None:
    wakeups = Wakeups(ledger_dsn)
    wakeups.start()
    wakeups.on(LEDGER.schema)
    frozen = await listening(owner)
    os.kill(frozen, signal.SIGSTOP)
    closing = asyncio.create_task(wakeups.close())
    try:
        done, _ = await asyncio.wait([closing], timeout=1.5)
        assert done
    finally:
        os.kill(frozen, signal.SIGCONT)
