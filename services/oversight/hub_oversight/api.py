"""Oversight over HTTP: one referral's timeline, the backlog, timeliness and breaches; open parts only."""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from hub_kernel.auth import Principal
from hub_kernel.clock import Clock
from hub_kernel.web import allow
from hub_oversight.tables.reading import Readings
from hub_oversight.views.figures import Backlog, Breaches, Timeliness
from hub_oversight.views.timeline import Timeline

WINDOW_DAYS: Final = 28
WINDOW_DAYS_MAX: Final = 3_660


def routes(readings: Readings, clock: Clock) -> APIRouter:
    """The routes of oversight. A token bound to an authority sees that authority alone."""
    router = APIRouter(prefix="/v1")

    @router.get("/timeline/{referral_id}")
    async def timeline(
        referral_id: UUID,
        principal: Annotated[Principal, Depends(allow("operator", "assessor", "auditor"))],
    ) -> Timeline:
        """One referral and all that was heard of it, in the order it was learnt."""
        return await readings.timeline(referral_id, within=principal.authority)

    @router.get("/backlog")
    async def backlog(principal: Annotated[Principal, Depends(allow("operator", "assessor"))]) -> Backlog:
        """Referrals that await a decision, by grade, level of need, age of waiting, authority and stage."""
        return await readings.backlog(clock.now(), within=principal.authority)

    @router.get("/timeliness")
    async def timeliness(
        principal: Annotated[Principal, Depends(allow("operator", "assessor"))],
        days: Annotated[int, Query(ge=1, le=WINDOW_DAYS_MAX)] = WINDOW_DAYS,
    ) -> Timeliness:
        """Time from receipt to grade, share and acknowledgement: median, p90 and p95 by nearest rank.

        Of the referrals received in the last ``days``; one not there yet counts in no measure.
        """
        now = clock.now()
        return await readings.timeliness(now, now - timedelta(days=days), within=principal.authority)

    @router.get("/breaches")
    async def breaches(principal: Annotated[Principal, Depends(allow("operator", "assessor"))]) -> Breaches:
        """Missed deadlines by clock, and the first 200 still open, the gravest and longest overdue first."""
        return await readings.breaches(clock.now(), within=principal.authority)

    return router
