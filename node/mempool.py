"""The mempool: events that wait to be ordered.  Bounded in count, bytes and per account; every answer is definite.

An accepted event stays until it is in a block or can never be (its nonce is used, or it has expired); then whoever
waits for it is told which.  Order: accounts in the order in which they came or were last served, one event of each in
turn, each account's events by nonce, so that nobody can starve another account.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ledger.admission import References, judge_author, judge_reference
from ledger.events import CheckedEvent, View
from ledger.identity import read_nonce
from ledger.receipts import SKIPPED
from ledger.transition import Executed
from ledger.verdict import Fact, Verdict, allow, deny

EVENTS_MAX = 20_000
BYTES_MAX = 64 * 1024 * 1024
ACCOUNT_EVENTS_MAX = 64
"""How far ahead of its last executed nonce an account may send, and so how much one account can hold here."""
GAP_SHARE_PERCENT = 50
"""Above this filling, an event whose predecessor is missing is not taken: it can't be ordered, so it would only sit."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event waits to be ordered, or is known already."""

    event_id: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The event was not taken, and why."""

    event_id: bytes | None
    verdict: Verdict


Answer: TypeAlias = Accepted | Refused


class Mempool:
    """Events by account and nonce.  `next_nonce` of an account comes from the state, and from what is in flight."""

    def __init__(self) -> None:
        self._by_id: dict[bytes, CheckedEvent] = {}
        self._accounts: OrderedDict[bytes, dict[int, CheckedEvent]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, event_id: bytes) -> bool:
        return event_id in self._by_id

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def get(self, event_id: bytes) -> CheckedEvent | None:
        return self._by_id.get(event_id)

    def add(self, checked: CheckedEvent, view: View, beat: int, references: References) -> Answer:
        """Take an event whose form and signature were checked, or say why not."""
        event, event_id = checked.event, checked.event_id
        if event_id in self._by_id:
            return Accepted(event_id)
        last = read_nonce(view, event.author)
        waiting = self._accounts.get(event.author, {})
        verdict = self._judge(checked, last, waiting)
        if verdict.allowed:
            verdict = judge_reference(event, beat + 1, references)  # it must outlive this beat to be proposed
        if verdict.allowed:
            verdict = judge_author(view, checked)
            if verdict.code == "event.author_unknown" and waiting:
                verdict = _judge_created_author(checked, waiting)
        if not verdict.allowed:
            return Refused(event_id, verdict)
        self._accounts.setdefault(event.author, {})[event.nonce] = checked
        self._by_id[event_id] = checked
        self._bytes += checked.wire_bytes
        return Accepted(event_id)

    def _judge(self, checked: CheckedEvent, last: int, waiting: dict[int, CheckedEvent]) -> Verdict:
        event = checked.event
        if event.nonce <= last:
            return deny(
                "event.nonce_used", "The nonce was used already; prepare the event again.",
                nonce=event.nonce, nonce_next=last + 1,
            )  # fmt: skip
        if event.nonce > last + ACCOUNT_EVENTS_MAX:
            return deny(
                "event.nonce_too_far", "The nonce is too far ahead of the account's last; wait for earlier events.",
                nonce=event.nonce, nonce_max=last + ACCOUNT_EVENTS_MAX,
            )  # fmt: skip
        if event.nonce in waiting:
            return deny(
                "event.nonce_waiting", "Another event of this account with this nonce waits already.",
                nonce=event.nonce, waiting=waiting[event.nonce].event_id.hex(),
            )  # fmt: skip
        count, size = len(self._by_id), self._bytes + checked.wire_bytes
        facts: dict[str, Fact] = {"events": count, "events_max": EVENTS_MAX, "bytes": size, "bytes_max": BYTES_MAX}
        if count >= EVENTS_MAX or size > BYTES_MAX:
            return deny(
                "node.mempool_full", "The node holds as many waiting events as it may; try again shortly.", **facts
            )
        is_filling = count * 100 >= EVENTS_MAX * GAP_SHARE_PERCENT or size * 100 > BYTES_MAX * GAP_SHARE_PERCENT
        if is_filling and any(nonce not in waiting for nonce in range(last + 1, event.nonce)):
            return deny(
                "node.mempool_full",
                "The node is too full for an event whose predecessor is missing; send the earlier ones first.",
                **facts,
            )
        return allow("node.mempool_room", "There is room.")

    def propose(
        self, view: View, in_flight: Iterable[CheckedEvent], beat: int, events_max: int, bytes_max: int
    ) -> list[CheckedEvent]:
        """Return the events of the next batch: what is executable after everything in flight.

        One of each account in turn, until it is full; then the next of each.  `node.fairness` holds a primary to it.
        """
        chosen: list[CheckedEvent] = []
        size = 0
        turn: Iterable[tuple[dict[int, CheckedEvent], int]] = self._get_next(view, in_flight)
        while True:
            served: list[tuple[dict[int, CheckedEvent], int]] = []
            for waiting, nonce in turn:
                found = waiting.get(nonce)
                if found is None or found.event.expires_beat <= beat:
                    continue  # not here, or it would expire on the way
                if len(chosen) >= events_max or size + found.wire_bytes > bytes_max:
                    return chosen
                chosen.append(found)
                size += found.wire_bytes
                served.append((waiting, nonce + 1))
            if not served:
                return chosen
            turn = served

    def due(self, view: View, in_flight: Iterable[CheckedEvent], beat: int) -> Iterator[CheckedEvent]:
        """Yield each account's event that could come next after everything in flight, in the order of `propose`."""
        for waiting, nonce in self._get_next(view, in_flight):
            found = waiting.get(nonce)
            if found is not None and found.event.expires_beat > beat:
                yield found

    def _get_next(self, view: View, in_flight: Iterable[CheckedEvent]) -> Iterator[tuple[dict[int, CheckedEvent], int]]:
        """Yield what waits of each account and its next nonce: who has something in flight comes behind all others."""
        flying: dict[bytes, list[int]] = {}
        for checked in in_flight:
            author = checked.event.author
            flying[author] = [*flying.pop(author, ()), checked.event.nonce]  # the last flown last
        for author, waiting in self._accounts.items():
            if author not in flying:
                yield waiting, read_nonce(view, author) + 1
        for author, nonces in flying.items():
            if author in self._accounts:
                nonce = read_nonce(view, author) + 1
                while nonce in nonces:  # beyond a gap nothing in flight can be executed
                    nonce += 1
                yield self._accounts[author], nonce

    def has_proposable(self) -> bool:
        """Tell whether anything waits at all; cheap, and may be wrong about nonce gaps."""
        return bool(self._by_id)

    def oldest(self, view: View, beat: int) -> bytes | None:
        """Return the id of the oldest event that could be executed now; what the progress timer watches."""
        for author, waiting in self._accounts.items():
            found = waiting.get(read_nonce(view, author) + 1)
            if found is not None and found.event.expires_beat > beat:
                return found.event_id
        return None

    def remove_executed(self, executed: Iterable[tuple[bytes, bytes, int]]) -> list[tuple[bytes, Verdict]]:
        """Forget what a block executed, given (event id, author, nonce); return what can never be executed now."""
        lost: list[tuple[bytes, Verdict]] = []
        for event_id, author, nonce in executed:
            known = self._by_id.get(event_id)
            if known is not None:
                self._drop(known)
                if author in self._accounts:
                    self._accounts.move_to_end(author)
                continue
            rival = self._accounts.get(author, {}).get(nonce)
            if rival is not None:
                self._drop(rival)
                verdict = deny(
                    "event.nonce_used", "Another event of this account with this nonce was executed.", nonce=nonce
                )
                lost.append((rival.event_id, verdict))
        return lost

    def remove_block(self, executed: Executed) -> tuple[list[bytes], list[tuple[bytes, Verdict]]]:
        """Forget what a block settles; return the ids that it executed, and what can never be executed now."""
        done = [
            (receipt.event_id, receipt.author, executed.nonces[number])
            for number, receipt in enumerate(executed.receipts)
            if receipt.outcome != SKIPPED and executed.stored[number] is not None
        ]
        lost = self.remove_executed(done)
        lost += self.remove_skipped(
            (receipt.event_id, receipt.verdicts[0])
            for receipt in executed.receipts
            if receipt.outcome == SKIPPED and receipt.verdicts[0].code != "event.nonce_gap"
        )
        if executed.receipts and executed.stored[0] is None:  # a beat began
            lost += self.remove_expired(executed.header.beat)
        return [event_id for event_id, _, _ in done], lost

    def remove_skipped(self, skipped: Iterable[tuple[bytes, Verdict]]) -> list[tuple[bytes, Verdict]]:
        """Forget what a block skipped and no later one can execute; return it with the reason."""
        lost = [(event_id, verdict) for event_id, verdict in skipped if event_id in self._by_id]
        for event_id, _ in lost:
            self._drop(self._by_id[event_id])
        return lost

    def remove_expired(self, beat: int) -> list[tuple[bytes, Verdict]]:
        """Forget what a primary would not propose any more at this beat; return it with the reason."""
        expired = [checked for checked in self._by_id.values() if checked.event.expires_beat <= beat]
        for checked in expired:
            self._drop(checked)
        return [
            (
                checked.event_id,
                deny(
                    "event.expired", "The event expired before it was ordered.", expires_beat=checked.event.expires_beat
                ),
            )
            for checked in expired
        ]

    def remove_overtaken(self, view: View) -> list[bytes]:
        """Forget what has a nonce that a state which was not executed here has used; return the ids.

        Whether it was that event or another, the ledger knows.
        """
        overtaken = [
            checked for checked in self._by_id.values() if checked.event.nonce <= read_nonce(view, checked.event.author)
        ]
        for checked in overtaken:
            self._drop(checked)
        return [checked.event_id for checked in overtaken]

    def waiting(self) -> Iterator[CheckedEvent]:
        """Yield all that waits, oldest first."""
        yield from self._by_id.values()

    def _drop(self, checked: CheckedEvent) -> None:
        del self._by_id[checked.event_id]
        self._bytes -= checked.wire_bytes
        waiting = self._accounts[checked.event.author]
        del waiting[checked.event.nonce]
        if not waiting:
            del self._accounts[checked.event.author]


def _judge_created_author(checked: CheckedEvent, waiting: dict[int, CheckedEvent]) -> Verdict:
    """The author's account is created by an event that waits; `check_event` saw that its key is the account's."""
    if checked.event.key == next(iter(waiting.values())).event.key:
        return allow("event.author_comes", "The author's account is created by an earlier event.")
    return deny("event.key_not_of_author", "The key is not the one that creates the author's account.")
