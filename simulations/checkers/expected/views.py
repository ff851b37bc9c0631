"""Which views the correct replicas come to, how fast, and for what reason; and how long they wait for a primary."""

from collections.abc import Collection

from consensus.messages import PrePrepare, ViewChange, holds
from simulations.checkers.expected import Expect
from simulations.observations import (
    BlockMade,
    CheckFailed,
    Delivered,
    EnteredView,
    FaultChanged,
    Observation,
    Paced,
    ProposalRefused,
    Sent,
)


class ExpectedViews:
    """Remembers each replica's view, what made it leave, and its timeout."""

    name = "expected_views"

    def __init__(self, expect: Expect, correct: Collection[int], f: int, quorum: int) -> None:
        self._expect = expect
        self._correct = frozenset(correct)
        self._f = f
        self._quorum = quorum
        self._entered = dict.fromkeys(sorted(self._correct), 0)
        self._left = dict.fromkeys(sorted(self._correct), 0)
        self._refused: set[tuple[int, int]] = set()  # replica, view
        self._heard: dict[int, dict[int, int]] = {number: {} for number in sorted(self._correct)}
        self._reasons: dict[str, str] = {}  # the reason, and the first that had it
        self._height = self._made_ms = 0  # the highest block before the view is reached, and when it was made
        self._proposed: dict[int, int] = {}  # places of the view below, and when they were proposed first
        self._began_ms: int | None = None
        self._came_ms: int | None = None
        self._timeouts: dict[int, int] = {}
        self._timeout_peak = 0

    def observe(self, observation: Observation) -> None:
        match observation:
            case Sent(at_ms, _, _, signed, _) if holds(signed, PrePrepare):
                if signed.message.view + 1 == self._expect.reached_view:
                    self._proposed.setdefault(signed.message.seq, at_ms)
            case BlockMade(at_ms, replica, executed, _) if replica in self._correct and self._came_ms is None:
                if executed.header.height > self._height:
                    self._height, self._made_ms = executed.header.height, at_ms
            case EnteredView(at_ms, replica, view) if replica in self._correct:
                self._entered[replica] = max(view, self._entered[replica])
                self._on_entered(at_ms, view)
            case ProposalRefused(_, replica, view, _, _):
                self._refused.add((replica, view))
            case Delivered(_, _, to, signed, _) if to in self._correct and holds(signed, ViewChange):
                message = signed.message
                self._heard[to][message.replica] = max(message.view, self._heard[to].get(message.replica, 0))
            case Sent(_, source, _, signed, _) if source in self._correct and holds(signed, ViewChange):
                if signed.message.replica == source and signed.message.view > self._left[source]:
                    self._on_left(source, signed.message.view)
            case Paced(_, replica, timeout_ms) if replica in self._correct:
                self._timeouts[replica] = timeout_ms
                self._timeout_peak = max(self._timeout_peak, timeout_ms)
            case FaultChanged(_, what) if what.startswith("healed"):
                self._timeouts.clear()
            case _:
                pass

    def _on_entered(self, at_ms: int, view: int) -> None:
        reached = self._expect.reached_view
        if self._expect.views is not None and view > self._expect.views[1]:
            raise CheckFailed(self.name, f"no view above {self._expect.views[1]}", f"view {view} at {at_ms} ms")
        if reached is not None and self._came_ms is None:
            count = sum(1 for each in self._entered.values() if each >= reached)
            if count >= min(self._quorum, len(self._correct)):
                self._came_ms = at_ms
                waiting = [since for seq, since in self._proposed.items() if seq > self._height]
                self._began_ms = max(min(waiting), self._made_ms) if waiting else self._made_ms or None

    def _on_left(self, replica: int, view: int) -> None:
        was_changing = self._left[replica] > self._entered[replica]
        self._left[replica] = view
        others = sum(1 for each in self._heard[replica].values() if each >= view)
        if (replica, self._entered[replica]) in self._refused and not was_changing:
            reason = "refused"
        elif others > self._f:
            return  # it followed them
        else:
            reason = "no_new_view" if was_changing else "waited"
        self._reasons.setdefault(reason, f"{reason}: replica {replica} to view {view}")

    def finish(self) -> None:
        """Judge what the run came to."""
        expect = self._expect
        highest = max(self._entered.values(), default=0)
        if expect.views is not None and highest < expect.views[0]:
            raise CheckFailed(self.name, f"view {expect.views[0]} to be entered", f"view {highest} as the highest")
        if expect.left_because is not None and sorted(expect.left_because) != sorted(self._reasons):
            found = "; ".join(self._reasons.values()) or "no view left"
            raise CheckFailed(self.name, f"views left because of: {', '.join(expect.left_because) or 'nothing'}", found)
        if expect.reached_view is not None:
            view, within_ms = expect.reached_view, expect.reached_within_ms
            began, came = self._began_ms, self._came_ms
            if began is None or came is None or came - began > within_ms:
                found = "never" if began is None or came is None else f"after {came - began} ms"
                raise CheckFailed(self.name, f"a quorum in view {view} within {within_ms} ms", found)
        if self._timeout_peak < (expect.timeout_ms_peak_min or 0):
            expected = f"some timeout of {expect.timeout_ms_peak_min} ms or more"
            raise CheckFailed(self.name, expected, f"{self._timeout_peak} ms at most")
        last = max(self._timeouts.values(), default=0)
        if expect.timeout_ms_end_max is not None and not 0 < last <= expect.timeout_ms_end_max:
            raise CheckFailed(self.name, f"timeouts down to {expect.timeout_ms_end_max} ms at the end", f"{last} ms")
