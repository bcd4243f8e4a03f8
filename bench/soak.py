"""A soak of the hub as in production: a steady hundred referrals a second, flat memory, flat lag.

``make soak MINUTES=15``, or ``python -m bench.soak --help``. Every five seconds it looks at the memory of
each process, at how far each consumer and relay is behind, and at the worklists. What must hold, judged by a
line of least squares through the second half of the run:

- the hub accepted what was posted: at least 98 % of the rate asked for;
- memory of each service: it grew by less than 5 % or less than 10 MB;
- lag and worklists: grew by less than what comes in a second, and were never above what comes in ten;
- at the end everything is there once and in order, and no service has died.

The exit code is 1 when anything of this does not hold. Where the machine is too small for the rate it says
so: what was accepted, what each process took of the processors, and what ran out. Memory of the broker is
shown and not judged: its heap is bounded, and grows to that bound.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import asyncpg
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench.measuring import write
from bench.production import Production, production
from bench.sampling import Sample, Sampler
from bench.trend import Series, second_half, what_runs_out
from hub_embedded.topology import NAMES

EVERY_SECONDS: Final = 5.0
WARM_UP_SECONDS: Final = 10.0
ACCEPTED_SHARE: Final = 0.98
GROWTH_SHARE, GROWTH_MB = 0.05, 10.0
GROWTH_SECONDS, BOUND_SECONDS = 1.0, 10.0
"""Of lag, in seconds of what comes in: how much it may grow over the second half, how high it may ever be."""
_LEAST_SAMPLES: Final = 8
Figures = Callable[[Sample], Mapping[str, float]]
_console = Console(highlight=False)


def main(
    minutes: Annotated[float, typer.Option(min=1, help="How long, after a short warm-up.")] = 15.0,
    rate: Annotated[float, typer.Option(min=1, max=1_000, help="Referrals a second.")] = 100.0,
) -> None:
    """Soak the hub; exit 1 when it does not keep up, grows, falls behind, loses or doubles anything."""
    samples, faults = uvloop.run(_run(minutes * 60, rate))
    found = judge(samples, rate) + faults
    shares, machine = _shares(samples)
    runs_out = what_runs_out(shares, machine, os.cpu_count() or 1)
    _show(samples, shares, machine)
    if runs_out is not None:
        _console.print(f"What runs out: {runs_out}.")
    for fault in found:
        sys.stderr.write(fault + "\n")
    document: dict[str, Any] = {"rate": rate, "accepted_a_second": round(accepted_rate(samples), 1)}
    document |= {"processors": shares, "machine": machine, "runs_out": runs_out, "faults": found}
    write("soak", document | {"samples": [asdict(sample) for sample in samples]})
    sys.exit(1 if found else 0)


async def _run(seconds: float, rate: float) -> tuple[list[Sample], list[str]]:
    async with production() as running:
        connection = await asyncpg.connect(running.hub.dsn)
        try:
            async with running.posting(rate) as posting:
                await asyncio.wait({posting}, timeout=WARM_UP_SECONDS)
                samples = await _samples(running, posting, connection, seconds)
        finally:
            await connection.close()
        _console.print("all comes to rest; everybody's record is compared")
        faults = [f"{name} died" for name in running.ended()]
        return samples, faults + (await running.checked()).faults


async def _samples(
    running: Production, posting: "asyncio.Task[None]", connection: asyncpg.Connection, seconds: float
) -> list[Sample]:
    """Look every so often until the time is up. Raises what ended the posting, which must not end."""
    sampler = await Sampler.of(running, connection)
    samples = [await sampler.look()]
    began = samples[0].at
    while samples[-1].at - began < seconds:
        due = began + len(samples) * EVERY_SECONDS
        await asyncio.wait({posting}, timeout=max(0.0, due - samples[-1].at))
        if posting.done():
            posting.result()
        samples.append(await sampler.look())
        _console.print(_line(samples[-2], samples[-1], began))
    return samples


def judge(samples: Sequence[Sample], rate: float) -> list[str]:
    """What does not hold, a sentence each."""
    if len(samples) < _LEAST_SAMPLES:
        return [f"{len(samples)} samples are too few to judge by: let it run longer"]
    faults = []
    if (accepted := accepted_rate(samples)) < ACCEPTED_SHARE * rate:
        faults.append(f"accepted {accepted:.1f} referrals a second, not {rate:g}")
    for name in NAMES:
        memory = second_half(_series(samples, lambda sample: sample.memory_mb, name))
        if memory.growth > GROWTH_MB and memory.growth_share > GROWTH_SHARE:
            faults.append(f"memory of {name} grew by {memory.growth:.0f} MB from {memory.level:.0f} MB")
    for name in samples[-1].behind:
        behind = second_half(_series(samples, lambda sample: sample.behind, name))
        a_second = _arrivals(samples, name)
        if behind.growth > GROWTH_SECONDS * a_second:
            faults.append(f"{name}: {behind.growth:.0f} more behind at the end than in the middle")
        if behind.highest > BOUND_SECONDS * a_second:
            faults.append(
                f"{name}: {behind.highest:.0f} behind at worst, with {a_second:.0f} a second coming"
            )
    return faults


def accepted_rate(samples: Sequence[Sample]) -> float:
    """Referrals the hub accepted a second, over the whole run."""
    first, last = samples[0], samples[-1]
    return (last.accepted - first.accepted) / (last.at - first.at)


def _arrivals(samples: Sequence[Sample], name: str) -> float:
    """How much comes in a second for whoever is behind on it: a log's events, or referrals on a worklist."""
    first, last = samples[0], samples[-1]
    source = name.removesuffix("->kafka").rpartition("<-")[2]
    if source not in last.ends:
        return accepted_rate(samples)
    return (last.ends[source] - first.ends[source]) / (last.at - first.at)


