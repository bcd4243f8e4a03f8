"""Triage over HTTP: the worklist, one assessment, and a person's grade and decision."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from hub_kernel.auth import Principal
from hub_kernel.clock import Clock
from hub_kernel.errors import Malformed
from hub_kernel.handling import Context
from hub_kernel.web import allow
from hub_schemas.codes import Agency, Authority, ClockName, LevelOfNeed, RiskGrade
from hub_schemas.referral_fields import Part, Remark
from hub_schemas.triage import Recipient
from hub_triage.commands import DecideNotShare, DecideShare, NotSharedReason, Regrade
from hub_triage.domain.errors import AssessmentNotFound
from hub_triage.tables import FIRST_PLACE, Assessments, Place
from hub_triage.views import State, WorklistRow, worklist_order

PAGE_ROWS: Final = 50
PAGE_ROWS_MAX: Final = 200
RECIPIENTS_MAX: Final = 60
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CursorMalformed(Malformed):
    """This cursor is not one the worklist gave out. Start again without it."""

    slug = "cursor-malformed"


class RecipientBody(Part):
    """A service to tell about one subject of the referral."""

    model_config = ConfigDict(from_attributes=True, strict=False)

    subject_id: UUID
    authority: Authority
    agency: Agency


class ShareBody(Part):
    """Share it. Without ``recipients``: each subject with the service for their kind, in their authority."""

    decision: Literal["share"]
    rationale: Remark
    recipients: Annotated[list[RecipientBody], Field(min_length=1, max_length=RECIPIENTS_MAX)] | None = None


class NotShareBody(Part):
    """Keep it with the police."""

    decision: Literal["not_share"]
    reason_code: NotSharedReason
    rationale: Remark


class GradeBody(Part):
    """A person's grade on both axes. Lowering either needs a rationale of at least 20 characters."""

    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    rationale: Remark


class ClockBody(BaseModel):
    """One clock. ``in_time`` is there once it was met."""

    model_config = ConfigDict(from_attributes=True)

    epoch: int
    due_at: datetime
    running: bool
    warned: bool
    breached: bool
    in_time: bool | None


class AssessmentBody(BaseModel):
    """An assessment as it stands; nothing in it names a person. ``due_at`` is when a decision is due."""

    model_config = ConfigDict(from_attributes=True)

    referral_id: UUID
    authority: Authority
    state: State
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    needs_person: bool
    held_by_person: bool
    disagrees_with_officer: bool
    matched_rules: list[str]
    rule_set: str
    encompass_due: bool
    received_at: datetime | None
    graded_at: datetime
    due_at: datetime | None
    breached: bool
    clocks: dict[ClockName, ClockBody]
    candidates: list[RecipientBody]
    recipients: list[RecipientBody]
    decided_at: datetime | None
    decided_by_policy: str | None
    not_shared_reason: str | None


class WorklistBody(BaseModel):
    """A page of the worklist, most urgent first. ``next`` is the cursor of the page after it, if any."""

    assessments: list[AssessmentBody]
    next: str | None


def routes(assessments: Assessments, clock: Clock) -> APIRouter:
    """The routes of triage."""
    router = APIRouter(prefix="/v1")

    @router.get("/worklist")
    async def worklist(
        principal: Annotated[Principal, Depends(allow("assessor", "operator"))],
        authority: Annotated[Authority | None, Query()] = None,
        level_of_need: Annotated[LevelOfNeed | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS,
        cursor: Annotated[str | None, Query(max_length=80)] = None,
    ) -> WorklistBody:
        """Referrals that await a decision: by level of need, red first, then the earliest due."""
        after = FIRST_PLACE if cursor is None else read_cursor(cursor)
        rows = await assessments.worklist(
            after, limit + 1, authority=authority, level_of_need=level_of_need, within=principal.authority
        )
        page = [AssessmentBody.model_validate(row) for row in rows[:limit]]
        more = len(rows) > limit
        return WorklistBody(
            assessments=page, next=write_cursor(worklist_order(rows[limit - 1])) if more else None
        )

    @router.get("/assessments/{referral_id}")
    async def assessment(
        referral_id: UUID,
        principal: Annotated[Principal, Depends(allow("assessor", "operator", "auditor"))],
    ) -> AssessmentBody:
        """One assessment as it stands."""
        return AssessmentBody.model_validate(await _within(principal, referral_id))

    @router.post("/assessments/{referral_id}/decision")
    async def decision(
        referral_id: UUID,
        body: Annotated[ShareBody | NotShareBody, Field(discriminator="decision")],
        principal: Annotated[Principal, Depends(allow("assessor"))],
    ) -> AssessmentBody:
        """Share it or not, with the reason in words, which is sealed."""
        await _within(principal, referral_id)
        now = clock.now()
        command: DecideShare | DecideNotShare
        match body:
            case ShareBody():
                command = DecideShare(
                    referral_id=referral_id,
                    at=now,
                    rationale=body.rationale,
                    recipients=_recipients(body.recipients),
                )
            case NotShareBody():
                command = DecideNotShare(
                    referral_id=referral_id, at=now, reason_code=body.reason_code, rationale=body.rationale
                )
        row = await assessments.decide(command, Context(referral_id, principal.subject, now))
        return AssessmentBody.model_validate(row)

    @router.post("/assessments/{referral_id}/grade")
    async def grade(
        referral_id: UUID,
        body: GradeBody,
        principal: Annotated[Principal, Depends(allow("assessor"))],
    ) -> AssessmentBody:
        """Set the grade, with the reason in words, which is sealed. The clocks keep the time already used."""
        await _within(principal, referral_id)
        now = clock.now()
        command = Regrade(
            referral_id=referral_id,
            at=now,
            risk_grade=body.risk_grade,
            level_of_need=body.level_of_need,
            rationale=body.rationale,
        )
        row = await assessments.decide(command, Context(referral_id, principal.subject, now))
        return AssessmentBody.model_validate(row)

    async def _within(principal: Principal, referral_id: UUID) -> WorklistRow:
        """The assessment, unless the token is bound to another authority: then there is none."""
        row = await assessments.read(referral_id)
        if principal.authority not in {None, row.authority}:
            raise AssessmentNotFound
        return row

    return router


def write_cursor(place: Place) -> str:
    """A place in the worklist as opaque text; it holds band, due time and referral id, nothing personal."""
    band, due_at, referral_id = place
    micros = (due_at - _EPOCH) // timedelta(microseconds=1)
    packed = band.to_bytes(1) + micros.to_bytes(8) + referral_id.bytes
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def read_cursor(text: str) -> Place:
    """Read a cursor back. Raises ``CursorMalformed``."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        due_at = _EPOCH + timedelta(microseconds=int.from_bytes(packed[1:9]))
        place = packed[0], due_at, UUID(bytes=packed[9:])
    except (binascii.Error, ValueError, OverflowError, IndexError):
        raise CursorMalformed(fields={"cursor": "not a cursor of this list"}) from None
    return place


def _recipients(bodies: list[RecipientBody] | None) -> tuple[Recipient, ...] | None:
    if bodies is None:
        return None
    return tuple(
        Recipient(subject_id=body.subject_id, authority=body.authority, agency=body.agency) for body in bodies
    )
