"""Sealing: personal data leaves the process only under a data key, one per subject of erasure.

Data keys are random, wrapped by a key derived from the master key, and live in the schema ``keyring``.
Erasing a key destroys every copy of what it sealed; its row stays as a fence, so that the key cannot be
minted again.
"""

import base64
import hmac
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final
from uuid import UUID

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub_kernel.coalescing import Coalescer, Pending
from hub_kernel.errors import NotFound, Rejected, Unavailable
from hub_kernel.private_files import read_or_make

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_MINTED_AT_ONCE: Final = 500


class KeyErased(Rejected):
    """The personal data of this record is erased and its key destroyed; nothing can be read or added."""

    slug: ClassVar[str] = "erased"


class KeyUnknown(NotFound):
    """No data key is known for this record. Check that this service uses the right keyring database."""

    slug: ClassVar[str] = "key-unknown"


class MasterKeyUnusable(Unavailable):
    """The master key cannot be used: it must be 32 bytes in base64, in a file only its owner can read."""

    slug: ClassVar[str] = "master-key-unusable"


class SealBroken(Unavailable):
    """Sealed data does not open: it was changed, or the master key is not the one that sealed it."""

    slug: ClassVar[str] = "seal-broken"


class MasterKey:
    """The secret everything else is derived from; 32 bytes that never reach the database."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise MasterKeyUnusable
        self._secret = secret

    @classmethod
    def from_text(cls, text: str) -> "MasterKey":
        """Read the base64 form that settings and the key file hold."""
        try:
            return cls(base64.b64decode(text, validate=True))
        except ValueError as error:
            raise MasterKeyUnusable from error

    @classmethod
    def from_file(cls, path: Path) -> "MasterKey":
        """Read the key file, making it with mode 0600 at the first run.

        Raises ``MasterKeyUnusable`` when others can read it.
        """
        try:
            text = read_or_make(path, lambda: base64.b64encode(os.urandom(KEY_BYTES)) + b"\n").decode()
        except (OSError, ValueError) as error:
            raise MasterKeyUnusable from error
        return cls.from_text(text.strip())

    def derive(self, purpose: str) -> bytes:
        """A key for one purpose, 32 bytes (HKDF-SHA256, RFC 5869)."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(self._secret)


class DataKey:
    """The key of one record's personal data."""

    def __init__(self, key_id: UUID, secret: bytes) -> None:
        self.key_id = key_id
        self._secret = secret
        self._cipher = AESGCM(secret)

    def seal(self, event_id: UUID, type_name: str, plaintext: bytes) -> bytes:
        """Encrypt, bound to one event. The same input gives the same bytes, so a repeat can be recognised.

        The nonce is a keyed hash of all that is sealed (the SIV construction): it never repeats for different
        content, and an equal one tells only that the same event was sealed again.
        """
        bound = event_id.bytes + type_name.encode()
        nonce = hmac.digest(self._secret, bound + b"\x00" + plaintext, "sha256")[:_NONCE_BYTES]
        return nonce + self._cipher.encrypt(nonce, plaintext, bound)

    def open(self, event_id: UUID, type_name: str, sealed: bytes) -> bytes:
        """Decrypt. Raises ``SealBroken`` for other bytes, another event or another key."""
        bound = event_id.bytes + type_name.encode()
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error


class Keyring:
    """All data keys, on its own schema and role. No key is cached: an erasure holds from its commit on."""

    def __init__(self, pool: asyncpg.Pool, master: MasterKey) -> None:
        self._pool = pool
        self._wrapping = AESGCM(master.derive("wrap data keys"))
        self._coalescer: Coalescer[UUID, DataKey] = Coalescer(self._mint, _cut, writers=1)

    async def key_for(self, key_id: UUID) -> DataKey:
        """The key with this id, minted durably if there is none yet. Raises ``KeyErased``."""
        return await self._coalescer.submit(key_id)

    async def existing(self, key_ids: Sequence[UUID]) -> dict[UUID, DataKey | None]:
        """The keys with these ids; ``None`` for one that was erased; an unknown id is absent."""
        rows = await self._pool.fetch(
            "SELECT key_id, wrapped FROM keyring.data_keys WHERE key_id = ANY ($1)", list(key_ids)
        )
        return {row["key_id"]: self._unwrap(row) for row in rows}

    async def erase(self, key_id: UUID) -> bool:
        """Destroy a key for good; its id stays as a fence. False when it was erased before.

        An id that has no key yet is fenced too.
        """
        erased = await self._pool.fetchval(
            """INSERT INTO keyring.data_keys (key_id, wrapped, erased_at) VALUES ($1, NULL, now())
               ON CONFLICT (key_id) DO UPDATE SET wrapped = NULL, erased_at = now()
               WHERE data_keys.wrapped IS NOT NULL RETURNING true""",
            key_id,
        )
        return bool(erased)

    async def _mint(self, key_ids: Sequence[UUID]) -> list[DataKey | Exception]:
        distinct = list(dict.fromkeys(key_ids))
        fresh = [self._wrap(key_id, os.urandom(KEY_BYTES)) for key_id in distinct]
        rows = await self._pool.fetch("SELECT * FROM keyring.mint($1, $2)", distinct, fresh)
        keys = {row["key_id"]: self._unwrap(row) for row in rows}
        return [keys[key_id] or KeyErased() for key_id in key_ids]

    def _wrap(self, key_id: UUID, secret: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, secret, key_id.bytes)

    def _unwrap(self, row: asyncpg.Record) -> DataKey | None:
        key_id, wrapped = row["key_id"], row["wrapped"]
        if wrapped is None:
            return None
        try:
            secret = self._wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], key_id.bytes)
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error
        return DataKey(key_id, secret)


def _cut(queue: "deque[Pending[UUID, DataKey]]") -> "list[Pending[UUID, DataKey]]":
    return [queue.popleft() for _ in range(min(len(queue), _MAX_MINTED_AT_ONCE))]
