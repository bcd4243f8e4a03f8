import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from hub_schemas.referral import Referral

Json = dict[str, Any]
Read = Callable[[Json], Referral]
Path = tuple[str | int, ...]


def put(content: Any, path: Path, value: object) -> None:
    for step in path[:-1]:
        content = content[step]
    content[path[-1]] = value


def faults(content: Json) -> set[tuple[str, Path]]:
    with pytest.raises(ValidationError) as caught:
        Referral.model_validate_json(json.dumps(content))
    return {(fault["type"], fault["loc"]) for fault in caught.value.errors(include_input=False)}


def test_a_full_referral_survives_the_round_trip(full: Json, read: Read) -> None:
    document = read(full)
    again = Referral.model_validate_json(document.model_dump_json(exclude_none=True))
    assert again == document


def test_a_full_referral_leaves_no_field_empty(full: Json, read: Read) -> None:
    document = read(full)
    empty = {name for name, value in document if value is None or value == ()}
    assert empty == set()


def test_a_thin_referral_is_taken(thin: Json, read: Read) -> None:
    assert read(thin).subjects[0].name is None


def test_a_document_is_silent_when_printed(full: Json, read: Read) -> None:
    document = read(full)
    printed = f"{document} {document!r} {document.subjects} {document.subjects[0].name!r}"
    assert "Sampleton" not in printed
    assert "Ivy" not in printed


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("times", "submitted_at"), "2026-03-07T01:15:00", "timezone_aware"),
        (("times", "submitted_at"), 1_772_845_200, "datetime_type"),
        (("times", "submitted_at"), "1899-12-31T23:59:59+00:00", "greater_than_equal"),
        (("times", "submitted_at"), "2100-01-01T00:00:00+00:00", "less_than"),
        (("subjects", 0, "date_of_birth"), "1899-12-31", "greater_than_equal"),
        (("subjects", 0, "date_of_birth"), "15/05/2016", "date_parsing"),
        (("subjects", 0, "date_of_birth"), "2016-05-14", "birth_day_unknown"),
        (("subjects", 0, "expected_date_of_birth"), "2026-05-15", "born_expected"),
        (("subjects", 1, "date_of_birth"), "2026-01-01", "unborn_born"),
        (("subjects", 2, "date_of_birth"), "2026-03-08", "born_later"),
        (("others", 0, "date_of_birth"), "2026-03-08", "born_later"),
        (("subjects", 0, "nhs_number"), "9990012351", "nhs_number_check"),
        (("subjects", 0, "upn"), "A884200018001", "upn_check"),
        (("subjects", 0, "upn_unknown"), "UN1", "upn_known"),
        (("subjects", 0, "name", "given"), "I\x00vy", "string_pattern_mismatch"),
        (("subjects", 0, "name", "given"), "I\nvy", "string_pattern_mismatch"),
        (("subjects", 0, "name", "given"), "I\x85vy", "string_pattern_mismatch"),
        (("subjects", 0, "name", "given"), "   ", "string_too_short"),
        (("subjects", 0, "name", "given"), "v" * 201, "string_too_long"),
        (("incident", "narrative"), "a\x1b[2Jb", "string_pattern_mismatch"),
        (("incident", "narrative"), "n" * 50_001, "string_too_long"),
        (("subjects", 0, "ethnicity", "dfe"), "CNHE", "literal_error"),
        (("subjects", 0, "addresses", 0, "postcode"), "not a postcode", "string_pattern_mismatch"),
        (("concern", "factor_codes", 0), "8A", "literal_error"),
        (("concern", "referrals_3_months"), -1, "greater_than_equal"),
        (("source", "version"), 0, "greater_than_equal"),
        (("source", "version"), "1", "int_type"),
        (("source", "version"), True, "int_type"),
        (("document_version",), 2, "literal_error"),
        (("subjects",), [], "too_short"),
        (("household", 0), "nobody", "ref_unknown"),
        (("relationships", 0, "of"), "nobody", "ref_unknown"),
        (("alleged_perpetrators", 0, "victims", 0), "nobody", "ref_unknown"),
        (("services", 0, "subjects", 0), "other-1", "ref_unknown"),
        (("voice_of_child", 0, "subject"), "other-1", "ref_unknown"),
        (("voice_of_adult", 0, "subject"), "other-1", "ref_unknown"),
        (("concern", "missing", "episodes", 0, "subject"), "other-1", "ref_unknown"),
        (("others", 0, "ref"), "adult-1", "ref_repeated"),
        (("risk", "dash", "yes_count"), 3, "count_differs"),
        (("risk", "dash", "answers", 1, "question"), 1, "question_repeated"),
        (("unheard_of",), 1, "extra_forbidden"),
    ],
)
def test_a_fault_is_found_where_it_stands(full: Json, path: Path, value: object, fault: str) -> None:
    put(full, path, value)
    # A fault of several values together stands at their list, a prefix of the path.
    assert any(kind == fault and loc and path[: len(loc)] == loc for kind, loc in faults(full))


def test_an_address_must_say_whether_it_is_withheld(full: Json) -> None:
    del full["subjects"][0]["addresses"][0]["withheld"]
    assert ("missing", ("subjects", 0, "addresses", 0, "withheld")) in faults(full)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"document_version":',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"force": "\\ud800"}',
        b"[]",
        b"null",
    ],
)
def test_bytes_that_are_no_document_are_refused(raw: bytes) -> None:
    with pytest.raises(ValidationError):
        Referral.model_validate_json(raw)


def test_a_postcode_is_written_in_capitals(full: Json, read: Read) -> None:
    full["subjects"][2]["addresses"][0]["postcode"] = "hr1 2ab"
    assert read(full).subjects[2].addresses[0].postcode == "HR1 2AB"
