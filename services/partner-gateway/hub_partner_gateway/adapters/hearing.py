"""Hears intake and triage: what is to be sent, to whom, and what was taken back."""

from collections.abc import Sequence
from uuid import UUID

from hub_kernel.clock import Clock
from hub_kernel.consuming import Handler
from hub_kernel.database import Connection
from hub_kernel.handling import Context
from hub_partner_gateway.commands import Cancel, PlanDelivery
from hub_partner_gateway.policies.packages import PackageBook
from hub_partner_gateway.policies.routing import plan
from hub_partner_gateway.tables.deliveries import ACTOR, Deliveries
from hub_partner_gateway.tables.worklist import Worklist
from hub_schemas import intake, triage
from hub_schemas.envelope import RecordedEvent


def hear_intake(deliveries: Deliveries, worklist: Worklist, clock: Clock) -> Handler:
    """The handler of intake's facts: keep the sealed document, or stop what is under way."""

    async def hear(connection: Connection, event: RecordedEvent) -> None:
        fact = intake.REGISTRY.decode(event.type, event.schema_version, event.open)
        match fact:
            case intake.ReferralReceived() | intake.ReferralAmended():
                await worklist.keep_document(connection, fact.referral_id, event)
            case intake.ReferralWithdrawn():
                await worklist.drop_document(connection, fact.referral_id, event.version)
                await _withdraw(connection, fact.referral_id, event)
            case _:
                pass

    async def _withdraw(connection: Connection, referral_id: UUID, event: RecordedEvent) -> None:
        now = clock.now()
        ids = await worklist.of_referral(connection, referral_id)
        courses = await deliveries.load(connection, ids)
        for course in courses:
            course.take(Cancel(at=now))
        context = Context.caused_by(event, ACTOR, now)
        await deliveries.append_in(connection, courses, dict.fromkeys(ids, context))
        await worklist.look_at(connection, referral_id, now)

    return hear


def hear_triage(deliveries: Deliveries, worklist: Worklist, packages: PackageBook, clock: Clock) -> Handler:
    """The handler of triage's facts: a share decision plans one delivery for each recipient."""

    async def hear(connection: Connection, event: RecordedEvent) -> None:
        fact = triage.REGISTRY.decode(event.type, event.schema_version, event.open)
        if isinstance(fact, triage.ShareDecided):
            await _plan(connection, event, plan(fact, packages, clock.now()))

    async def _plan(connection: Connection, event: RecordedEvent, plans: Sequence[PlanDelivery]) -> None:
        ids = [one.delivery_id for one in plans]
        courses = await deliveries.load(connection, ids)
        for course, one in zip(courses, plans, strict=True):
            course.take(one)
        context = Context.caused_by(event, ACTOR, clock.now())
        await deliveries.append_in(connection, courses, dict.fromkeys(ids, context))
        await worklist.add(connection, plans)

    return hear
