"""Checked events by signature: an event that came by relay is not verified again when it comes in a proposal."""

from collections import OrderedDict
from typing import Protocol

from ledger.events import CheckedEvent, EventRefused, EventTypes, SignedEvent, check_event
from ledger.registry import Registry

EVENTS_MAX = 50_000


class Check(Protocol):
    """What `check_event` does."""

    def __call__(
        self,
        registry: EventTypes,
        chain_id: bytes,
        signed: SignedEvent,
        *,
        payload_required: bool,
        certified: bool = False,
    ) -> CheckedEvent: ...


class EventCache:
    """Remembers the newest checked events; a hit needs equal bytes, payload included."""

    def __init__(self, registry: Registry, chain_id: bytes, check: Check = check_event) -> None:
        """check: `check_event`, or the same by other means."""
        self._check = check
        self._registry = registry
        self._chain_id = chain_id
        self._known: OrderedDict[bytes, CheckedEvent] = OrderedDict()

    def check(self, signed: SignedEvent, *, payload_required: bool = True) -> CheckedEvent:
        """Return the checked event.  Raises EventRefused."""
        known = self._known.get(signed.signature)
        lacks_payload = payload_required and known is not None and known.payload is None
        if known is not None and known.signed == signed and (not lacks_payload or known.kind.content is None):
            return known
        checked = self._check(self._registry, self._chain_id, signed, payload_required=payload_required)
        self._known[signed.signature] = checked
        if len(self._known) > EVENTS_MAX:
            self._known.popitem(last=False)
        return checked

    def check_all(
        self, items: tuple[SignedEvent, ...], *, certified: bool = False
    ) -> tuple[CheckedEvent | EventRefused, ...]:
        """Check the events of an ordered batch, refused ones among them.  certified: see `check_event`."""
        results: list[CheckedEvent | EventRefused] = []
        for signed in items:
            try:
                results.append(self._look_at(signed) if certified else self.check(signed, payload_required=False))
            except EventRefused as refused:
                results.append(refused)
        return tuple(results)

    def _look_at(self, signed: SignedEvent) -> CheckedEvent:
        """Return an event of right form; it is not remembered, since its signature was not checked."""
        known = self._known.get(signed.signature)
        if known is not None and known.signed == signed:
            return known
        return self._check(self._registry, self._chain_id, signed, payload_required=False, certified=True)
