"""What came of a run, checked against every record of it: poster, logs, views, the partners' own file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from hub_embedded.demo.tables import OversightRows
from hub_embedded.demo.tally import DeliveryTally, Tally
from hub_embedded.partner_simulators import Contact


class Finding(NamedTuple):
    """Something that is missing or there twice, and where."""

    kind: Literal["lost", "duplicated"]
    what: str
    record_id: UUID


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one run prints. Counts of referrals up to ``graded``, of deliveries from ``delivered`` on."""

    posted: int
    graded: int
    delivered: int
    acknowledged: int
    rejected: int
    breached: int
    lost: int
    duplicated: int
    seconds: float


def findings(
    accepted: Sequence[UUID],
    tally: Tally,
    oversight: OversightRows,
    contacts: Sequence[Contact],
    attempts: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """Everything that is not there exactly once.

    ``accepted`` are the referrals the hub said it had recorded; ``contacts`` and ``attempts`` (the hash of
    the bytes of each, by message id) come from the partners' own file.
    """
    return [
        *_referrals(accepted, tally, oversight),
        *_log_lines(tally, oversight),
        *_deliveries(tally, oversight),
        *_contacts(tally, contacts, attempts),
    ]


def report(posted: int, tally: Tally, found: Iterable[Finding], seconds: float) -> Report:
    """The figures of a run."""
    kinds = Counter(finding.kind for finding in found)
    return Report(
        posted=posted,
        graded=len(tally.graded),
        delivered=tally.taken_in,
        acknowledged=tally.ended("acknowledged"),
        rejected=tally.ended("rejected"),
        breached=tally.breached,
        lost=kinds["lost"],
        duplicated=kinds["duplicated"],
        seconds=round(seconds, 3),
    )


def _referrals(accepted: Sequence[UUID], tally: Tally, oversight: OversightRows) -> Iterator[Finding]:
    """Each accepted referral once in intake, graded once, once in oversight; and no other referral at all."""
    yield from _once("two records became one referral", Counter(accepted), accepted)
    yield from _once("referral in intake's log", tally.received, accepted)
    yield from _once("first grading in triage's log", tally.graded, accepted)
    yield from _once("referral in oversight's view", Counter(oversight.referrals), accepted)


def _once(what: str, seen: Mapping[UUID, int], wanted: Iterable[UUID]) -> Iterator[Finding]:
    expected = frozenset(wanted)
    for record_id in expected:
        if seen.get(record_id, 0) == 0:
            yield Finding("lost", what, record_id)
    for record_id, times in seen.items():
        if record_id not in expected or times > 1:
            yield Finding("duplicated", what, record_id)


def _log_lines(tally: Tally, oversight: OversightRows) -> Iterator[Finding]:
    """Positions without a gap, and a line of history for each event."""
    nobody = UUID(int=0)
    for source, last in tally.positions.items():
        if tally.events[source] != last:
            yield Finding("lost", f"position in the log of {source}", nobody)
        lines = oversight.lines.get(source, 0)
        if lines != last:
            yield Finding("lost" if lines < last else "duplicated", f"line of history from {source}", nobody)


def _deliveries(tally: Tally, oversight: OversightRows) -> Iterator[Finding]:
    """Each recipient of a share decision has one delivery, each of these one end; oversight has them all."""
    for pair in tally.wanted - tally.planned.keys():
        if pair[0] not in tally.withdrawn:
            yield Finding("lost", "delivery", pair[0])
    for pair, times in tally.planned.items():
        if times > 1:
            yield Finding("duplicated", "delivery", pair[0])
    for delivery_id, delivery in tally.deliveries.items():
        if delivery.ending is None:
            yield Finding("lost", "end of a delivery", delivery_id)
        if delivery.acknowledgements > 1:
            yield Finding("duplicated", "acknowledgement", delivery_id)
    yield from _once("delivery in oversight's view", Counter(oversight.deliveries), tally.deliveries)


def _contacts(
    tally: Tally, contacts: Sequence[Contact], attempts: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """One contact for each message, in the bytes the hub wrote down, and the same bytes at every try."""
    held = Counter(contact.message_id for contact in contacts)
    deliveries = {str(delivery.message_id): delivery for delivery in tally.deliveries.values()}
    for message_id, delivery in deliveries.items():
        if delivery.is_taken_in and held[message_id] == 0:
            yield Finding("lost", "contact at the partner", delivery.message_id)
    for message_id, times in held.items():
        if times > 1 or message_id not in deliveries:
            yield Finding("duplicated", "contact at the partner", UUID(message_id))
    for message_id, hashes in attempts.items():
        if not _is_one_message(hashes, deliveries.get(message_id)):
            yield Finding("duplicated", "other bytes under one message id", UUID(message_id))


def _is_one_message(hashes: Sequence[str], delivery: DeliveryTally | None) -> bool:
    return delivery is not None and set(hashes) <= {delivery.body_hash}
