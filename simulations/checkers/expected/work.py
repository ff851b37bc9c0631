"""What is done in spite of the faults, what is refused, and where the script killed."""

from collections.abc import Collection

from ledger.receipts import SKIPPED
from simulations.checkers.expected import Expect
from simulations.observations import (
    BlockMade,
    CheckFailed,
    Dropped,
    FaultChanged,
    Observation,
    Scripted,
    Submitted,
)


class ExpectedWork:
    """account: the id of the account that `waiting_account` names."""

    name = "expected_work"

    def __init__(self, expect: Expect, correct: Collection[int], account: bytes) -> None:
        self._expect = expect
        self._correct = frozenset(correct)
        self._account = account
        self._accepted: dict[bytes, int] = {}
        self._executed: set[bytes] = set()
        self._since_ms = 0
        self._waited: list[tuple[int, int]] = []  # how long, and since when
        self._executed_before_heal = 0
        self._skipped: set[tuple[int, bytes]] = set()
        self._refused = 0
        self._resubmitted = 0
        self._points: set[str] = set()
        self._tears: set[int] = set()

    def observe(self, observation: Observation) -> None:
        match observation:
            case Submitted(at_ms, replica, event_id, True) if replica in self._correct:
                self._accepted.setdefault(event_id, at_ms)
            case BlockMade(at_ms, replica, executed, _) if replica in self._correct:
                for receipt in executed.receipts:
                    if receipt.outcome == SKIPPED and receipt.event_id in self._executed:
                        self._skipped.add((executed.header.height, receipt.event_id))
                    if receipt.outcome != SKIPPED and receipt.event_id not in self._executed:
                        self._executed.add(receipt.event_id)
                        if receipt.author == self._account and receipt.event_id in self._accepted:
                            # Not before those with lower nonces were accepted as well: a liar may have had them.
                            self._since_ms = max(self._since_ms, self._accepted[receipt.event_id])
                            self._waited.append((at_ms - self._since_ms, self._since_ms))
            case Dropped(_, _, to, why) if to in self._correct and why.startswith("refused"):
                self._refused += 1
            case FaultChanged(_, what) if what.startswith("healed"):
                self._executed_before_heal = len(self._executed)
            case Scripted(_, "resubmitted", facts):
                self._on_resubmitted(dict(facts))
            case Scripted(_, "killed at", facts):
                self._points.add(str(dict(facts)["point"]))
                if "kept" in dict(facts):
                    self._tears.add(int(dict(facts)["kept"]))
            case _:
                pass

    def _on_resubmitted(self, facts: dict[str, int | str]) -> None:
        if facts["answer"] != "event.nonce_used":
            expected = f"replica {facts['replica']} to refuse what was executed: event.nonce_used"
            raise CheckFailed(self.name, expected, str(facts["answer"]))
        self._resubmitted += 1

    def finish(self) -> None:
        """Judge what the run came to."""
        expect = self._expect
        if expect.waiting_account is not None:
            waits_ms = expect.waiting_ms_max
            longest = max(self._waited, default=None)
            if longest is None or longest[0] > waits_ms:
                found = "no event of it" if longest is None else f"{longest[0]} ms, from {longest[1]} ms on"
                raise CheckFailed(self.name, f"events of the account to wait {waits_ms} ms at most", found)
        counts = {
            "events executed while the faults lasted": (self._executed_before_heal, expect.executed_before_heal_min),
            "events that are skipped": (len(self._skipped), expect.skipped_min),
            "messages refused": (self._refused, expect.refused_min),
            "old events refused": (self._resubmitted, expect.resubmitted_min),
            "lengths of a torn append": (len(self._tears), expect.tears_min),
        }
        for what, (count, count_min) in counts.items():
            if count < count_min:
                raise CheckFailed(self.name, f"{count_min} {what}", f"{count}")
        missed = [point for point in expect.points if point not in self._points]
        if missed:
            raise CheckFailed(self.name, f"kills at {', '.join(expect.points)}", f"none at {', '.join(missed)}")
