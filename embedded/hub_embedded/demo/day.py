"""Which demo day a data directory is in: chosen once, and resumed where it was left."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from hub_embedded.demo.generator import FIRST_INSTANT, SEED

DAY_FILE: Final = "demo-day.json"
_WEEK: Final = timedelta(days=7)


class DemoDay(msgspec.Struct, frozen=True, kw_only=True):
    """The stream of one data directory: its seed and its first instant (aware UTC)."""

    seed: int
    first: datetime


def demo_day(data_dir: Path, newest_recorded_at: datetime | None, seed: int = SEED) -> DemoDay:
    """The day this directory is in, or a new one: the first Friday afternoon after all that was recorded.

    A day once begun goes on, with its own seed, so that nothing is reported twice under another name.
    """
    path = data_dir / DAY_FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=DemoDay)
    first = FIRST_INSTANT
    while newest_recorded_at is not None and first <= newest_recorded_at:
        first += _WEEK
    day = DemoDay(seed=seed, first=first)
    path.write_bytes(msgspec.json.encode(day))
    return day
