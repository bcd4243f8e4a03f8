from collections.abc import Mapping
from typing import Any, get_args

import pytest

from hub_schemas import referral_codes as codes

LISTS = [
    (codes.FactorCode, codes.FACTORS, 42),
    (codes.AbuseCategory, codes.ABUSE_CATEGORIES, 5),
    (codes.AdultAbuseType, codes.ADULT_ABUSE_TYPES, 10),
    (codes.PoliceEthnicity, codes.POLICE_ETHNICITIES, 17),
    (codes.DfeEthnicity, codes.DFE_ETHNICITIES, 20),
    (codes.DisabilityCode, codes.DISABILITIES, 13),
    (codes.Sex, codes.SEXES, 3),
    (codes.Gender, codes.GENDERS, 4),
    (codes.UpnUnknown, codes.UPN_UNKNOWN_REASONS, 5),
    (codes.ContactSource, codes.CONTACT_SOURCES, 22),
]


@pytest.mark.parametrize(("words", "meanings", "size"), LISTS)
def test_every_code_has_one_meaning_of_its_own(words: Any, meanings: Mapping[str, str], size: int) -> None:
    assert list(meanings) == list(get_args(words))
    assert len(meanings) == size
    assert len(set(meanings.values())) == size
    assert all(meaning.strip() == meaning != "" for meaning in meanings.values())


def test_the_crosswalk_takes_every_dfe_code_to_a_police_code_and_reaches_each() -> None:
    assert set(codes.ETHNICITY_CROSSWALK) == set(codes.DFE_ETHNICITIES)
    assert {crossing.police for crossing in codes.ETHNICITY_CROSSWALK.values()} == set(
        codes.POLICE_ETHNICITIES
    )


def test_the_crosswalk_owns_up_to_what_it_loses() -> None:
    lossy = {dfe for dfe, crossing in codes.ETHNICITY_CROSSWALK.items() if crossing.lossy}
    assert lossy == {"WIRT", "WROM", "REFU", "NOBT"}


def test_a_crossing_without_loss_can_be_taken_back() -> None:
    exact = [crossing.police for crossing in codes.ETHNICITY_CROSSWALK.values() if not crossing.lossy]
    assert len(exact) == len(set(exact))


def test_police_are_contact_source_six() -> None:
    assert codes.CONTACT_SOURCES[codes.POLICE_CONTACT_SOURCE] == "Police"
