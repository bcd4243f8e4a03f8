from copy import deepcopy
from typing import Any
from uuid import UUID, uuid5

import pytest

from hub_partner_gateway.policies.minimising import (
    WITHHELD_MARKER,
    about_subject,
    is_under,
    keep_only,
    mask_withheld_addresses,
    present_paths,
    subject_index,
)

Document = dict[str, Any]
MASKED = {"type": "refuge", "withheld": True, "lines": [WITHHELD_MARKER]}


def test_a_subject_is_found_by_the_id_intake_gives_it(full: Document) -> None:
    intake_summary = pytest.importorskip("hub_intake.policies.summary")
    referral_id = UUID(int=1)
    for index, subject in enumerate(full["subjects"]):
        subject_id = intake_summary.subject_id_of(referral_id, subject["ref"])
        assert subject_index(full, referral_id, subject_id) == index
    assert subject_index(full, referral_id, uuid5(referral_id, "nobody")) is None


def test_the_other_subjects_become_people_around(full: Document) -> None:
    restricted = about_subject(full, 0)
    assert [subject["ref"] for subject in restricted["subjects"]] == ["child-1"]
    assert [other["ref"] for other in restricted["others"]] == ["unborn-1", "adult-1", "other-1"]
    assert "nhs_number" not in restricted["others"][1]


def test_what_another_subject_said_stays_out(full: Document) -> None:
    about_adult = about_subject(full, 2)
    assert about_adult["voice_of_child"] == []
    assert about_adult["services"] == []
    assert about_adult["concern"]["missing"]["episodes"] == []
    assert [voice["subject"] for voice in about_adult["voice_of_adult"]] == ["adult-1"]


def test_a_withheld_address_stands_in_its_own_persons_contact(full: Document) -> None:
    masked = mask_withheld_addresses(about_subject(full, 0), "884").document
    assert masked["subjects"][0]["addresses"] == full["subjects"][0]["addresses"]


def test_a_withheld_address_goes_to_no_other_authority(full: Document) -> None:
    masked = mask_withheld_addresses(about_subject(full, 0), "885")
    assert masked.document["subjects"][0]["addresses"] == [MASKED]
    assert "subjects.addresses" in masked.withheld_fields


def test_a_withheld_address_stands_in_no_other_contact(full: Document) -> None:
    for index in (1, 2):
        masked = mask_withheld_addresses(about_subject(full, index), "884")
        child = next(other for other in masked.document["others"] if other["ref"] == "child-1")
        assert child["addresses"] == [MASKED]
        assert "HR4 9ZZ" not in str(masked.document)


def test_the_same_place_under_another_name_is_masked_too(full: Document) -> None:
    full["incident"]["location"]["postcode"] = "hr49zz"
    full["others"][0]["addresses"] = [
        {"type": "home", "withheld": False, "lines": ["Example House"], "postcode": "HR4 9ZZ"}
    ]
    masked = mask_withheld_addresses(about_subject(full, 2), "884")
    assert masked.document["incident"]["location"] == {"description": WITHHELD_MARKER}
    assert masked.document["others"][2]["addresses"] == [{**MASKED, "type": "home"}]
    assert "Example House" not in str(masked.document)


def test_masking_leaves_the_document_as_it_was(full: Document) -> None:
    before = deepcopy(full)
    mask_withheld_addresses(about_subject(full, 2), "885")
    assert full == before


def test_what_the_profile_does_not_name_is_cut_and_named() -> None:
    document = {"force": "west", "risk": {"dash": {"yes_count": 2, "answers": [{"remark": "x"}]}}}
    kept = keep_only(document, frozenset({"risk.dash.yes_count"}))
    assert kept.document == {"risk": {"dash": {"yes_count": 2}}}
    assert kept.withheld_fields == ("force", "risk.dash.answers.remark")


def test_a_false_and_a_zero_are_present() -> None:
    assert set(present_paths({"a": False, "b": 0, "c": "", "d": None, "e": []})) == {"a", "b"}


def test_a_path_is_under_whole_names_only() -> None:
    prefixes = frozenset({"subjects.gp"})
    assert is_under("subjects.gp.name", prefixes)
    assert not is_under("subjects.gpx", prefixes)
