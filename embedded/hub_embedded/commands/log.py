"""``hub log``: the services' logs as JSON lines; what is sealed only to an auditor, and recorded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

import asyncpg
import typer
import uvloop

from hub_embedded.commands.choices import ServiceName, chosen
from hub_embedded.database_access import database, pool_as
from hub_embedded.keys import existing_master_key, token_verifier
from hub_embedded.output import EventLine, event_line, reader_may_leave, write_json_lines
from hub_kernel.access_log import AccessLog, AccessReason
from hub_kernel.auth import Principal
from hub_kernel.clock import SystemClock
from hub_kernel.errors import Forbidden
from hub_kernel.event_store import EventStore
from hub_kernel.event_store.reading import PAGE_EVENTS, Reader
from hub_kernel.roles import KEYRING_ROLE
from hub_kernel.sealing import KeyErased, Keyring
from hub_kernel.service import Service
from hub_kernel.settings import Settings
from hub_schemas.envelope import RecordedEvent

_POLL_SECONDS: Final = 1.0


class AuditorsOnly(Forbidden):
    """Sealed data is opened here for auditors only. Use a token with the role auditor."""

    slug = "auditors-only"


@dataclass(frozen=True, slots=True)
class Opening:
    """Who asks to see what is sealed, and why."""

    reader: Principal
    reason: AccessReason


def log(
    service: Annotated[ServiceName | None, typer.Option(help="Only this service's log.")] = None,
    start: Annotated[int, typer.Option("--from", min=1, help="The first position to show, in each log.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HUB_TOKEN", help="An auditor's token, to open what is sealed.")
    ] = None,
    reason: Annotated[
        AccessReason | None, typer.Option(help="Why sealed data is opened; needs --token. It is recorded.")
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with events as they are recorded.")] = False,
) -> None:
    """Print the logs as JSON lines: one log after the other, each from the position given.

    A line holds the envelope and the open part. With an auditor's token and a reason it also holds the sealed
    part in clear, and the access log says so.
    """
    settings = Settings()
    opening = _opening(settings, token, reason)
    with database(settings) as dsn, reader_may_leave():
        uvloop.run(_print(chosen(service), settings, dsn, opening, start, limit, follow=follow))


def _opening(settings: Settings, token: str | None, reason: AccessReason | None) -> Opening | None:
    if token is None and reason is None:
        return None
    if token is None or reason is None:
        raise typer.BadParameter("to open what is sealed give both --token and --reason")
    reader = token_verifier(settings).verify(token)
    if reader.role != "auditor":
        raise AuditorsOnly
    return Opening(reader, reason)


async def _print(
    services: Sequence[Service],
    settings: Settings,
    dsn: str,
    opening: Opening | None,
    start: int,
    limit: int | None,
    *,
    follow: bool,
) -> None:
    async with AsyncExitStack() as stack:
        tails = [await stack.enter_async_context(_tail(s, settings, dsn, opening, start)) for s in services]
        recorded = asyncio.Event()
        if follow:
            for tail in tails:
                await stack.enter_async_context(tail.waking(recorded))
        while limit is None or limit > 0:
            recorded.clear()
            printed = 0
            for tail in tails:
                async for lines in tail.lines(limit):
                    write_json_lines(lines)
                    printed += len(lines)
                    limit = None if limit is None else limit - len(lines)
            if not follow:
                break
            if not printed:
                await _at_most(_POLL_SECONDS, recorded)


class _Tail:
    """One service's log, read on from a position."""

    def __init__(self, schema: str, pool: asyncpg.Pool, after: int, opener: "_Opener | None") -> None:
        self._pool, self._after, self._opener = pool, after, opener
        self._reader = Reader(schema)

    async def lines(self, limit: int | None) -> AsyncIterator[list[EventLine]]:
        """What there is, a page at a time, at most ``limit`` lines in all."""
        while limit is None or limit > 0:
            async with self._pool.acquire() as connection:
                page = await self._reader.log(connection, self._after, min(PAGE_EVENTS, limit or PAGE_EVENTS))
                if not page:
                    return
                lines = (
                    await self._opener.lines(connection, page)
                    if self._opener
                    else list(map(event_line, page))
                )
            self._after = page[-1].position
            yield lines
            limit = None if limit is None else limit - len(lines)

    @asynccontextmanager
    async def waking(self, recorded: asyncio.Event) -> AsyncIterator[None]:
        """Sets the event whenever something is appended. Only a hint: notifications may be lost."""
        async with self._pool.acquire() as connection:

            def heard(*_: object) -> None:
                recorded.set()

            await connection.add_listener(self._reader.schema, heard)
            try:
                yield
            finally:
                await connection.remove_listener(self._reader.schema, heard)


class _Opener:
    """Opens what is sealed in a page, and records that in the access log before anything is shown."""

    def __init__(self, access_log: AccessLog, keyring: Keyring, opening: Opening) -> None:
        self._access_log, self._keyring, self._opening = access_log, keyring, opening

    async def lines(self, connection: asyncpg.Connection, page: Sequence[RecordedEvent]) -> list[EventLine]:
        while True:
            keys = await self._keyring.existing([event.key_id for event in page if event.key_id])
            readable = [event for event in page if event.key_id is None or keys.get(event.key_id)]
            try:
                async with connection.transaction():
                    opened = await self._access_log.open_in(
                        connection,
                        readable,
                        reader=self._opening.reader.subject,
                        role=self._opening.reader.role,
                        reason=self._opening.reason,
                    )
            except KeyErased:  # between the two; look again
                continue
            clear = dict(zip((event.position for event in readable), opened, strict=True))
            return [
                event_line(event, clear.get(event.position), erased=event.position not in clear)
                for event in page
            ]


@asynccontextmanager
async def _tail(
    service: Service, settings: Settings, dsn: str, opening: Opening | None, start: int
) -> AsyncIterator[_Tail]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(pool_as(dsn, service.role, size=2))
        opener = None
        if opening is not None:
            keys = await stack.enter_async_context(pool_as(dsn, KEYRING_ROLE))
            keyring, clock = Keyring(keys, existing_master_key(settings)), SystemClock()
            store = EventStore(pool, service.access_schema, clock)
            opener = _Opener(AccessLog(store, keyring, clock, service.name), keyring, opening)
        yield _Tail(service.schema, pool, start - 1, opener)


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
