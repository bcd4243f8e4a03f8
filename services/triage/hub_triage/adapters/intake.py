"""Hears intake's facts, and has every new version of a referral graded."""

from typing import Final, cast

from hub_kernel.clock import Clock
from hub_kernel.consuming import Handler
from hub_kernel.database import Connection
from hub_kernel.handling import Context
from hub_schemas import intake
from hub_schemas.envelope import RecordedEvent
from hub_triage.commands import GradeReferral
from hub_triage.policies.reacting import react
from hub_triage.tables import Assessments

ACTOR: Final = "triage"


def hear_intake(assessments: Assessments, clock: Clock) -> Handler:
    """The handler of intake's facts: one fact, one command, in the consumer's transaction."""

    async def hear(connection: Connection, event: RecordedEvent) -> None:
        now = clock.now()
        fact = cast("intake.IntakeFact", intake.REGISTRY.decode(event.type, event.schema_version, event.open))
        known = None
        if not isinstance(fact, intake.ReferralReceived):
            known = await assessments.known_summary(connection, fact.referral_id)
        command = react(fact, referral_version=event.version, known=known, at=now)
        if isinstance(command, GradeReferral):
            await assessments.keep_summary(connection, command.referral_id, command.summary)
        await assessments.decide_in(connection, command, Context.caused_by(event, ACTOR, now))

    return hear
