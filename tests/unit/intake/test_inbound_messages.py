from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_intake.api.by_bus.messages import authorization, named, read_message
from hub_intake.api.cloudevents import ContentTypeUnsupported, EnvelopeMalformed
from hub_kernel.ports import Message
from hub_schemas.inbound import INBOUND_TYPES, INFORMED, SUBMITTED

LIMIT = 1_000
HEADERS = {
    "ce_specversion": b"1.0",
    "ce_id": b"m-1",
    "ce_source": b"/rms",
    "ce_type": SUBMITTED.encode(),
    "content-type": b"application/json",
}
REFERRAL = UUID(int=7)


def message(value: bytes = b"{}", offset: int = 5, **change: bytes) -> Message:
    headers = tuple(
        (HEADERS | {name.replace("content_", "content-"): v for name, v in change.items()}).items()
    )
    return Message("referrals.inbound", 1, offset, headers, value, datetime(2026, 3, 7, tzinfo=UTC))


def test_a_message_has_one_id_of_ours_however_often_it_is_read_and_no_other_has_it() -> None:
    ids = [named(one, LIMIT).own_id for one in (message(), message(value=b"[]"), message(offset=6))]
    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


def test_a_message_says_what_it_asks_for() -> None:
    posted = read_message(message(ce_type=INFORMED.encode(), ce_subject=str(REFERRAL).encode()), LIMIT)
    assert (posted.kind, posted.about, posted.data) == (INFORMED, REFERRAL, b"{}")


@pytest.mark.parametrize("called", [b"Jane Doe", b"", b"x" * 101, b"a\n", "é".encode()])
def test_what_may_not_be_an_id_is_never_repeated(called: bytes) -> None:
    assert named(message(ce_id=called), LIMIT).message_id == "1-4"


names = st.sampled_from([*HEADERS, "authorization", "ce_subject", "CE_ID"]) | st.text(max_size=8)
values = st.sampled_from(
    [b"1.0", b"application/cloudevents+json", b"Bearer abc", *(kind.encode() for kind in INBOUND_TYPES)]
) | st.binary(max_size=20)


@given(st.lists(st.tuples(names, values), max_size=12), st.binary(max_size=60))
def test_whatever_a_message_is_it_is_read_or_refused_in_our_words(
    headers: list[tuple[str, bytes]], value: bytes
) -> None:
    odd = Message("referrals.inbound", 0, 1, tuple(headers), value)
    assert named(odd, LIMIT).message_id
    for read in (authorization, lambda one: read_message(one, LIMIT)):
        with suppress(EnvelopeMalformed, ContentTypeUnsupported):
            read(odd)
