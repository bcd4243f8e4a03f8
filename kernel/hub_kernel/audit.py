"""Verifying a log: every hash again from the stored bytes, the order, and the heads signed along the way.

A log is whole when its positions and each stream's versions count from 1 without a gap, every leaf hash is
that of its row (content, position, version, recorded instant), the peaks over all leaves are those of the
head row, and every head ever signed is on the way. The first three show what was changed behind the hub's
back; the signed heads, kept outside the database, show it also when every hash in the database was made
again. What was appended after the last signed head rests on the database alone.
"""

import asyncio
import hashlib
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Literal

import asyncpg
import msgspec

from hub_kernel.database import Connection
from hub_kernel.event_store.merkle import Frontier, micros
from hub_kernel.event_store.stored import Place, StoredHead, StoredLog, StoredRow
from hub_kernel.heads import SignedHead

FaultKind = Literal[
    "changed",
    "missing",
    "doubled",
    "reordered",
    "stream",
    "tail_removed",
    "rewritten",
    "head_row",
    "unsigned",
]

_encode: Final = msgspec.msgpack.Encoder().encode
_pack: Final = struct.Struct(">qqq").pack


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong first in a log, and at which position. ``detail`` is for people."""

    kind: FaultKind
    position: int
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one log: how many events were verified, and how far signed heads vouch for them."""

    log: str
    events: int
    signed_through: int
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Suspect:
    """The row that is not what its leaf hash says."""

    content: bytes
    place: Place


class LogAudit:
    """Verifies one log as its rows go by, keeping the tree's frontier and the heads, never the rows."""

    def __init__(self, heads: Iterable[SignedHead]) -> None:
        self.position = 0
        self.signed_through = 0
        self.suspect: Suspect | None = None
        self._heads = sorted(heads, key=lambda head: head.position)
        self._next_head = 0
        self._due = self._heads[0].position if self._heads else None
        self._frontier = Frontier()
        self._recorded_at: Any = None

    def check(self, rows: Sequence[StoredRow]) -> Fault | None:
        """Verify the next rows; the first fault among them, if any. The rows after it are not looked at."""
        if self._due == self.position and (fault := self._compare_signed()):
            return fault
        try:
            return self._check_rows(rows)
        except (TypeError, ValueError, OverflowError):  # an instant no event can have; the row is left of it
            return Fault("changed", self.position + 1, "a value in this row was changed to one nobody wrote")

    def finish(self, head: StoredHead | None) -> Fault | None:
        """Compare where the rows end with the head row and with the signed heads."""
        if self._due == self.position and (fault := self._compare_signed()):
            return fault
        if self._due is not None:
            signed = self._heads[self._next_head]
            return Fault(
                "tail_removed",
                self.position + 1,
                f"the log ends at {self.position}, but the head signed at {signed.at} stood at "
                f"{signed.position}: the tail was removed since",
            )
        return self._compare_head_row(head) or self._unsigned()

    def _check_rows(self, rows: Sequence[StoredRow]) -> Fault | None:
        add, sha256 = self._frontier.add, hashlib.sha256
        for position, version, recorded_at, leaf, *content in rows:
            if position != self.position + 1:
                return self._gap(position)
            digest = sha256(_encode((content[0], content[1:]))).digest()
            if sha256(b"\x00" + digest + _pack(position, version, micros(recorded_at))).digest() != leaf:
                self.suspect = Suspect(digest, Place(position, version, recorded_at, leaf))
                return Fault("changed", position, "the stored bytes are not those its leaf hash was made of")
            add(leaf)
            self.position, self._recorded_at = position, recorded_at
            if position == self._due and (fault := self._compare_signed()):
                return fault
        return None

    def _gap(self, position: int) -> Fault:
        if position > self.position:
            return Fault("missing", self.position + 1, f"no row stands here; the next is at {position}")
        return Fault("doubled", position, "a row too many stands here")

    def _compare_signed(self) -> Fault | None:
        """Hold every head signed at this position against the root of what was read so far."""
        root = self._frontier.root().hex()
        while self._due == self.position:
            head = self._heads[self._next_head]
            if head.root != root:
                first = self.signed_through + 1
                return Fault(
                    "rewritten",
                    min(first, self.position),
                    f"the events up to {self.position} are not those signed at {head.at}: one of them, from "
                    f"{first} on, was rewritten together with the hashes over it",
                )
            self._next_head += 1
            more = self._next_head < len(self._heads)
            self._due = self._heads[self._next_head].position if more else None
        self.signed_through = self.position
        return None

    def _compare_head_row(self, head: StoredHead | None) -> Fault | None:
        if head is None:
            return Fault("head_row", self.position, "the log has no head row, or more than one")
        if head.position > self.position:
            return Fault(
                "missing", self.position + 1, f"no row stands here; the head row says {head.position} do"
            )
        same = head.position == self.position and list(head.peaks) == self._frontier.peaks
        if not same or (self.position and head.recorded_at != self._recorded_at):
            return Fault("head_row", self.position, "the head row does not say what the rows come to")
        return None

    def _unsigned(self) -> Fault | None:
        if self._heads or not self.position:
            return None
        return Fault(
            "unsigned",
            1,
            "no signed head of this log is kept here: heads.jsonl is missing, or was cut",
        )


