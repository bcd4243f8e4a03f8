"""The pages a person opens: what is happening now, and one referral's history. Server-rendered HTML."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import accumulate
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from hub_kernel.auth import Principal
from hub_kernel.clock import Clock
from hub_kernel.errors import NotFound
from hub_kernel.web import allow
from hub_oversight.tables.reading import Readings, ReferralUnknown
from hub_oversight.views import wording
from hub_oversight.views.delivery import DeliveryState
from hub_oversight.views.figures import MEASURES, WAITING_AGES, CountyDeliveries, Percentiles
from hub_schemas.codes import AUTHORITY_NAMES

WINDOW_DAYS: Final = 28
REFRESH_SECONDS: Final = 2
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
STATIC_TYPES: Final = {"hub.css": "text/css", "hub.js": "text/javascript", "icon.svg": "image/svg+xml"}

AGE_LABELS: Final = dict(
    zip(WAITING_AGES, ("Under 1 h", "1 to 4 h", "4 to 24 h", "1 to 3 days", "Over 3 days"), strict=True)
)
MEASURE_LABELS: Final = dict(zip(MEASURES, ("To grade", "To share", "To acknowledgement"), strict=True))
DELIVERY_GROUPS: Final[Mapping[str, tuple[DeliveryState, ...]]] = {
    "On the way": ("planned", "rendered", "sending", "retrying"),
    "Taken in": ("taken",),
    "Acknowledged": ("acknowledged",),
    "Refused": ("rejected",),
    "Cancelled": ("cancelled",),
    "Cannot be sent": ("undeliverable",),
}
"""The columns of the deliveries table, and the states each adds up."""


class StaticFileUnknown(NotFound):
    """There is no such file. The pages name all there are."""

    slug = "static-file-unknown"


class Segment(NamedTuple):
    """A part of a bar, in hundredths of the longest bar: where it starts and how wide it is.

    ``age`` counts the ages of waiting from 1, the shortest.
    """

    age: int
    start: float
    width: float


class DeliveryTotals(NamedTuple):
    """Deliveries of all counties, for the key figures."""

    under_way: int
    acknowledged: int
    to_telephone: int


def routes(readings: Readings, clock: Clock) -> APIRouter:
    """The pages, for people who work for the force, and the files they are made with."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    templates = _templates()
    static = {name: (files("hub_oversight") / "static" / name).read_bytes() for name in STATIC_TYPES}

    def page(name: str, status: int = 200, **content: Any) -> HTMLResponse:
        return HTMLResponse(templates.get_template(name).render(content), status, HEADERS)

    @router.get("/")
    async def now(
        principal: Annotated[Principal, Depends(allow("operator", "assessor", session=True))],
    ) -> HTMLResponse:
        """What is happening now."""
        as_of = clock.now()
        shown = await readings.now(as_of, as_of - timedelta(days=WINDOW_DAYS), within=principal.authority)
        totals = delivery_totals(shown.deliveries)
        return page("now.html", now=shown, deliveries=totals, as_of=as_of)

    @router.get("/referrals/{referral_id}")
    async def referral(
        referral_id: UUID,
        principal: Annotated[Principal, Depends(allow("operator", "assessor", "auditor", session=True))],
    ) -> HTMLResponse:
        """One referral's history."""
        as_of = clock.now()
        try:
            timeline = await readings.timeline(referral_id, within=principal.authority)
        except ReferralUnknown:
            return page("unknown.html", status=404, as_of=as_of)
        return page("referral.html", timeline=timeline, as_of=as_of)

    @router.get("/static/{name}")
    async def static_file(
        name: str,
        _principal: Annotated[Principal, Depends(allow("operator", "assessor", "auditor", session=True))],
    ) -> Response:
        """A file of the pages."""
        if name not in static:
            raise StaticFileUnknown
        return Response(static[name], media_type=STATIC_TYPES[name])

    return router


def segments(counts: Sequence[int], largest: int) -> list[Segment]:
    """The parts of one bar that have a length: each count as a share of the largest total among the bars."""
    before = (0, *accumulate(counts))
    return [
        Segment(age, round(100 * start / largest, 2), round(100 * count / largest, 2))
        for age, (start, count) in enumerate(zip(before, counts, strict=False), 1)
        if count
    ]


def delivery_totals(counties: Sequence[CountyDeliveries]) -> DeliveryTotals:
    """Add the counties up."""
    under_way = (*DELIVERY_GROUPS["On the way"], *DELIVERY_GROUPS["Taken in"])
    return DeliveryTotals(
        under_way=sum(grouped(county, under_way) for county in counties),
        acknowledged=sum(grouped(county, ("acknowledged",)) for county in counties),
        to_telephone=sum(county.to_telephone for county in counties),
    )


def grouped(county: CountyDeliveries, states: Sequence[DeliveryState]) -> int:
    """How many deliveries of a county stand in any of these states."""
    return sum(county.by_state.get(state, 0) for state in states)


def seconds_between(start: datetime, end: datetime) -> float:
    """How long from one instant to another; nothing when they are the other way round."""
    return max(0.0, (end - start).total_seconds())


def percentiles_of(measured: Percentiles) -> list[float | None]:
    """The three figures in the order of the columns."""
    return [measured.median_seconds, measured.p90_seconds, measured.p95_seconds]


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("hub_oversight"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "moment": wording.moment,
        "moment_exactly": wording.moment_exactly,
        "duration": wording.duration,
        "elapsed": wording.elapsed,
        "percentiles": percentiles_of,
    }
    templates.globals |= {
        "AGE_LABELS": AGE_LABELS,
        "AUTHORITIES": AUTHORITY_NAMES,
        "DELIVERY_GROUPS": DELIVERY_GROUPS,
        "MEASURE_LABELS": MEASURE_LABELS,
        "REFERRAL_TYPES": wording.REFERRAL_TYPES,
        "REFRESH_SECONDS": REFRESH_SECONDS,
        "SOURCES": wording.SOURCES,
        "STAGES": wording.STAGES,
        "WINDOW_DAYS": WINDOW_DAYS,
        "grouped": grouped,
        "people": wording.people,
        "seconds_between": seconds_between,
        "segments": segments,
    }
    return templates
