"""Running the hub: alone, with the demo day for a person to watch, or with a count for a script."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from pydantic import SecretStr
from rich.console import Console

from hub_embedded.addresses import Addresses
from hub_embedded.data_dir import DataDir
from hub_embedded.demo.day import demo_day
from hub_embedded.demo.generator import SEED, Submission, submissions
from hub_embedded.demo.hub_staff import HubStaff, Pace, day_pace, eager_pace, hub_staff_client
from hub_embedded.demo.partners import DEMO_BEHAVIOUR, simulated_partners
from hub_embedded.demo.progress import Watch, progress_line, watching
from hub_embedded.demo.records_system import RecordsSystem, records_system_client
from hub_embedded.demo.report import Finding, Report, findings, report
from hub_embedded.demo.tables import newest_recorded_at, read_oversight
from hub_embedded.demo.tally import Tally
from hub_embedded.launch import embedded_database, launched
from hub_embedded.partner_simulators import Behaviour, Ledger
from hub_embedded.topology import Topology, service_ports, topology
from hub_kernel.auth import LocalIssuer
from hub_kernel.clock import Clock, ScaledClock, SystemClock, monotonic_seconds
from hub_kernel.runtime import local_issuer, own_sign_in
from hub_kernel.settings import Settings

DAY_SPEED: Final = 60.0
_POSTS_AT_ONCE: Final = 16
_LOOK_SECONDS: Final = 0.2
_STILL_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Demo:
    """A hub and everybody around it: partners, records system, staff, and an independent look at the logs.

    ``settings`` are those another command needs to reach the same hub; ``ended`` is done when somebody
    stopped it.
    """

    settings: Settings
    addresses: Addresses
    issuer: LocalIssuer
    ended: "asyncio.Future[None]"
    records_system: RecordsSystem
    staff: HubStaff
    ledger: Ledger
    watch: Watch


async def run_hub(settings: Settings) -> None:
    """Run the hub alone until it is stopped, saying where it answers."""
    async with embedded_database(settings) as dsn, launched(settings, dsn) as hub:
        announce(settings, hub.base_url)
        await hub.ended


async def run_demo_day(settings: Settings, *, speed: float = DAY_SPEED, seed: int = SEED) -> None:
    """Run the hub with the demo day coming in at ``speed`` times real time, until it is stopped.

    The hub's clock is the day's, so its deadlines are real. Run again on the same data directory it goes on
    with the day where the logs end; what was posted before is posted again, and found to be held.
    """
    async with embedded_database(settings) as dsn:
        newest = await _newest(dsn)
        day = demo_day(settings.data_dir, newest, seed)
        clock = ScaledClock(max(day.first, newest or day.first), speed)
        async with demo_hub(settings, dsn, clock, day_pace()) as demo:
            note = f"The demo day runs at {speed:g} times real time. Ctrl-C stops the hub."
            announce(settings, demo.addresses.oversight, note)
            posted, tally = demo.records_system.posted, demo.watch.tally
            async with watching(demo.watch, lambda: progress_line(posted, tally, clock)):
                stream = submissions(seed=day.seed, first=day.first)
                posting = demo.records_system.send_on_time(stream, clock)
                await _alongside(demo.ended, posting, demo.staff.work())


async def run_demo(
    settings: Settings,
    *,
    referrals: int,
    seed: int = SEED,
    rate: float | None = None,
    processes: bool = False,
) -> Report:
    """Post so many referrals as fast as they are accepted (or ``rate`` a second) and say what came of them.

    On the real clock, with staff who decide at once. Ends when every delivery has ended, or when nothing has
    moved for a minute: what is missing then is lost. Progress, and each finding, go to standard error. With
    ``processes`` the hub runs as in production: Kafka, and a process for each service.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        if processes:
            demo, running = await stack.enter_async_context(demo_topology(settings, clock, eager_pace()))
            dsn = running.dsn
        else:
            dsn = await stack.enter_async_context(embedded_database(settings))
            demo = await stack.enter_async_context(demo_hub(settings, dsn, clock, eager_pace()))
        posted, tally = demo.records_system.posted, demo.watch.tally
        started = monotonic_seconds()
        async with watching(demo.watch, lambda: progress_line(posted, tally, clock), to_errors=True):
            stream = submissions(referrals, seed=seed)
            await _alongside(demo.ended, _post_and_wait(demo, stream, rate), demo.staff.work())
            seconds = monotonic_seconds() - started
        if demo.ended.done():
            raise asyncio.CancelledError  # stopped by hand: half a run's figures would only mislead
        found = await check(dsn, list(posted.referrals.values()), tally, demo.ledger)
        for finding in found:
            sys.stderr.write(f"{finding.kind}: {finding.what} ({finding.record_id})\n")
        return report(len(posted.referrals), tally, found, seconds)


