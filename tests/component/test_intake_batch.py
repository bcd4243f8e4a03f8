import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from hub_intake.api import bulk
from hub_intake.service import SERVICE
from hub_kernel.testing import RunningHub

Json = dict[str, Any]
FULL = Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json"
RMS = "west-mercia-rms"
NDJSON = {"content-type": "application/x-ndjson"}


def line(number: int, **change: Any) -> bytes:
    document: Json = json.loads(FULL.read_bytes()) | change
    document["source"]["record_id"] = f"22/{number}/26"
    return json.dumps(document).encode()


@pytest.fixture
async def hub(start_hub: Any) -> RunningHub:
    running: RunningHub = await start_hub([SERVICE])
    return running


@pytest.fixture
async def rms(hub: RunningHub) -> httpx.AsyncClient:
    return hub.client("records_system", system=RMS)


async def posted(rms: httpx.AsyncClient, content: Any) -> list[Json]:
    answer = await rms.post("/v1/referrals/batch", content=content, headers=NDJSON, timeout=120)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(result) for result in answer.text.splitlines()]


async def recorded(hub: RunningHub) -> int:
    count: int = await hub.hub.contexts["intake"].pool.fetchval("SELECT count(*) FROM intake.events")
    return count


async def test_a_bad_line_never_spoils_the_others(hub: RunningHub, rms: httpx.AsyncClient) -> None:
    lines = [
        line(1),
        b'{"document_version": 1, "for',
        line(1),
        b"",
        line(2, source={"system": "other-rms", "record_id": "x", "version": 1}).replace(
            RMS.encode(), b"other-rms"
        ),
        b"\xff\xfe\x00",
        line(1, authority="885"),
        line(3, subjects=[]),
        line(4),
    ]
    results = await posted(rms, b"\n".join(lines))
    assert [(result["line"], result["status"]) for result in results] == [
        (1, 201),
        (2, 422),
        (3, 200),
        (5, 403),
        (6, 422),
        (7, 409),
        (8, 422),
        (9, 201),
    ]
    assert results[0] == {"line": 1, "status": 201, "referral_id": results[0]["referral_id"]}
    assert results[2]["referral_id"] == results[0]["referral_id"]
    problem = results[6]["problem"]
    assert (problem["type"], problem["errors"]["subjects"]) == (
        "urn:referral-hub:problem:document-malformed",
        "must not be empty",
    )
    assert "Sampleton" not in json.dumps(results)
    assert await recorded(hub) == 2


async def test_thousands_of_lines_come_back_in_order_and_each_is_recorded_once(
    hub: RunningHub, rms: httpx.AsyncClient
) -> None:
    body = b"\n".join(line(number) for number in range(2_000))
    first = await posted(rms, body)
    again = await posted(rms, body)
    assert [result["line"] for result in first] == list(range(1, 2_001))
    assert {result["status"] for result in first} == {201}
    assert {result["status"] for result in again} == {200}
    assert [result["referral_id"] for result in again] == [result["referral_id"] for result in first]
    assert len({result["referral_id"] for result in first}) == 2_000
    assert await recorded(hub) == 2_000


async def test_a_line_over_a_mebibyte_is_refused_alone(hub: RunningHub, rms: httpx.AsyncClient) -> None:
    results = await posted(rms, line(1) + b"\n" + b" " * 1_048_577 + b"\n" + line(2))
    assert [(result["line"], result["status"]) for result in results] == [(1, 201), (2, 413), (3, 201)]
    assert await recorded(hub) == 2


async def test_lines_beyond_the_most_a_batch_may_have_are_left_unread(
    hub: RunningHub, rms: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_LINES", 3)
    results = await posted(rms, b"\n".join(line(number) for number in range(10)))
    assert [(result["line"], result["status"]) for result in results] == [
        (1, 201),
        (2, 201),
        (3, 201),
        (4, 413),
    ]
    assert results[3]["problem"]["type"] == "urn:referral-hub:problem:too-many-lines"
    assert await recorded(hub) == 3


async def test_a_batch_over_its_limit_keeps_what_came_before(start_hub: Any) -> None:
    hub = await start_hub([SERVICE], max_batch_body_bytes=20_000)
    rms = hub.client("records_system", system=RMS)

    async def arriving() -> AsyncIterator[bytes]:
        for number in range(10):
            yield line(number) + b"\n"

    results = await posted(rms, arriving())
    assert [result["status"] for result in results] == [201, 201, 201, 413]
    assert await recorded(hub) == 3
    declared = await rms.post(
        "/v1/referrals/batch", content=b"\n".join(line(number) for number in range(10)), headers=NDJSON
    )
    assert declared.status_code == 413


async def test_an_empty_batch_has_no_results(rms: httpx.AsyncClient) -> None:
    assert await posted(rms, b"") == []


async def test_a_batch_must_say_it_is_lines(rms: httpx.AsyncClient) -> None:
    answer = await rms.post(
        "/v1/referrals/batch", content=line(1), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        {"Content-Type": "must be application/x-ndjson"},
    )


@asynccontextmanager
async def served(hub: RunningHub) -> AsyncIterator[int]:
    """The hub behind the real HTTP server; yields its port."""
    server = uvicorn.Server(uvicorn.Config(hub.hub.app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn offers no event to await
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


async def test_results_come_while_later_lines_are_still_to_be_sent(hub: RunningHub) -> None:
    token = hub.hub.issuer.token("records_system", subject="rms", system=RMS)
    async with served(hub) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/referrals/batch HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-ndjson\r\nConnection: close\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
        )
        for number in (1, 2, 3):
            writer.write(chunk(line(number) + b"\n"))
            result = await reader.readuntil(b'"status":201')
            assert f'"line":{number},'.encode() in result
        writer.write(b"0\r\n\r\n")
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_sender_that_reads_nothing_until_all_is_sent_is_not_left_stuck(hub: RunningHub) -> None:
    token = hub.hub.issuer.token("records_system", subject="rms", system=RMS)
    async with served(hub) as port:
        # Neither the body nor the results, each line refused at length, fit into what the system buffers.
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setblocking(False)  # noqa: FBT003  that is its name
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=1_024)
        body = b"\n".join([json.dumps({f"f{n}": "x" * 100 for n in range(50)}).encode()] * 4_000)
        writer.write(
            b"POST /v1/referrals/batch HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n"
            b"Content-Type: application/x-ndjson\r\nContent-Length: " + str(len(body)).encode() + b"\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n" + body
        )
        await asyncio.wait_for(writer.drain(), 60)
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.count(b'"problem":') == 4_000
        writer.close()
