"""The impact report of a dry run: what would have been different under other values of a policy.

It is a record with one canonical form, so equal reports have equal hashes on every node.  Lists are cut to their most
telling rows; the counts beside them are of all.
"""

from dataclasses import dataclass
from typing import Annotated

from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, U128, Bytes32, Length, encode_record
from social.governance.reports import ReportHead, compute_report_hash

ROWS_MAX = 200
RANKED = 100
"""The top of the ranking is compared."""

Text = Annotated[str, Length(0, 96)]
Token = Annotated[str, Length(3)]


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """How much of a token there would be, in atoms."""

    accounts: U64  # whose balance would be another
    after: U128
    before: U128
    token: Token


@dataclass(frozen=True, slots=True)
class AccountDelta:
    """A balance that would be another."""

    account: Bytes32
    after: U128
    before: U128
    token: Token


@dataclass(frozen=True, slots=True)
class Flip:
    """A signed event that would have been judged otherwise."""

    after: Text
    before: Text
    event: Bytes32
    type: Text


@dataclass(frozen=True, slots=True)
class RankChange:
    """An item whose place would be another; 0 where it is not ranked."""

    after: U32
    before: U32
    item: Bytes32


@dataclass(frozen=True, slots=True)
class Invariant:
    """How often a rule was broken that must hold, and whether it held no less than before."""

    after: U32
    before: U32
    held: bool
    name: Text


@dataclass(frozen=True, slots=True)
class Findings:
    """What two replays of the same blocks differ in."""

    account_rows: Annotated[tuple[AccountDelta, ...], Length(0, ROWS_MAX)]  # the largest differences first
    accounts: U64  # with another balance or standing
    flip_rows: Annotated[tuple[Flip, ...], Length(0, ROWS_MAX)]  # in order of the ledger
    flips: U64
    in_force_from: U64  # height of the first block under the candidate
    invariants: Annotated[tuple[Invariant, ...], Length(0, 16)]
    rank_distance: U32  # Kendall: pairs whose order is another
    rank_pairs: U32
    rank_rows: Annotated[tuple[RankChange, ...], Length(0, 2 * RANKED)]
    state_after: Bytes32  # digest after the last block, under the candidate
    state_before: Bytes32  # the same as the ledger has it
    tokens: Annotated[tuple[TokenDelta, ...], Length(6)]


@dataclass(frozen=True, slots=True)
class ImpactReport:
    """A dry run's result.  `hash` is what validators sign and a proposal quotes."""

    findings: Findings
    head: ReportHead
    policy: Annotated[str, Length(1, 32)]

    @property
    def hash(self) -> bytes:
        return compute_report_hash(self.head)


def compute_findings_hash(policy: str, findings: Findings) -> bytes:
    """Return the hash that a report's head carries."""
    return tagged_hash("atlas/dry-run", policy.encode(), encode_record(findings))


def compute_kendall(before: dict[bytes, int], after: dict[bytes, int], top: int) -> tuple[int, int]:
    """Return (pairs whose order differs, pairs) among all that is in the first `top` of either ranking.

    before, after: place of each item, from 1.  What one ranking lacks comes after everything there, in no order.
    """
    compared = sorted({item for places in (before, after) for item, place in places.items() if place <= top})
    last_before, last_after = len(before) + 1, len(after) + 1
    places = [(before.get(item, last_before), after.get(item, last_after)) for item in compared]
    distance = sum(
        1
        for number, one in enumerate(places)
        for other in places[:number]
        if (one[0] - other[0]) * (one[1] - other[1]) < 0
    )
    return distance, len(places) * (len(places) - 1) // 2
