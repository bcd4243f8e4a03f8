"""Parked events over HTTP, for every service alike: list, group, look, ask for a retry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from hub_kernel.auth import Principal
from hub_kernel.errors import Forbidden, NotFound
from hub_kernel.parked_views import ParkedChain, ParkedGroup, ParkedStreams, Wanted
from hub_kernel.parking import PAGE_STREAMS, PAGE_STREAMS_MAX, Actor, ParkedEvents
from hub_kernel.service import ServiceContext
from hub_kernel.web import allow

_CODE: Final = r"^[A-Za-z0-9_.-]{1,100}$"
_STREAM: Final = r"^[^\x00/]{1,200}$"
_MAX_BIGINT: Final = 2**63 - 1

SourceName = Annotated[str, Path(pattern=_CODE, description="The service or topic the events come from.")]
StreamId = Annotated[str, Path(pattern=_STREAM, description="The stream's id, as the list shows it.")]
Reason = Annotated[str | None, Query(pattern=_CODE, description="Only those held up for this reason.")]
Source = Annotated[str | None, Query(pattern=_CODE, description="Only events from here.")]


class ServiceNotHere(NotFound):
    """No service of this name runs in this process. Ask the process that runs it."""

    slug: ClassVar[str] = "service-not-here"


class BoundToAuthority(Forbidden):
    """Parked events are of all authorities, and this token is bound to one. Use one that is not."""

    slug: ClassVar[str] = "bound-to-authority"


class RetryAll(BaseModel):
    """Which parked streams to try again: those held up for this reason, of one source or of all."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(pattern=_CODE)]
    source: Annotated[str, Field(pattern=_CODE)] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What waits, by consumer, source and reason."""

    groups: list[ParkedGroup]


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """How many streams will be tried again."""

    streams: int


def routes(contexts: Mapping[str, ServiceContext]) -> APIRouter:
    """The routes over the parked events of these services, by their names."""
    parked = {
        name: ParkedEvents(context.schema, context.pool, context.access_log.store, context.clock)
        for name, context in contexts.items()
    }
    router = APIRouter(prefix="/v1/parked")
    readers, operators = allow("operator", "auditor"), allow("operator")

    def of_service(
        service: Annotated[
            str, Path(description="The service that waits.", json_schema_extra={"enum": [*parked]})
        ],
    ) -> ParkedEvents:
        if service not in parked:
            raise ServiceNotHere
        return parked[service]

    Parked = Annotated[ParkedEvents, Depends(of_service)]  # noqa: N806  a type

    @router.get("/{service}")
    async def list_parked(
        principal: Annotated[Principal, Depends(readers)],
        service: Parked,
        source: Source = None,
        reason: Reason = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_STREAMS_MAX)] = PAGE_STREAMS,
        cursor: Annotated[str | None, Query(max_length=1_000)] = None,
    ) -> ParkedStreams:
        """Streams that wait, those parked longest first, each with why its first event could not be applied.

        Goes on record in the service's access log.
        """
        wanted = Wanted(source=source, reason=reason)
        return await service.streams(wanted, _actor(principal), limit=limit, cursor=cursor)

    @router.get("/{service}/summary")
    async def summarise_parked(principal: Annotated[Principal, Depends(readers)], service: Parked) -> Summary:
        """How many streams and events wait, by source and reason, and since when."""
        _actor(principal)
        return Summary(await service.summary())

    @router.get("/{service}/{source}/{stream_id}")
    async def look_at_parked(
        principal: Annotated[Principal, Depends(readers)],
        service: Parked,
        source: SourceName,
        stream_id: StreamId,
        after: Annotated[int, Query(ge=0, le=_MAX_BIGINT, description="Events after this version.")] = 0,
    ) -> ParkedChain:
        """One stream's parked events in order: envelopes and open parts, never what is sealed.

        Goes on record in the service's access log.
        """
        return await service.chain(source, stream_id, _actor(principal), after=after)

    @router.post("/{service}/{source}/{stream_id}/retry", status_code=202)
    async def retry_parked(
        principal: Annotated[Principal, Depends(operators)],
        service: Parked,
        source: SourceName,
        stream_id: StreamId,
    ) -> RetryRequested:
        """Ask that one stream be tried again, in order: within seconds, or when its service next starts.

        Safe to repeat. Goes on record in the service's access log.
        """
        return RetryRequested(await service.retry_stream(source, stream_id, _actor(principal)))

    @router.post("/{service}/retry", status_code=202)
    async def retry_all_parked(
        principal: Annotated[Principal, Depends(operators)], service: Parked, body: RetryAll
    ) -> RetryRequested:
        """Ask that every stream held up for a reason be tried again, each in order.

        Safe to repeat. Goes on record in the service's access log.
        """
        return RetryRequested(await service.retry_all(body.reason, _actor(principal), source=body.source))

    return router


def _actor(principal: Principal) -> Actor:
    if principal.authority is not None:
        raise BoundToAuthority
    return Actor(principal.subject, principal.role)
