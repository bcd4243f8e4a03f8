"""Deciding: to share, not to share, or that nothing is left to decide."""

from collections.abc import Iterator

from hub_schemas.triage import AssessmentClosed, NotShared, Rationale, ShareDecided, TriageFact
from hub_triage.commands import DecideNotShare, DecideShare, Withdraw
from hub_triage.domain.clocks import cancel, meet
from hub_triage.domain.errors import (
    AlreadyDecided,
    AlreadyShared,
    AssessmentNotFound,
    NoRecipients,
    RationaleMissing,
    UnknownSubject,
)
from hub_triage.domain.state import CLOCKS, Assessment


def open_assessment(state: Assessment | None) -> Assessment:
    """The assessment, if it awaits a decision. Raises ``AssessmentNotFound`` or ``AlreadyDecided``."""
    state = known_assessment(state)
    if state.status != "open":
        raise AlreadyDecided
    return state


def known_assessment(state: Assessment | None) -> Assessment:
    """The assessment, if there is one. Raises ``AssessmentNotFound``."""
    if state is None:
        raise AssessmentNotFound
    return state


def rationale_of(text: str) -> Rationale:
    """A reason in words, without the space around it. Raises ``RationaleMissing`` if nothing is left."""
    stripped = text.strip()
    if not stripped:
        raise RationaleMissing
    return Rationale(text=stripped)


def decide_share(command: DecideShare, state: Assessment | None) -> Iterator[TriageFact]:
    """Share with these recipients, or with all candidates; those told before are not told again.

    What was kept or shared before may still be shared (further): a person may always share more.
    """
    state = known_assessment(state)
    if state.status == "closed":
        raise AlreadyDecided
    rationale = rationale_of(command.rationale)
    recipients = state.candidates if command.recipients is None else command.recipients
    if not recipients:
        raise NoRecipients
    if {recipient.subject_id for recipient in recipients} - state.subjects:
        raise UnknownSubject
    untold = state.untold(recipients)
    if not untold:
        raise AlreadyShared
    yield ShareDecided(
        referral_id=state.referral_id,
        decided_at=command.at,
        recipients=untold,
        risk_grade=state.risk_grade,
        level_of_need=state.level_of_need,
        share_due_at=state.due_at("share"),
        sealed=rationale,
    )
    yield from meet(state, command.at, *CLOCKS)


def decide_not_share(command: DecideNotShare, state: Assessment | None) -> Iterator[TriageFact]:
    """Keep it with the police: the assessment is done, and there is nothing left to share in time."""
    state = open_assessment(state)
    yield NotShared(
        referral_id=state.referral_id,
        decided_at=command.at,
        reason_code=command.reason_code,
        sealed=rationale_of(command.rationale),
    )
    yield from meet(state, command.at, "assessment")
    yield from cancel(state, command.at, "not_shared", "share")


def withdraw(command: Withdraw, state: Assessment | None) -> Iterator[TriageFact]:
    """Nothing is left to assess; a referral already decided keeps its decision."""
    state = known_assessment(state)
    if state.status == "open":
        yield AssessmentClosed(referral_id=state.referral_id, closed_at=command.at)
        yield from cancel(state, command.at, "withdrawn", *CLOCKS)
