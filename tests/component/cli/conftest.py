"""One referral recorded over three services, and the real ``hub`` command to look at it with."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest

from hub_embedded.services import SERVICES
from hub_kernel.clock import FixedClock
from hub_kernel.database import open_pool
from hub_kernel.event_store import ANY_VERSION, EventStore, StreamAppend
from hub_kernel.handling import Context, new_event
from hub_kernel.heads import HeadFile
from hub_kernel.roles import KEYRING_ROLE
from hub_kernel.sealing import Keyring, MasterKey
from hub_schemas.facts import Fact
from hub_schemas.intake import (
    Document,
    InformationAdded,
    ReferralReceived,
    ReferralSummary,
    SubjectSummary,
)
from hub_schemas.triage import NotShared, Rationale, RiskGraded

HUB = Path(sys.executable).with_name("hub")
START = datetime(2026, 3, 11, 9, 30, tzinfo=UTC)
REFERRAL, OTHER, THIRD = UUID(int=0xA1), UUID(int=0xA2), UUID(int=0xA3)
CHILD = UUID(int=0xC1)


@dataclass(frozen=True)
class Recorded:
    """The logs of one database, to be added to, and the data directory beside it."""

    dsn: str
    data_dir: Path
    clock: FixedClock
    stores: dict[str, EventStore]
    keyring: Keyring
    heads: HeadFile
    ids: list[UUID] = field(default_factory=list)

    async def record(
        self, source: str, stream_id: str, record_id: UUID, fact: Fact, *, after: UUID | None = None
    ) -> UUID:
        """Append one fact, a second after the one before, under the next id."""
        self.clock.instant += timedelta(seconds=1)
        self.ids.append(UUID(int=0xE0 + len(self.ids)))
        context = Context(record_id, "records", self.clock.now(), after)
        key = await self.keyring.key_for(record_id)
        event = new_event(fact, self.ids[-1], context, key, None)
        await self.stores[source].append([StreamAppend(stream_id, ANY_VERSION, [event])])
        return self.ids[-1]

    async def sign(self) -> None:
        """Put the head of every log into the file, as a start or stop of the hub does."""
        for log, store in self.stores.items():
            async with store.pool.acquire() as connection:
                self.heads.add(log, await store.head(connection), self.clock)

    async def tamper(self, sql: str) -> None:
        """Change the database behind the hub's back, as its superuser."""
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(sql)
        await connection.close()

    def environment(self, **settings: str) -> dict[str, str]:
        """The hub's settings for a command that looks at this."""
        own = {"HUB_DATA_DIR": str(self.data_dir), "HUB_DATABASE_URL": self.dsn}
        return {"LC_ALL": "C.UTF-8", "COLUMNS": "160", **own, **settings}

    program = HUB

    @staticmethod
    def some_fact(referral_id: UUID) -> Fact:
        """A fact to record when it does not matter which."""
        return received(referral_id)

    async def hub(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Run the real command: exit code, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            HUB, *arguments, env=self.environment(**settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, error = await process.communicate()
        return process.returncode or 0, out.decode(), error.decode()


@pytest.fixture
async def recorded(database: str, tmp_path: Path) -> AsyncIterator[Recorded]:
    """Empty logs."""
    clock = FixedClock(START)
    master = MasterKey.from_file(tmp_path / "master.key")
    async with AsyncExitStack() as stack:

        async def pool(role: str) -> asyncpg.Pool:
            opened = await open_pool(database, role=role, size=2)
            stack.callback(opened.terminate)
            return opened

        stores = {}
        for service in SERVICES:
            own = await pool(service.role)
            for log in (service.schema, service.access_schema):
                stores[log] = EventStore(own, log, clock)
        keyring = Keyring(await pool(KEYRING_ROLE), master)
        yield Recorded(database, tmp_path, clock, stores, keyring, HeadFile(tmp_path / "heads.jsonl", master))


def received(referral_id: UUID) -> ReferralReceived:
    """A referral with a name in its sealed part."""
    return ReferralReceived(
        referral_id=referral_id,
        received_at=START,
        summary=ReferralSummary(
            source_system="athena",
            source_version=1,
            content_hash="00",
            document_version=1,
            force="22",
            authority="893",
            referral_type="child",
            incident_at=None,
            submitted_at=START,
            subjects=(SubjectSummary(subject_id=CHILD, kind="child", age_band="5_10", authority="893"),),
        ),
        sealed=Document(document=msgspec.Raw(b'{"name":"Quillfeather"}')),
    )


def graded(referral_id: UUID) -> RiskGraded:
    """What triage made of it."""
    return RiskGraded(
        referral_id=referral_id,
        graded_at=START,
        risk_grade="medium",
        level_of_need="amber",
        needs_person=False,
        matched_rules=(),
        rule_set="risk",
        rule_set_hash="00",
        inputs_hash="00",
        disagrees_with_officer=False,
        authority="893",
        trigger="received",
        referral_version=1,
    )


@pytest.fixture
async def story(recorded: Recorded) -> Recorded:
    """Three referrals, seven facts of intake, three of triage; heads signed at 2, 4 and 7 of intake's log."""
    first = await recorded.record("intake", f"referral-{REFERRAL}", REFERRAL, received(REFERRAL))
    await recorded.record("intake", f"referral-{OTHER}", OTHER, received(OTHER))
    await recorded.sign()
    grading = await recorded.record(
        "triage", f"assessment-{REFERRAL}", REFERRAL, graded(REFERRAL), after=first
    )
    for number in (1, 2):
        information = InformationAdded(
            referral_id=REFERRAL, information_id=UUID(int=number), added_at=START, content_hash=f"0{number}"
        )
        await recorded.record("intake", f"referral-{REFERRAL}", REFERRAL, information)
    await recorded.sign()
    decision = NotShared(
        referral_id=REFERRAL,
        decided_at=START,
        reason_code="below_threshold",
        sealed=Rationale(text="Mrs Quillfeather was spoken to"),
    )
    await recorded.record("triage", f"assessment-{REFERRAL}", REFERRAL, decision, after=grading)
    await recorded.record("intake", f"referral-{THIRD}", THIRD, received(THIRD))
    await recorded.record("triage", f"assessment-{THIRD}", THIRD, graded(THIRD), after=recorded.ids[-1])
    for number in (3, 4):
        information = InformationAdded(
            referral_id=OTHER, information_id=UUID(int=number), added_at=START, content_hash=f"0{number}"
        )
        await recorded.record("intake", f"referral-{OTHER}", OTHER, information)
    await recorded.sign()
    return recorded
