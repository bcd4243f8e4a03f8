"""Referrals in bulk: one result per line, in order, written while later lines still arrive.

Lines are handled a window at a time and at once, so that one commit carries many. Reading never waits for
the sender to take results: a sender that reads nothing until it has sent everything is the usual kind, and
waiting for it would leave both sides stuck. What may pile up is bounded by the number of lines.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hub_intake.api.lines import Line, read_lines
from hub_intake.api.receiving import Receipt
from hub_kernel.errors import HTTP_STATUS, HubError, TooLarge, Unavailable, kind_of
from hub_kernel.web import problem_body

MAX_LINE_BYTES: Final = 1_048_576
MAX_LINES: Final = 20_000
_WINDOW_LINES: Final = 100

Take = Callable[[bytes], Awaitable[Receipt]]
_encoder = msgspec.json.Encoder()
_log = structlog.get_logger(__name__)


class LineTooLong(TooLarge):
    """This line is longer than a referral may be. Send it without what it repeats, or in parts."""

    slug = "line-too-long"


class TooManyLines(TooLarge):
    """This line and all after it were left unread: the batch has too many. Send the rest as another batch."""

    slug = "too-many-lines"


class LineResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one line: a receipt's id with 201 or 200, or problem details with their status."""

    line: int
    status: int
    referral_id: UUID | None = None
    problem: dict[str, Any] | None = None


Pending = asyncio.Queue[asyncio.Future[LineResult] | None]


async def bulk_results(body: AsyncIterator[bytes], take: Take) -> AsyncGenerator[bytes, None]:
    """The results of a body of lines, as NDJSON, each as soon as it and those before it are known."""
    pending: Pending = asyncio.Queue()
    under_way: set[asyncio.Task[LineResult]] = set()
    producer = asyncio.create_task(_produce(body, take, pending, under_way))
    try:
        while (result := await pending.get()) is not None:
            yield _encoder.encode(await result) + b"\n"
        await producer
    finally:
        for task in (producer, *under_way):
            task.cancel()


async def _produce(
    body: AsyncIterator[bytes], take: Take, pending: Pending, under_way: "set[asyncio.Task[LineResult]]"
) -> None:
    """Start every line and queue its result; ``None`` ends them.

    A body that is refused on the way is the problem of a last line of its own.
    """
    last = 0
    window = asyncio.Semaphore(_WINDOW_LINES)
    try:
        async for line in read_lines(body, max_line_bytes=MAX_LINE_BYTES):
            last = line.number
            if last > MAX_LINES:
                raise TooManyLines
            await window.acquire()
            task = asyncio.create_task(_take_line(line, take))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            task.add_done_callback(lambda _: window.release())
            pending.put_nowait(task)
    except HubError as error:
        refused: asyncio.Future[LineResult] = asyncio.get_running_loop().create_future()
        refused.set_result(_refusal(last if isinstance(error, TooManyLines) else last + 1, error))
        pending.put_nowait(refused)
    except ClientDisconnect:
        _log.info("batch.sender_left", lines=last)
    finally:
        pending.put_nowait(None)


async def _take_line(line: Line, take: Take) -> LineResult:
    try:
        if line.content is None:
            raise LineTooLong  # noqa: TRY301  told of like every other refusal
        receipt = await take(line.content)
    except HubError as error:
        return _refusal(line.number, error)
    except Exception as error:  # noqa: BLE001  one line's fault, whatever it is, must not spoil the others
        _log.warning("batch.line_failed", error=type(error).__name__)
        return _refusal(line.number, Unavailable())
    return LineResult(
        line=line.number,
        status=201 if receipt.outcome == "recorded" else 200,
        referral_id=receipt.referral_id,
    )


def _refusal(line: int, error: HubError) -> LineResult:
    return LineResult(line=line, status=HTTP_STATUS[kind_of(error)], problem=problem_body(error))


class LinesResponse(Response):
    """A streamed answer that leaves the request's body to whoever reads it.

    Starlette's own streaming response listens for a disconnect meanwhile and would take chunks of the body.
    """

    media_type = "application/x-ndjson"

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's shape
        """Send each piece as it comes."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
