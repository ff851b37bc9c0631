"""The keystore: one passphrase, one key; an edited file opens nothing."""

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.primitives.signing import SigningKey
from node.keystore import ARGON2_MEMORY_BYTES_MAX, KeyName, Keystore, KeystoreError

SEED = bytes(range(32))


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    keystore = Keystore(tmp_path / "keys")
    keystore.add("ada", SEED, "a passphrase")
    return keystore


def test_a_key_opens_with_its_passphrase(keystore: Keystore) -> None:
    assert keystore.open("ada", "a passphrase").public == SigningKey(SEED).public
    assert keystore.open_seed("ada", "a passphrase") == SEED


@pytest.mark.parametrize("wrong", ["", "A passphrase", "a passphrase ", "ä passphrase"])
def test_no_other_passphrase_opens_it(keystore: Keystore, wrong: str) -> None:
    with pytest.raises(KeystoreError, match="does not open this key"):
        keystore.open("ada", wrong)


def test_keys_are_listed_without_opening_them(keystore: Keystore) -> None:
    made = keystore.create("ben", "another")

    assert keystore.list() == [KeyName("ada", SigningKey(SEED).public), KeyName("ben", made.public)]


def test_only_the_owner_may_read_a_key_file(keystore: Keystore) -> None:
    assert stat.S_IMODE((keystore.folder / "ada.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(keystore.folder.stat().st_mode) == 0o700


def test_a_leftover_with_another_mode_does_not_pass_it_on(keystore: Keystore) -> None:
    leftover = keystore.folder / "ben.new"
    leftover.write_bytes(b"half a key")
    leftover.chmod(0o666)

    keystore.add("ben", SEED, "x")

    assert stat.S_IMODE((keystore.folder / "ben.json").stat().st_mode) == 0o600
    assert sorted(os.listdir(keystore.folder)) == ["ada.json", "ben.json"]


def test_neither_seed_nor_passphrase_is_in_the_file(keystore: Keystore) -> None:
    data = (keystore.folder / "ada.json").read_bytes()

    assert SEED.hex().encode() not in data
    assert b"passphrase" not in data


def test_a_name_is_taken_once(keystore: Keystore) -> None:
    with pytest.raises(KeystoreError, match="exists already"):
        keystore.add("ada", SEED, "x")


@pytest.mark.parametrize("name", ["", "Ada", "../ada", "a b", "a" * 65, "a.json", "ä"])
def test_names_can_not_leave_the_folder(keystore: Keystore, name: str) -> None:
    with pytest.raises(KeystoreError, match="expected a key name"):
        keystore.add(name, SEED, "x")


def test_a_key_that_is_missing_names_those_that_are_there(keystore: Keystore) -> None:
    with pytest.raises(KeystoreError, match="keys here: ada"):
        keystore.open("ben", "x")


EDITS: list[Any] = [
    {"version": 2},
    {"version": ...},
    {"public": "zz"},
    {"public": "00" * 31},
    {"public": "00" * 32},
    {"public": 5},
    {"sealed_seed": ""},
    {"sealed_seed": "00"},
    {"sealed_seed": "00" * 72},
    {"sealed_seed": "xy"},
    {"kdf": {}},
    {"kdf": 5},
    {"kdf": {"salt": "00" * 16, "operations": 2, "memory_bytes": ARGON2_MEMORY_BYTES_MAX * 2}},
    {"kdf": {"salt": "00" * 16, "operations": 10**9, "memory_bytes": 67_108_864}},
    {"kdf": {"salt": "00" * 16, "operations": -1, "memory_bytes": 67_108_864}},
    {"kdf": {"salt": "00" * 16, "operations": "x", "memory_bytes": 67_108_864}},
    {"kdf": {"salt": "00", "operations": 2, "memory_bytes": 67_108_864}},
]


@pytest.mark.parametrize("changes", EDITS, ids=str)
def test_an_edited_file_opens_nothing_and_is_named(keystore: Keystore, changes: dict[str, Any]) -> None:
    path = keystore.folder / "ada.json"
    document = orjson.loads(path.read_bytes()) | changes
    path.write_bytes(orjson.dumps({name: value for name, value in document.items() if value is not ...}))

    with pytest.raises(KeystoreError, match=r"ada\.json"):
        keystore.open("ada", "a passphrase")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"null", b"\xff"])
def test_a_file_that_is_no_key_file_is_named_when_keys_are_listed(keystore: Keystore, data: bytes) -> None:
    (keystore.folder / "ada.json").write_bytes(data)

    with pytest.raises(KeystoreError, match=r"ada\.json: expected a key file"):
        keystore.list()
