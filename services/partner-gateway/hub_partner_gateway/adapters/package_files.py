"""Reads the partner packages that ship with the service."""

from importlib import resources
from importlib.resources.abc import Traversable

from hub_partner_gateway.policies.packages import PackageBook


def shipped_packages() -> PackageBook:
    """Every partner package of this release. Raises ``PackageBroken``, and the hub does not start."""
    return PackageBook.load(read_partner_files(resources.files("hub_partner_gateway") / "partners"))


def read_partner_files(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    found: dict[str, bytes] = {}
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        found |= read_partner_files(entry, f"{path}/") if entry.is_dir() else {path: entry.read_bytes()}
    return found
