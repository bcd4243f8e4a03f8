import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from hub_intake.service import SERVICE
from hub_kernel.clock import FixedClock
from hub_kernel.testing import RunningHub

Json = dict[str, Any]
FULL = Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json"
NOW = datetime(2026, 3, 7, 1, 16, tzinfo=UTC)
RMS = "west-mercia-rms"
PERSONAL = ("Sampleton", "Ivy", "Example Row", "9990012350", "22/81234/26", "shouting", "900123")


def full(**change: Any) -> Json:
    document: Json = json.loads(FULL.read_bytes())
    return document | change


def version(number: int, **change: Any) -> Json:
    document = full(**change)
    document["source"]["version"] = number
    return document


@pytest.fixture
async def hub(start_hub: Any) -> RunningHub:
    running: RunningHub = await start_hub([SERVICE], clock=FixedClock(NOW))
    return running


@pytest.fixture
async def rms(hub: RunningHub) -> httpx.AsyncClient:
    return hub.client("records_system", subject="rms-gateway", system=RMS)


async def stored(hub: RunningHub) -> list[asyncpg.Record]:
    rows = await hub.hub.contexts["intake"].pool.fetch("SELECT * FROM intake.events ORDER BY position")
    return list(rows)


async def reads(hub: RunningHub) -> list[Json]:
    rows = await hub.hub.contexts["intake"].pool.fetch(
        "SELECT open FROM intake_access.events ORDER BY position"
    )
    return [json.loads(row["open"]) for row in rows]


async def post_full(rms: httpx.AsyncClient) -> str:
    answer = await rms.post("/v1/referrals", json=full())
    assert answer.status_code == 201
    referral_id: str = answer.json()["referral_id"]
    return referral_id


