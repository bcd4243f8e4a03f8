"""What every process answers whatever it runs: health for the orchestrator, metrics and the API document."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import asyncpg
from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hub_kernel.auth import Principal
from hub_kernel.clock import monotonic_seconds
from hub_kernel.kafka import Relay
from hub_kernel.service import Parts, ServiceContext
from hub_kernel.standing import Standing
from hub_kernel.web import allow

JOINING_SECONDS: Final = 20.0
"""How long a new process may be not ready for want of the bus. No longer: a bus that is away must not keep
intake from taking referrals in."""
_DATABASE_SECONDS: Final = 2.0


def operations(
    app: FastAPI,
    contexts: Mapping[str, ServiceContext],
    parts: Mapping[str, Parts],
    relaying: Sequence[Relay],
) -> APIRouter:
    """The routes of the process itself."""
    router = APIRouter(tags=["operations"])
    operator = allow("operator")
    anyone = allow("records_system", "assessor", "partner_client", "auditor", "operator")
    started = monotonic_seconds()

    def standings() -> dict[str, Standing]:
        heard = {
            f"{name}<-{consumer.source}": consumer.standing
            for name, part in parts.items()
            for consumer in part.consumers
        }
        return heard | {f"{relay.source}->kafka": relay.standing for relay in relaying}

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @router.get("/health/ready")
    async def ready() -> Response:
        """Whether the process can do its work: 503 until every service reaches its database and the bus.

        Later, a bus that is away or far behind is told ("behind") but does not take the process out of
        service: what it answers comes from its own database, and what it takes in waits in its log.
        """
        databases = {name: await _answers(context.pool) for name, context in contexts.items()}
        bus = standings()
        is_joining = any(not s.is_reached for s in bus.values()) and (
            monotonic_seconds() - started < JOINING_SECONDS
        )
        is_ready = all(databases.values()) and not is_joining
        is_behind = any(standing.is_behind for standing in bus.values())
        status = "not ready" if not is_ready else "behind" if is_behind else "ready"
        return JSONResponse(
            {
                "status": status,
                "services": databases,
                "bus": {name: standing.as_json() for name, standing in bus.items()},
            },
            HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    @router.get("/metrics", response_class=PlainTextResponse)
    async def prometheus(_principal: Annotated[Principal, Depends(operator)]) -> Response:
        """All metrics in the Prometheus text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/openapi.json")
    async def openapi(_principal: Annotated[Principal, Depends(anyone)]) -> dict[str, Any]:
        """The OpenAPI document of what runs here."""
        return app.openapi()

    return router


async def _answers(pool: asyncpg.Pool) -> bool:
    try:
        async with asyncio.timeout(_DATABASE_SECONDS):
            return bool(await pool.fetchval("SELECT true"))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
