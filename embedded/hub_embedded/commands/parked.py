"""``hub parked``: which streams wait because an event could not be applied, why, and trying them again."""

import os
import pwd
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, get_args

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.json import JSON
from rich.table import Table

from hub_embedded.commands.choices import ServiceName, chosen
from hub_embedded.database_access import database, pool_as
from hub_embedded.output import reader_may_leave, write_json, write_json_lines
from hub_kernel.clock import SystemClock
from hub_kernel.errors import NotFound
from hub_kernel.event_store import EventStore
from hub_kernel.parked_views import ParkedChain, ParkedGroup, ParkedLink, ParkedStream, Wanted
from hub_kernel.parking import PAGE_STREAMS, PAGE_STREAMS_MAX, Actor, ParkedEvents
from hub_kernel.service import Service
from hub_kernel.settings import Settings
from hub_oversight.views.wording import count

parked = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Events that could not be applied: which wait, why, and trying them again.",
    no_args_is_help=True,
)

_SOON: Final = "Tried within seconds where the service runs, otherwise when it next starts."
OneService = Annotated[ServiceName | None, typer.Option("--service", help="Only what waits at this service.")]
OneReason = Annotated[str | None, typer.Option("--reason", help="Only what is held up for this reason.")]
OneSource = Annotated[str | None, typer.Option("--source", help="Only events from this service's log.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]
ServiceArgument = Annotated[
    ServiceName,
    typer.Argument(metavar="SERVICE", help=f"Where it waits: {', '.join(get_args(ServiceName))}."),
]
SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Where its events come from, as listed.")
]
StreamArgument = Annotated[str, typer.Argument(metavar="STREAM", help="The stream's id, as listed.")]


class NothingWaits(NotFound):
    """Nothing is parked there for this reason. `hub parked summary` shows what is parked, and why."""

    slug: ClassVar[str] = "nothing-waits"


@parked.command(name="list")
def list_parked(
    service: OneService = None,
    reason: OneReason = None,
    source: OneSource = None,
    *,
    limit: Annotated[
        int, typer.Option(min=1, help="At most so many streams of each service.")
    ] = PAGE_STREAMS,
    as_json: AsJson = False,
) -> None:
    """List the streams that wait, those parked longest first, with why their first event was not applied."""
    wanted = Wanted(source=source, reason=reason)
    with database(Settings()) as dsn:
        streams, more = uvloop.run(_listed(chosen(service), dsn, wanted, limit))
    with reader_may_leave():
        if as_json:
            write_json_lines(streams)
        else:
            _show_streams(streams, more=more)


@parked.command()
def summary(service: OneService = None, *, as_json: AsJson = False) -> None:
    """Count what waits, by consumer, source and reason."""
    with database(Settings()) as dsn:
        groups = uvloop.run(_summarised(chosen(service), dsn))
    with reader_may_leave():
        if as_json:
            write_json_lines(groups)
        else:
            _show_groups(groups)


@parked.command()
def show(
    service: ServiceArgument, source: SourceArgument, stream: StreamArgument, *, as_json: AsJson = False
) -> None:
    """Look at one stream's parked events in order: envelopes and open parts, never what is sealed."""
    with database(Settings()) as dsn:
        chains = uvloop.run(_chain(chosen(service)[0], dsn, source, stream))
    links = [link for chain in chains for link in chain.links]
    with reader_may_leave():
        if as_json:
            write_json({"source": source, "stream_id": stream, "events": links})
        else:
            _show_chain(source, stream, links)


@parked.command()
def retry(service: ServiceArgument, source: SourceArgument, stream: StreamArgument) -> None:
    """Ask that one stream be tried again, its events in order."""
    with database(Settings()) as dsn:
        uvloop.run(_retried(chosen(service)[0], dsn, source, stream))
    typer.echo(f"Asked for 1 stream of {service} to be tried again. {_SOON}")


@parked.command()
def retry_all(
    service: Annotated[ServiceName, typer.Option("--service", help="Where it waits.")],
    reason: Annotated[str, typer.Option("--reason", help="What it is held up for.")],
    source: OneSource = None,
) -> None:
    """Ask that every stream held up for a reason be tried again, each one's events in order."""
    with database(Settings()) as dsn:
        streams = uvloop.run(_all_retried(chosen(service)[0], dsn, reason, source))
    if not streams:
        raise NothingWaits
    typer.echo(f"Asked for {count(streams, 'stream')} of {service} to be tried again. {_SOON}")


def _actor() -> Actor:
    """Whoever types: the account of the operating system, which needs no token to reach the database."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number alone
        name = str(os.getuid())
    return Actor(f"cli:{name}", "operator")


@asynccontextmanager
async def _parked_of(service: Service, dsn: str) -> AsyncIterator[ParkedEvents]:
    clock = SystemClock()
    async with pool_as(dsn, service.role) as pool:
        yield ParkedEvents(service.schema, pool, EventStore(pool, service.access_schema, clock), clock)


async def _listed(
    services: Sequence[Service], dsn: str, wanted: Wanted, limit: int
) -> tuple[list[ParkedStream], bool]:
    """The streams of each service up to its limit, and whether there are more."""
    listed: list[ParkedStream] = []
    more = False
    for service in services:
        async with _parked_of(service, dsn) as waiting:
            left, cursor = limit, None
            while left:
                page = await waiting.streams(
                    wanted, _actor(), limit=min(left, PAGE_STREAMS_MAX), cursor=cursor
                )
                listed += page.streams
                left, cursor = left - len(page.streams), page.next_cursor
                if cursor is None:
                    break
            more = more or cursor is not None
    return listed, more


async def _summarised(services: Sequence[Service], dsn: str) -> list[ParkedGroup]:
    groups: list[ParkedGroup] = []
    for service in services:
        async with _parked_of(service, dsn) as waiting:
            groups += await waiting.summary()
    return groups


async def _chain(service: Service, dsn: str, source: str, stream_id: str) -> list[ParkedChain]:
    chains: list[ParkedChain] = []
    after: int | None = 0
    async with _parked_of(service, dsn) as waiting:
        while after is not None:
            chains.append(await waiting.chain(source, stream_id, _actor(), after=after))
            after = chains[-1].next_after
    return chains


async def _retried(service: Service, dsn: str, source: str, stream_id: str) -> int:
    async with _parked_of(service, dsn) as waiting:
        return await waiting.retry_stream(source, stream_id, _actor())


async def _all_retried(service: Service, dsn: str, reason: str, source: str | None) -> int:
    async with _parked_of(service, dsn) as waiting:
        return await waiting.retry_all(reason, _actor(), source=source)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        number = heading in {"streams", "events", "tries", "version"}
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _show_streams(streams: Sequence[ParkedStream], *, more: bool) -> None:
    if not streams:
        typer.echo("Nothing is parked.")
        return
    table = _table(
        f"{'The first ' if more else ''}{count(len(streams), 'parked stream')}",
        "service", "source", "stream", "reason", "events", "tries", "parked (UTC)", "next try (UTC)",
    )  # fmt: skip
    for row in streams:
        table.add_row(
            row.consumer,
            row.source,
            row.stream_id,
            row.reason,
            f"{row.events:,}",
            str(row.attempts),
            _moment(row.parked_at),
            _next_try(row.next_try_at),
        )
    _console().print(table)
    if more:
        typer.echo("There are more: ask for them with --limit, or count them with `hub parked summary`.")


def _show_groups(groups: Sequence[ParkedGroup]) -> None:
    if not groups:
        typer.echo("Nothing is parked.")
        return
    table = _table(
        f"{count(sum(group.streams for group in groups), 'parked stream')}",
        "service", "source", "reason", "streams", "events", "waiting for", "oldest parked (UTC)",
    )  # fmt: skip
    for group in groups:
        people = group.streams - group.retries_itself
        table.add_row(
            group.consumer,
            group.source,
            group.reason,
            f"{group.streams:,}",
            f"{group.events:,}",
            f"a person: {people:,}" if people else "its next try",
            _moment(group.oldest_parked_at),
        )
    _console().print(table)


def _show_chain(source: str, stream_id: str, links: Sequence[ParkedLink]) -> None:
    console = _console()
    table = _table(
        f"{stream_id}, from {source}: {count(len(links), 'parked event')}",
        "version", "fact", "recorded (UTC)", "reason", "tries", "parked (UTC)", "next try (UTC)",
    )  # fmt: skip
    for link in links:
        table.add_row(
            str(link.version),
            f"not shown, {link.size_bytes:,} bytes" if link.event is None else link.event.type,
            "-" if link.event is None else _moment(link.event.recorded_at),
            link.reason,
            str(link.attempts),
            _moment(link.parked_at),
            _next_try(link.next_try_at) if link is links[0] else "in its turn",
        )
    console.print(table)
    if links[0].event is not None:
        console.print("The first event's open part, empty fields left out (--json shows all):")
        console.print(JSON(msgspec.json.encode(_filled(links[0].event.open)).decode()))


def _filled(value: Any) -> Any:
    """Without what is null or empty: an open part has many fields that seldom say anything."""
    if isinstance(value, dict):
        filled = {name: _filled(inner) for name, inner in value.items()}
        return {name: inner for name, inner in filled.items() if inner not in (None, [], {})}
    return [_filled(inner) for inner in value] if isinstance(value, list) else value


def _console() -> Console:
    return Console(markup=False, highlight=False)


def _moment(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S")


def _next_try(instant: datetime | None) -> str:
    """``due`` rather than an instant of the past, which is how a retry asked for is written down."""
    if instant is None:
        return "when asked for"
    return "due" if instant <= SystemClock().now() else _moment(instant)
