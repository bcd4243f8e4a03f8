"""Two storms over the hub as in production, under steady load: members come and go; the broker stays away.

``make storm``, or ``python -m bench.storm --help``. First the load alone, which shows what latency (accepted
to graded) is normal: its p95. Then, one after the other:

- rebalances: for a minute, every second a member joins every consumer group and another leaves;
- outage: the broker is killed and stays away for five minutes, while intake goes on accepting.

Recovery is: from the rebalances, that the last of the extra members is gone; from the outage, that the
backlog is worked off, which is when everything accepted before the broker served again is graded. At most ten
seconds after it, latency must be back to normal for good (``bench.recovery`` says when exactly that is).
Working off the backlog may take half as long as the outage did. At the end everything must be there once and
in order, and no service may have died. The exit code is 1 when anything of this does not hold, and what it is
gets printed.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

import asyncpg
import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench.instants import Graded, graded, ungraded
from bench.measuring import write
from bench.production import Production, production
from bench.recovery import normal_again, p95
from hub_embedded.services import SERVICES
from hub_kernel.clock import SystemClock

RECOVERY_SECONDS: Final = 10.0
WARM_UP_SECONDS: Final = 10.0
AFTER_SECONDS: Final = 30.0
"""How long latency is watched after a recovery."""
CATCH_UP_SHARE: Final = 0.5
KEPT_UP_SHARE: Final = 0.95
"""Of the referrals posted, how many intake must accept while the broker is away."""
_PATIENCE_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.25
_console = Console(highlight=False)


@dataclass
class Phase:
    """One part of the run: what was measured, and what was at fault."""

    name: str
    began: datetime
    ended: datetime
    recovered: datetime
    watched_until: datetime
    figures: dict[str, float | str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class _Did(msgspec.Struct, frozen=True):
    """What the members that came and went say of themselves: how many joined, what they applied by group."""

    joined: int
    applied: dict[str, int]


def main(
    seconds: Annotated[float, typer.Option(min=5, help="How long members come and go.")] = 60.0,
    outage: Annotated[float, typer.Option(min=5, help="How many seconds the broker stays away.")] = 300.0,
    rate: Annotated[float, typer.Option(min=1, max=200, help="Referrals a second.")] = 20.0,
    steady: Annotated[float, typer.Option(min=10, help="Seconds of load alone, beforehand.")] = 30.0,
) -> None:
    """Put the hub through both storms; exit 1 when anything is lost, doubled, or slow for too long."""
    phases, faults = uvloop.run(_run(seconds, outage, rate, steady))
    faults += [f"{phase.name}: {fault}" for phase in phases for fault in phase.faults]
    _show(phases)
    document = {"rate": rate, "phases": [asdict(phase) for phase in phases], "faults": faults}
    write("storm", document)
    for fault in faults:
        sys.stderr.write(fault + "\n")
    sys.exit(1 if faults else 0)


async def _run(seconds: float, outage: float, rate: float, steady: float) -> tuple[list[Phase], list[str]]:
    async with production() as running:
        async with running.posting(rate) as posting:
            _console.print(f"{rate:g} referrals a second: warm-up, then {steady:g} s of load alone")
            await _wait(posting, WARM_UP_SECONDS)
            began = _now()
            await _wait(posting, steady)
            normal = Phase("load alone", began, _now(), _now(), _now())
            _console.print(f"members come and go for {seconds:g} s")
            rebalances = await _rebalances(running, posting, seconds)
            _console.print(f"the broker is away for {outage:g} s")
            away = await _outage(running, posting, outage, rate)
        _console.print("all comes to rest; everybody's record is compared")
        faults = [f"{name} died" for name in running.ended()]
        faults += (await running.checked()).faults
        took = await graded(running.hub.dsn)
    normal.figures["p95_ms"] = round(p95(took, normal.began, normal.ended) * 1_000, 1)
    for phase in (rebalances, away):
        _judge(phase, took, p95(took, normal.began, normal.ended))
    return [normal, rebalances, away], faults


async def _rebalances(running: Production, posting: "asyncio.Task[None]", seconds: float) -> Phase:
    began = _now()
    environment = dict(running.hub.services["triage"].environment)
    del environment["HUB_INSTANCE"], environment["HUB_PORT"]
    command = [sys.executable, "-m", "bench.members", str(seconds)]
    with (running.directory / "members.log").open("ab") as log:
        members = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        said, _ = await members.communicate()
    finally:
        if members.returncode is None:
            members.kill()
            await members.wait()
    ended = _now()
    await _wait(posting, AFTER_SECONDS)
    phase = Phase("rebalances", began, ended, ended, _now())
    did = msgspec.json.decode(said, type=_Did) if members.returncode == 0 else _Did(0, {})
    phase.figures |= {"members_joined": did.joined, "applied_by_them": sum(did.applied.values())}
    if did.joined < KEPT_UP_SHARE * seconds:
        phase.faults.append(f"only {did.joined} members joined each group in {seconds:g} s: no storm")
    groups = {f"{service.name}.{source}" for service in SERVICES for source in service.hears}
    if idle := groups - {group for group, events in did.applied.items() if events}:
        phase.faults.append(f"no member that came was given anything in {', '.join(sorted(idle))}: no storm")
    return phase


async def _outage(running: Production, posting: "asyncio.Task[None]", seconds: float, rate: float) -> Phase:
    broker = running.hub.broker
    accepted, began = running.accepted, _now()
    await asyncio.to_thread(broker.kill)
    await _wait(posting, seconds)
    meanwhile, ended = running.accepted - accepted, _now()
    await asyncio.to_thread(broker.start)
    served = _now()
    connection = await asyncpg.connect(running.hub.dsn)
    try:
        backlog = await ungraded(connection, served)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while await ungraded(connection, served):
                await _wait(posting, _LOOK_SECONDS)
    finally:
        await connection.close()
    recovered = _now()
    await _wait(posting, AFTER_SECONDS)
    phase = Phase("outage", began, served, recovered, _now())
    worked_off = (recovered - served).total_seconds()
    phase.figures |= {
        "accepted_meanwhile": meanwhile,
        "backlog": backlog,
        "start_s": round((served - ended).total_seconds(), 1),
        "worked_off_s": round(worked_off, 1),
    }
    if meanwhile < KEPT_UP_SHARE * rate * seconds:
        phase.faults.append(
            f"intake accepted {meanwhile} referrals while the broker was away, not all posted"
        )
    if backlog < KEPT_UP_SHARE * rate * seconds:
        phase.faults.append(f"a backlog of {backlog} is less than was accepted: it was no outage")
    if worked_off > max(RECOVERY_SECONDS, CATCH_UP_SHARE * seconds):
        phase.faults.append(f"working off the backlog took {worked_off:.1f} s")
    return phase


def _judge(phase: Phase, took: Sequence[Graded], normal_seconds: float) -> None:
    """Say how soon latency was normal again, from the recovery and from the disturbance's end."""
    phase.figures["p95_ms"] = round(p95(took, phase.began, phase.recovered) * 1_000, 1)
    phase.figures["p95_after_ms"] = round(
        p95(took, phase.recovered + timedelta(seconds=RECOVERY_SECONDS), phase.watched_until) * 1_000, 1
    )
    again = normal_again(took, phase.recovered, phase.watched_until, normal_seconds)
    from_end = normal_again(took, phase.ended, phase.watched_until, normal_seconds)
    phase.figures["normal_after_recovery_s"] = "never" if again is None else again
    phase.figures["normal_after_end_s"] = "never" if from_end is None else from_end
    if again is None or again > RECOVERY_SECONDS:
        phase.faults.append(f"latency was not back to normal within {RECOVERY_SECONDS:g} s of recovery")


async def _wait(posting: "asyncio.Task[None]", seconds: float) -> None:
    """Let time pass under load. Raises what ended the posting, which must not end."""
    await asyncio.wait({posting}, timeout=seconds)
    if posting.done():
        posting.result()


def _show(phases: Sequence[Phase]) -> None:
    table = Table("phase", "seconds", "figures", title="storm")
    for phase in phases:
        figures = "\n".join(f"{name} = {value}" for name, value in phase.figures.items())
        table.add_row(phase.name, f"{(phase.ended - phase.began).total_seconds():.0f}", figures)
    _console.print(table)


def _now() -> datetime:
    return SystemClock().now()


if __name__ == "__main__":
    typer.run(main)
