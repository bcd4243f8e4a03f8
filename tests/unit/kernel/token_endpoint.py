"""An issuer's token endpoint on loopback, which answers as a test has it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

Answer = Callable[[int], tuple[int, str]]
"""Given which request it is, from 1, the status and the body."""


def granting(expires_in: Any, token: Callable[[int], str] = str) -> Answer:
    """Gives tokens of this life; unless told otherwise they are 1, 2, 3."""
    return lambda n: (200, json.dumps({"access_token": token(n), "expires_in": expires_in}))


class TokenEndpoint:
    """Keeps what it was asked, and answers."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answer = granting(100)
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request over one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-len"))
        self.requests.append(head + (await reader.readexactly(length)).decode())
        status, body = self.answer(len(self.requests))
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[TokenEndpoint]:
    """An endpoint that answers while the block lasts."""
    endpoint = TokenEndpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
    yield endpoint
    server.close()
    await server.wait_closed()
