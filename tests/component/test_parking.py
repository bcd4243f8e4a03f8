import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY as METRICS
from tests.component.ledger_service import LEDGER, NAMESPACE, NOON, READER, to
from tests.component.ledger_service.hearing import Hearing, always, failing, running, stream, write
from tests.component.ledger_service.scripted_bus import ScriptedBus, garbled, heard
from tests.component.ledger_service.waiting import until

from hub_kernel import consuming, metrics
from hub_kernel.access_log import REGISTRY as ACCESS
from hub_kernel.access_log import ParkedEventsViewed, ParkedRetryRequested
from hub_kernel.clock import FixedClock, SystemClock
from hub_kernel.consuming import Handler
from hub_kernel.database import Connection
from hub_kernel.errors import Rejected, Unavailable
from hub_kernel.event_store import EventStore
from hub_kernel.parked_views import (
    CursorUnusable,
    OpenEvent,
    ParkedGroup,
    ParkedLink,
    ParkedStream,
    ParkedStreams,
    Wanted,
)
from hub_kernel.parking import Actor, NotParked, ParkedEvents
from hub_kernel.ports import Message
from hub_kernel.testing import RunningHub, run_hub
from hub_schemas.envelope import RecordedEvent, to_cloudevent
from hub_schemas.facts import Fact

pytestmark = pytest.mark.usefixtures("no_pauses")
OPERATOR = Actor("olga", "operator")
SECRET = "Jane Doe of 12 Acacia Avenue"  # noqa: S105  a name, to look for where none may be


@pytest.fixture
def access_log(reader_pool: asyncpg.Pool, clock: FixedClock) -> EventStore:
    return EventStore(reader_pool, READER.access_schema, clock)


@pytest.fixture
def parked(reader_pool: asyncpg.Pool, access_log: EventStore, clock: FixedClock) -> ParkedEvents:
    return ParkedEvents(READER.schema, reader_pool, access_log, clock)


async def recorded(access_log: EventStore) -> list[tuple[str, Fact]]:
    """The streams and facts of the access log."""
    async with access_log.pool.acquire() as connection:
        rows = await access_log.read.log(connection, 0)
    return [(row.stream_id, ACCESS.decode(row.type, row.schema_version, row.open)) for row in rows]


def record_of(stream_id: str) -> str:
    """The record that a stream of the ledger is about."""
    return str(to(stream_id, "any").events[0].correlation_id)


def sealed_entry(stream_id: str, version: int, *, offset: int) -> Message:
    """A message with a sealed part, which must not be shown in any form."""
    event = to(stream_id, f"{stream_id}:{version}").events[0]
    headers, value = to_cloudevent(
        RecordedEvent(
            LEDGER.schema, offset, stream_id, version, event.event_id, event.type, 1, NOON, NOON,
            event.correlation_id, None, "tester", None, event.open, NAMESPACE, SECRET.encode(),
        )
    )  # fmt: skip
    return Message(LEDGER.schema, 0, offset, headers, value)


def rejecting(*streams: str) -> Handler:
    return failing(lambda effect: effect[0] in streams, Rejected())


async def park_three_chains(hearing: Hearing, clock: FixedClock) -> None:
    """Entry-c of three events was parked first, then entry-a and entry-b; b for a reason of its own."""
    await hearing.hear(stream("entry-c", 1, 2, 3, first_offset=1), handler=rejecting("entry-c"))
    clock.instant += timedelta(minutes=1)
    await hearing.hear(stream("entry-a", 1, first_offset=4), handler=rejecting("entry-a"))
    await hearing.hear(stream("entry-b", 2, first_offset=5))


def waits(
    stream_id: str, version: int, reason: str, *, events: int, minutes: int, tries: int
) -> ParkedStream:
    at = NOON + timedelta(minutes=minutes)
    return ParkedStream("reader", "ledger", stream_id, version, reason, tries, at, None, events)


# --- what is shown ---------------------------------------------------------------------------------------


