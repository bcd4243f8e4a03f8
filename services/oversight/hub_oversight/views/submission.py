"""Intake's part of a referral's view: what was received, about how many, and whether it was taken back."""

from datetime import datetime
from typing import Final, assert_never, get_args

import msgspec

from hub_schemas.codes import AgeBand, Authority, ReferralType
from hub_schemas.intake import (
    InformationAdded,
    IntakeFact,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
)

AGE_BANDS: Final[tuple[AgeBand, ...]] = get_args(AgeBand)
"""Youngest first; "unknown" stands last, so it speaks only when no age is known."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What the records system sent, in its latest version. ``subjects`` counts them."""

    received_at: datetime
    authority: Authority
    referral_type: ReferralType
    subjects: int
    youngest: AgeBand
    withdrawn_at: datetime | None = None


def submit(part: Submission | None, fact: IntakeFact) -> Submission:
    """Fold one fact of intake. The first of a stream is ``ReferralReceived``."""
    if isinstance(fact, ReferralReceived):
        return _read(fact.summary, received_at=fact.received_at)
    if part is None:
        raise ValueError(f"a referral cannot begin with {type(fact).__name__}")
    match fact:
        case ReferralAmended():
            amended = _read(fact.summary, received_at=part.received_at)
            return msgspec.structs.replace(amended, withdrawn_at=part.withdrawn_at)
        case InformationAdded():
            return part
        case ReferralWithdrawn():
            return msgspec.structs.replace(part, withdrawn_at=fact.withdrawn_at)
        case _:
            assert_never(fact)


def youngest_of(summary: ReferralSummary) -> AgeBand:
    """The age band of the youngest subject; "unknown" when no subject's age is known."""
    bands = (subject.age_band for subject in summary.subjects)
    return min(bands, key=AGE_BANDS.index, default="unknown")


def _read(summary: ReferralSummary, *, received_at: datetime) -> Submission:
    return Submission(
        received_at=received_at,
        authority=summary.authority,
        referral_type=summary.referral_type,
        subjects=len(summary.subjects),
        youngest=youngest_of(summary),
    )
