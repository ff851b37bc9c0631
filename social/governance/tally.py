"""Tally: the arithmetic of votes.  Pure; weights are integers, shares are raw in 0..1.

quorum    yes + no + abstain, of all who may vote
majority  yes, of yes + no; and more yes than no, so a tie rejects
"""

from ledger.primitives.fixed_point import SCALE

PASSED, REJECTED, NO_QUORUM = "passed", "rejected", "no quorum"


def compute_outcome(yes: int, no: int, abstain: int, *, eligible: int, quorum: int, majority: int) -> str:
    """Return what a vote decided."""
    assert 0 <= yes + no + abstain <= eligible, "nobody votes with more than there is"
    if (yes + no + abstain) * SCALE < quorum * eligible:
        return NO_QUORUM
    return PASSED if yes > no and yes * SCALE >= majority * (yes + no) else REJECTED
