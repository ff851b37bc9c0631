"""What a scenario expects of its own faults, beside the rules that hold always: the table `[expect]`.

PBFT tolerates so much that a run may be green because nothing happened.  So a scenario says which view is reached and
why, who is accused, who stops; a key that is left out expects nothing.
"""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["waited", "refused", "no_new_view"]
"""Why a view was left: a timer in it ran out; a proposal was refused; a timer for its NEW-VIEW ran out."""


@dataclass(frozen=True, slots=True)
class Expect:
    """Pairs are [lowest, highest]."""

    progress: bool = True
    """Whether the healed core executes everything; false where more than f are faulty."""
    views: tuple[int, int] | None = None
    """The highest view that a correct replica enters during the whole run."""
    left_because: tuple[Reason, ...] | None = None
    """Exactly the reasons for which correct replicas left views by themselves."""
    reached_view: int | None = None
    reached_within_ms: int = 0
    """A quorum of correct replicas is in that view or above, so long after progress ended in the view below: after
    its last block, or its first proposal that is not executed."""
    timeout_ms_peak_min: int | None = None
    timeout_ms_end_max: int | None = None
    """How far timeouts grow at some correct replica, and to what they have come down in the core when the run ends."""
    accused: tuple[int, ...] | None = None
    """Exactly the replicas of which correct ones hold two votes that contradict each other."""
    halted: tuple[int, ...] | None = None
    """Exactly the replicas that stop for good."""
    halted_because: str = ""
    """Words that are in each reason."""
    no_stable_after_divergence: bool = False
    """From the first height at which more than f differ from the others, no certificate is made."""
    fetched: tuple[int, ...] = ()
    fetched_min: int = 1
    """Replicas that fetch at least so many blocks each."""
    voted_again: tuple[int, ...] = ()
    """Replicas that fetch blocks and vote for new places afterwards."""
    members: tuple[int, ...] | None = None
    """The validator set at the end, by number in it."""
    members_max_min: int = 0
    """So many are in the set at some time."""
    other_eras_min: int = 0
    """Frames that correct replicas get and do not take, since they are of another validator set."""
    handover_ms_max: int = 0
    """Between the last block of a set and the first of the next, at whoever has them first."""
    carried: tuple[int, ...] = ()
    """For each: a place that so many replicas had executed when its primary died keeps its batch in the next view."""
    nulls_min: int = 0
    """Places that NEW-VIEWs fill with the null request."""
    waiting_account: int | None = None
    waiting_ms_max: int = 0
    """No event of the account, once correct replicas have accepted it and those before it, waits longer than that."""
    executed_before_heal_min: int = 0
    """Events that are executed while the faults last."""
    skipped_min: int = 0
    """Events that are ordered a second time, and that execution skips."""
    refused_min: int = 0
    """Consensus messages that correct replicas refuse."""
    resubmitted_min: int = 0
    """Old events that a client submits again; each is refused, since its nonce is used."""
    points: tuple[str, ...] = ()
    """Points of a node's work at which the script killed one."""
    tears_min: int = 0
    """Lengths to which the script tore the last append of a vote log."""