async def test_a_new_referral_is_recorded_and_told_how_complete_it_is(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    answer = await rms.post("/v1/referrals", json=full())
    referral_id = answer.json()["referral_id"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/referrals/{referral_id}"
    assert answer.json() == {
        "referral_id": referral_id,
        "outcome": "recorded",
        "completeness_percent": 100,
    }
    [row] = await stored(hub)
    assert row["stream_id"] == f"referral-{referral_id}"
    assert row["type"] == "ReferralReceived"
    assert row["correlation_id"] == UUID(referral_id)
    assert row["actor"] == "rms-gateway"
    assert row["occurred_at"] == NOW


async def test_the_same_record_twice_is_the_same_referral(hub: RunningHub, rms: httpx.AsyncClient) -> None:
    first = await rms.post("/v1/referrals", json=full())
    # Other spacing and order of keys are the same content.
    again = await rms.post(
        "/v1/referrals",
        content=json.dumps(dict(reversed(full().items())), indent=2),
        headers={"content-type": "application/json; charset=utf-8"},
    )
    assert (again.status_code, again.json()) == (200, first.json() | {"outcome": "repeated"})
    assert len(await stored(hub)) == 1


async def test_forty_posts_of_one_record_at_once_make_one_referral(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(*(rms.post("/v1/referrals", json=full()) for _ in range(40)))
    assert sorted(answer.status_code for answer in answers) == [200] * 39 + [201]
    assert len(await stored(hub)) == 1


async def test_changed_content_under_the_same_version_says_how_to_amend(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    await post_full(rms)
    answer = await rms.post("/v1/referrals", json=full(authority="885"))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:referral-hub:problem:referral-differs",
        "title": "Referral differs",
        "status": 409,
        "detail": (
            "This record was already received with other content. To change it, raise source.version and "
            "post the whole document to /v1/referrals/{id}/amendments."
        ),
    }
    assert len(await stored(hub)) == 1


async def test_nothing_personal_stands_in_clear_in_the_database_or_the_answer(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    referral_id = await post_full(rms)
    await rms.post(
        f"/v1/referrals/{referral_id}/information",
        json={"information_id": str(UUID(int=1)), "text": "Ivy Sampleton rang from Example Row"},
    )
    await rms.post(
        f"/v1/referrals/{referral_id}/withdrawal", json={"reason_code": "other", "reason": "Not Ivy"}
    )
    seen = (
        repr([dict(row) for row in await stored(hub)]) + (await rms.get(f"/v1/referrals/{referral_id}")).text
    )
    assert len(await stored(hub)) == 3
    assert [word for word in PERSONAL if word in seen] == []


async def test_a_structured_cloudevent_carries_the_same_document(rms: httpx.AsyncClient) -> None:
    first = await rms.post("/v1/referrals", json=full())
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/rms",
        "type": "referral-hub.referral.submitted.v1",
        "data": full(),
    }
    answer = await rms.post(
        "/v1/referrals", content=json.dumps(event), headers={"content-type": "application/cloudevents+json"}
    )
    assert (answer.status_code, answer.json()["referral_id"]) == (200, first.json()["referral_id"])


async def test_a_binary_cloudevent_carries_the_same_document(rms: httpx.AsyncClient) -> None:
    first = await rms.post("/v1/referrals", json=full())
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "/rms",
        "ce-type": "referral-hub.referral.submitted.v1",
    }
    answer = await rms.post("/v1/referrals", json=full(), headers=attributes)
    assert (answer.status_code, answer.json()["referral_id"]) == (200, first.json()["referral_id"])
    wrong = await rms.post("/v1/referrals", json=full(), headers=attributes | {"ce-type": "else"})
    assert (wrong.status_code, wrong.json()["errors"]) == (
        422,
        {"ce-type": "must be referral-hub.referral.submitted.v1"},
    )


async def test_a_referral_is_amended_informed_and_withdrawn_each_once(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    referral_id = await post_full(rms)
    information = {
        "information_id": str(UUID(int=7)),
        "text": "She has not come home.",
        "risk": {"currently_missing": True},
    }
    steps = [
        ("amendments", version(2, authority="885")),
        ("information", information),
        ("withdrawal", {"reason_code": "duplicate"}),
    ]
    for path, body in steps:
        first = await rms.post(f"/v1/referrals/{referral_id}/{path}", json=body)
        again = await rms.post(f"/v1/referrals/{referral_id}/{path}", json=body)
        assert (first.status_code, first.json()["outcome"]) == (201, "recorded")
        assert (again.status_code, again.json()["outcome"]) == (200, "repeated")
    assert [row["type"] for row in await stored(hub)] == [
        "ReferralReceived",
        "ReferralAmended",
        "InformationAdded",
        "ReferralWithdrawn",
    ]
    after = await rms.post(f"/v1/referrals/{referral_id}/amendments", json=version(3))
    assert (after.status_code, after.json()["type"]) == (
        409,
        "urn:referral-hub:problem:referral-already-withdrawn",
    )


async def test_a_document_of_another_record_does_not_amend(rms: httpx.AsyncClient) -> None:
    referral_id = await post_full(rms)
    document = version(2)
    document["source"]["record_id"] = "22/99999/26"
    answer = await rms.post(f"/v1/referrals/{referral_id}/amendments", json=document)
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        {"source.record_id": "is not the record of this referral"},
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("amendments", version(2, source=full()["source"] | {"system": "other-rms", "version": 2})),
        ("information", {"information_id": str(UUID(int=1)), "text": "Mine now"}),
        ("withdrawal", {"reason_code": "duplicate"}),
    ],
)
async def test_another_systems_referral_is_not_found(
    hub: RunningHub, rms: httpx.AsyncClient, path: str, body: Json
) -> None:
    referral_id = await post_full(rms)
    other = hub.client("records_system", system="other-rms")
    taken = await other.post(f"/v1/referrals/{referral_id}/{path}", json=body)
    none = await other.post(f"/v1/referrals/{UUID(int=9)}/{path}", json=body)
    assert (taken.status_code, taken.json()) == (404, none.json())
    assert (await other.get(f"/v1/referrals/{referral_id}")).status_code == 404
    assert (await other.get(f"/v1/referrals/{referral_id}/events")).status_code == 404
    assert len(await stored(hub)) == 1


async def test_a_token_speaks_for_its_own_system_only(hub: RunningHub) -> None:
    other = hub.client("records_system", system="other-rms")
    answer = await other.post("/v1/referrals", json=full())
    assert (answer.status_code, answer.json()["errors"]) == (
        403,
        {"source.system": "is not this token's system"},
    )
    nameless = hub.client("records_system")
    assert (await nameless.post("/v1/referrals", json=full())).status_code == 403
    assert await stored(hub) == []


@pytest.mark.parametrize("role", ["assessor", "partner_client", "auditor", "operator", None])
async def test_only_a_records_system_may_send(hub: RunningHub, role: Any) -> None:
    client = hub.client(role, system=RMS)
    expected = 401 if role is None else 403
    for path in ("", "/batch", f"/{UUID(int=1)}/amendments"):
        assert (await client.post(f"/v1/referrals{path}", json=full())).status_code == expected
    assert await stored(hub) == []


async def test_an_operator_reads_the_open_part_only_and_leaves_no_row(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    referral_id = await post_full(rms)
    answer = await hub.client("operator").get(
        f"/v1/referrals/{referral_id}", headers={"Access-Reason": "audit"}
    )
    view = answer.json()
    assert (view["referral_id"], view["status"], view["received_at"]) == (
        referral_id,
        "open",
        "2026-03-07T01:16:00Z",
    )
    assert view["summary"]["encompass_due"] is True
    assert "document" not in view
    assert await reads(hub) == []


async def test_an_assessor_reads_the_document_with_a_reason_and_leaves_a_row(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    referral_id = await post_full(rms)
    await rms.post(f"/v1/referrals/{referral_id}/amendments", json=version(2))
    assessor = hub.client("assessor", subject="a.ssessor")
    refused = await assessor.get(f"/v1/referrals/{referral_id}")
    assert refused.status_code == 422
    assert list(refused.json()["errors"]) == ["Access-Reason"]
    assert await reads(hub) == []
    answer = await assessor.get(f"/v1/referrals/{referral_id}", headers={"Access-Reason": "assessment"})
    assert answer.json()["document"]["subjects"][0]["name"] == {"given": "Ivy", "family": "Sampleton"}
    # The replaced first version stays closed.
    assert await reads(hub) == [
        {
            "record_id": referral_id,
            "reader": "a.ssessor",
            "role": "assessor",
            "reason": "assessment",
            "positions": [2],
            "read_at": "2026-03-07T01:16:00Z",
        }
    ]


async def test_a_records_system_may_read_back_what_it_sent(hub: RunningHub, rms: httpx.AsyncClient) -> None:
    referral_id = await post_full(rms)
    assert "document" not in (await rms.get(f"/v1/referrals/{referral_id}")).json()
    whole = await rms.get(f"/v1/referrals/{referral_id}", headers={"Access-Reason": "source_check"})
    assert whole.json()["document"]["source"]["record_id"] == "22/81234/26"
    assert [row["role"] for row in await reads(hub)] == ["records_system"]


async def test_the_event_stream_shows_open_parts_and_sealed_ones_to_an_auditor(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    referral_id = await post_full(rms)
    await rms.post(f"/v1/referrals/{referral_id}/withdrawal", json={"reason_code": "duplicate"})
    url = f"/v1/referrals/{referral_id}/events"
    reason = {"Access-Reason": "audit"}
    plain = await hub.client("assessor").get(url, headers=reason)
    assert plain.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in plain.text.splitlines()]
    assert [(line["version"], line["type"], "sealed" in line) for line in lines] == [
        (1, "ReferralReceived", False),
        (2, "ReferralWithdrawn", False),
    ]
    assert lines[1]["open"]["reason_code"] == "duplicate"
    assert await reads(hub) == []
    opened = await hub.client("auditor", subject="au").get(url, headers=reason)
    first = json.loads(opened.text.splitlines()[0])
    assert first["sealed"]["document"]["subjects"][0]["name"]["family"] == "Sampleton"
    assert [(row["reader"], row["positions"]) for row in await reads(hub)] == [("au", [1])]


async def test_reading_what_is_not_there_is_not_found(hub: RunningHub) -> None:
    operator = hub.client("operator")
    for path in ("", "/events"):
        assert (await operator.get(f"/v1/referrals/{UUID(int=5)}{path}")).status_code == 404
        assert (await operator.get(f"/v1/referrals/not-an-id{path}")).status_code == 422


async def test_an_erased_referral_keeps_its_open_part_and_refuses_the_rest(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    referral_id = await post_full(rms)
    await hub.hub.contexts["intake"].keyring.erase(UUID(referral_id))
    assert (await hub.client("operator").get(f"/v1/referrals/{referral_id}")).status_code == 200
    sealed = await hub.client("auditor").get(
        f"/v1/referrals/{referral_id}", headers={"Access-Reason": "audit"}
    )
    assert (sealed.status_code, sealed.json()["type"]) == (409, "urn:referral-hub:problem:erased")
    assert await reads(hub) == []


NESTED = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/json", 422),
        (b'{"document_version": 1, "force"', "application/json", 422),
        (b'{"force": "\xff\xfe"}', "application/json", 422),
        (json.dumps(full()).encode("utf-16"), "application/json", 422),
        (json.dumps(full()).replace("Ivy", "Iv\\u0000y").encode(), "application/json", 422),
        (json.dumps(full()).replace("Ivy", "Iv\x00y").encode(), "application/json", 422),
        (json.dumps(full()).replace("Ivy", "Iv\\ud800y").encode(), "application/json", 422),
        (json.dumps(full(unheard_of="Sampleton")).encode(), "application/json", 422),
        (json.dumps(full() | {"Ivy Sampleton": 1}).encode(), "application/json", 422),
        (json.dumps(full()).replace("2016-05-15", "1816-05-15").encode(), "application/json", 422),
        (json.dumps(full()).replace("9990012350", "9990012351").encode(), "application/json", 422),
        (NESTED, "application/json", 422),
        (NESTED, "application/cloudevents+json", 422),
        (b"[]", "application/cloudevents+json", 422),
        (json.dumps(full()).encode(), "text/plain", 422),
        (json.dumps(full()).encode(), "application/xml", 422),
        (b" " * 50_000_000, "application/json", 413),
    ],
)
async def test_hostile_input_is_a_clear_problem_that_echoes_nothing(
    hub: RunningHub, rms: httpx.AsyncClient, content: bytes, content_type: str, status: int
) -> None:
    answer = await rms.post("/v1/referrals", content=content, headers={"content-type": content_type})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert status == 413 or answer.json()["errors"]
    assert [word for word in PERSONAL if word in answer.text] == []
    assert await stored(hub) == []
    assert (await rms.post("/v1/referrals", json=full())).status_code == 201


async def test_a_body_of_unsaid_length_is_cut_off_at_the_limit(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 50_000_000:
            sent += 65_536
            yield b" " * 65_536

    answer = await rms.post("/v1/referrals", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert await stored(hub) == []
