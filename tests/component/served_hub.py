"""The hub as its callers meet it: a process of its own behind a real socket, with its logs and its memory."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx

from hub_embedded.services import SERVICES
from hub_kernel.auth import LocalIssuer, Role

_PROGRAM = """
import asyncio, sys
from pathlib import Path
from hub_embedded.services import SERVICES
from hub_kernel import http_protocol
from hub_kernel.runtime import serve
from hub_kernel.settings import Settings
from hub_kernel.telemetry import configure_logging

data_dir, dsn, http_protocol.HEAD_SECONDS, http_protocol.BODY_SECONDS = (
    Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
)

async def started(_hub, base_url):
    print(base_url, flush=True)

configure_logging("DEBUG")
asyncio.run(serve(SERVICES, Settings(data_dir=data_dir, port=0), dsn, started=started))
"""
_LOGS = [log for service in SERVICES for log in (service.schema, service.access_schema)]
ANSWER_SECONDS = 20


class Answer(NamedTuple):
    """What came back over one connection: the first answer's status, and every byte."""

    status: int
    raw: bytes

    @property
    def body(self) -> bytes:
        """The first answer's body, as it came."""
        return self.raw.partition(b"\r\n\r\n")[2]


class Referred(NamedTuple):
    """A referral that went as far as it can, and one of its deliveries."""

    referral_id: str
    delivery_id: str
    message_id: str
    authority: str
    agency: str


@dataclass(frozen=True)
class ServedHub:
    """A hub in a process of its own."""

    process: "subprocess.Popen[bytes]"
    base_url: str
    dsn: str
    data_dir: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.base_url.rpartition(":")[2])

    @property
    def logged(self) -> str:
        """All it has written to its log so far."""
        return (self.data_dir / "log").read_text()

    @property
    def peak_bytes(self) -> int:
        """The most memory it has held so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def token(self, role: Role, **claims: Any) -> str:
        """A bearer token."""
        issuer = LocalIssuer(self.data_dir / "issuer.key", "referral-hub")
        return issuer.token(role, subject=f"a-{role}", **claims)

    def caller(self, token: str) -> httpx.AsyncClient:
        """A client over real HTTP."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            base_url=self.base_url, headers=headers, trust_env=False, timeout=ANSWER_SECONDS
        )

    async def refer(self, document: dict[str, Any]) -> Referred:
        """Post a referral that policy shares at once, and wait until nothing of it is under way.

        No partner is configured, so each of its deliveries ends as unroutable.
        """
        sender = self.token("records_system", system=document["source"]["system"])
        async with self.caller(sender) as records, self.caller(self.token("assessor")) as reader:
            referral_id = (await records.post("/v1/referrals", json=document)).json()["referral_id"]
            deadline = time.monotonic() + ANSWER_SECONDS
            deliveries: list[dict[str, Any]] = []
            while not deliveries or {delivery["status"] for delivery in deliveries} != {"unroutable"}:
                assert time.monotonic() < deadline, deliveries
                await asyncio.sleep(0.05)
                answer = await reader.get("/v1/deliveries", params={"referral_id": referral_id})
                deliveries = answer.json()["deliveries"]
        first = deliveries[0]
        return Referred(
            referral_id, first["delivery_id"], first["message_id"], first["authority"], first["agency"]
        )

    async def positions(self) -> dict[str, int]:
        """Where each event log and each access log ends."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return {log: await connection.fetchval(f"SELECT position FROM {log}.log_head") for log in _LOGS}
        finally:
            await connection.close()

    async def send(self, pieces: Sequence[bytes], *, pause_seconds: float = 0.0) -> Answer:
        """Send bytes over a new connection, as they are, and read until the hub closes it.

        The hub may stop reading at any moment; what it said before that is the answer.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            sending = asyncio.create_task(_send(writer, pieces, pause_seconds))
            raw = await asyncio.wait_for(_read(reader), ANSWER_SECONDS)
            sending.cancel()
        finally:
            writer.close()
        status = raw.split(b" ", 2)[1] if raw.startswith(b"HTTP/1.1 ") else b"0"
        return Answer(int(status), raw)


async def _send(writer: asyncio.StreamWriter, pieces: Sequence[bytes], pause_seconds: float) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_seconds)
    except OSError:
        return


async def _read(reader: asyncio.StreamReader) -> bytes:
    read = bytearray()
    try:
        while piece := await reader.read(65_536):
            read += piece
    except ConnectionResetError:
        pass
    return bytes(read)


@asynccontextmanager
async def serve_hub(
    dsn: str, data_dir: Path, *, head_seconds: float = 10.0, body_seconds: float = 20.0
) -> AsyncIterator[ServedHub]:
    """The four services served from a migrated database until the block ends."""
    with (data_dir / "log").open("wb") as log:
        process = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-c", _PROGRAM, str(data_dir), dsn, str(head_seconds), str(body_seconds)],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        said = await asyncio.to_thread(process.stdout.readline)
        yield ServedHub(process, said.decode().strip(), dsn, data_dir)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        if process.stdout is not None:
            process.stdout.close()
