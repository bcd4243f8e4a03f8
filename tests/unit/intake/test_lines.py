from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_intake.api.lines import Line, read_lines


async def arriving(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def lines_of(chunks: list[bytes], limit: int = 10) -> list[Line]:
    return [line async for line in read_lines(arriving(chunks), max_line_bytes=limit)]


async def test_lines_are_numbered_and_blank_ones_left_out() -> None:
    assert await lines_of([b"one\n\n  \r\ntwo\r\nthree"]) == [
        Line(1, b"one"),
        Line(4, b"two"),
        Line(5, b"three"),
    ]


async def test_an_empty_body_has_no_lines() -> None:
    assert await lines_of([b"", b"\n"]) == []


@pytest.mark.parametrize("chunks", [[b"0123456789A\nok\n"], [b"01234", b"56789A", b"BCD\nok\n"]])
async def test_a_line_over_the_limit_is_told_of_and_the_next_is_read(chunks: list[bytes]) -> None:
    assert await lines_of(chunks) == [Line(1, None), Line(2, b"ok")]


async def test_a_last_line_over_the_limit_is_told_of() -> None:
    assert await lines_of([b"ok\n0123456789", b"A"]) == [Line(1, b"ok"), Line(2, None)]


async def test_a_line_of_exactly_the_limit_is_read() -> None:
    assert await lines_of([b"0123456789\n0123456789"]) == [Line(1, b"0123456789"), Line(2, b"0123456789")]


@given(st.lists(st.binary(max_size=14), max_size=8), st.lists(st.integers(0, 60), max_size=8))
async def test_where_the_chunks_break_makes_no_difference(rows: list[bytes], cuts: list[int]) -> None:
    body = b"\n".join(rows)
    marks = sorted({0, len(body), *(cut for cut in cuts if cut <= len(body))})
    pieces = [body[start:end] for start, end in pairwise(marks)]
    assert await lines_of(pieces) == await lines_of([body])
