"""The hub's keys as the command line tools use them; a tool that only looks never makes a master key."""

from pathlib import Path
from typing import ClassVar

from hub_embedded.data_dir import DataDir
from hub_kernel.auth import LocalIssuer, TokenVerifier
from hub_kernel.errors import NotFound, Rejected
from hub_kernel.heads import HeadFile
from hub_kernel.runtime import local_issuer, master_key
from hub_kernel.runtime import token_verifier as verifier_of
from hub_kernel.sealing import MasterKey
from hub_kernel.settings import Settings


class MasterKeyMissing(NotFound):
    """The hub's master key is not here. Set HUB_MASTER_KEY_FILE to it, or HUB_DATA_DIR to the hub's own."""

    slug: ClassVar[str] = "master-key-missing"


class RealIssuerConfigured(Rejected):
    """Tokens come from the configured identity provider (HUB_ISSUER). Ask it for one with this role."""

    slug: ClassVar[str] = "real-issuer-configured"


def existing_master_key(settings: Settings) -> MasterKey:
    """The master key the hub runs with. Raises ``MasterKeyMissing``."""
    path = settings.master_key_file or settings.data_dir / "master.key"
    if settings.master_key is None and not path.exists():
        raise MasterKeyMissing
    return master_key(settings)


def head_file(settings: Settings) -> HeadFile | None:
    """The heads signed so far; ``None`` where there is no such file. Raises ``MasterKeyMissing``."""
    path: Path = settings.data_dir / "heads.jsonl"
    return HeadFile(path, existing_master_key(settings)) if path.exists() else None


def own_issuer(settings: Settings) -> LocalIssuer:
    """The embedded hub's own issuer, its key made if there is none yet. Raises ``RealIssuerConfigured``."""
    if settings.has_real_issuer:
        raise RealIssuerConfigured
    DataDir.at(settings.data_dir)
    return local_issuer(settings)


def token_verifier(settings: Settings) -> TokenVerifier:
    """Checks tokens as the hub with these settings does."""
    if not settings.has_real_issuer:
        DataDir.at(settings.data_dir)
    return verifier_of(settings)
