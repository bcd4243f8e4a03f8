import json

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships none

from hub_intake.api.openapi import inlined, referral_body
from hub_schemas.referral import Referral


def test_the_documented_schema_needs_nothing_outside_itself() -> None:
    written = json.dumps(referral_body())
    assert "$ref" not in written
    assert "$defs" not in written


def test_the_documented_schema_takes_what_the_model_takes(full: dict[str, object]) -> None:
    validator = Draft202012Validator(inlined(Referral))
    assert list(validator.iter_errors(full)) == []
    assert [error.message for error in validator.iter_errors(full | {"unheard_of": 1})] == [
        "Additional properties are not allowed ('unheard_of' was unexpected)"
    ]