async def test_the_list_names_each_stream_once_with_the_reason_of_its_first_event(
    hearing: Hearing, parked: ParkedEvents, clock: FixedClock
) -> None:
    await park_three_chains(hearing, clock)
    c = waits("entry-c", 1, "rejected", events=3, minutes=0, tries=1)
    a = waits("entry-a", 1, "rejected", events=1, minutes=1, tries=1)
    b = waits("entry-b", 2, "gap", events=1, minutes=1, tries=0)
    assert await parked.streams(Wanted(), OPERATOR) == ParkedStreams([c, a, b], None)
    assert (await parked.streams(Wanted(reason="rejected"), OPERATOR)).streams == [c, a]
    assert (await parked.streams(Wanted(reason="behind"), OPERATOR)).streams == []
    assert (await parked.streams(Wanted(source="elsewhere"), OPERATOR)).streams == []
    assert (await parked.streams(Wanted(source="ledger", stream_id="entry-b"), OPERATOR)).streams == [b]
    assert await parked.summary() == [
        ParkedGroup("reader", "ledger", "rejected", 2, 4, 0, NOON),
        ParkedGroup("reader", "ledger", "gap", 1, 1, 0, clock.now()),
    ]


async def test_pages_of_the_list_hold_every_stream_once(
    hearing: Hearing, parked: ParkedEvents, clock: FixedClock
) -> None:
    await park_three_chains(hearing, clock)
    seen, cursor = [], None
    for _ in range(3):
        page = await parked.streams(Wanted(), OPERATOR, limit=1, cursor=cursor)
        seen += [row.stream_id for row in page.streams]
        cursor = page.next_cursor
    assert (seen, cursor) == (["entry-c", "entry-a", "entry-b"], None)


@pytest.mark.parametrize(
    "cursor",
    [
        "no",
        "AAAA",
        "é",
        "",
        base64.urlsafe_b64encode(b'["2026-03-02T12:00:00","a","b","c"]').decode(),
        base64.urlsafe_b64encode(b'["2026-03-02T12:00:00Z","a","b","\\u0000"]').decode(),
    ],
)
async def test_a_cursor_of_another_make_is_refused(parked: ParkedEvents, cursor: str) -> None:
    with pytest.raises(CursorUnusable):
        await parked.streams(Wanted(), OPERATOR, cursor=cursor)


async def test_looking_at_a_stream_shows_envelopes_and_open_parts_and_nothing_sealed(
    hearing: Hearing, parked: ParkedEvents
) -> None:
    message = sealed_entry("entry-a", 1, offset=1)
    await hearing.hear([message, *stream("entry-a", 2, first_offset=2)], handler=rejecting("entry-a"))
    chain = await parked.chain("ledger", "entry-a", OPERATOR)
    first, second = chain.links
    event = to("entry-a", "entry-a:1").events[0]
    assert first == ParkedLink(
        "reader", 1, "rejected", 1, NOON, None, 0, 1, len(message.value),
        OpenEvent(
            event.event_id, "EntryMade", 1, NOON, NOON, event.correlation_id, None, "tester",
            {"amount": 1}, has_sealed=True,
        ),
    )  # fmt: skip
    assert (second.version, second.reason, second.event and second.event.has_sealed) == (2, "behind", False)
    assert chain.next_after is None
    shown = msgspec.json.encode(chain).decode()
    assert [
        w for w in (SECRET, base64.b64encode(SECRET.encode()).decode(), str(NAMESPACE)) if w in shown
    ] == []
    assert [link.version for link in (await parked.chain("ledger", "entry-a", OPERATOR, after=1)).links] == [
        2
    ]


@pytest.mark.parametrize("kind", ["unreadable", "of another kind"])
async def test_of_a_message_that_is_no_fact_nothing_but_its_size_is_shown(
    hearing: Hearing, parked: ParkedEvents, kind: str
) -> None:
    if kind == "unreadable":
        message, stream_id = garbled(offset=1), "unreadable-0-1"
        foreign = Message(LEDGER.schema, 0, 1, message.headers, json.dumps({"open": SECRET}).encode()[:-1])
    else:
        message, stream_id = heard("entry-a", 1, offset=1), "entry-a"
        headers = {**dict(message.headers), "content-type": b"application/json"}
        body = json.dumps({"open": {"name": SECRET}}).encode()
        foreign = Message(LEDGER.schema, 0, 1, tuple(headers.items()), body)
    await hearing.hear([foreign], handler=failing(always, Rejected()))
    [link] = (await parked.chain("ledger", stream_id, OPERATOR)).links
    assert (link.event, link.size_bytes) == (None, len(foreign.value))


async def test_what_is_not_parked_cannot_be_looked_at(parked: ParkedEvents) -> None:
    with pytest.raises(NotParked):
        await parked.chain("ledger", "entry-a", OPERATOR)


# --- trying again ----------------------------------------------------------------------------------------


