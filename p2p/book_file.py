"""The address book on disk: a hash of the rest, then one record.  Both functions block: call them in a thread."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import HASH_BYTES, tagged_hash
from ledger.primitives.records import Length, decode_record, encode_record
from p2p.address_book import Entry

ENTRIES_MAX = 4_096
FILE_BYTES_MAX = 2 * 1024 * 1024
_TAG = "atlas/address-book"


class BookDamaged(ValueError):
    """The file is not what was written; the message says how.  It is a cache: going on without it loses no data."""


@dataclass(frozen=True, slots=True)
class _Saved:
    entries: Annotated[tuple[Entry, ...], Length(0, ENTRIES_MAX)]


def read_book(path: Path) -> tuple[Entry, ...]:
    """Return the saved entries; none when there is no file.  Raises BookDamaged."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BookDamaged(f"{path}: not readable: {error}") from error
    if len(data) > FILE_BYTES_MAX:
        raise BookDamaged(f"{path}: expected at most {FILE_BYTES_MAX} bytes, got more")
    if len(data) < HASH_BYTES or tagged_hash(_TAG, data[HASH_BYTES:]) != data[:HASH_BYTES]:
        raise BookDamaged(f"{path}: expected the hash of its content in front, got {len(data)} bytes with another")
    try:
        return decode_record(_Saved, data[HASH_BYTES:]).entries
    except EncodingError as error:
        raise BookDamaged(f"{path}: expected the entries of this version: {error}") from error


def write_book(path: Path, entries: tuple[Entry, ...]) -> None:
    """Replace what the file held; after a crash it holds the one or the other, whole.  Raises OSError."""
    body = encode_record(_Saved(entries))
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(tagged_hash(_TAG, body) + body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
