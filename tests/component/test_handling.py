from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from hub_kernel.decider import Decider
from hub_kernel.event_store import EventIdReused
from hub_kernel.handling import CommandHandler, Context
from hub_schemas.triage import REGISTRY, AssessmentClosed

CAUSE = UUID("0190a5b0-0000-7000-8000-00000000000a")
REFERRAL = UUID("0190a5b0-0000-7000-8000-00000000000b")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FORGETFUL: Decider[AssessmentClosed, int, AssessmentClosed] = Decider(
    initial=0, decide=lambda command, _state: (command,), evolve=lambda state, _fact: state + 1
)
"""Decides the same again however often it is asked: only the log can notice."""


def closed(at: datetime) -> AssessmentClosed:
    return AssessmentClosed(referral_id=REFERRAL, closed_at=at)


async def test_the_log_refuses_a_reaction_made_twice_for_one_cause(start_hub: Any) -> None:
    hub = await start_hub()
    triage = hub.hub.contexts["triage"]
    handler = CommandHandler(triage.store, triage.keyring, REGISTRY, FORGETFUL)
    context = Context(REFERRAL, "tester", NOON, causation_id=CAUSE)
    stream_id = f"assessment-{REFERRAL}"
    async with triage.pool.acquire() as connection, connection.transaction():
        first = await handler.handle_in(connection, stream_id, closed(NOON), context)
        again = await handler.handle_in(connection, stream_id, closed(NOON), context)
        with pytest.raises(EventIdReused):
            await handler.handle_in(connection, stream_id, closed(NOON.replace(hour=13)), context)
    _, version = await handler.load(stream_id)
    assert ([len(first.facts), len(again.facts)], version) == ([1, 0], 1)
