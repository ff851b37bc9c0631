"""What a handler works with: the node's services, finality, and reading at a height."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from client_api.errors import IntegrityLost, StaleHeight
from client_api.finality import Finality
from client_api.services import Alert, NodeServices
from ledger import keyspace
from ledger.block import Header, compute_header_hash, decode_header
from ledger.events import View
from ledger.head import decode_head
from ledger.history import History, read_history
from ledger.reading import Snapshot
from ledger.undo import StateAt


@dataclass(frozen=True, slots=True)
class Reading:
    """The ledger as of one height."""

    snapshot: Snapshot
    state: View
    header: Header
    header_hash: bytes
    head_height: int

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def history(self) -> History:
        """Which blocks' events and receipts are not here."""
        return read_history(self.snapshot)

    def anchor(self) -> dict[str, Any]:
        """Return where this was read; every answer carries it."""
        header = self.header
        return {
            "height": header.height,
            "log_size": header.log_size,
            "beat": header.beat,
            "header_hash": self.header_hash.hex(),
            "state_digest": header.state_digest.hex(),
            "rules_root": header.rules_root.hex(),
            "policy_root": header.policy_root.hex(),
        }


class _UntrustedState:
    """Stands in for a state that is not the chain's: blocks, receipts and proofs are served, nothing of the state."""

    def __init__(self, alert: Alert) -> None:
        self._alert = alert

    def get(self, key: bytes) -> bytes | None:
        raise make_integrity_error(self._alert)


def make_integrity_error(alert: Alert) -> IntegrityLost:
    """Return the problem that a node with an alert answers where it can't serve."""
    return IntegrityLost(
        alert.why, remedy=f"{IntegrityLost.remedy}  {alert.remedy}", height=alert.height, seal=alert.seal.hex(),
        what=alert.what,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _read_header(data: bytes) -> tuple[Header, bytes]:
    return decode_header(data), compute_header_hash(data)


class Context:
    """One for the whole API."""

    def __init__(self, services: NodeServices, finality: Finality) -> None:
        self.services = services
        self.finality = finality
        self.chain = services.chain
        self.openapi: dict[str, Any] = {}

    @contextmanager
    def read(self, at: int | None = None) -> Generator[Reading]:
        """Give the ledger as of height `at`, or as of the head.  Raises StaleHeight."""
        with self.chain.store.snapshot() as snapshot:
            head_data = snapshot.get(keyspace.META_HEAD)
            floor_data = snapshot.get(keyspace.META_UNDO_FLOOR)
            assert head_data is not None, "the store has a head"
            assert floor_data is not None, "the store has a lowest readable height"
            head, _ = decode_head(head_data)
            floor = int.from_bytes(floor_data, "big")
            height = head if at is None else at
            if not floor <= height <= head:
                raise StaleHeight(
                    f"height {height} can't be read here; this node reads {floor} to {head}", lowest=floor, highest=head
                )
            header_data = snapshot.get(keyspace.header(height))
            assert header_data is not None, f"the header of height {height} is missing"
            # From the snapshot alone: the running chain's head may be a block behind or ahead of it.
            header, header_hash = _read_header(header_data)
            alert = self.services.alert()
            trusted = alert is None or alert.what != "state"
            state = StateAt(snapshot, height, head) if trusted or alert is None else _UntrustedState(alert)
            yield Reading(snapshot, state, header, header_hash, head)
