"""Addresses of peers that a node has heard of: a bounded table that nobody can fill alone.  No socket and no disk here.

What a peer says of addresses is a claim.  It is believed when a dial there met the holder of the key (`succeeded`).
Claims are bounded by who told them, by the range of addresses the teller has, and by the range that they point to; they
never push out what is believed, and only what failed, or what no registered key stands behind, makes room for them.
A registered key is one in the ledger's node registry: its operator locked a bond for it, so keys are not free.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from ledger.primitives.records import U32, U64, Between, Bytes32, Length
from p2p.address_ranges import is_loopback, is_public, range_of, read_address
from p2p.host import PeerAddress
from p2p.parameters import NetworkLimits

ADDRESS_BYTES_MAX = 45
"""Of an IPv6 address as text; names are not claimed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One address, of one key."""

    failures: U32  # dials in a row that met nobody, or another key
    host: Annotated[str, Length(1, ADDRESS_BYTES_MAX)]
    port: Annotated[int, Between(1, 65_535)]
    public_key: Bytes32
    source: Bytes32  # the key of the peer that told it
    source_range: Annotated[str, Length(0, 255)]  # where that peer was
    tried_s: U64  # time of the last dial, in Unix seconds; 0 for never
    verified_s: U64  # time of the last dial that met the key; 0 for never

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.public_key, self.host, self.port)

    @property
    def is_verified(self) -> bool:
        return self.verified_s > 0


class AddressBook:
    """The table, by key: one address each.  Times are Unix seconds; nothing waits."""

    def __init__(
        self,
        own_key: bytes,
        limits: NetworkLimits,
        now: Callable[[], int],
        *,
        is_registered: Callable[[bytes], bool] = lambda public_key: False,
        bootstrap: tuple[PeerAddress, ...] = (),
        draw: random.Random | None = None,
    ) -> None:
        """bootstrap: addresses from configuration, always kept, perhaps names.  draw: decides among equals."""
        self._own_key = own_key
        self._limits = limits
        self._now = now
        self._is_registered = is_registered
        self._draw = draw or random.Random()
        self._entries: dict[bytes, Entry] = {}
        self._bootstrap = {each.public_key: each for each in bootstrap if each.public_key != own_key}
        self._bootstrap_tried: dict[bytes, int] = {}
        self.is_changed = False
        """Something is to be saved; whoever saves it sets it back."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def verified(self) -> int:
        """How many entries are believed."""
        return sum(1 for entry in self._entries.values() if entry.is_verified)

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, ordered by key."""
        return tuple(self._entries[key] for key in sorted(self._entries))

    def restore(self, entries: Iterable[Entry]) -> int:
        """Take entries of an earlier run, those that were believed first; return how many fit the bounds."""
        before = len(self._entries)
        for entry in sorted(entries, key=lambda each: (not each.is_verified, each.public_key)):
            self._insert(entry)
        return len(self._entries) - before

    # What is heard.

    def claim(self, address: PeerAddress, source: bytes, source_host: str) -> str | None:
        """Take what a peer says: `address.public_key` listens there.  Returns why it is not taken, or None.

        source: the key of the teller.  source_host: where its connection comes from; only a peer that is itself no
        public address may name addresses that are none, so that no stranger makes us dial our own machines.
        """
        key, host = address.public_key, address.host
        if key == self._own_key or len(key) != 32:
            return "expected the key of another node"
        if read_address(host) is None or len(host) > ADDRESS_BYTES_MAX or not 1 <= address.port <= 65_535:
            return f"expected an IP address and a port, got {host[:60]!r} and {address.port}"
        if not is_public(host) and (is_public(source_host) or range_of(host) != range_of(source_host)):
            return f"expected a public address from a peer at {source_host}, got {host}"
        old = self._entries.get(key)
        if old is not None and (old.host, old.port) == (host, address.port):
            return None
        if old is not None and source != key and (old.is_verified or not old.failures):
            return "another address of this key is known"
        entry = Entry(
            failures=0,
            host=host,
            port=address.port,
            public_key=key,
            source=source,
            source_range=range_of(source_host),
            tried_s=0,
            verified_s=0,
        )
        return self._insert(entry)

    def succeeded(self, address: PeerAddress) -> None:
        """A dial to an address met its key."""
        entry = self._entries.get(address.public_key)
        if entry is not None and entry.address == address:
            now = self._now()
            self._put(replace(entry, failures=0, tried_s=now, verified_s=now))
        self._bootstrap_tried.pop(address.public_key, None)

    def failed(self, address: PeerAddress) -> None:
        """A dial to an address met nobody, or somebody else; what fails too often is forgotten."""
        public_key = address.public_key
        if public_key in self._bootstrap:
            self._bootstrap_tried[public_key] = self._now()
        entry = self._entries.get(public_key)
        if entry is None or entry.address != address:
            return
        failures = entry.failures + 1
        limits = self._limits
        if failures >= (limits.book_failures_max if entry.is_verified else limits.book_claim_failures_max):
            del self._entries[public_key]
            self.is_changed = True
        else:
            self._put(replace(entry, failures=failures, tried_s=self._now()))

    # What is asked.

    def choose(self, excluded: Iterable[bytes], linked_ranges: Mapping[str, int]) -> PeerAddress | None:
        """Return an address to dial for a link, or None when there is none now.

        excluded: keys that are linked or being dialed.  linked_ranges: how many links we dialed lie in each range; a
        range that has its share is left out, and ranges with fewer come first, then registered keys, then believed
        addresses, then the draw.
        """
        left_out = set(excluded)
        found: list[tuple[tuple[int, bool, bool, float], PeerAddress]] = []
        for key in sorted(self._entries.keys() | self._bootstrap.keys()):
            address, verified = self._dialable(key)
            if address is None or key in left_out:
                continue
            near = linked_ranges.get(range_of(address.host), 0)
            if near >= self._limits.outbound_per_range_max and self._counts(address.host):
                continue
            rank = (near, not self._is_registered(key), not verified, self._draw.random())
            found.append((rank, address))
        return min(found, key=lambda each: each[0])[1] if found else None

    def choose_to_verify(self) -> PeerAddress | None:
        """Return a claimed address that was not tried lately, the least tried first; or a believed one that is old."""
        now = self._now()
        due = [
            entry
            for entry in self.entries()
            if self._is_due(entry.tried_s, entry.failures)
            and (not entry.is_verified or entry.failures or now - entry.verified_s >= self._limits.book_verify_again_s)
        ]
        chosen = min(due, key=lambda entry: (entry.is_verified, entry.tried_s, self._draw.random()), default=None)
        return None if chosen is None else chosen.address

    def sample(self, asker_host: str) -> tuple[PeerAddress, ...]:
        """Return some believed addresses for a peer at `asker_host`, from as many ranges as there are.

        Addresses that are not public are told only to peers that are in the same range themselves.
        """
        fit = [
            entry
            for entry in self.entries()
            if entry.is_verified and (is_public(entry.host) or range_of(entry.host) == range_of(asker_host))
        ]
        self._draw.shuffle(fit)
        taken: Counter[str] = Counter()
        ranked: list[tuple[int, Entry]] = []
        for entry in fit:
            ranked.append((taken[range_of(entry.host)], entry))
            taken[range_of(entry.host)] += 1
        ranked.sort(key=lambda each: each[0])
        return tuple(entry.address for _, entry in ranked[: self._limits.addresses_told_max])

    def _dialable(self, key: bytes) -> tuple[PeerAddress | None, bool]:
        """Return the address to dial for a key, if it is due, and whether it is believed."""
        entry = self._entries.get(key)
        if entry is not None:
            return (entry.address if self._is_due(entry.tried_s, entry.failures) else None), entry.is_verified
        tried = self._bootstrap_tried.get(key, 0)
        return (self._bootstrap[key] if self._is_due(tried, 1 if tried else 0) else None), False

    def _is_due(self, tried_s: int, failures: int) -> bool:
        waited_s = self._now() - tried_s
        pause_s = min(self._limits.book_retry_s << min(failures, 16), self._limits.book_retry_s_max) if failures else 0
        return waited_s >= pause_s or waited_s < 0  # a clock that was set back makes nobody wait

    # Bounds.

    def _insert(self, entry: Entry) -> str | None:
        """Put an entry in if the bounds allow it, in the place of a lesser one if need be; return why not, or None."""
        limits = self._limits
        others = [each for each in self._entries.values() if each.public_key != entry.public_key]
        if not entry.is_verified:
            claims = [each for each in others if not each.is_verified]
            if sum(1 for each in claims if each.source == entry.source) >= limits.book_claims_per_source_max:
                return "this peer has told enough for now"
            near = sum(1 for each in claims if each.source_range == entry.source_range)
            counted = not is_loopback(entry.source_range.partition("/")[0]) or limits.range_limits_on_loopback
            if counted and near >= limits.book_claims_per_source_range_max:
                return f"peers in {entry.source_range} have told enough for now"
        if self._counts(entry.host):
            same = [each for each in others if range_of(each.host) == range_of(entry.host)]
            if len(same) >= limits.book_per_range_max and not self._evict(entry, same):
                return f"enough addresses in {range_of(entry.host)} are known"
        others = [each for each in self._entries.values() if each.public_key != entry.public_key]
        if len(others) >= limits.book_max and not self._evict(entry, others):
            return "the book is full"
        self._put(entry)
        return None

    def _evict(self, newcomer: Entry, candidates: list[Entry]) -> bool:
        """Forget the least of the candidates if the newcomer is worth more."""
        least = min(candidates, key=lambda each: (self._worth(each), each.public_key))
        if self._worth(least) >= self._worth(newcomer):
            return False
        del self._entries[least.public_key]
        return True

    def _worth(self, entry: Entry) -> tuple[bool, bool, int]:
        return entry.is_verified, self._is_registered(entry.public_key), -entry.failures

    def _counts(self, host: str) -> bool:
        return self._limits.range_limits_on_loopback or not is_loopback(host)

    def _put(self, entry: Entry) -> None:
        self._entries[entry.public_key] = entry
        self.is_changed = True
