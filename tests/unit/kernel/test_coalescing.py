import asyncio
from collections import deque
from collections.abc import Sequence

import pytest

from hub_kernel.coalescing import Coalescer, Pending


def cut(queue: "deque[Pending[int, int]]") -> list[Pending[int, int]]:
    return [queue.popleft() for _ in range(min(3, len(queue)))]


class Writing:
    """Writes batches when it is told to go on; odd numbers are refused."""

    def __init__(self, *, writers: int = 1, open_gate: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.gate = asyncio.Event()
        if open_gate:
            self.gate.set()
        self.coalescer: Coalescer[int, int] = Coalescer(self.write, cut, writers=writers)

    async def write(self, batch: Sequence[int]) -> list[int | Exception]:
        """One batch."""
        self.batches.append(list(batch))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.under_way -= 1
        if 13 in batch:
            raise OSError
        return [ValueError(str(number)) if number % 2 else number * 10 for number in batch]


async def answers(writing: Writing, numbers: Sequence[int]) -> list[int | str]:
    outcomes = await asyncio.gather(*(writing.coalescer.submit(n) for n in numbers), return_exceptions=True)
    return [outcome if isinstance(outcome, int) else type(outcome).__name__ for outcome in outcomes]


async def test_each_caller_gets_its_own_answer_out_of_the_batch() -> None:
    writing = Writing()
    assert await answers(writing, [2, 3, 4, 6]) == [20, "ValueError", 40, 60]
    assert writing.batches == [[2, 3, 4], [6]]


async def test_a_batch_that_fails_fails_for_its_callers_and_not_for_the_next() -> None:
    assert await answers(Writing(), [2, 13, 4, 6]) == ["OSError", "OSError", "OSError", 60]


@pytest.mark.parametrize("writers", [1, 2, 3])
async def test_no_more_batches_are_under_way_than_allowed(writers: int) -> None:
    writing = Writing(writers=writers, open_gate=False)
    calls = [asyncio.create_task(writing.coalescer.submit(2 * n)) for n in range(12)]
    for _ in range(10):
        await asyncio.sleep(0)
    later = [asyncio.create_task(writing.coalescer.submit(2 * n)) for n in range(12, 30)]
    for _ in range(10):
        await asyncio.sleep(0)
    writing.gate.set()
    assert await asyncio.gather(*calls, *later) == [20 * n for n in range(30)]
    assert writing.most_under_way == writers


async def test_a_caller_that_goes_away_does_not_take_its_request_with_it() -> None:
    writing = Writing(open_gate=False)
    calls = [asyncio.create_task(writing.coalescer.submit(n)) for n in (2, 4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writing.batches == [[2, 4]]
    queued = [asyncio.create_task(writing.coalescer.submit(n)) for n in (6, 8)]
    await asyncio.sleep(0)
    calls[0].cancel()
    queued[0].cancel()
    await asyncio.sleep(0)
    writing.gate.set()
    assert [await calls[1], await queued[1]] == [40, 80]
    assert writing.batches == [[2, 4], [6, 8]]


async def test_callers_that_come_back_one_by_one_are_never_forgotten() -> None:
    writing = Writing(writers=2)

    async def caller(number: int) -> list[int]:
        return [await writing.coalescer.submit(number) for _ in range(50)]

    async with asyncio.timeout(10):
        done = await asyncio.gather(*(caller(2 * n) for n in range(7)))
    assert done == [[20 * n] * 50 for n in range(7)]
