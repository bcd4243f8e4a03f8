"""What a delivery has come to: the fold of its facts."""

from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

import msgspec

from hub_schemas import partner_gateway as facts
from hub_schemas.codes import Agency, Authority, LevelOfNeed, RiskGrade
from hub_schemas.partner_gateway import GatewayFact

Status = Literal[
    "planned", "ready", "attempting", "accepted", "acknowledged", "rejected", "cancelled", "unroutable"
]
FallbackReason = Literal["deadline", "rejected", "unroutable", "withdrawn_after_send", "cannot_render"]

ENDED: Final[frozenset[Status]] = frozenset({"acknowledged", "rejected", "cancelled", "unroutable"})


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as its facts leave it.

    ``attempts`` counts sendings; ``attempt_open``: the last one has no answer yet. ``raised`` are the
    fallbacks a person was already asked for.
    """

    delivery_id: UUID
    referral_id: UUID
    subject_id: UUID
    authority: Authority
    agency: Agency
    message_id: UUID
    deadline_at: datetime | None
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    lawful_basis: str | None
    status: Status = "planned"
    attempts: int = 0
    attempt_open: bool = False
    transport_accepted: bool = False
    expired: bool = False
    contact_hash: str | None = None
    outcome: str | None = None
    raised: frozenset[FallbackReason] = frozenset()


def evolve(state: Delivery | None, fact: GatewayFact) -> Delivery:
    """Fold one fact into the state. The first fact of a stream is ``DeliveryPlanned``."""
    if isinstance(fact, facts.DeliveryPlanned):
        return _planned(fact)
    if state is None:
        raise ValueError(f"a delivery cannot begin with {type(fact).__name__}")
    # Once cancelled it stays so, whatever is still heard of what was under way.
    changed = _changed(state, fact)
    return msgspec.structs.replace(changed, status="cancelled") if state.status == "cancelled" else changed


def _planned(fact: facts.DeliveryPlanned) -> Delivery:
    return Delivery(
        delivery_id=fact.delivery_id,
        referral_id=fact.referral_id,
        subject_id=fact.subject_id,
        authority=fact.authority,
        agency=fact.agency,
        message_id=fact.message_id,
        deadline_at=fact.deadline_at,
        risk_grade=fact.risk_grade,
        level_of_need=fact.level_of_need,
        lawful_basis=fact.lawful_basis,
        status="unroutable" if fact.package is None else "planned",
    )


def _changed(state: Delivery, fact: GatewayFact) -> Delivery:  # noqa: PLR0911, C901  one line for each fact
    change = msgspec.structs.replace
    match fact:
        case facts.Rendered():
            return change(state, status="ready")
        case facts.Attempted(attempt=attempt):
            return change(state, status="attempting", attempts=attempt, attempt_open=True)
        case facts.AttemptFailed():
            return change(state, status="ready", attempt_open=False)
        case facts.TransportAccepted():
            return change(state, status="accepted", attempt_open=False, transport_accepted=True)
        case facts.Acknowledged(contact_hash=contact_hash, outcome=outcome):
            return change(state, status="acknowledged", contact_hash=contact_hash, outcome=outcome)
        case facts.Rejected():
            return change(state, status="rejected", attempt_open=False)
        case facts.Expired():
            return change(state, expired=True)
        case facts.HumanFallbackRaised(reason=reason):
            return change(state, raised=state.raised | {reason})
        case facts.OutcomeRecorded(outcome=outcome):
            return change(state, outcome=outcome)
        case facts.Cancelled():
            return change(state, status="cancelled")
        case facts.DeliveryPlanned():
            return state
        case _:
            assert_never(fact)
