"""How a benchmark is run and told: rounds in turn, medians, a table, a file under ``bench/out``."""

import json
import platform
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import Counter
from rich.console import Console
from rich.table import Table

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres

OUT = Path(__file__).parent / "out"


@dataclass
class Row:
    """One case: our median, the rivals' medians in the same unit, and the spread of our rounds."""

    case: str
    unit: str
    ours: float
    rivals: dict[str, float] = field(default_factory=dict)
    spread: float = 0.0
    ratios: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float | str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        case: str,
        unit: str,
        ours: list[float],
        rivals: Mapping[str, list[float]] | None = None,
        **notes: float | str,
    ) -> "Row":
        """Medians of the rounds; ``spread`` is (highest - lowest) / median; ratios are ours to theirs."""
        median = statistics.median(ours)
        theirs = {name: statistics.median(rounds) for name, rounds in (rivals or {}).items()}
        return cls(
            case,
            unit,
            round(median, 2),
            {name: round(value, 2) for name, value in theirs.items()},
            round((max(ours) - min(ours)) / median, 3) if median else 0.0,
            {name: round(median / value, 2) for name, value in theirs.items() if value},
            notes,
        )


def report(name: str, rows: list[Row]) -> None:
    """Print the table and write ``bench/out/NAME.json``."""
    table = Table("case", "unit", "ours", "rivals", "ratio", "spread", "notes", title=f"bench {name}")
    for row in rows:
        table.add_row(
            row.case,
            row.unit,
            f"{row.ours:,.1f}",
            "  ".join(f"{rival} {value:,.1f}" for rival, value in row.rivals.items()),
            "  ".join(f"{rival} x{value}" for rival, value in row.ratios.items()),
            f"{row.spread:.0%}",
            "  ".join(f"{note}={value}" for note, value in row.notes.items()),
        )
    Console().print(table)
    write(name, {"rows": [asdict(row) for row in rows]})


def write(name: str, document: Mapping[str, Any]) -> None:
    """Write ``bench/out/NAME.json``, with the machine it was measured on."""
    OUT.mkdir(exist_ok=True)
    text = json.dumps({"machine": _machine(), **document}, indent=2, default=str)
    (OUT / f"{name}.json").write_text(text + "\n")


@contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    """A private PostgreSQL for one benchmark, durable as in production, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(DataDir.at(Path(directory) / "data")) as server:
            yield server


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile of measured values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def counted(counter: Counter, **labels: str) -> float:
    """What one of our counters stands at; cheap enough to be asked while it is measured."""
    [family] = counter.collect()
    return sum(s.value for s in family.samples if s.name.endswith("_total") and s.labels == labels)


def _machine() -> dict[str, str | int]:
    import os  # noqa: PLC0415  only here

    return {"cpus": os.cpu_count() or 0, "system": platform.platform(), "python": platform.python_version()}
