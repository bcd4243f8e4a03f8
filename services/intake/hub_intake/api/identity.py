"""Opaque names for what a records system sends: nobody can guess an occurrence number back out of them."""

import hmac
from uuid import UUID

from pydantic import BaseModel

from hub_kernel.sealing import MasterKey
from hub_schemas.referral import Source


class Identity:
    """Derives ids and content hashes under keys of its own, from the master key."""

    def __init__(self, master_key: MasterKey) -> None:
        self._record_key = master_key.derive("intake referral ids")
        self._content_key = master_key.derive("intake content hashes")

    def referral_id(self, source: Source) -> UUID:
        """The referral's id: the same for every version of one system's record (RFC 9562 version 8)."""
        # Neither half can hold a NUL, so no two records share a name.
        record = f"{source.system}\0{source.record_id}".encode()
        value = int.from_bytes(hmac.digest(self._record_key, record, "sha256")[:16])
        value = (value & ~(0xF << 76)) | (0x8 << 76)
        value = (value & ~(0x3 << 62)) | (0x2 << 62)
        return UUID(int=value)

    def content_hash(self, canonical: bytes) -> str:
        """The keyed hash (hex) of a document's canonical JSON."""
        return hmac.digest(self._content_key, canonical, "sha256").hex()


def canonical_json(part: BaseModel) -> bytes:
    """A document in the one form that is hashed and sealed: field order of the schema, nothing absent."""
    return part.model_dump_json(exclude_none=True).encode()
