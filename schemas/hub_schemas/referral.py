"""The canonical referral document: one police report to the hub, as intake reads, seals and hands on.

Almost everything is optional: real referrals are thin, and the completeness score says what is missing rather
than turning a frightened child away. Parse with ``Referral.model_validate_json``; instants must state their
offset. ``None`` means not stated, never "no".
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hub_schemas.codes import Authority, ReferralType
from hub_schemas.referral_fields import Day, Faults, Instant, Part, RecordId, Ref, SystemCode
from hub_schemas.referral_people import Person, Subject
from hub_schemas.referral_sections import (
    Actions,
    AllegedPerpetrator,
    Concern,
    Incident,
    Referrer,
    Relationship,
    Risk,
    Service,
    Sharing,
    VoiceOfAdult,
    VoiceOfChild,
)

Marking = Literal["OFFICIAL", "OFFICIAL-SENSITIVE"]


class Source(Part):
    """The record this came from. ``version`` counts the record's versions from 1; a later one amends."""

    system: SystemCode
    record_id: RecordId
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    supersedes: RecordId | None = None


class Times(Part):
    """When it happened, when police were told, and when the records system sent it."""

    submitted_at: Instant
    reported_at: Instant | None = None
    occurred_at: Instant | None = None


class Referral(Part):
    """One police report to the hub, whole. Every person stands once, in ``subjects`` or ``others``."""

    document_version: Literal[1]
    source: Source
    force: SystemCode
    authority: Authority
    referral_type: ReferralType
    times: Times
    marking: Marking = "OFFICIAL-SENSITIVE"
    incident: Incident | None = None
    referrer: Referrer | None = None
    subjects: Annotated[tuple[Subject, ...], Field(min_length=1, max_length=30)]
    others: Annotated[tuple[Person, ...], Field(max_length=60)] = ()
    relationships: Annotated[tuple[Relationship, ...], Field(max_length=300)] = ()
    household: Annotated[tuple[Ref, ...], Field(max_length=90)] = ()
    alleged_perpetrators: Annotated[tuple[AllegedPerpetrator, ...], Field(max_length=30)] = ()
    services: Annotated[tuple[Service, ...], Field(max_length=60)] = ()
    concern: Concern | None = None
    voice_of_child: Annotated[tuple[VoiceOfChild, ...], Field(max_length=30)] = ()
    voice_of_adult: Annotated[tuple[VoiceOfAdult, ...], Field(max_length=30)] = ()
    risk: Risk | None = None
    actions: Actions | None = None
    sharing: Sharing | None = None

    @model_validator(mode="after")
    def _people_are_coherent(self) -> Self:
        faults = Faults()
        self._check_refs(faults)
        self._check_births(faults)
        faults.raise_any("Referral")
        return self

    def _check_refs(self, faults: Faults) -> None:
        people: set[Ref] = set()
        for group, persons in (("subjects", self.subjects), ("others", self.others)):
            for index, person in enumerate(persons):
                if person.ref in people:
                    faults.add((group, index, "ref"), "ref_repeated", "another person has this ref")
                people.add(person.ref)
        for loc, ref, among in self._pointers({subject.ref for subject in self.subjects}, people):
            if ref not in among:
                faults.add(loc, "ref_unknown", "nobody in this document has this ref")

    def _pointers(
        self, subjects: set[Ref], people: set[Ref]
    ) -> list[tuple[tuple[str | int, ...], Ref, set[Ref]]]:
        """Every place that points at a person: its path, the ref, and the refs it may point at."""
        found: list[tuple[tuple[str | int, ...], Ref, set[Ref]]] = []
        for index, tie in enumerate(self.relationships):
            found.append((("relationships", index, "person"), tie.person, people))
            found.append((("relationships", index, "of"), tie.of, people))
        found += [(("household", index), ref, people) for index, ref in enumerate(self.household)]
        for index, perpetrator in enumerate(self.alleged_perpetrators):
            at = ("alleged_perpetrators", index)
            found.append(((*at, "person"), perpetrator.person, people))
            found += [((*at, "victims", n), ref, people) for n, ref in enumerate(perpetrator.victims)]
        for index, service in enumerate(self.services):
            found += [
                (("services", index, "subjects", n), ref, subjects) for n, ref in enumerate(service.subjects)
            ]
        found += [
            (("voice_of_child", index, "subject"), voice.subject, subjects)
            for index, voice in enumerate(self.voice_of_child)
        ]
        found += [
            (("voice_of_adult", index, "subject"), voice.subject, subjects)
            for index, voice in enumerate(self.voice_of_adult)
        ]
        if self.concern is not None and self.concern.missing is not None:
            found += [
                (("concern", "missing", "episodes", index, "subject"), episode.subject, subjects)
                for index, episode in enumerate(self.concern.missing.episodes)
            ]
        return found

    def _check_births(self, faults: Faults) -> None:
        latest: Day = self.times.submitted_at.date()
        for group, persons in (("subjects", self.subjects), ("others", self.others)):
            for index, person in enumerate(persons):
                if person.date_of_birth is not None and person.date_of_birth > latest:
                    faults.add(
                        (group, index, "date_of_birth"), "born_later", "it is after the referral was sent"
                    )
