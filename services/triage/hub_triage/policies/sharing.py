"""Who is told by default, and which referrals are shared at once without waiting for a person."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import msgspec

from hub_schemas.codes import Agency, LevelOfNeed, SubjectKind
from hub_schemas.intake import SubjectSummary
from hub_schemas.triage import Recipient
from hub_triage.policies.calendars import Status
from hub_triage.policies.stamp import Stamp, stamp_of


class AtOnce(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share at once when the level of need is one of these and one of these agencies would be told."""

    id: str
    level_of_need: tuple[LevelOfNeed, ...]
    any_agency: tuple[Agency, ...]
    lawful_basis: str
    status: Status
    source: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    version: int
    agency_by_subject_kind: dict[SubjectKind, Agency]
    share_at_once: tuple[AtOnce, ...]


@dataclass(frozen=True, slots=True)
class SharingPolicy:
    """The sharing rules of one file."""

    stamp: Stamp
    agency_by_subject_kind: Mapping[SubjectKind, Agency]
    share_at_once: tuple[AtOnce, ...]

    @classmethod
    def load(cls, content: bytes) -> Self:
        """Read a sharing policy file. Raises ``msgspec.ValidationError`` when it is malformed."""
        file = msgspec.json.decode(content, type=_File)
        return cls(stamp_of(content), file.agency_by_subject_kind, file.share_at_once)

    def candidates(self, subjects: Iterable[SubjectSummary]) -> tuple[Recipient, ...]:
        """The service for each subject's kind in their own authority, in the order of the subjects."""
        return tuple(
            Recipient(
                subject_id=subject.subject_id,
                authority=subject.authority,
                agency=self.agency_by_subject_kind[subject.kind],
            )
            for subject in subjects
        )

    def at_once(self, level_of_need: LevelOfNeed, candidates: Iterable[Recipient]) -> AtOnce | None:
        """The rule by which such a referral waits for nobody, if there is one."""
        agencies = {recipient.agency for recipient in candidates}
        return next(
            (
                rule
                for rule in self.share_at_once
                if level_of_need in rule.level_of_need and agencies.intersection(rule.any_agency)
            ),
            None,
        )