@asynccontextmanager
async def demo_hub(
    settings: Settings, dsn: str, clock: Clock, pace: Pace, behaviour: Behaviour = DEMO_BEHAVIOUR
) -> AsyncIterator[Demo]:
    """A hub and everybody around it for as long as the block runs; nobody posts or decides unasked."""
    # The partners first, because the hub must know them; and its port before it listens, for them to call.
    settings = settings.model_copy(update={"port": settings.port or _free_port()})
    issuer = local_issuer(settings)
    async with (
        simulated_partners(settings, issuer, f"http://127.0.0.1:{settings.port}", behaviour) as (
            with_partners,
            ledger,
        ),
        launched(with_partners, dsn, clock=clock) as hub,
        records_system_client(hub.base_url, issuer) as records_system,
        hub_staff_client(hub.base_url, issuer) as staff,
    ):
        yield Demo(
            with_partners.model_copy(update={"database_url": SecretStr(dsn)}),
            Addresses.of_one(hub.base_url),
            issuer,
            hub.ended,
            RecordsSystem(records_system),
            HubStaff(staff, clock, pace),
            ledger,
            Watch(dsn),
        )


@asynccontextmanager
async def demo_topology(
    settings: Settings, clock: Clock, pace: Pace, behaviour: Behaviour = DEMO_BEHAVIOUR, *, kept: bool = True
) -> AsyncIterator[tuple[Demo, Topology]]:
    """The same around a hub of four processes and a Kafka; yields those too.

    What dies is started again, unless the caller keeps the processes in another way.
    """
    DataDir.at(settings.data_dir)
    ports = service_ports(settings.port)
    settings = settings.model_copy(update={"port": settings.port or ports["intake"]})
    issuer = local_issuer(settings)
    gateway = f"http://127.0.0.1:{ports['partner-gateway']}"
    async with (
        simulated_partners(settings, issuer, gateway, behaviour) as (with_partners, ledger),
        topology(with_partners, ports=ports) as running,
        records_system_client(running.addresses.intake, issuer) as records_system,
        hub_staff_client(running.addresses.triage, issuer) as staff,
    ):
        await running.start()
        async with running.kept() if kept else nullcontext():
            yield (
                Demo(
                    running.settings,
                    running.addresses,
                    issuer,
                    asyncio.get_running_loop().create_future(),
                    RecordsSystem(records_system),
                    HubStaff(staff, clock, pace),
                    ledger,
                    Watch(running.dsn),
                ),
                running,
            )


async def _alongside(
    ended: "asyncio.Future[None]", main: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]
) -> None:
    """Run these until the first has ended or the hub was stopped, then let go of the rest.

    Raises what any of them raised.
    """
    tasks = [asyncio.create_task(work) for work in (main, *others)]
    try:
        await asyncio.wait({ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _post_and_wait(demo: Demo, stream: Iterable[Submission], rate: float | None) -> None:
    await demo.records_system.send_all(stream, at_once=_POSTS_AT_ONCE, per_second=rate)
    await until_quiet(demo.watch, len(demo.records_system.posted.referrals))


async def until_quiet(watch: Watch, referrals: int) -> None:
    """Wait until so many referrals are decided and every delivery ended, or nothing moves for a minute."""
    tally, loop = watch.tally, asyncio.get_running_loop()
    moved_at, before = loop.time(), dict(tally.positions)
    while True:
        await watch.look()
        if tally.positions != before:
            moved_at, before = loop.time(), dict(tally.positions)
        is_done = tally.waiting == 0 and tally.open_deliveries == 0 and len(tally.received) >= referrals
        if loop.time() - moved_at > (_STILL_SECONDS if is_done else _PATIENCE_SECONDS):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def check(dsn: str, accepted: Sequence[UUID], tally: Tally, ledger: Ledger) -> list[Finding]:
    """Compare everybody's record, once oversight has heard the last fact or has had its time."""
    connection = await asyncpg.connect(dsn)
    contacts = ledger.contacts()
    attempts = {contact.message_id: ledger.attempts(contact.message_id) for contact in contacts}
    try:
        for _ in range(round(_PATIENCE_SECONDS / _LOOK_SECONDS)):
            found = findings(accepted, tally, await read_oversight(connection), contacts, attempts)
            if not found:
                break
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await connection.close()
    return found


async def _newest(dsn: str) -> datetime | None:
    connection = await asyncpg.connect(dsn)
    try:
        return await newest_recorded_at(connection)
    finally:
        await connection.close()


def announce(settings: Settings, base_url: str, *lines: str) -> None:
    """Say where the hub answers; the link signs one browser in, once, within ten minutes."""
    console = Console(highlight=False)
    console.print(f"The referral hub answers at {base_url}", soft_wrap=True)
    if (sign_in := own_sign_in(settings)) is not None:
        link = sign_in.link(base_url)
        console.print(f"Open its page, signed in, once: {link}", soft_wrap=True, markup=False)
    for line in lines:
        console.print(line, soft_wrap=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
