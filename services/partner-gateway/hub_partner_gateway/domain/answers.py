"""The partner's side of a delivery: taken in, acknowledged, refused, decided."""

from collections.abc import Iterator
from datetime import datetime

from hub_partner_gateway.commands import Acknowledge, RecordRejection, RecordTransportAccepted
from hub_partner_gateway.domain.errors import ContactContradicts
from hub_partner_gateway.domain.sending import fall_back
from hub_partner_gateway.domain.state import Delivery
from hub_schemas import partner_gateway as facts
from hub_schemas.partner_gateway import GatewayFact, PartnerReference


def accept(command: RecordTransportAccepted, state: Delivery) -> Iterator[GatewayFact]:
    """The partner's system has the message."""
    yield from _accept(state, command.at, reconciled=command.reconciled)


def acknowledge(command: Acknowledge, state: Delivery) -> Iterator[GatewayFact]:
    """The partner opened a contact, or says later what came of it.

    An acknowledgement may overtake the transport's own answer; then it proves that the message arrived.
    """
    if state.status == "rejected":
        raise ContactContradicts
    yield from _accept(state, command.at, reconciled=True)
    if state.contact_hash is None:
        yield facts.Acknowledged(
            delivery_id=state.delivery_id,
            referral_id=state.referral_id,
            acknowledged_at=command.at,
            authority=state.authority,
            agency=state.agency,
            contact_hash=command.contact_hash,
            outcome=command.outcome,
            sealed=PartnerReference(contact_id=command.contact_id),
        )
    elif state.contact_hash != command.contact_hash:
        raise ContactContradicts
    elif command.outcome is not None and command.outcome != state.outcome:
        yield facts.OutcomeRecorded(
            delivery_id=state.delivery_id,
            referral_id=state.referral_id,
            recorded_at=command.at,
            outcome=command.outcome,
        )


def reject(command: RecordRejection, state: Delivery) -> Iterator[GatewayFact]:
    """The partner refused the contact; nobody need telephone about one that was withdrawn anyway."""
    if state.attempts == 0 or state.contact_hash is not None:
        raise ContactContradicts
    if state.status == "rejected" or (state.status == "cancelled" and not state.attempt_open):
        return
    yield facts.Rejected(
        delivery_id=state.delivery_id,
        referral_id=state.referral_id,
        rejected_at=command.at,
        authority=state.authority,
        agency=state.agency,
        reason_code=command.reason_code,
    )
    if state.status != "cancelled":
        yield from fall_back(state, command.at, "rejected")


def _accept(state: Delivery, at: datetime, *, reconciled: bool) -> Iterator[GatewayFact]:
    if state.attempts == 0:
        raise ContactContradicts
    if state.transport_accepted or state.status == "rejected":
        return
    yield facts.TransportAccepted(
        delivery_id=state.delivery_id,
        referral_id=state.referral_id,
        attempt=state.attempts,
        accepted_at=at,
        reconciled=reconciled,
    )
    if state.status == "cancelled":
        yield from fall_back(state, at, "withdrawn_after_send")
