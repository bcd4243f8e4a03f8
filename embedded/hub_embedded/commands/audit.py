"""``hub audit``: is every log as it was recorded, which heads vouch for it, and who read what is sealed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, ClassVar, Final
from uuid import UUID

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from hub_embedded.commands.choices import ServiceName, chosen
from hub_embedded.database_access import database, pool_as
from hub_embedded.keys import head_file
from hub_embedded.output import reader_may_leave, write_json, write_json_lines
from hub_kernel.access_log import REGISTRY, ParkedEventsViewed, ParkedRetryRequested, SealedRead
from hub_kernel.audit import Verdict, verify_log
from hub_kernel.clock import monotonic_seconds
from hub_kernel.errors import Rejected
from hub_kernel.event_store.reading import Reader
from hub_kernel.event_store.stored import StoredLog
from hub_kernel.heads import SignedHead
from hub_kernel.service import Service
from hub_kernel.settings import Settings
from hub_oversight.views.wording import count
from hub_schemas.envelope import RecordedEvent
from hub_schemas.facts import Fact

audit = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Inspect the logs: are they whole, and who read what is sealed.",
    no_args_is_help=True,
)
_FOUND_WRONG: Final = 1

Heads = Mapping[str, Sequence[SignedHead]]
OneService = Annotated[ServiceName | None, typer.Option("--service", help="Only this service's logs.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]


class HeadsFileBroken(Rejected):
    """The file of signed heads was changed. Put back the copy kept elsewhere, then verify again."""

    slug: ClassVar[str] = "heads-file-broken"


@audit.command()
def verify(service: OneService = None, *, as_json: AsJson = False) -> None:
    """Make every hash again from the stored bytes and name the first fault. Ends with 1 if there is one."""
    settings = Settings()
    with database(settings) as dsn:
        started = monotonic_seconds()
        verdicts = uvloop.run(_verify(chosen(service), dsn, _heads(settings, chosen(service))))
        seconds = monotonic_seconds() - started
    with reader_may_leave():
        (_print_json if as_json else _print_verdicts)(verdicts, seconds)
    if any(verdict.fault for verdict in verdicts):
        raise typer.Exit(_FOUND_WRONG)


@audit.command()
def head(service: OneService = None, *, as_json: AsJson = False) -> None:
    """Print the last signed head of each log. Kept somewhere else, it proves the log up to its position."""
    latest = [heads[-1] for heads in _heads(Settings(), chosen(service)).values() if heads]
    with reader_may_leave():
        if as_json:
            write_json_lines(asdict(head) for head in latest)
        else:
            for head in latest:
                typer.echo(f"{head.log:<24} {head.position:>10,}  {head.root}  {head.at}")


@audit.command()
def access(
    record: Annotated[UUID | None, typer.Option(help="Only what was about this referral.")] = None,
    service: OneService = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List who opened sealed data and who saw to parked events: when, of which referral, and why."""
    with database(Settings()) as dsn, reader_may_leave():
        uvloop.run(_list_access(chosen(service), dsn, record, as_json=as_json))


def _heads(settings: Settings, services: Sequence[Service]) -> Heads:
    """The signed heads of each log. Read before the logs, so that no head can be newer than what is read."""
    logs = [log for service in services for log in (service.schema, service.access_schema)]
    file = head_file(settings)
    try:
        return {log: list(file.read(log)) if file else [] for log in logs}
    except ValueError as error:
        raise HeadsFileBroken(f"{error}. Put back the copy kept elsewhere, then verify again.") from error


async def _verify(services: Sequence[Service], dsn: str, heads: Heads) -> list[Verdict]:
    verdicts = []
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        for service in services:
            async with pool_as(dsn, service.role, size=2) as pool:
                for log in (service.schema, service.access_schema):
                    async with pool.acquire() as connection:
                        stands = await StoredLog(log).head(connection)
                    task = progress.add_task(log, total=stands.position if stands else None)
                    verdicts.append(await verify_log(pool, log, heads[log], _advancing(progress, task)))
    return verdicts


def _advancing(progress: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda rows: progress.advance(task, rows)


def _print_json(verdicts: Sequence[Verdict], seconds: float) -> None:
    events = sum(verdict.events for verdict in verdicts)
    write_json(
        {
            "ok": not any(verdict.fault for verdict in verdicts),
            "events": events,
            "seconds": round(seconds, 3),
            "events_per_second": round(events / seconds),
            "logs": [asdict(verdict) for verdict in verdicts],
        }
    )


def _print_verdicts(verdicts: Sequence[Verdict], seconds: float) -> None:
    for verdict in verdicts:
        fault = verdict.fault
        found = f"FAULT at position {fault.position}: {fault.detail}" if fault else "whole"
        signed = f"signed through {verdict.signed_through:,}"
        typer.echo(f"{verdict.log:<24} {verdict.events:>10,} events  {signed:<26}  {found}")
    events = sum(verdict.events for verdict in verdicts)
    wrong = sum(verdict.fault is not None for verdict in verdicts)
    outcome = (
        "Every log is as it was recorded" if not wrong else f"{wrong} of {len(verdicts)} logs are not whole"
    )
    typer.echo(
        f"{outcome}: {events:,} events verified in {seconds:.1f} s ({events / seconds:,.0f} a second)."
    )


async def _list_access(services: Sequence[Service], dsn: str, record: UUID | None, *, as_json: bool) -> None:
    for service in services:
        reader, after = Reader(service.access_schema), 0
        async with pool_as(dsn, service.role) as pool, pool.acquire() as connection:
            while True:
                if record is None:
                    page = await reader.log(connection, after)
                else:
                    page = await reader.stream(connection, f"access-{record}", after)
                if not page:
                    break
                _print_access(service, page, as_json=as_json)
                after = page[-1].position if record is None else page[-1].version


def _print_access(service: Service, page: Sequence[RecordedEvent], *, as_json: bool) -> None:
    facts = [(event, REGISTRY.decode(event.type, event.schema_version, event.open)) for event in page]
    if as_json:
        write_json_lines(
            {"service": service.name, "type": event.type, **msgspec.to_builtins(fact)}
            for event, fact in facts
        )
        return
    for event, fact in facts:
        about = event.stream_id.removeprefix("access-")
        record = about if about == str(event.correlation_id) else "-"
        typer.echo(f"{event.occurred_at.isoformat()}  {service.name:<15} {record:<36}  {_said(fact)}")


def _said(fact: Fact) -> str:
    """Who did what, in one line."""
    match fact:
        case SealedRead():
            return (
                f"{fact.role} {fact.reader}: {fact.reason}, positions {', '.join(map(str, fact.positions))}"
            )
        case ParkedEventsViewed(stream_id=None):
            return f"{fact.role} {fact.actor}: listed {count(fact.shown, 'parked stream')}{_asked(fact)}"
        case ParkedEventsViewed():
            return f"{fact.role} {fact.actor}: looked at {count(fact.shown, 'parked event')}{_asked(fact)}"
        case ParkedRetryRequested():
            return f"{fact.role} {fact.actor}: asked to retry {count(fact.streams, 'stream')}{_asked(fact)}"
    return type(fact).__name__


def _asked(fact: ParkedEventsViewed | ParkedRetryRequested) -> str:
    asked = {"source": fact.source, "stream": fact.stream_id, "reason": fact.reason}
    return "".join(f", {name} {value}" for name, value in asked.items() if value is not None)
