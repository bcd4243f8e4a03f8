from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub_embedded.demo.day import DemoDay, demo_day
from hub_embedded.demo.generator import FIRST_INSTANT
from hub_embedded.demo.hub_staff import staff_on_duty


def test_a_fresh_directory_begins_on_the_first_friday(tmp_path: Path) -> None:
    assert demo_day(tmp_path, None, seed=7) == DemoDay(seed=7, first=FIRST_INSTANT)


def test_a_day_once_begun_goes_on_with_its_own_seed(tmp_path: Path) -> None:
    begun = demo_day(tmp_path, None, seed=7)
    assert demo_day(tmp_path, FIRST_INSTANT + timedelta(hours=9), seed=8) == begun


def test_a_day_begins_after_all_that_was_recorded_before_it(tmp_path: Path) -> None:
    newest = FIRST_INSTANT + timedelta(days=15)
    assert demo_day(tmp_path, newest, seed=7) == DemoDay(seed=7, first=FIRST_INSTANT + timedelta(days=21))


@pytest.mark.parametrize(("utc_hour", "staff"), [(2, 2), (6, 2), (7, 9), (16, 9), (17, 5), (22, 5), (23, 2)])
def test_staff_work_in_shifts_by_london_time(utc_hour: int, staff: int) -> None:
    assert staff_on_duty(datetime(2026, 7, 10, utc_hour, 30, tzinfo=UTC)) == staff
