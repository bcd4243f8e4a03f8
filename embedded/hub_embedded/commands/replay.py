"""``hub replay``: what was recorded about a referral, and what it came to, as known then."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from hub_embedded.chains import Aggregate, as_of, chain_of, fold_streams
from hub_embedded.commands.choices import instant
from hub_embedded.database_access import database
from hub_embedded.output import event_line, reader_may_leave, write_json
from hub_embedded.walk_text import said
from hub_kernel.settings import Settings
from hub_schemas.envelope import RecordedEvent


def replay(
    referral_id: Annotated[UUID, typer.Argument(metavar="ID", help="The referral's id.")],
    known_at: Annotated[
        datetime | None,
        typer.Option("--as-of", parser=instant, metavar="INSTANT", help="Only what was recorded by then."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show a referral's facts over all services, and the state they add up to; nothing sealed is opened."""
    with database(Settings()) as dsn:
        events = uvloop.run(chain_of(dsn, referral_id))
    if known_at is not None:
        events = as_of(events, known_at)
    aggregates = fold_streams(events)
    with reader_may_leave():
        if as_json:
            write_json(_document(referral_id, known_at, events, aggregates))
        else:
            _show(events, aggregates)


def _document(
    referral_id: UUID,
    known_at: datetime | None,
    events: Sequence[RecordedEvent],
    aggregates: Sequence[Aggregate],
) -> dict[str, Any]:
    return {
        "referral_id": str(referral_id),
        "as_of": None if known_at is None else known_at.isoformat(),
        "facts": [event_line(event) for event in events],
        "aggregates": [
            {"stream_id": found.stream_id, "version": found.version, "state": _plain(found.state)}
            for found in aggregates
        ],
    }


def _plain(state: Any) -> Any:
    return msgspec.to_builtins(state, order="deterministic", str_keys=True)


def _show(events: Sequence[RecordedEvent], aggregates: Sequence[Aggregate]) -> None:
    console = Console()
    facts = Table(title="Facts, as they were recorded", title_justify="left")
    for heading in ("recorded (UTC)", "service", "fact", "what it says"):
        facts.add_column(heading, overflow="fold")
    for event in events:
        recorded = event.recorded_at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        facts.add_row(recorded, event.source, event.type, said(event))
    console.print(facts)
    for aggregate in aggregates:
        kind = aggregate.stream_id.partition("-")[0]
        state = Table(title=f"The {kind}, version {aggregate.version}", title_justify="left")
        state.add_column("of its state", no_wrap=True)
        state.add_column("is", overflow="fold")
        for name, value in _fields(aggregate.state).items():
            state.add_row(name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        console.print(state)


def _fields(state: Any) -> Mapping[str, Any]:
    plain = _plain(state)
    return plain if isinstance(plain, dict) else {"state": plain}
