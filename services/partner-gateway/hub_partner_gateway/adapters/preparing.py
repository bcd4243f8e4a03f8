"""Makes claimed deliveries ready to leave: opened, written, announced in the log, all in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hub_kernel.access_log import AccessLog, unsealed
from hub_kernel.clock import Clock
from hub_kernel.database import Connection
from hub_kernel.handling import Context
from hub_partner_gateway.commands import BeginAttempt, Cancel, Expire, RaiseFallback
from hub_partner_gateway.domain.state import ENDED, Delivery
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_partner_gateway.policies.rendering import CannotRender, RenderContext, document_of, render
from hub_partner_gateway.tables.deliveries import ACTOR, Course, Deliveries
from hub_partner_gateway.tables.worklist import HeldDocument, Row, Worklist
from hub_schemas.envelope import RecordedEvent
from hub_schemas.intake import Document
from hub_schemas.partner_gateway import Payload


@dataclass(frozen=True, slots=True)
class Prepared:
    """What to do with a claimed delivery now; ``at`` is the instant that was decided.

    ``body`` is what to send, already announced; ``awaits_beyond`` the version of a document that cannot be
    written (0: there is none), when a later one must come first.
    """

    row: Row
    state: Delivery
    at: datetime
    step: Literal["send", "ask", "await_document", "done"]
    body: str = ""
    awaits_beyond: int | None = None


class Preparing:
    """Turns claimed rows into what to do with each."""

    def __init__(
        self,
        deliveries: Deliveries,
        worklist: Worklist,
        access_log: AccessLog,
        packages: Mapping[str, PartnerPackage],
        clock: Clock,
    ) -> None:
        self._deliveries, self._worklist, self._access_log = deliveries, worklist, access_log
        self._packages, self._clock = packages, clock

    async def prepare(self, rows: Sequence[Row], *, partner_lacks_it: bool = False) -> list[Prepared]:
        """Do for all of them what must stand in the log before anything leaves. All or none.

        ``partner_lacks_it``: an open attempt is to be sent again. Raises what the log, the keyring or the
        domain refuse.
        """
        now = self._clock.now()
        async with self._deliveries.pool.acquire() as connection, connection.transaction():
            courses = await self._deliveries.load(connection, [row.delivery_id for row in rows])
            documents = await self._worklist.documents(connection, [row.referral_id for row in rows])
            sources = [
                _source(row, course, documents.get(row.referral_id), resend=partner_lacks_it)
                for row, course in zip(rows, courses, strict=True)
            ]
            opened = await self._open(connection, sources)
            prepared = [
                self._one(row, course, documents.get(row.referral_id), raw, now, partner_lacks_it)
                for row, course, raw in zip(rows, courses, opened, strict=True)
            ]
            contexts = {row.delivery_id: Context(row.referral_id, ACTOR, now) for row in rows}
            await self._deliveries.append_in(connection, courses, contexts)
        return prepared

    async def _open(
        self, connection: Connection, sources: Sequence[RecordedEvent | None]
    ) -> list[bytes | None]:
        """Open each sealed event once, and record that it was disclosed."""
        distinct = {source.event_id: source for source in sources if source is not None}
        if not distinct:
            return [None for _ in sources]
        raw = await self._access_log.open_in(
            connection, list(distinct.values()), reader=ACTOR, role="service", reason="disclosure"
        )
        clear = dict(zip(distinct, raw, strict=True))
        return [clear[source.event_id] if source is not None else None for source in sources]

    def _one(
        self,
        row: Row,
        course: Course,
        held: HeldDocument | None,
        raw: bytes | None,
        now: datetime,
        partner_lacks_it: bool,  # noqa: FBT001  handed through
    ) -> Prepared:
        """Take one delivery as far as it goes without its partner."""
        course.take(Expire(at=now))
        if course.delivery.status == "planned":
            return self._write(row, course, held, raw, now)
        if raw is not None:
            course.take(BeginAttempt(at=now, partner_lacks_it=partner_lacks_it))
            return Prepared(row, course.delivery, now, "send", unsealed(raw, Payload).body)
        finished = course.delivery.status in ENDED and not course.delivery.attempt_open
        return Prepared(row, course.delivery, now, "done" if finished else "ask")

    def _write(
        self, row: Row, course: Course, held: HeldDocument | None, raw: bytes | None, now: datetime
    ) -> Prepared:
        if held is not None and held.event is None:
            course.take(Cancel(at=now))
            return Prepared(row, course.delivery, now, "done")
        if held is None or raw is None:
            awaits_beyond = 0 if held is None else held.version
            return Prepared(row, course.delivery, now, "await_document", awaits_beyond=awaits_beyond)
        package = self._packages[row.destination or ""]
        context = _context(course.delivery, held.version)
        try:
            rendering = render(package, document_of(unsealed(raw, Document).document), context)
        except CannotRender:
            course.take(RaiseFallback(at=now, reason="cannot_render"))
            return Prepared(row, course.delivery, now, "await_document", awaits_beyond=held.version)
        course.take(BeginAttempt(at=now, rendering=rendering))
        return Prepared(row, course.delivery, now, "send", rendering.body)


def _source(row: Row, course: Course, held: HeldDocument | None, *, resend: bool) -> RecordedEvent | None:
    """The sealed event this delivery's bytes come from: the document, or what was written before."""
    status = course.delivery.status
    if status == "planned":
        newer = held is not None and held.version > (row.awaits_beyond or 0)
        return held.event if held is not None and newer else None
    return course.written if status == "ready" or (resend and status == "attempting") else None


def _context(delivery: Delivery, referral_version: int) -> RenderContext:
    return RenderContext(
        referral_id=delivery.referral_id,
        subject_id=delivery.subject_id,
        message_id=delivery.message_id,
        referral_version=referral_version,
        risk_grade=delivery.risk_grade,
        level_of_need=delivery.level_of_need,
        lawful_basis=delivery.lawful_basis,
    )
