"""Rendering: one subject of a referral in a partner's format. Pure: the same input gives the same bytes."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from hub_kernel.errors import Rejected
from hub_partner_gateway.commands import Rendering
from hub_partner_gateway.policies.code_lists import CodeUnmapped
from hub_partner_gateway.policies.mapping_language import MappingFailed
from hub_partner_gateway.policies.minimising import (
    Document,
    about_subject,
    is_under,
    keep_only,
    mask_withheld_addresses,
    present_paths,
    subject_index,
)
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_schemas.codes import LevelOfNeed, RiskGrade

_DOCUMENT_VERSION = 1


class CannotRender(Rejected):
    """This referral cannot be written in the partner's format. Tell the partner by telephone."""

    slug: ClassVar[str] = "cannot-render"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """What the contact says besides the referral: which delivery it is, and what was decided.

    ``referral_version`` is the stream version of the intake fact the document came with.
    """

    referral_id: UUID
    subject_id: UUID
    message_id: UUID
    referral_version: int
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    lawful_basis: str | None


def render(package: PartnerPackage, document: Document, context: RenderContext) -> Rendering:
    """Write one subject's contact. Raises ``CannotRender`` naming the fields at fault, never their values."""
    if document.get("document_version") != _DOCUMENT_VERSION:
        raise CannotRender(fields={"document_version": "not a version this release can read"})
    index = subject_index(document, context.referral_id, context.subject_id)
    if index is None:
        raise CannotRender(fields={"subjects": "the subject is no longer in the referral"})
    masked = mask_withheld_addresses(about_subject(document, index), package.authority)
    kept = keep_only(masked.document, package.receives)
    contact, inexact = _map(package, kept.document, context)
    _check(package, contact)
    body = json.dumps(contact, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    lost = {path for path in set(present_paths(kept.document)) if not is_under(path, package.carries)}
    return Rendering(
        package=package.name,
        package_version=package.version,
        mapping_hash=package.mapping_hash,
        content_type=package.content_type,
        referral_version=context.referral_version,
        body=body,
        body_hash=sha256(body.encode()).hexdigest(),
        lost_fields=tuple(sorted(lost | inexact)),
        withheld_fields=tuple(sorted({*masked.withheld_fields, *kept.withheld_fields})),
    )


def _map(package: PartnerPackage, document: Document, context: RenderContext) -> tuple[Any, set[str]]:
    """Run the mapping; also the paths of codes the partner's lists could only carry inexactly."""
    inexact: set[str] = set()

    def code(name: str, value: str | None, path: str) -> str | None:
        if value is None:
            return None
        target = package.codes[name].look_up(value, path)
        if target.lossy:
            inexact.add(path)
        return target.value

    variables = {
        "profile": package.constants,
        "context": {
            "message_id": str(context.message_id),
            "risk_grade": context.risk_grade,
            "level_of_need": context.level_of_need,
            "lawful_basis": context.lawful_basis,
        },
    }
    try:
        return package.mapping.evaluate(document, code, variables), inexact
    except CodeUnmapped as unmapped:
        raise CannotRender(fields={str(unmapped): "no code of the partner's"}) from None
    except MappingFailed as failed:
        raise CannotRender(fields={"mapping": str(failed)}) from None


def _check(package: PartnerPackage, contact: Any) -> None:
    if package.schema.is_valid(contact):
        return
    faults = {
        ".".join(str(part) for part in fault.instance_path) or "contact": "not as the partner's schema asks"
        for fault in package.schema.iter_errors(contact)
    }
    raise CannotRender(fields=faults)


def document_of(raw: bytes | msgspec.Raw) -> Document:
    """Read a sealed document as plain JSON values, without what is not stated."""
    document: Document = _without_nulls(msgspec.json.decode(raw))
    return document


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {field: _without_nulls(item) for field, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
