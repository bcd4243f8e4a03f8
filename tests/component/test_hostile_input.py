import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.component.served_hub import Answer, ServedHub, serve_hub

from hub_kernel.testing import fresh_database

Json = dict[str, Any]
FULL: Json = json.loads((Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json").read_bytes())
RMS = "west-mercia-rms"
MARK = "Zebedee"
PERSONAL = (MARK, "Sampleton", "Ivy", "Example Row", "9990012350", "22/81234/26", "shouting", "900123")
SLOW_SECONDS = 2.0
MEBIBYTE = 1_048_576
JSON = b"application/json"
NDJSON = b"application/x-ndjson"
EVENT = b"application/cloudevents+json"


@dataclass(frozen=True)
class Target:
    """A route that takes a body, on a record that is there, with a token that may write to it."""

    path: str
    token: str
    content_type: bytes = JSON


@dataclass(frozen=True)
class World:
    """A served hub with one referral that went all the way, and nothing left under way."""

    hub: ServedHub
    targets: dict[str, Target]

    @property
    def documents(self) -> list[Target]:
        """The routes that take a whole referral."""
        return [self.targets["submit"], self.targets["amend"]]

    def reader(self) -> httpx.AsyncClient:
        """An assessor over real HTTP."""
        return self.hub.caller(self.hub.token("assessor"))


@pytest.fixture(scope="module")
async def world(
    postgres_dsn: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with (
        fresh_database(postgres_dsn, template) as dsn,
        serve_hub(
            dsn, tmp_path_factory.mktemp("hub"), head_seconds=SLOW_SECONDS, body_seconds=SLOW_SECONDS
        ) as hub,
    ):
        yield World(hub, await all_targets(hub))


async def all_targets(hub: ServedHub) -> dict[str, Target]:
    sender, assessor = hub.token("records_system", system=RMS), hub.token("assessor")
    referred = await hub.refer(FULL)
    referral = f"/v1/referrals/{referred.referral_id}"
    assessment = f"/v1/assessments/{referred.referral_id}"
    partner = hub.token("partner_client", authority=referred.authority, agency=referred.agency)
    return {
        "submit": Target("/v1/referrals", sender),
        "batch": Target("/v1/referrals/batch", sender, NDJSON),
        "amend": Target(f"{referral}/amendments", sender),
        "inform": Target(f"{referral}/information", sender),
        "withdraw": Target(f"{referral}/withdrawal", sender),
        "decide": Target(f"{assessment}/decision", assessor),
        "grade": Target(f"{assessment}/grade", assessor),
        "acknowledge": Target(f"/v1/acknowledgements/{referred.message_id}", partner),
    }


@asynccontextmanager
async def unharmed(world: World) -> AsyncIterator[None]:
    """Whatever happens inside: nothing is stored, nothing leaks into the log, and the hub goes on."""
    before = await world.hub.positions()
    yield
    assert await world.hub.positions() == before
    async with world.reader() as reader:
        assert (await reader.get("/v1/worklist")).status_code == 200
    logged = world.hub.logged
    assert [word for word in (*PERSONAL, "http.unhandled", "Traceback") if word in logged] == []


def head(target: Target, *lines: bytes, content_type: bytes | None = None) -> bytes:
    """The head of a POST, but for what says how long its body is."""
    kind = target.content_type if content_type is None else content_type
    return b"\r\n".join(
        [
            f"POST {target.path} HTTP/1.1".encode(),
            b"Host: hub",
            b"Connection: close",
            f"Authorization: Bearer {target.token}".encode(),
            *([b"Content-Type: " + kind] if kind else []),
            *lines,
            b"",
        ]
    )


async def post(
    world: World, target: Target, body: bytes, *lines: bytes, content_type: bytes | None = None
) -> Answer:
    start = head(target, *lines, content_type=content_type)
    return await world.hub.send([start + b"Content-Length: %d\r\n\r\n" % len(body) + body])


def complaint(answer: Answer) -> set[int]:
    """The statuses of a refusal, one for each line of a batch; each in the form all refusals take."""
    start = answer.raw.partition(b"\r\n\r\n")[0].lower()
    assert [word for word in PERSONAL if word.encode() in answer.raw] == [], answer.raw
    if answer.status == 200:
        assert b"content-type: application/x-ndjson" in start
        results = [json.loads(line) for line in answer.body.split(b"\n") if line.startswith(b"{")]
        problems = [(result["status"], result["problem"]) for result in results]
    else:
        assert b"content-type: application/problem+json" in start, answer.raw
        assert b"server:" not in start
        problems = [(answer.status, json.loads(answer.body))]
    for status, problem in problems:
        assert {"type", "title", "status", "detail"} <= set(problem), problem
        assert problem["status"] == status
    return {status for status, _ in problems}


def is_refused(answer: Answer) -> bool:
    return answer.status != 201 and all(400 <= status < 500 for status in complaint(answer))


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "truncated": b'{"document_version": 1, "force": "Zebedee',
    "two documents": b'{"Zebedee": 1}{"Zebedee": 2}',
    "a hundred thousand open lists": b"[" * 100_000,
    "a hundred thousand closed lists": b"[" * 100_000 + b"]" * 100_000,
    "a hundred thousand open objects": b'{"Zebedee":' * 90_000,
    "fifty thousand closed objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "UTF-16": '{"Zebedee": 1}'.encode("utf-16"),
    "UTF-32": '{"Zebedee": 1}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"Zebedee": 1}',
    "Latin-1": '{"text": "Zebedee é"}'.encode("latin-1"),
    "bytes of no encoding": b"\xff\xfe\xfd Zebedee",
    "a lone surrogate in a name": b'{"Zebedee\\ud800": 1}',
    "a lone surrogate": b'{"text": "Zebedee\\udfff", "rationale": "\\ud800", "reason_code": "\\ud800"}',
    "a NUL byte": b'{"text": "Zebedee\0"}',
    "an escaped NUL": b'{"text": "Zebedee\\u0000", "information_id": "\\u0000", "decision": "\\u0000"}',
    "only NUL bytes": b"\0" * 1_000,
    "unknown fields": b'{"Zebedee Sampleton": 1, "Ivy": {"Ivy": [1, 2, 3]}}',
    "ten thousand unknown fields": json.dumps({f"{MARK}-{n}": n for n in range(10_000)}).encode(),
    "not a number": b'{"risk": NaN, "text": NaN, "decision": NaN}',
    "infinities": b'{"risk": Infinity, "text": -Infinity, "decision": Infinity}',
    "a number beyond floats": b'{"text": 1e400, "decision": 1e400, "document_version": 1e400}',
    "a number of ten thousand digits": b'{"text": ' + b"9" * 10_000 + b"}",
    "null": b"null",
    "a string": b'"Zebedee"',
    "a list": b'["Zebedee"]',
    "true": b"true",
    "a form": b"text=Zebedee&decision=share",
    "XML with an entity": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
}


@pytest.mark.parametrize("name", BODIES)
async def test_no_route_takes_a_body_that_is_not_its_document(world: World, name: str) -> None:
    async with unharmed(world):
        answers = {route: await post(world, target, BODIES[name]) for route, target in world.targets.items()}
        assert [route for route, answer in answers.items() if not is_refused(answer)] == []


def document(record_id: str = "hostile/1", version: int = 1, **change: Any) -> bytes:
    source = {"system": RMS, "record_id": record_id, "version": version}
    return json.dumps(FULL | change | {"source": source}, ensure_ascii=False).encode()


def hostile_values() -> Iterator[tuple[bytes, bytes]]:
    """What stands in a sound document, and what is put in its place."""
    for name in (
        rb'"Zebedee\u0000"', b'"Zebedee\0"', rb'"Zebedee\ud800"', b'"Zebedee\xed\xa0\x80"', b'"Zeb\xe9"',
        b'"Ivy", "Zebedee": 1', b'"Ivy", "zebedee": {"a": 1}', b'"' + b"Zebedee" * 40_000 + b'"',
        rb'"Zebedee\u001b[31m"', rb'"Zebe\u0085dee"', b"1e400", b"NaN", b"-Infinity", b"9" * 5_000, b"true",
        b'""', b'["Zebedee"]', b'{"given": "Zebedee"}', b"[" * 300 + b"]" * 300,
    ):  # fmt: skip
        yield b'"Ivy"', name
    for day in (
        "0000-00-00", "0001-01-01", "1899-12-31", "2100-01-01", "9999-12-31", "10000-01-01", "-2016-05-15",
        "2016-02-30", "2016-05-15T00:00:00Z", "\uff12\uff10\uff11\uff16-05-15", "2016-05-15 Zebedee",
    ):  # fmt: skip
        yield b'"2016-05-15"', json.dumps(day, ensure_ascii=False).encode()
    yield b'"2016-05-15"', b"1463270400"
    sent_at = json.dumps(FULL["times"]["submitted_at"]).encode()
    for instant in (
        "2026-03-07T01:16:00", "2026-03-07T25:00:00Z", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59", "2026-03-07T01:16:00+99:99", "2026-03-07", "Zebedee",
    ):  # fmt: skip
        yield sent_at, json.dumps(instant).encode()
    for number in (b"1e400", b"9" * 400, b"1772846160"):
        yield sent_at, number
    for version in (b"0", b"-1", b"1.5", b"1.0", b'"1"', b"true", b"null", b"1e400", b"9" * 400, b"NaN"):
        yield b'"version": ', b'"version": ' + version + b', "supersedes": '
    yield b'"9990012350"', '"\uff19\uff19\uff19\uff10\uff10\uff11\uff12\uff13\uff15\uff10"'.encode()
    yield b'"9990012350"', b'"9990012351"'
    for authority in (b'"Zebedee"', b'"884\\u0000"', b"884", b'["884"]'):
        yield b'"authority": "884"', b'"authority": ' + authority


async def test_one_hostile_value_spoils_an_otherwise_sound_document(world: World) -> None:
    amended = document(FULL["source"]["record_id"], 2)
    async with unharmed(world):
        taken = []
        for found, put in hostile_values():
            for target, sound in zip(world.documents, (document(), amended), strict=True):
                assert found in sound
                if not is_refused(await post(world, target, sound.replace(found, put, 1))):
                    taken.append((target.path, put[:80]))
        assert taken == []


async def test_a_field_named_twice_counts_once_and_the_last_is_what_is_kept(world: World) -> None:
    sender = world.targets["submit"]
    twice = document("twice/1").replace(b'"Ivy"', b'"Overwritten", "given": "Ivy"', 1)
    answer = await post(world, sender, twice)
    assert answer.status == 201
    async with world.hub.caller(sender.token) as records:
        url = f"/v1/referrals/{json.loads(answer.body)['referral_id']}"
        whole = (await records.get(url, headers={"Access-Reason": "source_check"})).text
        again = await records.post(
            "/v1/referrals", content=document("twice/1"), headers={"Content-Type": "application/json"}
        )
    assert ('"Ivy"' in whole, "Overwritten" in whole) == (True, False)
    assert (again.status_code, again.json()["outcome"]) == (200, "repeated")


async def test_the_document_of_another_record_changes_nothing(world: World) -> None:
    async with unharmed(world):
        answer = await post(world, world.targets["amend"], document("twice/1", 2))
        assert complaint(answer) == {422}
        for name in ("inform", "withdraw"):
            target = world.targets[name]
            elsewhere = Target(target.path.replace(target.path.split("/")[3], "0" * 32), target.token)
            body = (
                {"information_id": "0" * 32, "text": MARK} if name == "inform" else {"reason_code": "other"}
            )
            assert complaint(await post(world, elsewhere, json.dumps(body).encode())) == {404}


def chunked(total_bytes: int) -> Iterator[bytes]:
    piece = b" " * 65_536
    for _ in range(total_bytes // len(piece)):
        yield b"10000\r\n" + piece + b"\r\n"
    yield b"0\r\n\r\n"


async def test_fifty_megabytes_are_refused_on_every_route_without_being_held(world: World) -> None:
    async with unharmed(world):
        for target in world.targets.values():
            await post(world, target, b"[]")
        before = world.hub.peak_bytes
        for target in world.targets.values():
            length = b"Content-Length: 50000000\r\n\r\n"
            declared = await world.hub.send([head(target) + length, *[b" " * 65_536] * 763])
            endless = await world.hub.send(
                [head(target) + b"Transfer-Encoding: chunked\r\n\r\n", *chunked(50_000_000)]
            )
            assert (declared.status, complaint(declared)) == (413, {413}), target.path
            # A batch is answered while it arrives: what was refused is its last line's result.
            assert complaint(endless) == {413}, target.path
        assert world.hub.peak_bytes - before < 64 * MEBIBYTE


async def test_a_caller_who_asks_first_is_refused_before_sending(world: World) -> None:
    async with unharmed(world):
        for target in world.targets.values():
            asking = head(target, b"Expect: 100-continue", b"Content-Length: 50000000")
            assert (await world.hub.send([asking + b"\r\n"])).status == 413


async def test_a_stranger_is_answered_in_words_even_while_sending_much(world: World) -> None:
    stranger = Target("/v1/referrals", "letmein")
    async with unharmed(world):
        answer = await world.hub.send(
            [head(stranger) + b"Content-Length: 50000000\r\n\r\n", *[b" " * 65_536] * 763]
        )
        assert complaint(answer) == {401}


async def test_only_the_content_types_named_are_taken(world: World) -> None:
    body = json.dumps({"text": MARK, "decision": "share", "rationale": MARK}).encode()
    kinds = (
        b"", b"text/plain", b"application/xml", b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x", b"multipart/form-data", b"application/octet-stream",
        b"application/cloudevents-batch+json", b"application/Zebedee", b"application", b"/",
        b";charset=utf-8", b"text/plain, application/json", b"application/json\xff",
    )  # fmt: skip
    async with unharmed(world):
        for target in world.targets.values():
            for kind in kinds:
                answer = await post(world, target, body, content_type=kind)
                assert is_refused(answer), (target.path, kind)


async def test_methods_that_are_not_served_are_refused(world: World) -> None:
    operator = world.hub.token("operator")
    async with unharmed(world), world.hub.caller(operator) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        for path, operations in paths.items():
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
                if method.lower() in operations:
                    continue
                if method == "GET" and path == "/v1/referrals/batch":
                    continue  # is read as the referral with the id "batch", which is refused as no UUID
                answer = await client.request(method, path.replace("{", "").replace("}", ""))
                assert answer.status_code == 405, (method, path)
                assert answer.headers["content-type"] == "application/problem+json"


def envelope(**change: Any) -> bytes:
    attributes = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/rms",
        "type": "referral-hub.referral.submitted.v1",
    }
    return json.dumps(attributes | {"data": json.loads(document())} | change).encode()


async def test_cloudevents_with_hostile_attributes_are_refused(world: World) -> None:
    structured = [
        envelope(specversion="0.3"), envelope(specversion=1.0), envelope(id=""), envelope(id=None),
        envelope(id={"a": MARK}), envelope(source=[]), envelope(type=MARK), envelope(type="\0"),
        envelope(datacontenttype="text/xml"), envelope(datacontenttype=1), envelope(data=None),
        envelope(data=MARK), envelope(data=[]), envelope(data={}), envelope(data="e30="),
        envelope().replace(b'"data":', b'"data_base64": "e30=", "Data":'),
        envelope()[:-1] + b', "data": {"Zebedee": 1}}', envelope()[:-1], envelope() + b"}",
        b"[" + envelope() + b"]", b'{"data":' * 50_000, b'"Zebedee"', b"null",
        envelope(id="Zebedee").replace(b"Zebedee", b"Zebedee\xff"),
    ]  # fmt: skip
    binary = [
        (b"ce-specversion: 0.3",),
        (b"ce-specversion: 1.0",),
        (b"ce-specversion: 1.0", b"ce-id: e", b"ce-source: /"),
        (b"ce-specversion: 1.0", b"ce-id: e", b"ce-source: /", b"ce-type: Zebedee"),
        (b"ce-specversion: 1.0", b"ce-id: ", b"ce-source: /", b"ce-type: referral-hub.referral.submitted.v1"),
        (b"ce-specversion: \xff", b"ce-id: Zebedee\xff", b"ce-source: /", b"ce-type: %00"),
    ]  # fmt: skip
    async with unharmed(world):
        for target in world.documents:
            for body in structured:
                assert complaint(await post(world, target, body, content_type=EVENT)) == {422}, body[:90]
            for attributes in binary:
                assert complaint(await post(world, target, document(), *attributes)) == {422}, attributes


async def test_a_batch_keeps_its_count_whatever_ends_its_lines(world: World) -> None:
    bad = b'{"Zebedee": 1}'
    body = b"".join(
        [
            bad + b"\r\n",
            b"\n",
            bad + b"\r" + bad + b"\n",
            b'"' + b"Zebedee" * 300_000 + b'"\r\n',
            b"\0\n",
            "\u2028\n".encode(),
            b"\xef\xbb\xbf" + bad + b"\n",
            b" \t \r\n",
            bad,
        ]
    )
    async with unharmed(world):
        answer = await post(world, world.targets["batch"], body)
        results = [json.loads(line) for line in answer.body.split(b"\n") if line.startswith(b"{")]
        assert complaint(answer) == {413, 422}
        assert [(result["line"], result["status"]) for result in results] == [
            (1, 422), (3, 422), (4, 413), (5, 422), (6, 422), (7, 422), (9, 422),
        ]  # fmt: skip


G = b"GET /v1/worklist HTTP/1.1\r\nHost: hub\r\n"
END = b"Connection: close\r\n\r\n"
RAW: dict[str, tuple[int, bytes]] = {
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50),
    "an HTTP/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a method of no standard": (400, b"ZEBEDEE / HTTP/1.1\r\nHost: hub\r\n\r\n"),
    "a method in small letters": (400, b"get / HTTP/1.1\r\nHost: hub\r\n\r\n"),
    "a tunnel": (400, b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: hub\r\n" + END),
    "no host": (400, b"GET /v1/worklist HTTP/1.1\r\n" + END),
    "two hosts": (400, G + b"Host: elsewhere.example\r\n" + END),
    "bare line feeds": (400, b"GET /v1/worklist HTTP/1.1\nHost: hub\n\n"),
    "a NUL in a header": (400, G + b"X-A: Zebedee\0\r\n" + END),
    "a carriage return in a header": (400, G + b"X-A: a\rZebedee\r\n" + END),
    "a folded header": (400, G + b"X-A: a\r\n Zebedee\r\n" + END),
    "a space before the colon": (400, G + b"X-A : Zebedee\r\n" + END),
    "a NUL in the path": (400, b"GET /v1/\0 HTTP/1.1\r\nHost: hub\r\n" + END),
    "a space in the path": (400, b"GET /v1/a Zebedee HTTP/1.1\r\nHost: hub\r\n" + END),
    "a raw letter beyond ASCII in the path": (400, "GET /v1/é HTTP/1.1\r\nHost: hub\r\n".encode() + END),
    "no path": (400, b"GET ?Zebedee HTTP/1.1\r\nHost: hub\r\n" + END),
    "a port beyond ports": (400, b"GET http://hub:99999999/ HTTP/1.1\r\nHost: hub\r\n" + END),
    "a URL of 100 kB": (431, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: hub\r\n" + END),
    "a query of 100 kB": (431, b"GET /?cursor=" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: hub\r\n" + END),
    "a header of 100 kB": (431, G + b"X-A: " + b"a" * 100_000 + b"\r\n" + END),
    "a token of 100 kB": (431, G + b"Authorization: Bearer " + b"a" * 100_000 + b"\r\n" + END),
    "ten thousand headers": (431, G + b"X-A: a\r\n" * 10_000 + END),
    "a header without end": (431, G + b"X-A: " + b"a" * 30_000_000),
    "a header's name without end": (431, G + b"a" * 30_000_000),
    "a URL without end": (431, b"GET /" + b"a" * 30_000_000),
    "a hostile correlation id": (401, G + b"X-Correlation-Id: Zebedee\r\n" + END),
    "a hostile trace": (401, G + b"Traceparent: 00-Zebedee\r\nTracestate: Zebedee=1\r\n" + END),
    "a token with a hostile header": (401, G + b"Authorization: Bearer eyJjcml0IjoxfQ.e30.AA\r\n" + END),
    "a cookie of no form": (401, G + b"Cookie: hub_session=Zebedee; =; \xff\r\n" + END),
}  # fmt: skip


async def test_what_is_not_a_sound_request_is_refused_by_the_parser(world: World) -> None:
    async with unharmed(world):
        before = world.hub.peak_bytes
        answers = {name: await world.hub.send([raw]) for name, (_, raw) in RAW.items()}
        assert {name: answer.status for name, answer in answers.items()} == {
            name: status for name, (status, _) in RAW.items()
        }
        for answer in answers.values():
            assert len(complaint(answer)) == 1
        assert world.hub.peak_bytes - before < 16 * MEBIBYTE


PATHS = {
    "/v1/referrals/%00": 422,
    "/v1/referrals/%ff%fe": 422,
    "/v1/referrals/%zz%1": 422,
    "/v1/referrals/Zebedee": 422,
    "/v1/referrals/..%2f..%2fetc%2fpasswd": 404,
    "/v1/referrals/../referrals/batch": 404,
    "/v1/referrals/%0d%0aSet-Cookie:%20a=Zebedee": 422,
    "/v1/assessments/%00": 422,
    "/v1/deliveries/%00": 422,
    "/v1/deliveries?referral_id=%00": 422,
    "/v1/deliveries": 422,
    "/v1/timeline/%00": 422,
    "/v1/timeliness?days=99999999999999999999": 422,
    "/v1/timeliness?days=NaN": 422,
    "/v1/worklist?authority=%00": 422,
    "/v1/worklist?level_of_need=Zebedee": 422,
    "/v1/worklist?limit=0": 422,
    "/v1/worklist?limit=%EF%BC%91%00": 422,
    "/v1/worklist?cursor=Zebedee": 422,
    "/v1/worklist?cursor=%00%ff": 422,
    "/v1/worklist?cursor=" + "_" * 34: 422,
    "/referrals/%00": 422,
    "/static/..%2f..%2fpyproject.toml": 404,
    "/static/../../pyproject.toml": 404,
    "/static/%00": 404,
    "/static/Zebedee": 404,
    "//elsewhere.example/": 404,
    "/v1/worklist/": 404,
    "/Zebedee%00": 404,
    "/docs": 404,
}


async def test_hostile_paths_and_parameters_lead_nowhere(world: World) -> None:
    token = world.hub.token("assessor").encode()
    async with unharmed(world):
        answers = {
            path: await world.hub.send(
                [
                    f"GET {path} HTTP/1.1\r\nHost: Zebedee.example\r\n".encode()
                    + b"Authorization: Bearer "
                    + token
                    + b"\r\n"
                    + END
                ]
            )
            for path in PATHS
        }
        assert {path: answer.status for path, answer in answers.items()} == PATHS
        for answer in answers.values():
            assert len(complaint(answer)) == 1
            assert b"location:" not in answer.raw.lower()


HIDDEN = b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: hub\r\n\r\n"
SMUGGLED = {
    "length, then chunked": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunked, then length": (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "a list of lengths": (b"Content-Length: 5, 6",),
    "a negative length": (b"Content-Length: -5",),
    "a signed length": (b"Content-Length: +5",),
    "a hexadecimal length": (b"Content-Length: 0x5",),
    "a length beyond numbers": (b"Content-Length: " + b"9" * 40,),
    "an empty length": (b"Content-Length: ",),
    "nearly chunked": (b"Transfer-Encoding: xchunked",),
    "chunked with a control character": (b"Transfer-Encoding: \x0bchunked",),
    "chunked, then not": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "chunked in the middle": (b"Transfer-Encoding: chunked, identity",),
    "a folded encoding": (b"Transfer-Encoding:", b" chunked"),
}
BROKEN_CHUNKS = {
    "a size of no number": b"zz\r\n{}\r\n" + HIDDEN,
    "a negative size": b"-2\r\n{}\r\n" + HIDDEN,
    "a size beyond numbers": b"fffffffffffffffff\r\n{}\r\n" + HIDDEN,
    "bare line feeds": b"2\n{}\n" + HIDDEN,
    "no line end after it": b"2\r\n{}" + HIDDEN,
}


async def test_a_request_cannot_hide_in_the_body_of_another(world: World) -> None:
    target = world.targets["submit"]
    async with unharmed(world):
        for name, lines in SMUGGLED.items():
            answer = await world.hub.send([head(target, *lines) + b"\r\n" + HIDDEN])
            assert (complaint(answer), answer.raw.count(b"HTTP/1.1 ")) == ({400}, 1), name
        for name, body in BROKEN_CHUNKS.items():
            answer = await world.hub.send([head(target, b"Transfer-Encoding: chunked") + b"\r\n" + body])
            assert (complaint(answer), answer.raw.count(b"HTTP/1.1 ")) == ({400}, 1), name


async def test_a_request_that_trickles_ends_in_time_and_holds_up_nobody(world: World) -> None:
    started = head(world.targets["submit"], b"Content-Length: 1000") + b"\r\n"
    drops = [b"X" for _ in range(1_000)]
    slow = {
        "silence": [b""],
        "half a head": [b"GET /v1/worklist HT"],
        "a head in drops": [G, *drops],
        "empty lines": [b"\r\n" for _ in range(1_000)],
        "a body that stops": [started + b"{"],
        "a body in drops": [started, *drops],
    }
    async with unharmed(world), world.reader() as reader:
        waiting = [
            asyncio.create_task(world.hub.send(pieces, pause_seconds=0.05))
            for pieces in slow.values()
            for _ in range(20)
        ]
        began = time.monotonic()
        assert (await reader.get("/v1/worklist")).status_code == 200
        assert time.monotonic() - began < SLOW_SECONDS
        assert {status for answer in await asyncio.gather(*waiting) for status in complaint(answer)} == {408}


async def test_a_caller_who_leaves_in_the_middle_disturbs_nobody(world: World) -> None:
    async with unharmed(world):
        for target in world.targets.values():
            _, writer = await asyncio.open_connection("127.0.0.1", world.hub.port)
            writer.write(head(target, b"Content-Length: 1000") + b'\r\n{"Zebedee": ')
            await writer.drain()
            writer.transport.abort()
