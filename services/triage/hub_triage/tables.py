"""All SQL of triage: assessments are decided, appended and shown in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from hub_kernel.database import Connection
from hub_kernel.event_store import WrongExpectedVersion
from hub_kernel.handling import CommandHandler, Context
from hub_schemas.codes import Authority, ClockName, LevelOfNeed
from hub_schemas.intake import ReferralSummary
from hub_schemas.triage import TriageFact
from hub_triage.commands import TriageCommand
from hub_triage.domain.errors import AssessmentNotFound
from hub_triage.domain.state import Assessment
from hub_triage.views import WorklistRow, project, worklist_order

AssessmentCommands = CommandHandler[TriageCommand, Assessment | None, TriageFact]
Place = tuple[int, datetime, UUID]
"""A place in the worklist: band, due time, referral."""

FIRST_PLACE: Final[Place] = (-1, datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
_MAX_TRIES: Final = 8
_encode = msgspec.json.Encoder().encode
_row_decoder = msgspec.json.Decoder(WorklistRow)
_summary_decoder = msgspec.json.Decoder(ReferralSummary)


@dataclass(frozen=True, slots=True)
class DueClock:
    """A clock that the timer must look at."""

    referral_id: UUID
    clock: ClockName
    epoch: int


def stream_of(referral_id: UUID) -> str:
    """The stream of one assessment."""
    return f"assessment-{referral_id}"


class Assessments:
    """The assessments of this service, and what is shown of them.

    Every row is written in the transaction that appends the facts it shows, after them: the log's lock
    then keeps writers apart, and none of them can wait for another's rows while holding it.
    """

    def __init__(self, pool: asyncpg.Pool, commands: AssessmentCommands) -> None:
        self._pool, self._commands = pool, commands

    async def decide(self, command: TriageCommand, context: Context) -> WorklistRow:
        """Decide in a transaction of its own, again when another writer was first. Returns the row after it.

        Raises what the domain refuses, and ``WrongExpectedVersion`` after many lost races.
        """
        for _ in range(_MAX_TRIES):
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    return await self.decide_in(connection, command, context)
            except WrongExpectedVersion:
                continue
        raise WrongExpectedVersion

    async def decide_in(
        self, connection: Connection, command: TriageCommand, context: Context
    ) -> WorklistRow:
        """Decide in the caller's transaction, which holds the log's lock from here on; the row after it.

        Raises what the domain refuses, and ``WrongExpectedVersion`` when another writer was first.
        """
        stream_id = stream_of(command.referral_id)
        handled = await self._commands.handle_in(connection, stream_id, command, context)
        began_now = handled.version == len(handled.facts)
        row = None if began_now else await self.find(connection, command.referral_id)
        for fact in handled.facts:
            row = project(row, fact)
        if row is None:
            raise AssessmentNotFound
        if handled.facts:
            await self._show(connection, row)
        return row

    async def find(self, connection: Connection, referral_id: UUID) -> WorklistRow | None:
        """The row of one assessment."""
        content = await connection.fetchval(
            "SELECT content FROM triage.assessments WHERE referral_id = $1", referral_id
        )
        return None if content is None else _row_decoder.decode(content)

    async def read(self, referral_id: UUID) -> WorklistRow:
        """The row of one assessment. Raises ``AssessmentNotFound``."""
        async with self._pool.acquire() as connection:
            row = await self.find(connection, referral_id)
        if row is None:
            raise AssessmentNotFound
        return row

    async def worklist(
        self,
        after: Place,
        limit: int,
        *,
        authority: Authority | None = None,
        level_of_need: LevelOfNeed | None = None,
        within: str | None = None,
    ) -> list[WorklistRow]:
        """Open assessments after a place, in worklist order; ``within`` is the reader's own authority."""
        rows = await self._pool.fetch(
            """SELECT content FROM triage.assessments
                WHERE state = 'open' AND (band, due_at, referral_id) > ($1::smallint, $2, $3)
                  AND ($4::text IS NULL OR authority = $4) AND ($5::text IS NULL OR level_of_need = $5)
                  AND ($6::text IS NULL OR authority = $6)
                ORDER BY band, due_at, referral_id LIMIT $7""",
            *after,
            authority,
            level_of_need,
            within,
            limit,
        )
        return [_row_decoder.decode(row["content"]) for row in rows]

    async def known_summary(self, connection: Connection, referral_id: UUID) -> ReferralSummary | None:
        """What was graded last of a referral."""
        summary = await connection.fetchval(
            "SELECT summary FROM triage.summaries WHERE referral_id = $1", referral_id
        )
        return None if summary is None else _summary_decoder.decode(summary)

    async def keep_summary(self, connection: Connection, referral_id: UUID, summary: ReferralSummary) -> None:
        """Remember what is graded now, for information that comes later and states only what is new."""
        await connection.execute(
            """INSERT INTO triage.summaries (referral_id, summary) VALUES ($1, $2)
               ON CONFLICT (referral_id) DO UPDATE SET summary = excluded.summary""",
            referral_id,
            _encode(summary).decode(),
        )

    async def due_clocks(self, connection: Connection, now: datetime, limit: int) -> Sequence[DueClock]:
        """Clocks the timer must look at by ``now``, the longest due first."""
        # The instant comes as a parameter: a function of the clock in its place would not use the index.
        rows = await connection.fetch(
            """SELECT referral_id, clock, epoch FROM triage.clocks
                WHERE next_fire_at <= $1 ORDER BY next_fire_at LIMIT $2""",
            now,
            limit,
        )
        return [DueClock(**row) for row in rows]

    async def next_fire_at(self, connection: Connection) -> datetime | None:
        """When the timer must look next; ``None`` when no clock needs it."""
        instant: datetime | None = await connection.fetchval(
            "SELECT min(next_fire_at) FROM triage.clocks WHERE next_fire_at IS NOT NULL"
        )
        return instant

    async def _show(self, connection: Connection, row: WorklistRow) -> None:
        band, due_at, referral_id = worklist_order(row)
        await connection.execute(
            """WITH shown AS (
                   INSERT INTO triage.assessments
                       (referral_id, band, due_at, state, authority, level_of_need, content)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (referral_id) DO UPDATE
                      SET band = excluded.band, due_at = excluded.due_at, state = excluded.state,
                          authority = excluded.authority, level_of_need = excluded.level_of_need,
                          content = excluded.content)
               INSERT INTO triage.clocks (referral_id, clock, epoch, next_fire_at)
               SELECT $1, c.* FROM unnest($8::text[], $9::int[], $10::timestamptz[]) AS c
               ON CONFLICT (referral_id, clock) DO UPDATE
                  SET epoch = excluded.epoch, next_fire_at = excluded.next_fire_at""",
            referral_id,
            band,
            due_at,
            row.state,
            row.authority,
            row.level_of_need,
            _encode(row).decode(),
            list(row.clocks),
            [clock.epoch for clock in row.clocks.values()],
            [clock.next_fire_at for clock in row.clocks.values()],
        )
