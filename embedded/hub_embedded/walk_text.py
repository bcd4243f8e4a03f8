"""A referral's walk through the services as text: a line for each fact, under the fact that led to it."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from uuid import UUID

from hub_embedded.services import SERVICES
from hub_oversight.views.sentences import sentence
from hub_oversight.views.wording import count, duration
from hub_schemas.envelope import RecordedEvent
from hub_schemas.registry import UnknownFact

_NAMES: Final = {service.schema: service.name for service in SERVICES}
_REGISTRIES: Final = {service.schema: service.registry for service in SERVICES}
_ORDER: Final = {service.schema: index for index, service in enumerate(SERVICES)}
_MOMENT: Final = re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4} at \d{2}:\d{2}")
_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def walk_text(events: Sequence[RecordedEvent], *, plain: bool = False) -> str:
    """The walk of one referral, one line a hop: when, who, what, what it says, and after which hop.

    ``events`` are all of one correlation id, in the order recorded. A hop stands under the one that caused
    it, and one without a recorded cause (a person's act, a partner's answer) where its stream stands; beside
    each other they stand by service, then stream, then version, so that the text does not depend on which
    service was quicker. ``plain`` leaves out whatever differs from run to run: ids and instants.
    """
    hops = list(_hops(events))
    labels = {event.event_id: f"e{number}" for number, (event, _) in enumerate(hops, 1)}
    about = "r1" if plain else str(events[0].correlation_id)
    lines = [f"The walk of referral {about}: {count(len(hops), 'fact')}.", ""]
    for event, depth in hops:
        offset = "…" if plain else duration((event.recorded_at - events[0].recorded_at).total_seconds())
        cause = labels.get(event.causation_id) if event.causation_id else None
        after = f" (after {cause})" if cause else ""
        words = _MOMENT.sub("…", said(event)) if plain else said(event)
        start = f"{labels[event.event_id]:<4} t+{offset:<10} {_NAMES[event.source]:<15} {'  ' * depth}"
        lines.append(f"{start}{event.type}{after}: {words}")
    return "\n".join(lines) + "\n"


def _hops(events: Sequence[RecordedEvent]) -> Iterator[tuple[RecordedEvent, int]]:
    """The events as a tree by causation, each with its depth, causes first."""
    known = {event.event_id for event in events}
    caused: dict[UUID | None, list[RecordedEvent]] = {}
    places: dict[str, UUID | None] = {}
    for event in sorted(events, key=_siblings(events)):
        cause = event.causation_id if event.causation_id in known else places.get(event.stream_id)
        places.setdefault(event.stream_id, cause)
        caused.setdefault(cause, []).append(event)
    waiting = [(event, 0) for event in reversed(caused.get(None, []))]
    while waiting:
        event, depth = waiting.pop()
        yield event, depth
        waiting += [(effect, depth + 1) for effect in reversed(caused.get(event.event_id, []))]


def _siblings(events: Sequence[RecordedEvent]) -> Callable[[RecordedEvent], tuple[int, int, int]]:
    """How hops with the same cause are ordered: by service, then by stream as streams began, then version."""
    began: dict[str, int] = {}
    for event in events:
        began[event.stream_id] = min(began.get(event.stream_id, event.position), event.position)
    return lambda event: (_ORDER[event.source], began[event.stream_id], event.version)


def said(event: RecordedEvent) -> str:
    """The fact's sentence; its name in words where there is none."""
    try:
        return sentence(_REGISTRIES[event.source].decode(event.type, event.schema_version, event.open))
    except (TypeError, UnknownFact):
        return " ".join(_CAPITAL.split(event.type)).capitalize() + "."
