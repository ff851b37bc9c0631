"""The keystore: named keys, each encrypted under a passphrase.

A key file is JSON: the public key in clear, the seed sealed with XSalsa20-Poly1305 under a key that Argon2id derives
from the passphrase.  Files are made with mode 0600 and replaced atomically.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils
import orjson

from ledger.primitives.signing import SEED_BYTES, SigningKey

KEYFILE_VERSION = 1
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
ARGON2_OPERATIONS = nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE
ARGON2_MEMORY_BYTES = nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE
ARGON2_OPERATIONS_MAX = nacl.pwhash.argon2id.OPSLIMIT_SENSITIVE
ARGON2_MEMORY_BYTES_MAX = nacl.pwhash.argon2id.MEMLIMIT_SENSITIVE
"""An edited file may not ask for more work than this."""


class KeystoreError(RuntimeError):
    """A key that is missing, damaged, already there, or locked under another passphrase."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key as `atlas keys list` shows it."""

    name: str
    public: bytes


class Keystore:
    """A folder of key files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list(self) -> list[KeyName]:
        """Return all keys by name, without opening any."""
        return [KeyName(path.stem, _read_key_file(path).public) for path in sorted(self.folder.glob("*.json"))]

    def create(self, name: str, passphrase: str) -> SigningKey:
        """Make a new key from the system's randomness and keep it."""
        return self.add(name, os.urandom(SEED_BYTES), passphrase)

    def add(self, name: str, seed: bytes, passphrase: str) -> SigningKey:
        """Keep a key under a new name.  Raises KeystoreError when the name is taken or malformed."""
        path = self._path(name)
        if path.exists():
            raise KeystoreError(f"{path}: a key of this name exists already; choose another name")
        key = SigningKey(seed)
        salt = nacl.utils.random(nacl.pwhash.argon2id.SALTBYTES)
        box = nacl.secret.SecretBox(_derive(passphrase, salt, ARGON2_OPERATIONS, ARGON2_MEMORY_BYTES))
        document = {
            "version": KEYFILE_VERSION,
            "public": key.public.hex(),
            "kdf": {
                "name": "argon2id",
                "salt": salt.hex(),
                "operations": ARGON2_OPERATIONS,
                "memory_bytes": ARGON2_MEMORY_BYTES,
            },
            "sealed_seed": bytes(box.encrypt(seed)).hex(),
        }
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)  # a leftover of another mode would keep that mode
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        return key

    def open(self, name: str, passphrase: str) -> SigningKey:
        """Return the key of this name.  Raises KeystoreError."""
        return SigningKey(self.open_seed(name, passphrase))

    def open_seed(self, name: str, passphrase: str) -> bytes:
        """Return the 32-byte seed of this name.  Raises KeystoreError."""
        path = self._path(name)
        if not path.exists():
            known = ", ".join(key.name for key in self.list()) or "none yet"
            raise KeystoreError(f"{path}: no key of this name; keys here: {known}. Make one with `atlas keys create`")
        file = _read_key_file(path)
        secret = _derive(passphrase, file.salt, file.operations, file.memory_bytes)
        try:
            seed = nacl.secret.SecretBox(secret).decrypt(file.sealed_seed)
        except nacl.exceptions.CryptoError as error:
            raise KeystoreError(f"{path}: the passphrase does not open this key, or the file was edited") from error
        if len(seed) != SEED_BYTES or SigningKey(seed).public != file.public:
            raise KeystoreError(f"{path}: the sealed key is not the one that the file names; the file was edited")
        return seed

    def _path(self, name: str) -> Path:
        if not name or len(name) > 64 or any(character not in NAME_CHARACTERS for character in name):
            raise KeystoreError(f"expected a key name of 1 to 64 of a-z 0-9 _ -, got {name!r}")
        return self.folder / f"{name}.json"


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """What a key file says, every member checked."""

    public: bytes
    salt: bytes
    operations: int
    memory_bytes: int
    sealed_seed: bytes


def _read_key_file(path: Path) -> _KeyFile:
    try:
        document = cast("dict[str, Any]", orjson.loads(path.read_bytes()))
        version, kdf = document["version"], document["kdf"]
        file = _KeyFile(
            bytes.fromhex(document["public"]),
            bytes.fromhex(kdf["salt"]),
            int(kdf["operations"]),
            int(kdf["memory_bytes"]),
            bytes.fromhex(document["sealed_seed"]),
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise KeystoreError(f"{path}: expected a key file, got something else: {error}") from error
    if version != KEYFILE_VERSION:
        raise KeystoreError(f"{path}: expected key file version {KEYFILE_VERSION}, got {version!r}")
    within = ARGON2_OPERATIONS <= file.operations <= ARGON2_OPERATIONS_MAX
    if not within or not ARGON2_MEMORY_BYTES <= file.memory_bytes <= ARGON2_MEMORY_BYTES_MAX:
        raise KeystoreError(
            f"{path}: kdf: expected {ARGON2_OPERATIONS} to {ARGON2_OPERATIONS_MAX} operations on "
            f"{ARGON2_MEMORY_BYTES} to {ARGON2_MEMORY_BYTES_MAX} bytes, got {file.operations} on {file.memory_bytes}"
        )
    if len(file.public) != 32 or len(file.salt) != nacl.pwhash.argon2id.SALTBYTES:
        raise KeystoreError(f"{path}: expected a public key of 32 bytes and a salt of 16; the file was edited")
    return file


def _derive(passphrase: str, salt: bytes, operations: int, memory_bytes: int) -> bytes:
    size = nacl.secret.SecretBox.KEY_SIZE
    return bytes(
        nacl.pwhash.argon2id.kdf(size, passphrase.encode(), salt, opslimit=operations, memlimit=memory_bytes)
    )  # fmt: skip
