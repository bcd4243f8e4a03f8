"""The delivery of one subject's contact to one agency, from the share decision to the partner's answer.

::

                             ┌───────── AttemptFailed ─────────┐
                             ▼                                 │
    (nothing) ─▶ planned ─▶ ready ─────── Attempted ─────▶ attempting
                  Rendered    │                                │
                              └─────── TransportAccepted ──────┤   (answered, or found out by asking)
                                                               ▼
                    acknowledged ◀──── Acknowledged ────── accepted
                    └─ OutcomeRecorded ─┘

    ready, attempting, accepted ──Rejected──▶ rejected
    planned, ready, attempting ──Cancelled──▶ cancelled     (what was under way is still recorded)
    planned without a package: unroutable

``Expired`` and ``HumanFallbackRaised`` do not end a delivery: the gateway keeps trying while a person
telephones. An attempt without an answer stays open until the partner was asked. One stream,
``delivery-<delivery_id>``.
"""

from collections.abc import Sequence
from typing import assert_never

from hub_kernel.decider import Decider
from hub_partner_gateway.commands import (
    Acknowledge,
    BeginAttempt,
    Cancel,
    DeliveryCommand,
    Expire,
    PlanDelivery,
    RaiseFallback,
    RecordFailure,
    RecordRejection,
    RecordTransportAccepted,
)
from hub_partner_gateway.domain.answers import accept, acknowledge, reject
from hub_partner_gateway.domain.errors import DeliveryUnknown
from hub_partner_gateway.domain.sending import begin_attempt, cancel, expire, fail, fall_back, plan
from hub_partner_gateway.domain.state import Delivery, evolve
from hub_schemas.partner_gateway import GatewayFact


def decide(command: DeliveryCommand, state: Delivery | None) -> Sequence[GatewayFact]:  # noqa: PLR0911, C901  one line for each command
    """Say what a command leads to; no facts for a repeat. Raises the errors of ``domain.errors``."""
    if isinstance(command, PlanDelivery):
        return tuple(plan(command, state))
    if state is None:
        raise DeliveryUnknown
    match command:
        case BeginAttempt():
            return tuple(begin_attempt(command, state))
        case RecordFailure():
            return tuple(fail(command, state))
        case RecordTransportAccepted():
            return tuple(accept(command, state))
        case Acknowledge():
            return tuple(acknowledge(command, state))
        case RecordRejection():
            return tuple(reject(command, state))
        case Expire():
            return tuple(expire(command, state))
        case RaiseFallback():
            return tuple(fall_back(state, command.at, command.reason))
        case Cancel():
            return tuple(cancel(command, state))
        case _:
            assert_never(command)


DECIDER: Decider[DeliveryCommand, Delivery | None, GatewayFact] = Decider(
    initial=None, decide=decide, evolve=evolve
)
