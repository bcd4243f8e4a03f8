"""One referral as leaders see it, folded from the facts of three services that arrive in any interleaving.

Each service's facts change that service's part and nothing else, and whatever needs several parts is derived
from them when it is asked for. So the order between the three, and between deliveries, cannot matter.

    received ── graded ─┬─ not_shared
        │          │    └─ shared ── delivering ─┬─ acknowledged
        └──────────┴─ withdrawn                  ├─ partly_acknowledged
                                                 └─ not_acknowledged
"""

from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

import msgspec

from hub_oversight.views.assessment import Assessment, assess
from hub_oversight.views.delivery import ENDED, Delivery, deliver
from hub_oversight.views.submission import Submission, submit
from hub_schemas.codes import Authority
from hub_schemas.intake import IntakeFact
from hub_schemas.partner_gateway import GatewayFact
from hub_schemas.triage import TriageFact

HeardFact = IntakeFact | TriageFact | GatewayFact
Stage = Literal[
    "received", "graded", "not_shared", "shared", "delivering",
    "acknowledged", "partly_acknowledged", "not_acknowledged", "withdrawn",
]  # fmt: skip
WAITING: Final[frozenset[Stage]] = frozenset({"received", "graded"})
"""Nobody has decided yet: the backlog."""


class ReferralView(msgspec.Struct, frozen=True, kw_only=True):
    """All that oversight knows of one referral; nothing in it names a person.

    ``deliveries`` stand in the order of their ids. A part is None while none of its facts has been heard.
    """

    referral_id: UUID
    submission: Submission | None = None
    assessment: Assessment | None = None
    deliveries: dict[UUID, Delivery] = {}

    @property
    def authority(self) -> Authority | None:
        """The local authority that answers for it, intake's word before triage's."""
        known = self.submission or self.assessment
        return known.authority if known else None

    @property
    def stage(self) -> Stage:
        """How far it has come, as far as has been heard."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        assessment = self.assessment
        if assessment is None:
            return self._delivery_stage if self.deliveries else "received"
        if assessment.decision is None:
            return "graded"
        return self._delivery_stage if assessment.recipients else "not_shared"

    @property
    def _delivery_stage(self) -> Stage:
        deliveries = self.deliveries.values()
        if not any(delivery.attempts or delivery.ended_at for delivery in deliveries):
            return "shared"
        if not self._all_ended:
            return "delivering"
        acknowledged = sum(delivery.state == "acknowledged" for delivery in deliveries)
        if acknowledged == len(deliveries):
            return "acknowledged"
        return "partly_acknowledged" if acknowledged else "not_acknowledged"

    @property
    def _all_ended(self) -> bool:
        """Whether every recipient has a delivery and none has anything left to send."""
        told = {delivery.recipient for delivery in self.deliveries.values()}
        to_tell = self.assessment.recipients if self.assessment else ()
        return told.issuperset(to_tell) and all(d.state in ENDED for d in self.deliveries.values())

    @property
    def received_at(self) -> datetime | None:
        """When the hub took it in; every measure counts from here."""
        return self.submission.received_at if self.submission else None

    @property
    def graded_at(self) -> datetime | None:
        """When it was first graded."""
        return self.assessment.graded_at if self.assessment else None

    @property
    def decided_at(self) -> datetime | None:
        """When the decision that stands was taken; None while it waits for one."""
        return self.assessment.decided_at if self.assessment else None

    @property
    def shared_at(self) -> datetime | None:
        """When it was first decided to share it."""
        return self.assessment.shared_at if self.assessment else None

    @property
    def first_accepted_at(self) -> datetime | None:
        """When the first partner's system took a contact in."""
        return min(filter(None, (d.accepted_at for d in self.deliveries.values())), default=None)

    @property
    def all_acknowledged_at(self) -> datetime | None:
        """When the last of its partners had opened a contact; None until all have."""
        if not self.deliveries or not self._all_ended:
            return None
        instants = [delivery.acknowledged_at for delivery in self.deliveries.values()]
        known = [instant for instant in instants if instant is not None]
        return max(known) if len(known) == len(instants) else None

    @property
    def withdrawn_at(self) -> datetime | None:
        """When the records system took it back, whichever service said so first."""
        if self.submission and self.submission.withdrawn_at:
            return self.submission.withdrawn_at
        if self.assessment and self.assessment.decision == "closed":
            return self.assessment.decided_at
        return None

    @property
    def closed_at(self) -> datetime | None:
        """When nothing was left to do; None while something is."""
        match self.stage:
            case "received" | "graded" | "shared" | "delivering":
                return None
            case "withdrawn":
                return self.withdrawn_at
            case "not_shared":
                return self.decided_at
            case "acknowledged" | "partly_acknowledged" | "not_acknowledged":
                return max(filter(None, (d.ended_at for d in self.deliveries.values())))
            case unknown:
                assert_never(unknown)

    @property
    def waiting_since(self) -> datetime | None:
        """Since when it awaits a decision; None when it does not.

        A referral triage knows and intake has not told of yet counts too, from the earliest instant known:
        the backlog must not look smaller because one of the services is slow to speak.
        """
        if self.stage not in WAITING:
            return None
        if self.received_at or not self.assessment:
            return self.received_at
        started = (clock.started_at for clock in self.assessment.clocks.values())
        return min(started, default=self.assessment.graded_at)


def project(view: ReferralView | None, fact: HeardFact) -> ReferralView:
    """Fold one fact into the view of the referral it is about.

    Facts of one stream must come in order; streams may interleave in any way. Raises ``ValueError`` for a
    stream that does not begin with its first fact.
    """
    view = view or ReferralView(referral_id=fact.referral_id)
    if isinstance(fact, IntakeFact):
        return msgspec.structs.replace(view, submission=submit(view.submission, fact))
    if isinstance(fact, TriageFact):
        return msgspec.structs.replace(view, assessment=assess(view.assessment, fact))
    delivery = deliver(view.deliveries.get(fact.delivery_id), fact)
    deliveries = {**view.deliveries, fact.delivery_id: delivery}
    return msgspec.structs.replace(view, deliveries=dict(sorted(deliveries.items())))
