"""Values an option takes, as types the command line understands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import typer

from hub_embedded.services import SERVICES
from hub_kernel.service import Service

ServiceName = Literal["intake", "triage", "partner-gateway", "oversight"]


def chosen(name: ServiceName | None) -> Sequence[Service]:
    """The service of that name, or all of them in the order a referral meets them."""
    return [service for service in SERVICES if name in {None, service.name}]


def instant(text: str) -> datetime:
    """An instant with its offset from UTC, in ISO 8601: 2026-03-11T09:30:00Z."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter("not an instant in ISO 8601, such as 2026-03-11T09:30:00Z") from error
    if found.tzinfo is None:
        raise typer.BadParameter("an instant needs its offset from UTC: 2026-03-11T09:30:00Z, or +01:00")
    return found
