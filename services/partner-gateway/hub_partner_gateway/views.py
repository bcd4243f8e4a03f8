"""What is shown of a delivery: its open facts, folded for a reader. Nothing in it names a person."""

from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from hub_partner_gateway.domain.state import Delivery as State
from hub_partner_gateway.domain.state import FallbackReason, Status, evolve
from hub_schemas import partner_gateway as facts
from hub_schemas.codes import Agency, Authority, LevelOfNeed, RiskGrade
from hub_schemas.partner_gateway import FailureReason, GatewayFact


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery as it stands. ``fallbacks`` are why a person was asked to telephone, in order."""

    delivery_id: UUID
    referral_id: UUID
    subject_id: UUID
    authority: Authority
    agency: Agency
    package: str | None
    package_version: int | None
    message_id: UUID
    status: Status
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    planned_at: datetime
    deadline_at: datetime | None
    referral_version: int | None = None
    body_hash: str | None = None
    lost_fields: tuple[str, ...] = ()
    withheld_fields: tuple[str, ...] = ()
    attempts: int = 0
    last_failure: FailureReason | None = None
    retry_at: datetime | None = None
    transport_accepted_at: datetime | None = None
    reconciled: bool = False
    acknowledged_at: datetime | None = None
    outcome: str | None = None
    rejected_at: datetime | None = None
    rejected_because: str | None = None
    cancelled_at: datetime | None = None
    expired_at: datetime | None = None
    fallbacks: tuple[FallbackReason, ...] = ()


def project(facts_of_one: list[GatewayFact]) -> DeliveryView:
    """Fold the facts of one delivery, from ``DeliveryPlanned`` on."""
    state: State | None = None
    view: DeliveryView | None = None
    for fact in facts_of_one:
        state = evolve(state, fact)
        view = _first(fact) if isinstance(fact, facts.DeliveryPlanned) else _next(view, fact)
        view = msgspec.structs.replace(view, status=state.status)
    if view is None:
        raise ValueError("a delivery has at least one fact")
    return view


def _first(fact: facts.DeliveryPlanned) -> DeliveryView:
    return DeliveryView(
        delivery_id=fact.delivery_id,
        referral_id=fact.referral_id,
        subject_id=fact.subject_id,
        authority=fact.authority,
        agency=fact.agency,
        package=fact.package,
        package_version=fact.package_version,
        message_id=fact.message_id,
        status="planned",
        risk_grade=fact.risk_grade,
        level_of_need=fact.level_of_need,
        planned_at=fact.planned_at,
        deadline_at=fact.deadline_at,
    )


def _next(view: DeliveryView | None, fact: GatewayFact) -> DeliveryView:  # noqa: PLR0911, PLR0912, C901  one line for each fact
    if view is None:
        raise ValueError(f"a delivery cannot begin with {type(fact).__name__}")
    change = msgspec.structs.replace
    match fact:
        case facts.Rendered():
            return change(
                view,
                referral_version=fact.referral_version,
                body_hash=fact.body_hash,
                lost_fields=fact.lost_fields,
                withheld_fields=fact.withheld_fields,
            )
        case facts.Attempted():
            return change(view, attempts=fact.attempt, retry_at=None)
        case facts.AttemptFailed():
            return change(view, last_failure=fact.reason, retry_at=fact.retry_at)
        case facts.TransportAccepted():
            return change(view, transport_accepted_at=fact.accepted_at, reconciled=fact.reconciled)
        case facts.Acknowledged():
            return change(view, acknowledged_at=fact.acknowledged_at, outcome=fact.outcome)
        case facts.Rejected():
            return change(view, rejected_at=fact.rejected_at, rejected_because=fact.reason_code)
        case facts.Expired():
            return change(view, expired_at=fact.expired_at)
        case facts.HumanFallbackRaised():
            return change(view, fallbacks=(*view.fallbacks, fact.reason))
        case facts.OutcomeRecorded():
            return change(view, outcome=fact.outcome)
        case facts.Cancelled():
            return change(view, cancelled_at=fact.cancelled_at, retry_at=None)
        case facts.DeliveryPlanned():
            return view
        case _:
            assert_never(fact)
