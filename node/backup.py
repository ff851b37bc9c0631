"""A node's backup: one file with all that a stopped node needs to go on, verified byte for byte when it is restored.

The file: magic, version (1 byte), length of the manifest (8 bytes), the manifest as JSON, SHA-256 of all that; then
the files' bytes in the manifest's order, each with its SHA-256 there, and nothing behind them.

A backup is older than what its node did next.  For a validator that is a danger: `votes.log` in it lacks the votes
cast since, and voting again for those places could contradict them.  So a restored node is marked (`node.restored`).
The votes that are in the backup are kept: to know some of them is never worse than to know none.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import orjson

from ledger.genesis import compute_chain_id, decode_genesis_file
from node.clock import now_ms
from node.config import Config, ConfigInvalid, load_config, render_config
from node.ledger_files import hold_ledger, list_ledger
from node.restored import MARK, TEXT, get_mark_path, is_marked

MAGIC = b"ATLASBAK"
VERSION = 1
LENGTH_BYTES = 8
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
DISK_SPARE_BYTES = 64 * 1024 * 1024
"""What must stay free on the disk beside what is written."""
CONFIG, GENESIS, DATA = "node.toml", "genesis.json", "data"


class BackupFailed(RuntimeError):
    """A backup can't be made or restored here; the message names the remedy."""


class BackupInvalid(BackupFailed):
    """The file is not a whole backup: cut off, changed, or of another version."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a node."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    chain_id: str
    created_ms: int
    files: tuple[Entry, ...]
    name: str
    role: str

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.files)

    @property
    def has_keys(self) -> bool:
        return any(entry.path.startswith(f"{DATA}/keys/") for entry in self.files)


def write_backup(folder: Path, target: Path, *, with_keys: bool = True) -> Manifest:
    """Write the node in `folder` to a new file, durably, or leave none.

    Raises BackupFailed, ConfigInvalid, GenesisInvalid, OSError, and StoreLocked while the node runs.
    """
    if target.exists():
        raise BackupFailed(f"{target}: exists already; choose another name")
    config = load_config(folder / CONFIG)
    with hold_ledger(config.data_folder / "ledger"):
        sources = _list_sources(config, with_keys)
        entries = tuple(Entry(path, *_measure(source)) for path, source in sources)
        manifest = Manifest(_read_chain_id(config), now_ms(), entries, config.node.name, config.node.role)
        _verify_space(target.resolve().parent, manifest.bytes)
        temporary = target.with_name(target.name + ".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_encode_head(manifest))
                for (path, source), entry in zip(sources, entries, strict=True):
                    with _open_source(source) as stream:
                        size, digest = _copy(stream, entry.size, file.write)
                        if (size, digest) != (entry.size, entry.sha256) or stream.read(1):
                            raise BackupFailed(
                                f"{folder / path}: changed while it was read; does something write to it?"
                            )
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
            _sync_folder(target.resolve().parent)
        finally:
            temporary.unlink(missing_ok=True)
    return manifest


def restore_backup(source: Path, folder: Path, *, never_ran_since: bool = False) -> Manifest:
    """Put a backup into a new or empty folder, as a whole or not at all, and mark the node as restored.

    never_ran_since: the operator says that the node has not run since the backup was made, so no vote is missing; then
    there is no mark.  Raises BackupInvalid, BackupFailed and OSError.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupFailed(f"{folder}: not an empty folder; restore into a new one, and compare before you replace")
    with source.open("rb") as file:
        manifest = _read_head(file, source)
        _verify_size(file, source, manifest)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _verify_space(folder.parent, manifest.bytes)
        staging = folder.with_name(f".{folder.name}.restoring")
        if staging.exists():
            shutil.rmtree(staging)  # of a restore that was cut off
        staging.mkdir(mode=0o700)
        try:
            for entry in manifest.files:
                _restore_file(file, source, entry, staging / entry.path)
            if not never_ran_since and not is_marked(staging / DATA):
                _write_file(get_mark_path(staging / DATA), lambda write: write(TEXT.encode()))
            for path in (staging, *sorted(path for path in staging.rglob("*") if path.is_dir())):
                _sync_folder(path)
            os.rename(staging, folder)  # onto an empty folder, too
            _sync_folder(folder.parent)
        finally:
            if staging.exists():
                shutil.rmtree(staging)
    return manifest


def _list_sources(config: Config, with_keys: bool) -> list[tuple[str, Path | bytes]]:
    """Return the files of a node under the names that they get when they are restored, wherever they lie now."""
    found: list[tuple[str, Path | bytes]] = [(CONFIG, _render_own(config)), (GENESIS, config.genesis_file)]
    data = config.data_folder
    found += [(f"{DATA}/ledger/{path.name}", path) for path in list_ledger(data / "ledger")]
    # A node that has not come back since an earlier restore still has to.
    found += [
        (f"{DATA}/{name}", data / name) for name in ("votes.log", "submissions.log", MARK) if (data / name).is_file()
    ]
    found += [(f"{DATA}/evidence/{path.name}", path) for path in sorted((data / "evidence").glob("*.evidence"))]
    if with_keys:
        found += [(f"{DATA}/keys/{path.name}", path) for path in sorted((data / "keys").glob("*.json"))]
    return found


