from typing import Any

import asyncpg
import pytest

from hub_kernel.audit import Verdict, verify_log
from hub_kernel.database import open_pool
from hub_kernel.event_store.merkle import Frontier, content_hash_of, leaf_hash
from hub_kernel.event_store.reading import Reader
from hub_kernel.heads import SignedHead

PLANTED = {
    "a byte of the open part": (
        "UPDATE intake.events SET open = set_byte(open, 20, get_byte(open, 20) # 1) WHERE position = 3",
        ("changed", 3),
    ),
    "a byte of the sealed part": (
        "UPDATE intake.events SET sealed = set_byte(sealed, 9, get_byte(sealed, 9) # 1) WHERE position = 5",
        ("changed", 5),
    ),
    "a byte of a leaf hash": (
        """UPDATE intake.events SET leaf_hash = set_byte(leaf_hash, 0, get_byte(leaf_hash, 0) # 1)
            WHERE position = 3""",
        ("changed", 3),
    ),
    "who did it": ("UPDATE intake.events SET actor = 'somebody' WHERE position = 6", ("changed", 6)),
    "when it was true, by a microsecond": (
        "UPDATE intake.events SET occurred_at = occurred_at + interval '1 microsecond' WHERE position = 3",
        ("changed", 3),
    ),
    "when it was true, to before any calendar": (
        "UPDATE intake.events SET occurred_at = '0100-01-01 BC' WHERE position = 3",
        ("changed", 3),
    ),
    "when it was recorded, to never": (
        "UPDATE intake.events SET recorded_at = 'infinity' WHERE position = 3",
        ("changed", 3),
    ),
    "a version, to less than nothing": (
        "UPDATE intake.events SET version = -1 WHERE position = 4",
        ("changed", 4),
    ),
    "the category": ("UPDATE intake.events SET category = 'other' WHERE position = 6", ("stream", 6)),
    "a row taken out": ("DELETE FROM intake.events WHERE position = 3", ("missing", 3)),
    "the first row taken out": ("DELETE FROM intake.events WHERE position = 1", ("missing", 1)),
    "the tail taken out": ("DELETE FROM intake.events WHERE position > 5", ("tail_removed", 6)),
    "everything taken out": ("TRUNCATE intake.events", ("tail_removed", 1)),
    "a row put in twice": (
        """ALTER TABLE intake.events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_event_id_key,
                  DROP CONSTRAINT events_stream_id_version_key;
           INSERT INTO intake.events SELECT * FROM intake.events WHERE position = 3""",
        ("doubled", 3),
    ),
    "two rows in each other's place": (
        """UPDATE intake.events SET position = -2 WHERE position = 2;
           UPDATE intake.events SET position = 2 WHERE position = 6;
           UPDATE intake.events SET position = 6 WHERE position = -2""",
        ("reordered", 2),
    ),
    "the contents of two rows exchanged, hashes left in place": (
        """ALTER TABLE intake.events DROP CONSTRAINT events_event_id_key,
                  DROP CONSTRAINT events_stream_id_version_key;
           UPDATE intake.events AS e
              SET (stream_id, version, event_id, category, type, schema_version, occurred_at, correlation_id,
                   causation_id, actor, traceparent, open, key_id, sealed)
                = (SELECT stream_id, version, event_id, category, type, schema_version, occurred_at,
                          correlation_id, causation_id, actor, traceparent, open, key_id, sealed
                     FROM intake.events WHERE position = 8 - e.position)
            WHERE position IN (2, 6)""",
        ("reordered", 2),
    ),
    "the peaks of the head row": (
        "UPDATE intake.log_head SET peaks[1] = set_byte(peaks[1], 0, get_byte(peaks[1], 0) # 1)",
        ("head_row", 7),
    ),
    "the position of the head row, back": ("UPDATE intake.log_head SET position = 6", ("head_row", 7)),
    "the position of the head row, on": ("UPDATE intake.log_head SET position = 8", ("missing", 8)),
    "the instant of the head row": (
        "UPDATE intake.log_head SET recorded_at = recorded_at - interval '1 day'",
        ("head_row", 7),
    ),
    "no head row": ("DELETE FROM intake.log_head", ("head_row", 7)),
}


async def verified(recorded: Any, log: str = "intake", *, heads: list[SignedHead] | None = None) -> Verdict:
    if heads is None:
        heads = list(recorded.heads.read(log))
    pool = await open_pool(recorded.dsn, role=None, size=2)
    try:
        return await verify_log(pool, log, heads, lambda _rows: None)
    finally:
        pool.terminate()


