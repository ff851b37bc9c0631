"""The registry: all event types and guards that a node knows.  Made once, by `node/modules.py`."""

from collections.abc import Iterable
from typing import Any

from ledger.events import EpochStep, EventType
from ledger.judgement import GuardStack
from ledger.primitives.encoding import encode
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import encode_record


class Registry:
    """All event types, the guards that judge every event, and what closes an epoch.  Refuses one name twice."""

    def __init__(
        self,
        types: Iterable[EventType[Any]],
        stack: GuardStack | None = None,
        at_close: tuple[tuple[str, EpochStep], ...] = (),
    ) -> None:
        self._types: dict[tuple[str, int], EventType[Any]] = {}
        self.stack = GuardStack() if stack is None else stack
        self.at_close = at_close
        for kind in types:
            place = (kind.name, kind.version)
            if place in self._types:
                raise AssertionError(f"event type {kind.name} version {kind.version} is declared twice")
            encode_record(kind.example)
            self._types[place] = kind
        names = [guard.name for guard in self.stack.all()]
        if len(frozenset(names)) != len(names):
            raise AssertionError(f"a guard is named twice: {names}")

    def find(self, name: str, version: int) -> EventType[Any] | None:
        return self._types.get((name, version))

    def latest(self, name: str) -> EventType[Any] | None:
        found = [kind for (known, _), kind in sorted(self._types.items(), key=lambda item: item[0]) if known == name]
        return found[-1] if found else None

    def all(self) -> tuple[EventType[Any], ...]:
        """Every type, by name and version."""
        return tuple(kind for _, kind in sorted(self._types.items(), key=lambda item: item[0]))

    def compute_root(self) -> bytes:
        """Return the hash of the names and versions of all rules: nodes with other rules have another root."""
        types = [[kind.name, kind.version, [guard.__name__ for guard in kind.guards]] for kind in self.all()]
        guards = [[guard.name, guard.version] for guard in self.stack.all()]
        return tagged_hash("atlas/rules", encode([types, guards, [module for module, _ in self.at_close]]))
