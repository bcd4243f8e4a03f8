"""The sender: takes due deliveries from the worklist, sends, asks, and records what partners say."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import structlog

from hub_kernel.clock import Clock
from hub_kernel.failpoints import failpoint
from hub_kernel.sealing import KeyErased
from hub_partner_gateway.adapters.destinations import Destinations
from hub_partner_gateway.adapters.partner import Asked, Contact, Failed, Lost, Partner, Refused, Sent, Taken
from hub_partner_gateway.adapters.preparing import Prepared, Preparing
from hub_partner_gateway.commands import (
    Cancel,
    DeliveryCommand,
    RecordFailure,
    RecordRejection,
    RecordTransportAccepted,
)
from hub_partner_gateway.domain.errors import ContactContradicts
from hub_partner_gateway.domain.state import ENDED, Delivery
from hub_partner_gateway.policies.answering import Answer, command_for
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_partner_gateway.policies.retrying import retry_at
from hub_partner_gateway.tables.deliveries import Deliveries
from hub_partner_gateway.tables.worklist import Row, Worklist

_log = structlog.get_logger(__name__)
IN_HAND_EACH: Final = 16
"""Deliveries of one partner in hand, from the claim to the record; a slow partner holds up nobody else.

Twice as many as its connections: while some wait for answers, others are prepared and recorded.
"""
IN_HAND_ALL: Final = 64
LONGEST_SLEEP_SECONDS: Final = 1.0
"""Bounds what a lost notification or a clock set forward can cost."""
SHORTEST_SLEEP_SECONDS: Final = 0.01
GATHER_SECONDS: Final = 0.003
"""After being woken, wait this long for what arrives together: it shares a transaction."""
DOCUMENT_SECONDS: Final = (0.1, 1.0, 5.0, 30.0, 300.0, 1800.0)
"""How soon to look again for a document: one that comes wakes its deliveries; this is for a lost wake-up."""
FAULT_SECONDS: Final = 5.0
POLLED_AT_ONCE: Final = 256
PATIENT_SECONDS: Final = 1.5
"""Waits up to this long for a partner's answer stay in memory; longer ones go back to the worklist."""