async def rewrite_hashes(recorded: Any) -> None:
    """What an attacker with the database alone can do: make every hash again over what stands there."""
    connection = await asyncpg.connect(recorded.dsn)
    frontier = Frontier()
    for event in await Reader("intake").log(connection, 0):
        leaf = leaf_hash(content_hash_of(event), event.position, event.version, event.recorded_at)
        await connection.execute(
            "UPDATE intake.events SET leaf_hash = $1 WHERE position = $2", leaf, event.position
        )
        frontier.add(leaf)
        recorded_at = event.recorded_at
    await connection.execute(
        "UPDATE intake.log_head SET position = $1, peaks = $2, recorded_at = $3",
        frontier.size,
        frontier.peaks,
        recorded_at,
    )
    await connection.close()


async def test_logs_nobody_touched_are_whole_and_signed_to_their_end(story: Any) -> None:
    verdicts = [await verified(story, log) for log in ("intake", "triage", "partner_gateway_access")]
    assert verdicts == [
        Verdict("intake", 7, 7, None),
        Verdict("triage", 3, 3, None),
        Verdict("partner_gateway_access", 0, 0, None),
    ]


async def test_what_was_recorded_after_the_last_signed_head_is_verified_but_not_vouched_for(
    story: Any,
) -> None:
    heads = [head for head in story.heads.read("intake") if head.position <= 4]
    assert await verified(story, heads=heads) == Verdict("intake", 7, 4, None)


@pytest.mark.parametrize(("sql", "expected"), PLANTED.values(), ids=PLANTED.keys())
async def test_the_first_fault_is_named_with_its_position(
    sql: str, expected: tuple[str, int], story: Any
) -> None:
    await story.tamper(sql)
    fault = (await verified(story)).fault
    assert fault is not None
    assert (fault.kind, fault.position) == expected


async def test_of_two_faults_the_first_is_named(story: Any) -> None:
    await story.tamper(
        """UPDATE intake.events SET actor = 'x' WHERE position = 6;
           DELETE FROM intake.events WHERE position = 4"""
    )
    fault = (await verified(story)).fault
    assert fault is not None
    assert (fault.kind, fault.position) == ("missing", 4)


async def test_a_reordered_row_says_where_it_was_recorded(story: Any) -> None:
    await story.tamper(PLANTED["two rows in each other's place"][0])
    fault = (await verified(story)).fault
    assert fault is not None
    assert fault.detail == "what was recorded at 6 stands here"


async def test_a_tail_removed_with_every_hash_made_again_is_caught_by_the_signed_head(story: Any) -> None:
    await story.tamper("DELETE FROM intake.events WHERE position > 5")
    await rewrite_hashes(story)
    last = list(story.heads.read("intake"))[-1]
    fault = (await verified(story)).fault
    assert fault is not None
    assert (fault.kind, fault.position, fault.detail) == (
        "tail_removed",
        6,
        f"the log ends at 5, but the head signed at {last.at} stood at 7: the tail was removed since",
    )


async def test_a_tail_removed_after_the_last_signed_head_is_caught_by_the_head_row(story: Any) -> None:
    await story.tamper("DELETE FROM intake.events WHERE position > 5")
    heads = [head for head in story.heads.read("intake") if head.position <= 4]
    fault = (await verified(story, heads=heads)).fault
    assert fault is not None
    assert (fault.kind, fault.position) == ("missing", 6)


async def test_a_rewritten_event_with_every_hash_made_again_is_caught_by_the_signed_head(story: Any) -> None:
    await story.tamper("UPDATE intake.events SET actor = 'somebody' WHERE position = 4")
    await rewrite_hashes(story)
    second = next(head for head in story.heads.read("intake") if head.position == 4)
    fault = (await verified(story)).fault
    assert fault is not None
    assert (fault.kind, fault.position, fault.detail) == (
        "rewritten",
        3,
        (
            f"the events up to 4 are not those signed at {second.at}: one of them, from 3 on, was rewritten "
            "together with the hashes over it"
        ),
    )


async def test_a_gap_in_a_stream_shows_even_where_every_hash_agrees(story: Any) -> None:
    await story.tamper("UPDATE intake.events SET version = 9 WHERE position = 4")
    await rewrite_hashes(story)
    heads = [head for head in story.heads.read("intake") if head.position <= 2]
    fault = (await verified(story, heads=heads)).fault
    assert fault is not None
    assert (fault.kind, fault.position) == ("stream", 4)


async def test_a_log_without_any_signed_head_is_not_called_whole(story: Any) -> None:
    fault = (await verified(story, heads=[])).fault
    assert fault is not None
    assert (fault.kind, fault.position) == ("unsigned", 1)
