"""Simulated hub staff: they take the most urgent referral of the worklist, read it, think, and decide."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec

from hub_embedded.demo.dice import Dice
from hub_embedded.demo.referrals import LONDON
from hub_embedded.demo.tokens import LocalToken
from hub_kernel.auth import LocalIssuer
from hub_kernel.clock import Clock
from hub_schemas.codes import LevelOfNeed

SHARED_SHARES: Final[dict[LevelOfNeed, float]] = {"red": 0.95, "amber": 0.78, "green": 0.34, "blue": 0.05}
"""How often staff share, by level of need; with what policy shares at once it comes to about 57 %."""
_NOT_SHARED: Final = {"below_threshold": 65, "already_known": 25, "no_consent": 7, "other": 3}
_HANDLING_MINUTES: Final = (25, 60)
_DAY_BEGINS, _DAY_ENDS = 8, 18
_NIGHT_STAFF, _DAY_STAFF, _EVENING_STAFF = 2, 9, 5
_EAGER_STAFF: Final = 32
_TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast staff work: how many at an instant, and how long an assessment takes by the hub's clock."""

    on_duty: Callable[[datetime], int]
    handling: Callable[[Dice], timedelta]
    look_seconds: float


def day_pace() -> Pace:
    """Shifts and handling times as in a real hub: Friday evening brings more than they can take."""
    return Pace(staff_on_duty, lambda dice: timedelta(minutes=dice.whole(*_HANDLING_MINUTES)), 0.5)


def eager_pace() -> Pace:
    """As many as are needed, deciding at once."""
    return Pace(lambda _now: _EAGER_STAFF, lambda _dice: timedelta(), 0.05)


def staff_on_duty(now: datetime) -> int:
    """Assessors at work at this instant: two at night, nine by day, five in the evening."""
    hour = now.astimezone(LONDON).hour
    if hour < _DAY_BEGINS:
        return _NIGHT_STAFF
    return _DAY_STAFF if hour < _DAY_ENDS else _EVENING_STAFF


class _Row(msgspec.Struct, frozen=True):
    referral_id: UUID
    level_of_need: LevelOfNeed


class _Worklist(msgspec.Struct, frozen=True):
    assessments: list[_Row]


class HubStaff:
    """A team that shares one worklist; nobody takes what a colleague has on the desk."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock, pace: Pace) -> None:
        self._client, self._clock, self._pace = client, clock, pace
        self._on_desks: set[UUID] = set()

    async def work(self) -> None:
        """Work until cancelled; while the hub is away, wait for it."""
        async with asyncio.TaskGroup() as desks:
            while True:
                for row in await self._next():
                    self._on_desks.add(row.referral_id)
                    desks.create_task(self._assess(row))
                await asyncio.sleep(self._pace.look_seconds)

    async def _next(self) -> list[_Row]:
        """The most urgent referrals nobody has on the desk, as many as there are free hands."""
        free = self._pace.on_duty(self._clock.now()) - len(self._on_desks)
        if free <= 0:
            return []
        try:
            answer = await self._client.get("/v1/worklist", params={"limit": free + len(self._on_desks)})
        except httpx.TransportError:
            return []
        if not answer.is_success:
            return []
        rows = msgspec.json.decode(answer.content, type=_Worklist).assessments
        return [row for row in rows if row.referral_id not in self._on_desks][:free]

    async def _assess(self, row: _Row) -> None:
        dice = Dice(f"assessment:{row.referral_id}")
        path = f"/v1/referrals/{row.referral_id}"
        try:
            await self._client.get(path, headers={"Access-Reason": "assessment"})
            ready_at = self._clock.now() + self._pace.handling(dice)
            await asyncio.sleep(self._clock.real_seconds_until(ready_at))
            decision = f"/v1/assessments/{row.referral_id}/decision"
            await self._client.post(decision, json=_decision(row.level_of_need, dice))
        except httpx.TransportError:
            return  # it is still on the worklist
        finally:
            self._on_desks.discard(row.referral_id)


def hub_staff_client(base_url: str, issuer: LocalIssuer) -> httpx.AsyncClient:
    """A client that speaks as an assessor of the hub."""
    return httpx.AsyncClient(
        base_url=base_url,
        auth=LocalToken(issuer, "assessor", subject="demo-assessor"),
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,
        verify=False,  # noqa: S501  plain HTTP on loopback; reading certificates takes longer than starting
    )


def _decision(level_of_need: LevelOfNeed, dice: Dice) -> dict[str, Any]:
    if dice.happens(SHARED_SHARES[level_of_need]):
        return {"decision": "share", "rationale": "The service needs to know this to keep people safe."}
    return {
        "decision": "not_share",
        "reason_code": dice.weighted(_NOT_SHARED),
        "rationale": "Read with the history held; nothing here that the service could act on.",
    }
