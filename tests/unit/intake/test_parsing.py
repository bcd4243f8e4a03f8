import json
from typing import Any

import pytest

from hub_intake.api.bodies import StatedRisk
from hub_intake.api.parsing import DocumentMalformed, read_referral
from hub_schemas.intake import RiskIndicators

Json = dict[str, Any]
SECRET = "Zebedee"  # noqa: S105  a stand-in for personal data


def fields_of(raw: bytes) -> dict[str, str]:
    with pytest.raises(DocumentMalformed) as caught:
        read_referral(raw)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return caught.value.fields


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"force": None}, {"force": "must be text"}),
        ({"source": SECRET}, {"source": "must be an object"}),
        ({"subjects": SECRET}, {"subjects": "must be a list"}),
        ({"subjects": []}, {"subjects": "must not be empty"}),
        ({"authority": SECRET}, {"authority": "must be one of '884', '885', '893' or '894'"}),
        ({"times": {"submitted_at": SECRET}}, {"times.submitted_at": "must be an instant in ISO 8601"}),
        (
            {"times": {"submitted_at": "2026-03-07T01:15:00"}},
            {"times.submitted_at": "must state its offset from UTC"},
        ),
        ({"unheard_of": SECRET}, {"unheard_of": "is not a field of this document"}),
        ({"Zebedee Sampleton": 1}, {"(unnamed)": "is not a field of this document"}),
        (
            {"subjects": [{"ref": "c", "kind": "child", "nhs_number": "9434765918", "upn": SECRET}]},
            {
                "subjects.0.nhs_number": "the check digit is wrong",
                "subjects.0.upn": "the check letter is wrong",
            },
        ),
        (
            {"subjects": [{"ref": "c", "kind": "child", "name": {"given": f"{SECRET}\x00"}}]},
            {"subjects.0.name.given": "has characters or a form this field does not take"},
        ),
        (
            {"household": [SECRET]},
            {"household.0": "nobody in this document has this ref"},
        ),
    ],
)
def test_a_fault_is_named_in_our_words_without_its_value(thin: Json, change: Json, fields: Json) -> None:
    named = fields_of(json.dumps(thin | change).encode())
    assert named == fields
    assert SECRET not in str(named)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is not valid JSON in UTF-8 at line 1 column 0"),
        (b'{"force": "Zebedee', "is not valid JSON in UTF-8 at line 1 column 18"),
        (b'{"force": "\xff"}', "is not valid JSON in UTF-8 at line 1 column 12"),
        ("{}".encode("utf-16"), "is not valid JSON in UTF-8 at line 1 column 1"),
        (b"[" * 1_000_000, "is not valid JSON in UTF-8 at line 1 column 202"),
        (b"[]", "must be an object"),
    ],
)
def test_bytes_that_are_no_json_object_say_where_reading_stopped(raw: bytes, words: str) -> None:
    assert fields_of(raw) == {"(document)": words}


def test_a_document_wrong_everywhere_names_fifty_fields_and_stops() -> None:
    raw = json.dumps({f"field_{number}": number for number in range(1_000)}).encode()
    assert len(fields_of(raw)) == 50


def test_stated_risk_has_exactly_the_indicators_of_the_fact() -> None:
    assert tuple(StatedRisk.model_fields) == RiskIndicators.__struct_fields__
    assert StatedRisk().indicators() == RiskIndicators()