def origin_of(suspect: Suspect, places: Iterable[Place]) -> int | None:
    """Where a row that is out of place was recorded: the one of these places its content belongs to.

    The columns beside the content may have moved with it or stayed.
    """
    for place in places:
        both = (suspect.place, place)
        for version, recorded_at in product((one.version for one in both), (one.recorded_at for one in both)):
            there = _pack(place.position, version, micros(recorded_at))
            leaf = hashlib.sha256(b"\x00" + suspect.content + there).digest()
            if place.position != suspect.place.position and leaf in {one.leaf_hash for one in both}:
                return place.position
    return None


async def verify_log(
    pool: asyncpg.Pool, log: str, heads: Iterable[SignedHead], progress: Callable[[int], None]
) -> Verdict:
    """Verify one log as it stands now, and name its first fault; a running hub may go on appending.

    ``heads`` are those of this log, read before this is called; ``pool`` holds two connections or more.
    ``progress`` is told how many rows more were verified.
    """
    stored, audit = StoredLog(log), LogAudit(heads)
    async with (
        pool.acquire() as connection,
        pool.acquire() as beside,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        head = await stored.head(connection)
        through = head.position if head else sys.maxsize
        streams = asyncio.ensure_future(stored.first_broken_stream(beside, through))
        try:
            fault = await _read_through(audit, stored, connection, progress) or audit.finish(head)
            broken = await streams
        finally:
            streams.cancel()
            await asyncio.gather(streams, return_exceptions=True)
        if broken is not None and (fault is None or broken < fault.position):
            fault = Fault("stream", broken, "not the next version of its stream, or not its category")
        if fault is not None and audit.suspect is not None and fault.kind == "changed":
            fault = await _explained(fault, audit.suspect, stored, connection)
    return Verdict(log, audit.position, audit.signed_through, fault)


async def _read_through(
    audit: LogAudit, stored: StoredLog, connection: Connection, progress: Callable[[int], None]
) -> Fault | None:
    async with aclosing(stored.pages(connection)) as pages:
        async for page in pages:
            if fault := audit.check(page):
                return fault
            progress(len(page))
    return None


async def _explained(fault: Fault, suspect: Suspect, stored: StoredLog, connection: Connection) -> Fault:
    """The same fault, as a matter of order if the row is a good one from another place."""
    try:
        async with aclosing(stored.places(connection)) as pages:
            async for places in pages:
                if (origin := origin_of(suspect, places)) is not None:
                    return Fault("reordered", fault.position, f"what was recorded at {origin} stands here")
    except (TypeError, OverflowError):  # a row further on holds an instant no event can have
        pass
    return fault