async def test_a_retry_is_made_by_the_running_consumer_in_order_and_for_that_stream_only(
    hearing: Hearing, parked: ParkedEvents
) -> None:
    mended = False
    poison = failing(lambda effect: not mended and effect[1] == 1, Rejected())
    bus = ScriptedBus([[*stream("entry-a", 1, 2, 3, first_offset=1), *stream("entry-b", 1, first_offset=4)]])
    async with running(hearing.consumer(bus, poison)):
        await bus.dealt_with.wait()
        mended = True
        assert await parked.retry_stream("ledger", "entry-a", OPERATOR) == 1
        await hearing.until_parked([("entry-b", 1, "rejected")])
    assert await hearing.effects_in_order() == [("entry-a", 1), ("entry-a", 2), ("entry-a", 3)]
    await hearing.hear(stream("entry-a", 3, 4, first_offset=5))
    assert await hearing.effects() == [("entry-a", n) for n in (1, 2, 3, 4)]


async def test_a_retry_asked_for_while_the_service_is_down_is_made_at_its_next_start(
    hearing: Hearing, parked: ParkedEvents
) -> None:
    await hearing.hear(stream("entry-a", 1, 2, first_offset=1), handler=rejecting("entry-a"))
    await parked.retry_stream("ledger", "entry-a", OPERATOR)
    await parked.retry_stream("ledger", "entry-a", OPERATOR)
    async with running(hearing.consumer(ScriptedBus([]))):
        await hearing.until_parked([])
    assert await hearing.effects_in_order() == [("entry-a", 1), ("entry-a", 2)]


async def test_a_retry_asked_for_by_another_clock_is_due_by_the_consumers(
    hearing: Hearing, reader_pool: asyncpg.Pool, access_log: EventStore
) -> None:
    """The demo's clock shows another day than the operator's."""
    await hearing.hear(stream("entry-a", 1, first_offset=1), handler=rejecting("entry-a"))
    by_the_wall = ParkedEvents(READER.schema, reader_pool, access_log, SystemClock())
    assert SystemClock().now() > NOON
    await by_the_wall.retry_stream("ledger", "entry-a", OPERATOR)
    async with running(hearing.consumer(ScriptedBus([]))):
        await hearing.until_parked([])


async def test_a_retry_that_meets_the_next_poison_keeps_the_rest_of_the_chain(
    hearing: Hearing, parked: ParkedEvents
) -> None:
    await hearing.hear(stream("entry-a", 1, 2, 3, first_offset=1), handler=rejecting("entry-a"))
    await parked.retry_stream("ledger", "entry-a", OPERATOR)
    other = failing(lambda effect: effect == ("entry-a", 2), ZeroDivisionError())
    async with running(hearing.consumer(ScriptedBus([]), other)):
        await hearing.until_parked([("entry-a", 2, "ZeroDivisionError"), ("entry-a", 3, "behind")])
    assert await hearing.tries() == [(1, None), (0, None)]


async def test_a_retry_that_fails_waits_for_a_person_again(hearing: Hearing, parked: ParkedEvents) -> None:
    await hearing.hear(stream("entry-a", 1, first_offset=1), handler=rejecting("entry-a"))
    await parked.retry_stream("ledger", "entry-a", OPERATOR)

    async def failed_again() -> bool:
        return await hearing.tries() == [(2, None)]

    async with running(hearing.consumer(ScriptedBus([]), rejecting("entry-a"))):
        await until(failed_again)
    assert await hearing.parked() == [("entry-a", 1, "rejected")]


async def test_a_retry_asked_for_while_a_try_is_under_way_is_not_lost_when_that_fails(
    hearing: Hearing, parked: ParkedEvents
) -> None:
    """Whoever mends the cause and asks may be quicker than a try that began before."""
    await hearing.hear(stream("entry-a", 1, first_offset=1), handler=rejecting("entry-a"))
    tries = 0

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await parked.retry_stream("ledger", "entry-a", OPERATOR)
            raise Rejected
        await write(connection, event)

    await parked.retry_stream("ledger", "entry-a", OPERATOR)
    async with running(hearing.consumer(ScriptedBus([]), handle)):
        await hearing.until_effects([("entry-a", 1)])
    assert tries == 2


@pytest.mark.parametrize(
    "message", [garbled(offset=1), garbled(offset=1, sequence="0")], ids=["body", "version"]
)
async def test_what_cannot_be_read_stays_when_it_is_tried_again(
    hearing: Hearing, parked: ParkedEvents, message: Message
) -> None:
    await hearing.hear([message])
    await parked.retry_stream("ledger", "unreadable-0-1", OPERATOR)

    async def tried() -> bool:
        return await hearing.tries() == [(1, None)]

    async with running(hearing.consumer(ScriptedBus([]))):
        await until(tried)
    assert await hearing.parked() == [("unreadable-0-1", 1, "unreadable")]


