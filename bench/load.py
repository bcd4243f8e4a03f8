"""A load generator over raw keep-alive connections, so that the client costs little beside the server."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Load:
    """What a load run measured: answers by status, seconds of each request, seconds altogether."""

    statuses: dict[int, int] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.took) / self.seconds


async def post_all(
    port: int, path: str, bodies: Sequence[bytes], token: str, *, connections: int, content_type: str
) -> Load:
    """Post every body once, over so many connections at a time."""
    load = Load()
    left = iter(bodies)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {content_type}\r\n"
    ).encode()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in left:
            started = time.perf_counter()
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer[9:12])
            match = _LENGTH.search(answer)
            await reader.readexactly(int(match[1]) if match else 0)
            load.took.append(time.perf_counter() - started)
            load.statuses[status] = load.statuses.get(status, 0) + 1
        writer.close()

    started = time.monotonic()
    await asyncio.gather(*(connection() for _ in range(connections)))
    load.seconds = time.monotonic() - started
    return load
