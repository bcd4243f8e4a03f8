import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_kernel.auth import LocalIssuer, LocalKeyUnusable
from hub_kernel.private_files import read_or_make
from hub_kernel.sealing import DataKey, MasterKey, MasterKeyUnusable, SealBroken

KEY = DataKey(UUID(int=1), bytes(range(32)))
EVENT, OTHER = UUID(int=2), UUID(int=3)


# --- sealing ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_again_and_the_same_input_gives_the_same_bytes(plaintext: bytes) -> None:
    sealed = KEY.seal(EVENT, "EntryMade", plaintext)
    assert (KEY.seal(EVENT, "EntryMade", plaintext), KEY.open(EVENT, "EntryMade", sealed)) == (
        sealed,
        plaintext,
    )


def test_no_two_different_inputs_share_a_nonce() -> None:
    sealed = [
        KEY.seal(EVENT, "EntryMade", b"text"),
        KEY.seal(OTHER, "EntryMade", b"text"),
        KEY.seal(EVENT, "Entry", b"Madetext"),
        KEY.seal(EVENT, "Entry", b"text"),
        KEY.seal(EVENT, "EntryMade", b"texts"),
        DataKey(UUID(int=1), bytes(32)).seal(EVENT, "EntryMade", b"text"),
    ]
    assert len({each[:12] for each in sealed}) == len(sealed)


def test_a_seal_is_bound_to_its_event_its_type_and_its_key() -> None:
    sealed = KEY.seal(EVENT, "EntryMade", b"text")
    another_key = DataKey(UUID(int=1), bytes(32))
    for key, event_id, type_name in (
        (another_key, EVENT, "EntryMade"),
        (KEY, OTHER, "EntryMade"),
        (KEY, EVENT, "Entry"),
    ):
        with pytest.raises(SealBroken):
            key.open(event_id, type_name, sealed)


def test_any_changed_byte_and_any_cut_breaks_the_seal() -> None:
    sealed = KEY.seal(EVENT, "EntryMade", b"some longer text")
    changed = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    cut = [sealed[:n] for n in range(len(sealed))]
    for broken in (*changed, *cut, sealed + b"\x00"):
        with pytest.raises(SealBroken):
            KEY.open(EVENT, "EntryMade", broken)


# --- the master key --------------------------------------------------------------------------------------


def test_the_key_file_is_made_once_with_mode_0600_and_read_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    made = MasterKey.from_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert MasterKey.from_file(path).derive("x") == made.derive("x")
    assert MasterKey.from_text(path.read_text().strip()).derive("x") == made.derive("x")
    assert [file.name for file in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666])
def test_a_key_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    MasterKey.from_file(path)
    path.chmod(mode)
    with pytest.raises(MasterKeyUnusable):
        MasterKey.from_file(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"short", base64.b64encode(bytes(31)), base64.b64encode(bytes(33)), b"\xff" * 44, b"!" * 44],
)
def test_a_key_that_is_not_32_bytes_in_base64_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(MasterKeyUnusable):
        MasterKey.from_file(path)
    assert path.read_bytes() == content


def test_each_purpose_has_a_key_of_its_own() -> None:
    master = MasterKey(bytes(32))
    derived = {master.derive(purpose) for purpose in ("wrap data keys", "sign tree heads", "")}
    assert (len(derived), {len(key) for key in derived}) == (3, {32})
    assert bytes(32) not in derived


# --- private files ---------------------------------------------------------------------------------------


def test_a_crash_while_a_key_is_being_made_leaves_no_file_and_the_next_start_makes_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "key"

    def crash() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_or_make(path, crash)
    assert list(tmp_path.iterdir()) == []
    assert read_or_make(path, lambda: b"made") == b"made"


def test_processes_that_make_a_key_at_once_all_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(16) as threads:
        read = list(threads.map(lambda _: read_or_make(path, lambda: os.urandom(32)), range(64)))
    assert set(read) == {path.read_bytes()}


def test_the_local_issuers_key_is_kept_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "issuer.key"
    issuer = LocalIssuer(path, "audience")
    assert path.stat().st_mode & 0o777 == 0o600
    assert LocalIssuer(path, "audience").keys.as_dict(private=False) == issuer.keys.as_dict(private=False)
    path.chmod(0o644)
    with pytest.raises(LocalKeyUnusable):
        LocalIssuer(path, "audience")
    path.chmod(0o600)
    path.write_text("{}")
    with pytest.raises(LocalKeyUnusable):
        LocalIssuer(path, "audience")
