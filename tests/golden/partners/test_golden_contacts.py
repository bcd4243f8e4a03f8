import json
from importlib import resources
from uuid import UUID

import msgspec
import pytest

from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.policies.rendering import RenderContext, document_of, render

PARTNERS = resources.files("hub_partner_gateway") / "partners"
PACKAGES = {package.name: package for package in shipped_packages()}
CASES = [
    (name, entry.name.removesuffix(".in.json"))
    for name, package in PACKAGES.items()
    for entry in sorted(
        (PARTNERS / name / f"v{package.version}" / "golden").iterdir(), key=lambda entry: entry.name
    )
    if entry.name.endswith(".in.json")
]


def test_every_package_has_golden_contacts() -> None:
    assert {name for name, _ in CASES} == set(PACKAGES)


@pytest.mark.parametrize(("package_name", "case"), CASES)
def test_a_released_mapping_still_writes_the_same_bytes(package_name: str, case: str) -> None:
    package = PACKAGES[package_name]
    folder = PARTNERS / package_name / f"v{package.version}" / "golden"
    given = json.loads((folder / f"{case}.in.json").read_bytes())
    context = msgspec.convert(
        given["context"] | {key: UUID(given["context"][key]) for key in ("referral_id", "subject_id")},
        RenderContext,
    )
    written = render(package, document_of(json.dumps(given["document"]).encode()), context)
    assert written.body.encode() == (folder / f"{case}.out.json").read_bytes()
    report = json.loads((folder / f"{case}.report.json").read_bytes())
    assert {
        "mapping_hash": written.mapping_hash,
        "lost_fields": list(written.lost_fields),
        "withheld_fields": list(written.withheld_fields),
    } == report