class Sender:
    """Sends what is due, each delivery on its own, and keeps looking until it has ended."""

    def __init__(
        self,
        deliveries: Deliveries,
        worklist: Worklist,
        preparing: Preparing,
        packages: Mapping[str, PartnerPackage],
        destinations: Destinations,
        *,
        channel: str,
        contact_key: bytes,
        clock: Clock,
    ) -> None:
        self._deliveries, self._worklist, self._preparing = deliveries, worklist, preparing
        self._packages, self._destinations = packages, destinations
        self._channel, self._contact_key, self._clock = channel, contact_key, clock
        self._partners: Mapping[str, Partner] = {}
        self._busy: Counter[str] = Counter()
        self._polled = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._something_new = asyncio.Event()
        self._random = random.Random()  # noqa: S311  jitter needs no secrecy

    async def run(self) -> None:
        """Run until cancelled. What is under way then is found and finished by the next run."""
        async with (
            self._deliveries.pool.acquire() as connection,
            self._destinations.opened(self._packages) as self._partners,
        ):
            self._busy.clear()
            self._polled = 0
            await self._worklist.take_over(connection)
            await connection.add_listener(self._channel, self._on_append)
            try:
                while True:
                    self._something_new.clear()
                    if not await self._take():
                        await self._sleep()
                        await asyncio.sleep(GATHER_SECONDS)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                with contextlib.suppress(asyncpg.InterfaceError, OSError):
                    await connection.remove_listener(self._channel, self._on_append)
                    await self._worklist.hand_over(connection)

    async def _take(self) -> bool:
        """Claim what is due and there is room for, and set it going. False when there was nothing."""
        free = self._free()
        if not free:
            return False
        rows = await self._worklist.claim(self._clock.now(), free)
        for prepared in await self._prepare(rows):
            destination = prepared.row.destination or ""
            self._busy[destination] += 1
            self._start(self._deliver(self._partners[destination], prepared))
        return bool(rows)

    def _free(self) -> dict[str, int]:
        room = IN_HAND_ALL - self._busy.total()
        free = {name: min(IN_HAND_EACH - self._busy[name], room) for name in self._partners}
        return {name: slots for name, slots in free.items() if slots > 0}

    async def _prepare(self, rows: Sequence[Row]) -> list[Prepared]:
        """Prepare all in one transaction; if that fails, each in its own, so that one cannot stop others."""
        if not rows:
            return []
        failpoint("delivery.before_attempt")
        try:
            return await self._preparing.prepare(rows)
        except Exception as error:  # noqa: BLE001  one by one finds the one at fault
            if len(rows) == 1:
                await self._give_up_for_now(rows[0], error)
                return []
            return [prepared for row in rows for prepared in await self._prepare([row])]

    async def _give_up_for_now(self, row: Row, error: Exception) -> None:
        if isinstance(error, KeyErased):
            await self._decide(row, Cancel(at=self._clock.now()))
            await self._worklist.settle(row, None)
            return
        # Without the traceback: it could hold a record's values.
        _log.error("delivery.fault", delivery_id=str(row.delivery_id), error=type(error).__name__)
        await self._worklist.settle(row, self._after(FAULT_SECONDS), asked=row.asked)

    async def _deliver(self, partner: Partner, prepared: Prepared) -> None:
        """One step of one delivery, in one of the partner's slots."""
        try:
            match prepared.step:
                case "send":
                    await self._send(partner, prepared)
                case "ask":
                    await self._ask(partner, prepared)
                case "await_document":
                    await self._await_document(prepared)
                case "done":
                    await self._worklist.settle(prepared.row, None)
        except Exception as error:  # noqa: BLE001  whatever it is, it holds up this delivery alone
            await self._give_up_for_now(prepared.row, error)
        finally:
            self._busy[partner.package.name] -= 1
            self._something_new.set()

    async def _send(self, partner: Partner, prepared: Prepared) -> None:
        failpoint("delivery.before_send")
        contact = Contact(
            message_id=prepared.state.message_id,
            delivery_id=prepared.row.delivery_id,
            referral_id=prepared.row.referral_id,
            at=prepared.at,
            body=prepared.body,
        )
        sent = await partner.send(contact)
        failpoint("delivery.after_send")
        await self._record_sent(partner, prepared, sent)
        failpoint("delivery.after_record")

    async def _record_sent(self, partner: Partner, prepared: Prepared, sent: Sent) -> None:
        row, state, now = prepared.row, prepared.state, self._clock.now()
        match sent:
            case Taken():
                after = await self._decide(row, RecordTransportAccepted(at=now))
                await self._await_answer(partner, row, after)
            case Refused(reason_code):
                await self._decide(row, RecordRejection(at=now, reason_code=reason_code))
                await self._worklist.settle(row, None)
            case Failed(reason, retry_after):
                again = self._next(state, state.attempts, partner.retry_seconds, retry_after)
                failure = RecordFailure(at=now, attempt=state.attempts, reason=reason, retry_at=again)
                after = await self._decide(row, failure)
                await self._worklist.settle(row, None if after.status in ENDED else again)
            case Lost():
                again = self._after(partner.retry_seconds[0])
                await self._worklist.settle(row, again)

    async def _await_answer(self, partner: Partner, row: Row, state: Delivery) -> None:
        """After the transport took it: ask soon where the partner is asked, otherwise wait for its call."""
        if state.status in ENDED:
            await self._worklist.settle(row, None)
        elif partner.is_polled and self._polled < POLLED_AT_ONCE:
            self._polled += 1
            self._start(self._poll(partner, row))
        else:
            await self._postpone(partner, row, state, asked=0)

    async def _poll(self, partner: Partner, row: Row) -> None:
        """Ask at growing waits without going through the worklist, as long as the waits are short."""
        try:
            waits = partner.answer_seconds(transport_accepted=True)
            patient = [wait for wait in waits if wait < PATIENT_SECONDS]
            for asked, wait in enumerate(patient, 1):
                await asyncio.sleep(wait)
                answer = await partner.ask(row.message_id)
                if isinstance(answer, Answer) and answer.decision != "pending":
                    await self._record_answer(partner, row, answer)
                    return
                row = replace(row, asked=asked)
            state = await self._deliveries.state(row.delivery_id)
            await self._postpone(partner, row, state, asked=row.asked)
        except Exception as error:  # noqa: BLE001  whatever it is, it holds up this delivery alone
            await self._give_up_for_now(row, error)
        finally:
            self._polled -= 1

    async def _ask(self, partner: Partner, prepared: Prepared) -> None:
        """Find out what became of a message; only one the partner does not have is sent again."""
        row, state = prepared.row, prepared.state
        answer: Asked = await partner.ask(state.message_id)
        if isinstance(answer, Answer):
            await self._record_answer(partner, row, answer)
        elif answer == "unknown" and state.attempt_open:
            await self._send_again(partner, prepared)
        else:
            await self._postpone(partner, row, state, asked=row.asked + 1)

    async def _send_again(self, partner: Partner, prepared: Prepared) -> None:
        row, state, now = prepared.row, prepared.state, self._clock.now()
        if state.status == "cancelled":
            failure = RecordFailure(
                at=now,
                attempt=state.attempts,
                reason="answer_lost",
                retry_at=now,
                partner_may_have_it=not partner.can_be_asked,
            )
            await self._decide(row, failure)
            await self._worklist.settle(row, None)
            return
        [again] = await self._preparing.prepare([row], partner_lacks_it=True)
        if again.step != "send":  # answered or cancelled while we asked
            await self._worklist.settle(row, now)
        else:
            await self._send(partner, again)

    async def _record_answer(self, partner: Partner, row: Row, answer: Answer) -> None:
        after = await self._decide(row, command_for(answer, self._clock.now(), self._contact_key))
        if after.status in ENDED and not after.attempt_open:
            await self._worklist.settle(row, None)
        else:
            await self._postpone(partner, row, after, asked=row.asked + 1)

    async def _decide(self, row: Row, command: DeliveryCommand) -> Delivery:
        """Record what was learned; a contradiction is for a person to see and changes nothing."""
        try:
            return await self._deliveries.decide(row.delivery_id, row.referral_id, command)
        except ContactContradicts:
            _log.error("delivery.contradiction", delivery_id=str(row.delivery_id))
            return await self._deliveries.state(row.delivery_id)

    async def _await_document(self, prepared: Prepared) -> None:
        row, state = prepared.row, prepared.state
        asked = row.asked if prepared.awaits_beyond == row.awaits_beyond else 0
        again = self._next(state, asked + 1, DOCUMENT_SECONDS)
        await self._worklist.settle(row, again, asked=asked + 1, awaits_beyond=prepared.awaits_beyond)

    async def _postpone(self, partner: Partner, row: Row, state: Delivery, *, asked: int) -> None:
        schedule = partner.answer_seconds(transport_accepted=state.transport_accepted)
        again = self._next(state, asked + 1, (*schedule, *partner.retry_seconds[2:]))
        await self._worklist.settle(row, again, asked=asked)

    def _next(
        self, state: Delivery, attempt: int, schedule: Sequence[float], retry_after: float | None = None
    ) -> datetime:
        return retry_at(
            self._clock.now(),
            attempt,
            jitter=self._random.uniform(-1, 1),
            deadline_at=None if state.expired else state.deadline_at,
            retry_after_seconds=retry_after,
            schedule_seconds=schedule,
        )

    def _after(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sleep(self) -> None:
        next_attempt_at = await self._worklist.next_attempt_at()
        seconds = LONGEST_SLEEP_SECONDS
        if next_attempt_at is not None and self._free():
            seconds = min(seconds, self._clock.real_seconds_until(next_attempt_at))
        with contextlib.suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it can swallow a cancellation that meets the event.
            async with asyncio.timeout(max(seconds, SHORTEST_SLEEP_SECONDS)):
                await self._something_new.wait()

    def _on_append(self, *_notification: Any) -> None:
        self._something_new.set()
