"""Builders the gateway's tests share: the shipped packages, a full referral, a delivery's past."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from uuid import UUID, uuid5

import pytest

from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.commands import DeliveryCommand, PlanDelivery, Rendering
from hub_partner_gateway.domain import DECIDER
from hub_partner_gateway.domain.state import Delivery
from hub_partner_gateway.policies.packages import PackageBook
from hub_partner_gateway.policies.rendering import RenderContext
from hub_schemas.partner_gateway import GatewayFact

REFERRAL = UUID(int=1)
SUBJECT = UUID(int=2)
DELIVERY = UUID(int=3)
MESSAGE = UUID(int=4)
NOW = datetime(2026, 3, 7, 9, 0, tzinfo=UTC)

RENDERING = Rendering(
    package="885-childrens_services",
    package_version=1,
    mapping_hash="m",
    body="{}",
    body_hash="b",
    content_type="application/json",
    referral_version=1,
    lost_fields=("force",),
    withheld_fields=(),
)

Document = dict[str, Any]


@pytest.fixture(scope="session")
def packages() -> PackageBook:
    return shipped_packages()


@pytest.fixture
def full() -> Document:
    """A referral with nearly every field filled in, about nobody: a child, an unborn child and an adult."""
    folder = resources.files("hub_partner_gateway") / "partners/884-childrens_services/v1/golden"
    document: Document = json.loads((folder / "withheld-refuge.in.json").read_bytes())["document"]
    return document


@pytest.fixture(scope="session")
def about() -> Callable[[str], RenderContext]:
    """The context of a contact about the person with this ref."""

    def build(ref: str) -> RenderContext:
        return RenderContext(
            referral_id=REFERRAL,
            subject_id=uuid5(REFERRAL, ref),
            message_id=MESSAGE,
            referral_version=1,
            risk_grade="high",
            level_of_need="red",
            lawful_basis="public_task",
        )

    return build


@dataclass
class Past:
    """A delivery and its facts so far; ``after`` gives it more commands."""

    state: Delivery | None = None
    facts: list[GatewayFact] = field(default_factory=list)

    def after(self, *commands: DeliveryCommand) -> Sequence[GatewayFact]:
        """Take these commands in turn and say what the last one led to."""
        led_to: Sequence[GatewayFact] = ()
        for command in commands:
            led_to = DECIDER.decide(command, self.state)
            self.state = DECIDER.fold(led_to, self.state)
            self.facts += led_to
        return led_to


@pytest.fixture
def past() -> Past:
    return Past()


def plan(**changes: Any) -> PlanDelivery:
    """A plan for a red child, by the Worcestershire package, without a deadline unless told."""
    given: dict[str, Any] = {
        "delivery_id": DELIVERY,
        "referral_id": REFERRAL,
        "subject_id": SUBJECT,
        "authority": "885",
        "agency": "childrens_services",
        "package": "885-childrens_services",
        "package_version": 1,
        "message_id": MESSAGE,
        "at": NOW,
        "deadline_at": None,
        "risk_grade": "high",
        "level_of_need": "red",
        "lawful_basis": "public_task",
    }
    return PlanDelivery(**(given | changes))


@pytest.fixture(scope="session")
def a_plan() -> Callable[..., PlanDelivery]:
    return plan


@pytest.fixture(scope="session")
def rendering() -> Rendering:
    return RENDERING