def _series(samples: Sequence[Sample], of: Figures, name: str) -> Series:
    return [(sample.at - samples[0].at, of(sample).get(name, 0)) for sample in samples]


def _shares(samples: Sequence[Sample]) -> tuple[dict[str, float], float]:
    """Processors' worth of time each process took over the run, and everything on the machine."""
    first, last = samples[0], samples[-1]
    seconds = last.at - first.at
    shares = {
        name: round((spent - first.processor_seconds.get(name, 0.0)) / seconds, 3)
        for name, spent in last.processor_seconds.items()
    }
    return shares, round((last.machine_seconds - first.machine_seconds) / seconds, 3)


def _line(before: Sample, now: Sample, began: float) -> str:
    rate = (now.accepted - before.accepted) / (now.at - before.at)
    services = "  ".join(f"{name} {now.memory_mb[name]:.0f} MB" for name in NAMES)
    worst = max(now.behind, key=lambda name: now.behind[name])
    return f"{now.at - began:4.0f} s  {rate:5.1f}/s  {services}  furthest behind: {worst} {now.behind[worst]}"


def _show(samples: Sequence[Sample], shares: Mapping[str, float], machine: float) -> None:
    memory = Table("process", "processors", "memory at first", "at last", "second half", title="soak")
    for name, share in shares.items():
        megabytes = _series(samples, lambda sample: sample.memory_mb, name)
        memory.add_row(name, f"{share:.2f}", *_memory_cells(megabytes))
    memory.add_row("the whole machine", f"{machine:.2f} of {os.cpu_count()}", "", "", "")
    _console.print(memory)
    behind = Table("behind", "in the middle", "at last", "at worst", "coming a second")
    for name in samples[-1].behind:
        series = _series(samples, lambda sample: sample.behind, name)
        values = [value for _, value in series]
        figures = (values[len(values) // 2], values[-1], max(values), _arrivals(samples, name))
        behind.add_row(name, *(f"{figure:,.0f}" for figure in figures))
    _console.print(behind)
    _console.print(f"accepted: {accepted_rate(samples):.1f} referrals a second")


def _memory_cells(megabytes: Series) -> Sequence[str]:
    if not megabytes[-1][1] or len(megabytes) < _LEAST_SAMPLES:
        return ("", "", "")
    growth = second_half(megabytes).growth
    return (f"{megabytes[0][1]:.0f} MB", f"{megabytes[-1][1]:.0f} MB", f"{growth:+.1f} MB")


if __name__ == "__main__":
    typer.run(main)
