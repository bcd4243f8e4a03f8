"""Which deliveries a share decision asks for, under which ids, and by when."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from hub_partner_gateway.commands import PlanDelivery
from hub_partner_gateway.policies.packages import PackageBook
from hub_schemas.codes import Agency, Authority
from hub_schemas.triage import ShareDecided

MINIMUM_ALLOWANCE: Final = timedelta(minutes=15)
"""A decision made late is triage's breach; the delivery still gets this long before a person must phone."""

_DELIVERIES: Final = UUID("6f0b8a0e-2c55-5d0f-9a44-0c1f6f1c9b7e")
_MESSAGE: Final = "message"


def plan(decided: ShareDecided, packages: PackageBook, at: datetime) -> list[PlanDelivery]:
    """One delivery per recipient, in the order of the decision; ``at`` is aware UTC."""
    return [
        _plan_one(
            decided,
            delivery_id_of(decided.referral_id, to.subject_id, to.agency, to.authority),
            to.subject_id,
            to.authority,
            to.agency,
            packages,
            at,
        )
        for to in dict.fromkeys(decided.recipients)
    ]


def delivery_id_of(referral_id: UUID, subject_id: UUID, agency: Agency, authority: Authority) -> UUID:
    """The one delivery of this subject of this referral to this agency."""
    return uuid5(_DELIVERIES, f"{referral_id}:{subject_id}:{agency}:{authority}")


def message_id_of(delivery_id: UUID) -> UUID:
    """The id the partner knows the message by; the same through every retry."""
    return uuid5(delivery_id, _MESSAGE)


def deadline_of(share_due_at: datetime | None, planned_at: datetime) -> datetime | None:
    """When a person must take over: the share clock's due time, never sooner than the least allowance."""
    return None if share_due_at is None else max(share_due_at, planned_at + MINIMUM_ALLOWANCE)


def _plan_one(
    decided: ShareDecided,
    delivery_id: UUID,
    subject_id: UUID,
    authority: Authority,
    agency: Agency,
    packages: PackageBook,
    at: datetime,
) -> PlanDelivery:
    package = packages.find(authority, agency)
    return PlanDelivery(
        delivery_id=delivery_id,
        referral_id=decided.referral_id,
        subject_id=subject_id,
        authority=authority,
        agency=agency,
        package=None if package is None else package.name,
        package_version=None if package is None else package.version,
        message_id=message_id_of(delivery_id),
        at=at,
        deadline_at=deadline_of(decided.share_due_at, at),
        risk_grade=decided.risk_grade,
        level_of_need=decided.level_of_need,
        lawful_basis=decided.lawful_basis,
    )
