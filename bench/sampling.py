"""What the hub's processes take, and how far each reader is behind, sampled from outside while all runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import asyncpg

from bench.production import Production
from hub_embedded.services import SERVICES
from hub_kernel.clock import SystemClock, monotonic_seconds
from hub_kernel.kafka import KafkaBus, KafkaConnection
from hub_kernel.lagging import consumer_places, relay_place
from hub_schemas.topics import facts_topic

_TICK: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _REAPED_STIME, _IDLE = 11, 14, (3, 4)
DATABASE, LOAD = "postgresql", "senders and staff"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. ``at`` in seconds of a monotonic clock; times of processors in seconds since each began."""

    at: float
    accepted: int
    memory_mb: Mapping[str, float]
    processor_seconds: Mapping[str, float]
    machine_seconds: float
    behind: Mapping[str, int]
    """Events not yet dealt with, by consumer group and by relay; and what waits on each worklist."""
    ends: Mapping[str, int]
    """Events in each log."""


class Sampler:
    """Looks at one running hub again and again."""

    def __init__(self, running: Production, connection: asyncpg.Connection, postmaster: int) -> None:
        self._running, self._connection, self._postmaster = running, connection, postmaster
        kafka = KafkaConnection(running.hub.broker.bootstrap)
        self._bus = KafkaBus(kafka, SystemClock(), partitions=running.hub.settings.bus_partitions)

    @classmethod
    async def of(cls, running: Production, connection: asyncpg.Connection) -> Self:
        """A sampler with a connection of its own, by which it finds the database server's processes."""
        backend = int(await connection.fetchval("SELECT pg_backend_pid()"))
        return cls(running, connection, _parent(backend))

    async def look(self) -> Sample:
        """Take one sample. A service that died raises ``FileNotFoundError``."""
        processes = self._processes()
        behind, ends = await self._behind()
        seconds = {name: _processor_seconds(pid) for name, pid in processes.items()}
        seconds[DATABASE] = _processor_seconds(self._postmaster) + sum(
            _processor_seconds(pid) for pid in _children(self._postmaster)
        )
        return Sample(
            monotonic_seconds(),
            self._running.accepted,
            {name: _memory_mb(pid) for name, pid in processes.items()},
            seconds,
            _machine_seconds(),
            behind,
            ends,
        )

    def _processes(self) -> dict[str, int]:
        hub = self._running.hub
        services = {name: s.process.pid for name, s in hub.services.items() if s.process is not None}
        return services | {"kafka": hub.broker.pid, "partners": self._running.partners.pid, LOAD: os.getpid()}

    async def _behind(self) -> tuple[dict[str, int], dict[str, int]]:
        behind: dict[str, int] = {}
        ends: dict[str, int] = {}
        on_topics: dict[str, Mapping[int, int]] = {}
        for schema in sorted({source for service in SERVICES for source in service.hears}):
            ends[schema] = await self._connection.fetchval(f"SELECT position FROM {schema}.log_head")
            relay = await relay_place(self._connection, schema, facts_topic(schema))
            behind[f"{schema}->kafka"] = ends[schema] - relay.position
            on_topics[schema] = await self._bus.ends(facts_topic(schema))
        for service in SERVICES:
            places = await consumer_places(self._connection, service.schema)
            for place in (place for place in places if place.source in service.hears):
                behind[f"{service.name}<-{place.source}"] = sum(
                    max(0, end - place.cursors.get(partition, 0))
                    for partition, end in on_topics[place.source].items()
                )
        return behind | await self._worklists(), ends

    async def _worklists(self) -> dict[str, int]:
        row = await self._connection.fetchrow(
            """SELECT (SELECT count(*) FROM triage.assessments WHERE state = 'open') AS assessments,
                      (SELECT count(*) FROM partner_gateway.deliveries
                        WHERE next_attempt_at IS NOT NULL) AS deliveries"""
        )
        return {"open assessments": row["assessments"], "open deliveries": row["deliveries"]}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, which may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _processor_seconds(pid: int) -> float:
    """Its own time and that of children it has waited for."""
    try:
        return sum(int(ticks) for ticks in _stat(pid)[_UTIME : _REAPED_STIME + 1]) / _TICK
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # a connection of the database that closed just now; its server has its time


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory_mb(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().split("\n") if "VmRSS" in line]
    return int(line.split()[1]) / 1024


def _machine_seconds() -> float:
    """Processor time of everything on the machine that was not idle."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(spent for place, spent in enumerate(ticks) if place not in _IDLE) / _TICK
