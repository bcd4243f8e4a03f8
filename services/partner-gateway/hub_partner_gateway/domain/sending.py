"""The hub's side of a delivery: planned, written, sent, late, taken back."""

from collections.abc import Iterator
from datetime import datetime

from hub_partner_gateway.commands import (
    BeginAttempt,
    Cancel,
    Expire,
    PlanDelivery,
    RecordFailure,
    Rendering,
)
from hub_partner_gateway.domain.errors import AttemptOpen, DeliveryEnded, NotRendered
from hub_partner_gateway.domain.state import ENDED, Delivery, FallbackReason, evolve
from hub_schemas import partner_gateway as facts
from hub_schemas.partner_gateway import FailureReason, GatewayFact, Payload


def plan(command: PlanDelivery, state: Delivery | None) -> Iterator[GatewayFact]:
    """Begin a delivery; one that no package can carry is a person's at once."""
    if state is not None:
        return
    planned = facts.DeliveryPlanned(
        delivery_id=command.delivery_id,
        referral_id=command.referral_id,
        subject_id=command.subject_id,
        authority=command.authority,
        agency=command.agency,
        package=command.package,
        package_version=command.package_version,
        message_id=command.message_id,
        planned_at=command.at,
        deadline_at=command.deadline_at,
        risk_grade=command.risk_grade,
        level_of_need=command.level_of_need,
        lawful_basis=command.lawful_basis,
    )
    yield planned
    if command.package is None:
        yield from fall_back(evolve(None, planned), command.at, "unroutable")


def begin_attempt(command: BeginAttempt, state: Delivery) -> Iterator[GatewayFact]:
    """Announce the next sending, writing the contact first if it was not yet.

    An attempt without an answer is closed as lost only when the partner says it lacks the message.
    """
    if state.status in ENDED or state.status == "accepted":
        raise DeliveryEnded
    if state.status == "planned":
        if command.rendering is None:
            raise NotRendered
        yield _rendered(state, command.at, command.rendering)
    if state.attempt_open:
        if not command.partner_lacks_it:
            raise AttemptOpen
        yield _failed(state, command.at, "answer_lost", command.at)
    yield facts.Attempted(
        delivery_id=state.delivery_id,
        referral_id=state.referral_id,
        attempt=state.attempts + 1,
        attempted_at=command.at,
    )


def fail(command: RecordFailure, state: Delivery) -> Iterator[GatewayFact]:
    """Close an attempt. One that an answer has closed meanwhile leaves nothing to record.

    A withdrawn contact is not sent again; a person must tell a partner that may have it all the same.
    """
    if state.attempt_open and command.attempt == state.attempts:
        cancelled = state.status == "cancelled"
        yield _failed(state, command.at, command.reason, None if cancelled else command.retry_at)
        if cancelled and command.partner_may_have_it:
            yield from fall_back(state, command.at, "withdrawn_after_send")


def expire(command: Expire, state: Delivery) -> Iterator[GatewayFact]:
    """Say once that the deadline passed, and ask a person."""
    if state.deadline_at is None or command.at < state.deadline_at or state.expired or state.status in ENDED:
        return
    yield facts.Expired(
        delivery_id=state.delivery_id,
        referral_id=state.referral_id,
        expired_at=command.at,
        deadline_at=state.deadline_at,
    )
    yield from fall_back(state, command.at, "deadline")


def cancel(command: Cancel, state: Delivery) -> Iterator[GatewayFact]:
    """Stop what the partner does not have; where it has it, a person must tell them."""
    if state.status in {"planned", "ready", "attempting"}:
        yield facts.Cancelled(
            delivery_id=state.delivery_id, referral_id=state.referral_id, cancelled_at=command.at
        )
    elif state.status in {"accepted", "acknowledged"}:
        yield from fall_back(state, command.at, "withdrawn_after_send")


def fall_back(state: Delivery, at: datetime, reason: FallbackReason) -> Iterator[GatewayFact]:
    """Ask a person, once for each reason."""
    if reason not in state.raised:
        yield facts.HumanFallbackRaised(
            delivery_id=state.delivery_id,
            referral_id=state.referral_id,
            raised_at=at,
            authority=state.authority,
            agency=state.agency,
            reason=reason,
        )


def _rendered(state: Delivery, at: datetime, rendering: Rendering) -> facts.Rendered:
    return facts.Rendered(
        delivery_id=state.delivery_id,
        referral_id=state.referral_id,
        rendered_at=at,
        package=rendering.package,
        package_version=rendering.package_version,
        mapping_hash=rendering.mapping_hash,
        body_hash=rendering.body_hash,
        content_type=rendering.content_type,
        referral_version=rendering.referral_version,
        lost_fields=rendering.lost_fields,
        withheld_fields=rendering.withheld_fields,
        sealed=Payload(body=rendering.body),
    )


def _failed(
    state: Delivery, at: datetime, reason: FailureReason, retry_at: datetime | None
) -> facts.AttemptFailed:
    return facts.AttemptFailed(
        delivery_id=state.delivery_id,
        referral_id=state.referral_id,
        attempt=state.attempts,
        failed_at=at,
        reason=reason,
        retry_at=retry_at,
    )
