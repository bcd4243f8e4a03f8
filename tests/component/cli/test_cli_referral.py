"""``hub replay`` and ``hub walk``."""

import json
from typing import Any

import pytest

REFERRAL = "00000000-0000-0000-0000-0000000000a1"
UNKNOWN = "00000000-0000-0000-0000-0000000000ff"


async def replayed(story: Any, *arguments: str) -> dict[str, Any]:
    code, out, error = await story.hub("replay", REFERRAL, "--json", *arguments)
    assert (code, error) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


async def test_a_replay_shows_the_facts_of_all_services_as_recorded_and_what_they_come_to(story: Any) -> None:
    document = await replayed(story)
    assert (document["referral_id"], document["as_of"]) == (REFERRAL, None)
    assert [(fact["source"], fact["position"], fact["type"]) for fact in document["facts"]] == [
        ("intake", 1, "ReferralReceived"),
        ("triage", 1, "RiskGraded"),
        ("intake", 3, "InformationAdded"),
        ("intake", 4, "InformationAdded"),
        ("triage", 2, "NotShared"),
    ]
    referral, assessment = document["aggregates"]
    assert (referral["stream_id"], referral["version"]) == (f"referral-{REFERRAL}", 3)
    assert referral["state"]["versions"] == {"1": "00"}
    assert sorted(referral["state"]["information"].values()) == ["01", "02"]
    assert (assessment["version"], assessment["state"]["status"]) == (2, "not_shared")


async def test_a_replay_as_of_an_instant_knows_nothing_that_was_recorded_later(story: Any) -> None:
    document = await replayed(story, "--as-of", "2026-03-11T10:30:04+01:00")
    referral, assessment = document["aggregates"]
    assert [fact["type"] for fact in document["facts"]] == [
        "ReferralReceived",
        "RiskGraded",
        "InformationAdded",
    ]
    assert (referral["version"], assessment["version"], assessment["state"]["status"]) == (2, 1, "open")


async def test_a_replay_for_people_shows_sentences_and_states_and_nothing_sealed(story: Any) -> None:
    code, out, _ = await story.hub("replay", REFERRAL)
    assert code == 0
    assert "Decided by a person not to share: below threshold." in out
    assert "The assessment, version 2" in out
    assert "Quillfeather" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("replay", UNKNOWN), 1, "No service has recorded anything about a referral with this id."),
        (("walk", UNKNOWN), 1, "No service has recorded anything about a referral with this id."),
        (("replay", REFERRAL, "--as-of", "2026-03-11T09:30:00Z"), 1, "Nothing was known of this referral"),
        (("replay", REFERRAL, "--as-of", "2026-03-11T09:30:00"), 2, "an instant needs its offset from UTC"),
        (("replay", REFERRAL, "--as-of", "half past nine"), 2, "not an instant in ISO 8601"),
        (("replay", "not-an-id"), 2, "Invalid value for 'ID'"),
    ],
)
async def test_what_is_not_there_is_told_in_words(
    arguments: tuple[str, ...], code: int, said: str, story: Any
) -> None:
    found, out, error = await story.hub(*arguments)
    assert (found, out, said in error, "Traceback" in error) == (code, "", True, False)


async def test_a_walk_shows_each_hop_under_the_one_that_caused_it(story: Any) -> None:
    code, out, error = await story.hub("walk", REFERRAL)
    assert (code, error) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"The walk of referral {REFERRAL}",
        "",
        "e1   t+0 ms       intake          ReferralReceived",
        "e2   t+2.0 s      triage            RiskGraded (after e1)",
        "e3   t+5.0 s      triage              NotShared (after e2)",
        "e4   t+3.0 s      intake          InformationAdded",
        "e5   t+4.0 s      intake          InformationAdded",
    ]
