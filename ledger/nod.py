"""NOD: what a closed epoch pays for serving the network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.events import EventType, View
from ledger.policies import Policies


@dataclass(frozen=True, slots=True)
class NodAllocation:
    """What one node gets."""

    node: bytes
    atoms: int


@dataclass(frozen=True, slots=True)
class NodPlan:
    """The allocation of an epoch."""

    pool: int
    pool_max: int
    allocations: tuple[NodAllocation, ...]


def plan_nod(view: View, closed: int, policies: Policies, spent: int, *, pay: bool) -> NodPlan:
    """Return the allocation of an epoch."""
    return NodPlan(0, 0, ())


def list_nod_events(plan: NodPlan) -> Iterator[tuple[EventType[Any], Any]]:
    """Yield the events of an allocation."""
    return iter(())


def read_operator_groups(view: View) -> Mapping[bytes, bytes]:
    """Return account -> declared operator group."""
    return {}
