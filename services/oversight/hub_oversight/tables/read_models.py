"""Writing the read models: facts are folded into the views they are about, live or in a rebuild."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec

from hub_kernel.database import Connection
from hub_kernel.partitioning import partition_of
from hub_oversight.views.figures import figures_of
from hub_oversight.views.referral import ReferralView, project
from hub_oversight.views.timeline import TimelineEntry, entry_of, fact_of
from hub_schemas.envelope import RecordedEvent

TABLES: Final = ("referral_views", "breaches", "deliveries", "timeline")
REBUILT: Final = "rebuilt_"
_LOCK: Final = 0x4F56  # the first key of this service's advisory locks
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(ReferralView)
_figures = attrgetter(
    "referral_id", "authority", "risk_grade", "level_of_need", "stage", "received_at", "waiting_since",
    "grade_seconds", "share_seconds", "acknowledgement_seconds",
)  # fmt: skip
_breach = attrgetter("clock", "epoch", "due_at", "breached_at", "risk_grade", "level_of_need", "late_start")
_entry = attrgetter("source", "position", "occurred_at", "recorded_at", "type", "sentence")


def decode_view(content: bytes) -> ReferralView:
    """Read a stored view."""
    return _decoder.decode(content)


class ReadModels:
    """One set of tables. ``prefix`` chooses the live ones ("") or those a rebuild fills.

    ``lock_stripes`` should equal the partitions of the bus.
    """

    def __init__(self, *, lock_stripes: int, prefix: str = "") -> None:
        self._stripes = lock_stripes
        self._select = f"SELECT view FROM oversight.{prefix}referral_views WHERE referral_id = ANY ($1)"  # noqa: S608
        self._save = _SAVE.replace("oversight.", f"oversight.{prefix}")

    async def hear(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Fold events, in the consumer's transaction."""
        # Three consumers write the same rows. They take turns by partition, not by row: a transaction holds
        # many events of one partition, and by row two of them would wait for each other.
        stripes = {partition_of(str(event.correlation_id), self._stripes) for event in events}
        for stripe in sorted(stripes):
            await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK, stripe)
        await self.fold(connection, events)

    async def fold(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Fold events, those of one stream in order; the caller keeps other writers away.

        Raises ``UnknownFact``, or ``ValueError`` for a stream that does not begin with its first fact.
        """
        heard = [(event, fact_of(event)) for event in events]
        views = await self._load(connection, {fact.referral_id for _, fact in heard})
        entries: list[tuple[UUID, TimelineEntry]] = []
        for event, fact in heard:
            views[fact.referral_id] = project(views.get(fact.referral_id), fact)
            entries.append((fact.referral_id, entry_of(event, fact)))
        await connection.execute(self._save, *_arguments(views, entries))

    async def _load(self, connection: Connection, referral_ids: set[UUID]) -> dict[UUID, ReferralView]:
        rows = await connection.fetch(self._select, list(referral_ids))
        views = (_decoder.decode(row["view"]) for row in rows)
        return {view.referral_id: view for view in views}


def _arguments(
    views: Mapping[UUID, ReferralView], entries: Sequence[tuple[UUID, TimelineEntry]]
) -> list[list[Any]]:
    """One list for each column of the four tables, in the order of the statement's parameters."""
    referrals = [(*_figures(figures_of(view)), _encode(view)) for view in views.values()]
    breaches = [
        (view.referral_id, view.authority, *_breach(breach), breach in view.assessment.open_breaches)
        for view in views.values()
        if view.assessment
        for breach in view.assessment.breaches
    ]
    deliveries = [
        (delivery_id, delivery.authority, delivery.state, delivery.fallback is not None)
        for view in views.values()
        for delivery_id, delivery in view.deliveries.items()
    ]
    lines = [(referral_id, *_entry(entry)) for referral_id, entry in entries]
    tables = ((referrals, 11), (breaches, 10), (deliveries, 4), (lines, 7))
    return [[row[n] for row in rows] for rows, width in tables for n in range(width)]


_SAVE: Final = """
WITH saved_views AS (
    INSERT INTO oversight.referral_views AS v
        (referral_id, authority, risk_grade, level_of_need, stage, received_at, waiting_since,
         grade_seconds, share_seconds, acknowledgement_seconds, view)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                         $7::timestamptz[], $8::float8[], $9::float8[], $10::float8[], $11::bytea[])
    ON CONFLICT (referral_id) DO UPDATE
       SET authority = excluded.authority, risk_grade = excluded.risk_grade,
           level_of_need = excluded.level_of_need, stage = excluded.stage,
           received_at = excluded.received_at, waiting_since = excluded.waiting_since,
           grade_seconds = excluded.grade_seconds, share_seconds = excluded.share_seconds,
           acknowledgement_seconds = excluded.acknowledgement_seconds, view = excluded.view
), saved_breaches AS (
    INSERT INTO oversight.breaches AS b
        (referral_id, authority, clock, epoch, due_at, breached_at, risk_grade, level_of_need, late_start,
         is_open)
    SELECT * FROM unnest($12::uuid[], $13::text[], $14::text[], $15::int[], $16::timestamptz[],
                         $17::timestamptz[], $18::text[], $19::text[], $20::boolean[], $21::boolean[])
    ON CONFLICT (referral_id, clock, epoch) DO UPDATE
       SET authority = excluded.authority, is_open = excluded.is_open
     WHERE (b.authority, b.is_open) IS DISTINCT FROM (excluded.authority, excluded.is_open)
), saved_deliveries AS (
    INSERT INTO oversight.deliveries AS d (delivery_id, authority, state, to_telephone)
    SELECT * FROM unnest($22::uuid[], $23::text[], $24::text[], $25::boolean[])
    ON CONFLICT (delivery_id) DO UPDATE SET state = excluded.state, to_telephone = excluded.to_telephone
     WHERE (d.state, d.to_telephone) IS DISTINCT FROM (excluded.state, excluded.to_telephone)
)
INSERT INTO oversight.timeline (referral_id, source, position, occurred_at, recorded_at, type, sentence)
SELECT * FROM unnest($26::uuid[], $27::text[], $28::bigint[], $29::timestamptz[], $30::timestamptz[],
                     $31::text[], $32::text[])
"""
