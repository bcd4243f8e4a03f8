from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import msgspec
import pytest

from hub_intake.views import InformationView, ReferralView, project
from hub_schemas.intake import (
    Document,
    Information,
    InformationAdded,
    IntakeFact,
    Reason,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
)

ID = UUID("01890000-0000-7000-8000-000000000001")
INFORMATION_ID = UUID("01890000-0000-7000-8000-000000000002")
NOW = datetime(2026, 3, 7, 1, 16, tzinfo=UTC)
HOUR = timedelta(hours=1)


def summary(version: int) -> ReferralSummary:
    return ReferralSummary(
        source_system="west-mercia-rms",
        source_version=version,
        content_hash=f"{version:02x}",
        document_version=1,
        force="west-mercia",
        authority="884",
        referral_type="child",
        incident_at=None,
        submitted_at=NOW,
        subjects=(),
    )


OPENED: tuple[IntakeFact, ...] = (
    ReferralReceived(
        referral_id=ID, received_at=NOW, summary=summary(1), sealed=Document(document=msgspec.Raw(b"1"))
    ),
    ReferralAmended(
        referral_id=ID, amended_at=NOW + HOUR, summary=summary(2), sealed=Document(document=msgspec.Raw(b"2"))
    ),
    InformationAdded(
        referral_id=ID,
        information_id=INFORMATION_ID,
        added_at=NOW + 2 * HOUR,
        content_hash="cc",
        sealed=Information(text="The school rang", reported_by="Duty desk"),
    ),
    ReferralWithdrawn(
        referral_id=ID, withdrawn_at=NOW + 3 * HOUR, reason_code="other", sealed=Reason(text="Sent twice")
    ),
)


def folded(facts: tuple[IntakeFact, ...]) -> ReferralView | None:
    return reduce(project, facts, None)


def test_an_opened_stream_shows_the_latest_content_whole() -> None:
    assert folded(OPENED) == ReferralView(
        referral_id=ID,
        status="withdrawn",
        received_at=NOW,
        changed_at=NOW + 3 * HOUR,
        summary=summary(2),
        information=(
            InformationView(
                information_id=INFORMATION_ID,
                added_at=NOW + 2 * HOUR,
                text="The school rang",
                reported_by="Duty desk",
            ),
        ),
        withdrawal_reason_code="other",
        withdrawal_reason="Sent twice",
        document=msgspec.Raw(b"2"),
    )


def test_an_unopened_stream_shows_no_sealed_words() -> None:
    closed = tuple(msgspec.structs.replace(fact, sealed=msgspec.UNSET) for fact in OPENED)
    assert folded(closed) == ReferralView(
        referral_id=ID,
        status="withdrawn",
        received_at=NOW,
        changed_at=NOW + 3 * HOUR,
        summary=summary(2),
        information=(InformationView(information_id=INFORMATION_ID, added_at=NOW + 2 * HOUR),),
        withdrawal_reason_code="other",
    )


def test_a_stream_that_does_not_begin_with_a_receipt_is_refused() -> None:
    with pytest.raises(ValueError, match="first fact"):
        folded(OPENED[1:])