async def test_all_streams_that_wait_for_one_reason_are_tried_again_each_in_order(
    hearing: Hearing, parked: ParkedEvents, clock: FixedClock
) -> None:
    await park_three_chains(hearing, clock)
    assert await parked.retry_all("behind", OPERATOR) == 0
    assert await parked.retry_all("rejected", OPERATOR, source="elsewhere") == 0
    assert await parked.retry_all("rejected", OPERATOR, source="ledger") == 2
    async with running(hearing.consumer(ScriptedBus([]))):
        await hearing.until_parked([("entry-b", 2, "gap")])
    made = await hearing.effects_in_order()
    assert [effect for effect in made if effect[0] == "entry-c"] == [("entry-c", n) for n in (1, 2, 3)]
    assert ("entry-a", 1) in made


async def test_of_many_retries_one_a_round_is_tried_while_a_part_is_away(
    hearing: Hearing, parked: ParkedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [heard(f"entry-{n}", 1, offset=n) for n in range(1, 9)]
    await hearing.hear(messages, handler=failing(always, Rejected()))
    await parked.retry_all("rejected", OPERATOR)
    monkeypatch.setattr(consuming, "HOUSEKEEPING_SECONDS", 1_000)
    shown = metrics.PARKED_EVENTS.labels("reader:ledger")
    tried = []

    async def handle(_connection: Connection, event: RecordedEvent) -> None:
        tried.append(event.stream_id)
        raise Unavailable

    async def round_is_over() -> bool:
        return METRICS.get_sample_value("hub_parked_events", {"consumer": "reader:ledger"}) == len(messages)

    for stream_id in ("entry-1", "entry-2"):
        shown.set(-1)
        async with running(hearing.consumer(ScriptedBus([]), handle)):
            await until(round_is_over)
        assert tried.pop() == stream_id
        assert tried == []


# --- on record -------------------------------------------------------------------------------------------


async def test_whoever_looks_or_asks_is_on_record_under_the_record_it_is_about(
    hearing: Hearing, parked: ParkedEvents, access_log: EventStore, clock: FixedClock
) -> None:
    await park_three_chains(hearing, clock)
    await parked.streams(Wanted(reason="gap"), OPERATOR)
    await parked.chain("ledger", "entry-c", Actor("ada", "auditor"))
    await parked.retry_stream("ledger", "entry-c", OPERATOR)
    await parked.retry_all("rejected", OPERATOR)
    now, about = clock.now(), f"access-{record_of('entry-c')}"
    assert await recorded(access_log) == [
        (
            "access-parked",
            ParkedEventsViewed(actor="olga", role="operator", reason="gap", shown=1, viewed_at=now),
        ),
        (
            about,
            ParkedEventsViewed(
                actor="ada", role="auditor", source="ledger", stream_id="entry-c", shown=3, viewed_at=now
            ),
        ),
        (
            about,
            ParkedRetryRequested(
                actor="olga",
                role="operator",
                source="ledger",
                stream_id="entry-c",
                streams=1,
                requested_at=now,
            ),
        ),
        (
            "access-parked",
            ParkedRetryRequested(
                actor="olga", role="operator", reason="rejected", streams=2, requested_at=now
            ),
        ),
    ]


async def test_what_found_nothing_leaves_no_word_of_the_callers_on_record(
    parked: ParkedEvents, access_log: EventStore
) -> None:
    await parked.streams(Wanted(reason=SECRET), OPERATOR)
    assert await parked.retry_all(SECRET, OPERATOR) == 0
    for look_or_ask in (parked.chain, parked.retry_stream):
        with pytest.raises(NotParked):
            await look_or_ask("ledger", SECRET, OPERATOR)
    assert await recorded(access_log) == []


async def test_a_request_that_cannot_be_recorded_is_not_made(
    hearing: Hearing, parked: ParkedEvents, owner: asyncpg.Connection
) -> None:
    await hearing.hear(stream("entry-a", 1, first_offset=1), handler=rejecting("entry-a"))
    await owner.execute("ALTER TABLE reader_access.events RENAME TO events_away")
    try:
        with pytest.raises(asyncpg.UndefinedTableError):
            await parked.retry_stream("ledger", "entry-a", OPERATOR)
    finally:
        await owner.execute("ALTER TABLE reader_access.events_away RENAME TO events")
    assert await hearing.tries() == [(1, None)]


# --- over HTTP -------------------------------------------------------------------------------------------


@pytest.fixture
async def hub(
    hearing: Hearing, clock: FixedClock, ledger_dsn: str, tmp_path: Path
) -> AsyncIterator[RunningHub]:
    """The two tiny services, with three chains parked at the reader."""
    await park_three_chains(hearing, clock)
    async with run_hub([LEDGER, READER], ledger_dsn, tmp_path, clock=clock) as running_hub:
        yield running_hub


async def test_an_operator_lists_groups_looks_and_asks_over_http(hub: RunningHub, hearing: Hearing) -> None:
    operator = hub.client("operator")
    listed = (await operator.get("/v1/parked/reader", params={"limit": 1})).json()
    assert listed["streams"] == [
        {
            "consumer": "reader",
            "source": "ledger",
            "stream_id": "entry-c",
            "version": 1,
            "reason": "rejected",
            "attempts": 1,
            "parked_at": "2026-03-02T12:00:00Z",
            "next_try_at": None,
            "events": 3,
        }
    ]
    rest = await operator.get("/v1/parked/reader", params={"cursor": listed["next_cursor"], "reason": "gap"})
    assert [row["stream_id"] for row in rest.json()["streams"]] == ["entry-b"]
    groups = (await operator.get("/v1/parked/reader/summary")).json()["groups"]
    assert [(group["reason"], group["streams"], group["events"]) for group in groups] == [
        ("rejected", 2, 4),
        ("gap", 1, 1),
    ]
    chain = (await operator.get("/v1/parked/reader/ledger/entry-c")).json()
    assert [(link["version"], link["reason"], link["event"]["open"]) for link in chain["links"]] == [
        (1, "rejected", {"amount": 1}),
        (2, "behind", {"amount": 1}),
        (3, "behind", {"amount": 1}),
    ]
    one = await operator.post("/v1/parked/reader/ledger/entry-b/retry")
    every = await operator.post("/v1/parked/reader/retry", json={"reason": "rejected", "source": "ledger"})
    none = await operator.post("/v1/parked/reader/retry", json={"reason": "behind"})
    assert [(a.status_code, a.json()) for a in (one, every, none)] == [
        (202, {"streams": 1}),
        (202, {"streams": 2}),
        (202, {"streams": 0}),
    ]
    async with running(hearing.consumer(ScriptedBus([]))):
        await hearing.until_parked([("entry-b", 2, "gap")])


@pytest.mark.parametrize(
    ("role", "claims", "method", "path", "body", "status", "slug"),
    [
        ("auditor", {}, "GET", "/v1/parked/reader", None, 200, None),
        ("auditor", {}, "GET", "/v1/parked/reader/ledger/entry-c", None, 200, None),
        ("auditor", {}, "POST", "/v1/parked/reader/ledger/entry-c/retry", None, 403, "forbidden"),
        ("auditor", {}, "POST", "/v1/parked/reader/retry", {"reason": "gap"}, 403, "forbidden"),
        ("assessor", {}, "GET", "/v1/parked/reader", None, 403, "forbidden"),
        ("operator", {"authority": "884"}, "GET", "/v1/parked/reader", None, 403, "bound-to-authority"),
        (
            "operator",
            {"authority": "884"},
            "GET",
            "/v1/parked/reader/summary",
            None,
            403,
            "bound-to-authority",
        ),
        ("operator", {}, "GET", "/v1/parked/elsewhere", None, 404, "service-not-here"),
        ("operator", {}, "GET", "/v1/parked/reader/ledger/entry-z", None, 404, "not-parked"),
        ("operator", {}, "POST", "/v1/parked/reader/ledger/entry-z/retry", None, 404, "not-parked"),
        ("operator", {}, "POST", "/v1/parked/reader/retry", {}, 422, "malformed"),
        ("operator", {}, "POST", "/v1/parked/reader/retry", {"reason": "Jane Doe"}, 422, "malformed"),
        ("operator", {}, "GET", "/v1/parked/reader?cursor=AAAA", None, 422, "cursor-unusable"),
        ("operator", {}, "GET", "/v1/parked/reader/ledger/nul%00nul", None, 422, "malformed"),
    ],
)
async def test_who_may_not_or_asks_for_what_is_not_there_is_told_so(
    hub: RunningHub,
    role: Any,
    claims: dict[str, str],
    method: str,
    path: str,
    body: Any,
    status: int,
    slug: str | None,
) -> None:
    answer = await hub.client(role, **claims).request(method, path, json=body)
    assert answer.status_code == status
    if slug is not None:
        assert answer.json()["type"] == f"urn:referral-hub:problem:{slug}"
