"""Newline-delimited JSON as it arrives: lines out of chunks, holding no more than one line in memory."""

from collections.abc import AsyncIterator
from typing import NamedTuple


class Line(NamedTuple):
    """One line and its number, from 1. ``content`` is ``None`` when it was longer than allowed."""

    number: int
    content: bytes | None


async def read_lines(chunks: AsyncIterator[bytes], *, max_line_bytes: int) -> AsyncIterator[Line]:
    """The lines of a body, blank ones left out but counted.

    A line longer than ``max_line_bytes`` is dropped as it arrives and told of once, at its end.
    """
    number, kept, is_too_long = 1, bytearray(), False
    async for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            is_too_long = is_too_long or len(kept) + end - start > max_line_bytes
            if is_too_long:
                yield Line(number, None)
            elif content := bytes(kept + chunk[start:end]).strip():
                yield Line(number, content)
            number, start, is_too_long = number + 1, end + 1, False
            kept.clear()
        is_too_long = is_too_long or len(kept) + len(chunk) - start > max_line_bytes
        if is_too_long:
            kept.clear()
        else:
            kept += chunk[start:]
    if is_too_long:
        yield Line(number, None)
    elif content := bytes(kept).strip():
        yield Line(number, content)
