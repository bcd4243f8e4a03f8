"""What one partner may see of a referral about one subject: nobody else's secrets, nothing not needed.

All work on the canonical document as plain JSON values. Paths are canonical field names joined by dots,
without the places in lists: ``others.addresses.postcode``.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from hub_schemas.codes import Authority

Json = Any
Document = Mapping[str, Json]

WITHHELD_MARKER: Final = "Withheld, ask the hub"

_PERSON_FIELDS: Final = (
    "ref", "name", "aliases", "date_of_birth", "birth_day_unknown", "sex", "gender", "addresses", "phones",
    "email",
)  # fmt: skip
STRUCTURE: Final = frozenset(
    {
        "document_version", "sharing.recipients", "subjects.ref", "others.ref", "relationships.person",
        "relationships.of", "services.subjects", "voice_of_child.subject", "voice_of_adult.subject",
        "concern.missing.episodes.subject",
    }
)  # fmt: skip
"""Paths that hold the document together and say nothing by themselves."""


class Minimised(NamedTuple):
    """A document cut down, and the canonical paths that were cut or masked, sorted."""

    document: Document
    withheld_fields: tuple[str, ...]


def subject_index(document: Document, referral_id: UUID, subject_id: UUID) -> int | None:
    """Where this subject stands in the document; ``None`` when an amendment took them out.

    A subject's id is the version 5 UUID of their ref in the referral's namespace, as intake makes it.
    """
    refs = [subject["ref"] for subject in document["subjects"]]
    return next((n for n, ref in enumerate(refs) if uuid5(referral_id, ref) == subject_id), None)


def about_subject(document: Document, index: int) -> Document:
    """The document as it concerns one subject: the rest become people around them.

    What other subjects said, and services and missing episodes that are not this subject's, are left out:
    they go into those subjects' own contacts.
    """
    subject = document["subjects"][index]
    ref = subject["ref"]
    around = [other for n, other in enumerate(document["subjects"]) if n != index]
    restricted = dict(document)
    restricted["subjects"] = [subject]
    restricted["others"] = [_as_person(other) for other in around] + list(document.get("others") or ())
    for voices in ("voice_of_child", "voice_of_adult"):
        restricted[voices] = [voice for voice in document.get(voices) or () if voice["subject"] == ref]
    restricted["services"] = [
        service
        for service in document.get("services") or ()
        if not service.get("subjects") or ref in service["subjects"]
    ]
    concern = document.get("concern") or {}
    missing = concern.get("missing")
    if missing:
        episodes = [one for one in missing.get("episodes") or () if one["subject"] == ref]
        restricted["concern"] = {**concern, "missing": {**missing, "episodes": episodes}}
    return restricted


def mask_withheld_addresses(document: Document, receiving: Authority) -> Minimised:
    """Replace every withheld address that is not for this receiver by a marker.

    A withheld address stands only in its own person's contact, and only when that goes to the authority
    the person is in. The same place under another name (the incident's location, somebody else's home) is
    masked too, or the marker would hide nothing.
    """
    subject = document["subjects"][0]
    own = (subject.get("authority") or document["authority"]) == receiving
    others = document["others"]
    secret = {
        key
        for person in ([] if own else [subject]) + list(others)
        for address in person.get("addresses") or ()
        if address["withheld"]
        for key in _place_keys(address)
    }
    masked: set[str] = set()
    subject = subject if own else _mask_person(subject, "subjects", secret, masked)
    others = [_mask_person(other, "others", secret, masked) for other in others]
    incident = document.get("incident")
    result = {**document, "subjects": [subject], "others": others}
    if incident and not secret.isdisjoint(_place_keys(incident.get("location") or {})):
        result["incident"] = {**incident, "location": {"description": WITHHELD_MARKER}}
        masked.add("incident.location")
    return Minimised(result, tuple(sorted(masked)))


def keep_only(document: Document, receives: frozenset[str]) -> Minimised:
    """Keep the fields at or below these paths; whatever else is present is cut and named."""
    cut: set[str] = set()
    kept = _keep(document, "", receives, cut)
    return Minimised(kept or {}, tuple(sorted(cut)))


def present_paths(document: Document) -> Iterator[str]:
    """Every canonical path that holds something, perhaps more than once."""
    yield from _present(document, "")


@lru_cache(maxsize=8192)
def is_under(path: str, prefixes: frozenset[str]) -> bool:
    """Whether a path is one of these or lies below one."""
    parts = path.split(".")
    return any(".".join(parts[:length]) in prefixes for length in range(1, len(parts) + 1))


def _as_person(subject: Mapping[str, Json]) -> Mapping[str, Json]:
    return {field: subject[field] for field in _PERSON_FIELDS if field in subject}


def _place_keys(place: Mapping[str, Json]) -> Iterator[str]:
    """What a place can be recognised by. A postcode alone is enough to find a refuge."""
    if place.get("uprn"):
        yield f"uprn {place['uprn'].lstrip('0')}"
    if place.get("postcode"):
        yield f"postcode {place['postcode'].replace(' ', '').upper()}"


def _mask_person(
    person: Mapping[str, Json], group: str, secret: set[str], masked: set[str]
) -> Mapping[str, Json]:
    addresses = []
    for address in person.get("addresses") or ():
        if address["withheld"] or not secret.isdisjoint(_place_keys(address)):
            masked.add(f"{group}.addresses")
            addresses.append({"type": address["type"], "withheld": True, "lines": [WITHHELD_MARKER]})
        else:
            addresses.append(address)
    return {**person, "addresses": addresses} if addresses else person


def _keep(value: Json, path: str, receives: frozenset[str], cut: set[str]) -> Json:
    if path in STRUCTURE or is_under(path, receives):
        return value
    if isinstance(value, Mapping):
        kept = {
            field: inner
            for field, item in value.items()
            if not _is_empty(inner := _keep(item, f"{path}.{field}" if path else field, receives, cut))
        }
        return kept or None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [inner for item in value if not _is_empty(inner := _keep(item, path, receives, cut))]
    if not _is_empty(value):
        cut.add(path)
    return None


def _present(value: Json, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for field, item in value.items():
            yield from _present(item, f"{path}.{field}" if path else field)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _present(item, path)
    elif not _is_empty(value) and path not in STRUCTURE:
        yield path


def _is_empty(value: Json) -> bool:
    return value is None or (isinstance(value, Sequence | Mapping) and not value)