def _render_own(config: Config) -> bytes:
    """Return the configuration as it stands, but for paths that lead out of the folder."""
    if (config.node.data, config.node.genesis) == (DATA, GENESIS):
        return (config.folder / CONFIG).read_bytes()
    return render_config(replace(config, node=replace(config.node, data=DATA, genesis=GENESIS))).encode()


def _read_chain_id(config: Config) -> str:
    try:
        return compute_chain_id(decode_genesis_file(config.genesis_file.read_bytes())).hex()
    except OSError as error:
        raise ConfigInvalid(f"{config.genesis_file}: node.genesis: not readable: {error}") from error


def _open_source(source: Path | bytes) -> IO[bytes]:
    return BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _measure(source: Path | bytes) -> tuple[str, int]:
    with _open_source(source) as stream:
        size, digest = _copy(stream, None, lambda data: None)
    return digest, size


def _copy(stream: IO[bytes], size: int | None, write: Callable[[bytes], object]) -> tuple[int, str]:
    """Hand up to `size` bytes to `write`, all without it; return how many there were, and their SHA-256."""
    digest, count = hashlib.sha256(), 0
    while size is None or count < size:
        data = stream.read(CHUNK_BYTES if size is None else min(CHUNK_BYTES, size - count))
        if not data:
            break
        digest.update(data)
        write(data)
        count += len(data)
    return count, digest.hexdigest()


# The file's head.


def _encode_head(manifest: Manifest) -> bytes:
    body = orjson.dumps(asdict(manifest), option=orjson.OPT_SORT_KEYS)
    head = MAGIC + bytes((VERSION,)) + len(body).to_bytes(LENGTH_BYTES, "big") + body
    return head + hashlib.sha256(head).digest()


def _read_head(file: IO[bytes], path: Path) -> Manifest:
    start = file.read(len(MAGIC) + 1 + LENGTH_BYTES)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 1 + LENGTH_BYTES:
        raise BackupInvalid(f"{path}: not a backup that `atlas backup` made, or cut off")
    if start[len(MAGIC)] != VERSION:
        raise BackupInvalid(f"{path}: expected backup version {VERSION}, got {start[len(MAGIC)]}")
    length = int.from_bytes(start[-LENGTH_BYTES:], "big")
    body = file.read(min(length, MANIFEST_BYTES_MAX))
    if len(body) != length or file.read(32) != hashlib.sha256(start + body).digest():
        raise BackupInvalid(f"{path}: the manifest is changed or cut off; take another copy of the backup")
    return _decode_manifest(body, path)


def _decode_manifest(body: bytes, path: Path) -> Manifest:
    """Check every member: the hash says that the file is whole, not who wrote it."""
    try:
        document = cast("dict[str, Any]", orjson.loads(body))
        listed = [(each["path"], each["sha256"], each["size"]) for each in document.pop("files")]
        manifest = Manifest(files=tuple(Entry(*each) for each in listed), **document)
        texts: tuple[object, ...] = (manifest.chain_id, manifest.name, manifest.role, *(each[1] for each in listed))
        numbers: tuple[object, ...] = (manifest.created_ms, *(each[2] for each in listed))
        is_sound = all(type(text) is str for text in texts)
        is_sound = is_sound and all(type(number) is int and number >= 0 for number in numbers)
        is_sound = is_sound and all(_is_inside(each[0]) for each in listed)
        is_sound = is_sound and len({each[0] for each in listed}) == len(listed)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BackupInvalid(f"{path}: the manifest is not one: {error}") from error
    if not is_sound:
        raise BackupInvalid(f"{path}: the manifest names files that no node has")
    return manifest


def _is_inside(path: object) -> bool:
    """Tell whether a path is that of a node's file: nothing outside of the folder is ever written to."""
    if not isinstance(path, str) or "\\" in path or "\0" in path:
        return False
    parts = PurePosixPath(path).parts
    is_plain = "/".join(parts) == path and not any(part in ("..", ".", "/") for part in parts)
    return is_plain and (path in (CONFIG, GENESIS) or (parts[0] == DATA and len(parts) in (2, 3)))


def _verify_size(file: IO[bytes], path: Path, manifest: Manifest) -> None:
    expected = file.tell() + manifest.bytes
    found = os.fstat(file.fileno()).st_size
    if found != expected:
        raise BackupInvalid(f"{path}: expected {expected} bytes, got {found}; take another copy of the backup")


def _restore_file(file: IO[bytes], path: Path, entry: Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    found: list[tuple[int, str]] = []
    _write_file(target, lambda write: found.append(_copy(file, entry.size, write)))
    if found != [(entry.size, entry.sha256)]:
        raise BackupInvalid(f"{path}: {entry.path} is changed or cut off; take another copy of the backup")


def _write_file(target: Path, fill: Callable[[Callable[[bytes], object]], object]) -> None:
    """Make a file that only its owner reads, durably."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        fill(file.write)
        file.flush()
        os.fsync(file.fileno())


def _verify_space(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + DISK_SPARE_BYTES:
        raise BackupFailed(
            f"{folder}: expected {needed_bytes + DISK_SPARE_BYTES:,} bytes free on this disk, got {free:,}; free some, "
            "or choose another disk"
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
