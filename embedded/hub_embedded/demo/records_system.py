"""The invented records system: posts the demo day over HTTP, again and again until each answer is known."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Final
from uuid import UUID

import httpx
import msgspec

from hub_embedded.demo.generator import Submission, SubmissionKind
from hub_embedded.demo.referrals import SYSTEM
from hub_embedded.demo.tokens import LocalToken
from hub_kernel.auth import LocalIssuer
from hub_kernel.clock import Clock
from hub_kernel.errors import Unavailable

_PATHS: Final[dict[SubmissionKind, str]] = {
    "referral": "/v1/referrals",
    "repeat": "/v1/referrals",
    "amendment": "/v1/referrals/{}/amendments",
    "information": "/v1/referrals/{}/information",
    "withdrawal": "/v1/referrals/{}/withdrawal",
}
_RETRY_SECONDS: Final = 0.1
_BLOCK: Final = 1_000
_ALREADY_WITHDRAWN: Final = 422
_TIMEOUT_SECONDS: Final = 30.0


class SubmissionRefused(Unavailable):
    """The hub refused something the demo day sends, which is a fault of the demo or of the hub."""

    slug: ClassVar[str] = "demo-submission-refused"


class _Receipt(msgspec.Struct, frozen=True):
    referral_id: UUID
    outcome: str


@dataclass
class Posted:
    """What the hub has answered. ``referrals`` holds the id of each record it accepted, by record id."""

    referrals: dict[str, UUID] = field(default_factory=dict)
    recorded: int = 0
    repeated: int = 0
    sent: int = 0


class RecordsSystem:
    """Posts submissions in the order of each record; different records do not wait for each other."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.posted = Posted()

    async def send(self, submission: Submission) -> None:
        """Post one submission until it is answered; a hub that is away or busy is asked again.

        What follows a report must be sent after the report was answered. Raises ``SubmissionRefused``.
        """
        path = _PATHS[submission.kind]
        if "{}" in path:
            path = path.format(self.posted.referrals[submission.record_id])
        while True:
            try:
                answer = await self._client.post(
                    path, content=submission.body, headers={"Content-Type": "application/json"}
                )
            except httpx.TransportError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if answer.is_success:
                break
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                if submission.kind != "referral" and answer.status_code == _ALREADY_WITHDRAWN:
                    return
                raise SubmissionRefused(
                    f"The hub answered {answer.status_code} to a {submission.kind} of the demo day."
                )
            await asyncio.sleep(_RETRY_SECONDS)
        self._note(submission, msgspec.json.decode(answer.content, type=_Receipt))

    async def send_on_time(self, submissions: Iterable[Submission], clock: Clock) -> None:
        """Send each when its time comes by the hub's clock; what is overdue goes at once, in order."""
        for submission in submissions:
            await asyncio.sleep(clock.real_seconds_until(submission.at))
            await self.send(submission)

    async def send_all(
        self,
        submissions: Iterable[Submission],
        *,
        at_once: int,
        per_second: float | None = None,
        stopping: asyncio.Event | None = None,
    ) -> None:
        """Send as fast as the hub accepts, so many at a time; or at a steady rate.

        Once ``stopping`` is set no more is begun, and what was begun is answered before this returns.
        """
        queue: asyncio.Queue[list[Submission] | None] = asyncio.Queue(maxsize=at_once)
        locks: dict[str, asyncio.Lock] = {}

        async def worker() -> None:
            while (chain := await queue.get()) is not None:
                # Locks are given in the order asked for, and chains are taken in the order of the stream.
                async with locks.setdefault(chain[0].record_id, asyncio.Lock()):
                    for submission in chain:
                        await self.send(submission)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(worker())
            async for chain in _paced(_chains(submissions), per_second):
                if stopping is not None and stopping.is_set():
                    break
                await queue.put(chain)
            for _ in range(at_once):
                await queue.put(None)

    def _note(self, submission: Submission, receipt: _Receipt) -> None:
        posted = self.posted
        posted.sent += 1
        posted.referrals.setdefault(submission.record_id, receipt.referral_id)
        if receipt.outcome == "recorded":
            posted.recorded += 1
        else:
            posted.repeated += 1


def records_system_client(base_url: str, issuer: LocalIssuer) -> httpx.AsyncClient:
    """A client that speaks as the records system."""
    return httpx.AsyncClient(
        base_url=base_url,
        auth=LocalToken(issuer, "records_system", subject="demo-records-system", system=SYSTEM),
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,
        verify=False,  # noqa: S501  plain HTTP on loopback; reading certificates takes longer than starting
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=100),
    )


def _chains(submissions: Iterable[Submission]) -> Iterator[list[Submission]]:
    """Each record's submissions together, as far as one block of the stream holds them, in sending order."""
    stream = iter(submissions)
    while block := list(islice(stream, _BLOCK)):
        chains: dict[str, list[Submission]] = {}
        for submission in block:
            chains.setdefault(submission.record_id, []).append(submission)
        yield from chains.values()


async def _paced(
    chains: Iterable[list[Submission]], per_second: float | None
) -> AsyncIterator[list[Submission]]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number, chain in enumerate(chains):
        if per_second is not None:
            await asyncio.sleep(max(0.0, started + number / per_second - loop.time()))
        yield chain
