from datetime import UTC, datetime
from typing import get_args

import pytest
import typer

from hub_embedded.commands.choices import ServiceName, chosen, instant
from hub_embedded.services import SERVICES


def test_every_service_can_be_chosen() -> None:
    assert [service.name for service in SERVICES] == list(get_args(ServiceName))
    assert [list(chosen(service.name)) for service in SERVICES] == [[service] for service in SERVICES]  # type: ignore[arg-type]


def test_without_a_choice_it_is_all_of_them_in_the_order_a_referral_meets_them() -> None:
    assert list(chosen(None)) == list(SERVICES)


@pytest.mark.parametrize(
    "text", ["2026-03-11T09:30:00Z", "2026-03-11T10:30:00+01:00", "2026-03-11 09:30+00:00"]
)
def test_an_instant_is_read_with_its_offset(text: str) -> None:
    assert instant(text) == datetime(2026, 3, 11, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-03-11T09:30:00", "2026-03-11", "now", ""])
def test_an_instant_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        instant(text)
