"""Erasure: a payload's text and salt go from every node, and nothing that was proven changes.

The state says which payloads were erased, and by which event.  A block that erases one drops it in the same write; a
node that fetches older blocks afterwards does not keep what was erased since.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger import keyspace
from ledger.draft import Change
from ledger.events import View
from ledger.primitives.records import U64, Bytes32
from ledger.state import read_record


@dataclass(frozen=True, slots=True)
class Erasure:
    """What the state keeps of an erased payload."""

    height: U64
    log_index: U64  # of the event that erased it
    subject: Bytes32  # the post, or the account whose profile it was


def read_erasure(view: View, content: bytes) -> Erasure | None:
    """Return who erased a payload; None for one that was not."""
    return read_record(view, keyspace.erasure(content), Erasure)


def list_erased(changes: Iterable[Change]) -> list[bytes]:
    """Return the content hashes of the payloads that these changes erase."""
    prefix = keyspace.ERASURE
    return [key[len(prefix) :] for key, _, after in changes if key.startswith(prefix) and after is not None]
