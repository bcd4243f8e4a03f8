"""The partner gateway over HTTP: deliveries as they stand, and the partners' acknowledgements."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from hub_kernel.auth import Principal
from hub_kernel.clock import Clock
from hub_kernel.web import allow
from hub_partner_gateway.domain.errors import DeliveryUnknown
from hub_partner_gateway.domain.state import ENDED, FallbackReason, Status
from hub_partner_gateway.policies.answering import command_for, read_answer
from hub_partner_gateway.policies.packages import PackageBook
from hub_partner_gateway.tables.deliveries import Deliveries
from hub_partner_gateway.tables.worklist import Row, Worklist
from hub_partner_gateway.views import DeliveryView, project
from hub_schemas.codes import Agency, Authority, LevelOfNeed, RiskGrade
from hub_schemas.partner_gateway import FailureReason


class DeliveryBody(BaseModel):
    """One delivery as it stands; nothing in it names a person.

    ``lost_fields`` are what the partner's format could not carry, ``withheld_fields`` what the partner may
    not have, both by canonical path. ``fallbacks`` are why a person was asked to telephone the partner.
    """

    model_config = ConfigDict(from_attributes=True)

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
    referral_version: int | None
    body_hash: str | None
    lost_fields: list[str]
    withheld_fields: list[str]
    attempts: int
    last_failure: FailureReason | None
    retry_at: datetime | None
    transport_accepted_at: datetime | None
    reconciled: bool
    acknowledged_at: datetime | None
    outcome: str | None
    rejected_at: datetime | None
    rejected_because: str | None
    cancelled_at: datetime | None
    expired_at: datetime | None
    fallbacks: list[FallbackReason]


class DeliveriesBody(BaseModel):
    """The deliveries of one referral that the reader may see, in the order they were planned."""

    deliveries: list[DeliveryBody]


def routes(
    deliveries: Deliveries, worklist: Worklist, packages: PackageBook, contact_key: bytes, clock: Clock
) -> APIRouter:
    """The routes of the partner gateway."""
    router = APIRouter(prefix="/v1")
    readers = allow("operator", "assessor", "auditor", "partner_client")

    @router.get("/deliveries")
    async def of_referral(
        principal: Annotated[Principal, Depends(readers)], referral_id: Annotated[UUID, Query()]
    ) -> DeliveriesBody:
        """Every delivery of a referral; a partner sees its own."""
        views = [project(facts) for facts in await deliveries.facts_of(referral_id)]
        return DeliveriesBody(
            deliveries=[DeliveryBody.model_validate(view) for view in views if may_see(principal, view)]
        )

    @router.get("/deliveries/{delivery_id}")
    async def delivery(delivery_id: UUID, principal: Annotated[Principal, Depends(readers)]) -> DeliveryBody:
        """One delivery as it stands."""
        facts = await deliveries.facts_of_one(delivery_id)
        view = project(facts) if facts else None
        if view is None or not may_see(principal, view):
            raise DeliveryUnknown
        return DeliveryBody.model_validate(view)

    @router.post("/acknowledgements/{message_id}", status_code=204)
    async def acknowledge(
        message_id: UUID,
        body: dict[str, Any],
        principal: Annotated[Principal, Depends(allow("partner_client"))],
    ) -> None:
        """A partner's own answer to a message, in the form of its system. Safe to repeat."""
        row = await worklist.by_message(message_id)
        package = packages.find(row.authority, row.agency)
        if package is None or not may_see(principal, row):
            raise DeliveryUnknown
        command = command_for(read_answer(package, body), clock.now(), contact_key)
        state = await deliveries.decide(row.delivery_id, row.referral_id, command, principal.subject)
        if state.status in ENDED and not state.attempt_open:
            await worklist.settle(row, None)

    return router


def may_see(principal: Principal, delivery: DeliveryView | Row) -> bool:
    """A partner sees only its own authority's own agency; an assessor bound to an authority, only that."""
    if principal.role == "partner_client":
        return (principal.authority, principal.agency) == (delivery.authority, delivery.agency)
    return principal.authority in {None, delivery.authority}
