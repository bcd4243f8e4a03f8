from typing import get_args

from hub_oversight.pages import DELIVERY_GROUPS, DeliveryTotals, Segment, delivery_totals, segments
from hub_oversight.views.delivery import DeliveryState
from hub_oversight.views.figures import CountyDeliveries


def test_a_bar_is_as_long_as_its_share_of_the_longest_and_leaves_out_what_is_empty() -> None:
    assert segments((1, 0, 3), largest=8) == [
        Segment(age=1, start=0.0, width=12.5),
        Segment(age=3, start=12.5, width=37.5),
    ]
    assert segments((0, 0, 0), largest=0) == []


def test_every_state_of_a_delivery_has_one_column() -> None:
    columns = [state for states in DELIVERY_GROUPS.values() for state in states]
    assert sorted(columns) == sorted(get_args(DeliveryState))


def test_key_figures_add_up_the_counties() -> None:
    counties = [
        CountyDeliveries(
            authority="884", by_state={"sending": 2, "taken": 1, "cancelled": 5}, to_telephone=1
        ),
        CountyDeliveries(authority="893", by_state={"planned": 4, "acknowledged": 7}, to_telephone=2),
    ]
    assert delivery_totals(counties) == DeliveryTotals(under_way=7, acknowledged=7, to_telephone=3)
