"""Dry run: the last blocks once more, as they were and under other values of one policy; what differs is the report.

Both replays start from the state of an earlier height, which undo records give back, and run in step on overlays:
nothing is written.  The first one must give the very headers that the ledger has, so the start and the rules are proven
right before anything is compared.  Where the blocks begin follows from the last height and their number alone, so all
nodes that still have those blocks make the same report:

    the candidate comes into force where the epoch of the first wanted block begins, as a voted policy would;
    only where that is more than ALIGN_BLOCKS_MAX below does it come into force with the first wanted block
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from ledger import keyspace
from ledger.block import Batch, Header, compute_header_hash, decode_header
from ledger.chain import Chain, make_batch, read_stored_block
from ledger.coherence import compute_decay, compute_rank
from ledger.conservation import BALANCE, find_unconserved
from ledger.draft import Draft
from ledger.events import CheckedEvent, Entry, EpochStep, EventRefused, EventType, View, Write
from ledger.head import decode_head
from ledger.items import Item, read_item
from ledger.masses import MASS_SCALE
from ledger.policies import VALUES_BYTES_MAX, activate, compute_policy_id, decode_values, encode_values, read_policies
from ledger.primitives import lthash
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import Length
from ledger.receipts import SKIPPED, Receipt
from ledger.settlement import plan_epoch
from ledger.standing import read_standing
from ledger.state import decode_number
from ledger.storage import OpenSnapshot
from ledger.tokens import TOKENS, read_supply
from ledger.transition import Executed, Parent, execute_batch
from ledger.undo import StateAt, list_changed
from node.impact import (
    RANKED,
    ROWS_MAX,
    AccountDelta,
    Findings,
    Flip,
    ImpactReport,
    Invariant,
    RankChange,
    TokenDelta,
    compute_findings_hash,
    compute_kendall,
)
from social.governance.reports import REPORT_BLOCKS, ReportHead

ALIGN_BLOCKS_MAX = 1_024
"""How far below the first wanted block the beginning of its epoch is looked for."""
BLOCKS_MAX = 2_560
"""With the alignment this leaves validators some hundred blocks of time before the undo records are gone."""
STANDING, ITEM = keyspace.standing(b""), keyspace.item(b"")
TRIAL = tagged_hash("atlas/dry-run-trial")

Progress = Callable[[int, int], None]
Checked = tuple[CheckedEvent | EventRefused, ...]


class DryRunFailed(RuntimeError):
    """The dry run can't be made here; the message says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    policy: Annotated[str, Length(1, 32)]
    values: Annotated[bytes, Length(1, VALUES_BYTES_MAX)]


def _apply_candidate(view: View, entry: Entry[_Candidate]) -> Iterator[Write]:
    yield from activate(view, entry.body.policy, entry.body.values, entry.epoch, trial_id=TRIAL)


CANDIDATE = EventType(
    name="simulation.CandidateTried",
    version=1,
    body=_Candidate,
    guards=(),
    apply=_apply_candidate,
    summary="A candidate came into force, in a dry run only.",
    example=_Candidate("energy", encode_values("energy", {})),
    derived=True,
)


class _Base:
    """The state that both replays start from; what was read once is remembered."""

    def __init__(self, snapshot: OpenSnapshot, height: int, head: int) -> None:
        self._state = StateAt(snapshot, height, head)
        self._known: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        if key[:1] != keyspace.STATE:
            return None  # indexes are of today, and no rule reads them
        if key not in self._known:
            self._known[key] = self._state.get(key)
        return self._known[key]


class _Run:
    """One of the two replays."""

    def __init__(self, chain: Chain, base: _Base, parent: Parent, at_close: tuple[tuple[str, EpochStep], ...]) -> None:
        self.parent = parent
        self.written: dict[bytes, bytes | None] = {}
        self.outcomes: dict[bytes, tuple[str, str]] = {}  # event id -> type, outcome
        self.masses: dict[bytes, int] = {}  # item -> endorsement mass of the newest epoch that gave it any
        self.counts = {"K1 conservation": 0, "CIR-302 faults of rules": 0, "CIR-511 failed closes": 0}
        self._chain, self._base, self._at_close = chain, base, at_close
        self._log_nodes: dict[tuple[int, int], bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.written[key] if key in self.written else self._base.get(key)

    def try_now(self, candidate: _Candidate) -> None:
        """Put the candidate into force before the first block."""
        draft = Draft(self)
        epoch = self.parent.header.epoch
        draft.write(activate(self, candidate.policy, candidate.values, epoch, trial_id=TRIAL))
        self._take([(key, self.get(key), value) for key, _, value in draft.changes()])
        changed = list(self.written.items())
        lanes = lthash.combine(
            self.parent.lanes,
            [(key, old) for key, _ in changed if (old := self._base.get(key)) is not None],
            [(key, value) for key, value in changed if value is not None],
        )
        self.parent = Parent(self.parent.header, self.parent.hash, lanes)

    def step(self, batch: Batch | None, checked: Checked, real: Header) -> Executed:
        """Execute the next block, on the tree of the state that the real one names."""
        executed = execute_batch(
            batch,
            checked,
            self.parent,
            epoch_beats=self._chain.genesis.epoch_beats,
            read=self.get,
            read_log_node=self._read_log_node,
            references=self._chain.references,
            commit_state=lambda epoch: (real.state_height, real.state_root),
            stack=self._chain.registry.stack,
            at_close=self._at_close,
        )
        self._log_nodes.update(executed.log_nodes)
        self._take(executed.changes)
        if find_unconserved(executed.changes) is not None:
            self.counts["K1 conservation"] += 1
        for receipt, stored in zip(executed.receipts, executed.stored, strict=True):
            self._note(receipt, is_signed=stored is not None)
        self.parent = Parent(executed.header, executed.hash, executed.lanes)
        return executed

    def _take(self, changes: Any) -> None:
        for key, _, value in changes:
            if key[:1] == keyspace.STATE:
                self.written[key] = value

    def _read_log_node(self, level: int, index: int) -> bytes:
        found = self._log_nodes.get((level, index))
        return self._chain.read_log_node(level, index) if found is None else found

    def _note(self, receipt: Receipt, *, is_signed: bool) -> None:
        if is_signed:
            code = next((verdict.code for verdict in receipt.verdicts if not verdict.allowed), "")
            if receipt.outcome != SKIPPED or receipt.event_id not in self.outcomes:
                self.outcomes[receipt.event_id] = (receipt.event_type, f"{receipt.outcome} {code}".strip())
        elif receipt.event_type == "economics.RewardAccrued":
            self.masses[bytes.fromhex(str(receipt.inputs["item"]))] = int(receipt.inputs["mass"])
        elif receipt.event_type == "guards.Cir302Raised":
            self.counts["CIR-302 faults of rules"] += 1
        elif receipt.event_type == "guards.Cir511Raised":
            self.counts["CIR-511 failed closes"] += 1


def run_dry(
    chain: Chain,
    policy: str,
    values: bytes,
    *,
    blocks: int = REPORT_BLOCKS,
    height: int | None = None,
    progress: Progress = lambda at, of: None,
) -> ImpactReport:
    """Replay the blocks up to `height` under a candidate.  Reads the store only; call it in a thread or process.

    blocks: how many at least; fewer only where the chain is shorter.  height: the head unless given; validators who
    vouch for one report take the same.  Raises DryRunFailed and PolicyInvalid.
    """
    decode_values(policy, values)
    if not 1 <= blocks <= BLOCKS_MAX:
        raise DryRunFailed(f"blocks: expected 1 to {BLOCKS_MAX}, got {blocks}")
    with chain.store.snapshot() as snapshot:
        head, _ = decode_head(snapshot.get(keyspace.META_HEAD) or b"")
        last = head if height is None else height
        if not 1 <= last <= head:
            raise DryRunFailed(f"height {last}: this node has the heights 1 to {head}; choose one of them")
        start, is_aligned = _find_start(snapshot, last, blocks)
        base_header = _read_header(snapshot, start - 1)
        lanes = _compute_lanes(snapshot, base_header, head)
        base = _Base(snapshot, start - 1, head)
        parent = Parent(base_header, compute_header_hash(_read_bytes(snapshot, start - 1)), lanes)
        candidate = _Candidate(policy, values)
        closes_first = is_aligned and start > 1

        def come_into_force(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
            if closes_first and closed == base_header.epoch:
                yield CANDIDATE, candidate

        at_close = chain.registry.at_close
        before = _Run(chain, base, parent, at_close)
        after = _Run(chain, base, parent, (("simulation", come_into_force), *at_close))
        if not closes_first:
            after.try_now(candidate)
        for at in range(start, last + 1):
            _step_both(chain, snapshot, at, before, after)
            progress(at - start + 1, last - start + 1)
        findings = _compare(before, after, start)
    report_head = ReportHead(
        base_digest=base_header.state_digest,
        blocks=last - start + 1,
        draft=compute_policy_id(policy, values),
        epoch=before.parent.header.epoch,
        findings=compute_findings_hash(policy, findings),
        height=last,
    )
    return ImpactReport(findings, report_head, policy)


def _step_both(chain: Chain, snapshot: OpenSnapshot, height: int, before: _Run, after: _Run) -> None:
    block = read_stored_block(snapshot, height)
    if block is None:
        raise DryRunFailed(f"height {height}: the block is missing here; run this on a node that has it")
    header = decode_header(block.header)
    batch = make_batch(header, before.parent.header, block.items)
    checked = chain.check_events(block.items)
    if before.step(batch, checked, header).hash != compute_header_hash(block.header):
        raise DryRunFailed(f"height {height}: replay gives another header than the ledger has; run `atlas verify`")
    after.step(batch, checked, header)


def _find_start(snapshot: OpenSnapshot, last: int, blocks: int) -> tuple[int, bool]:
    """Return the first block to replay, and whether an epoch (or the chain) begins with it."""
    wanted = max(1, last - blocks + 1)
    for start in range(wanted, max(0, wanted - ALIGN_BLOCKS_MAX), -1):
        if start == 1 or _read_header(snapshot, start).epoch != _read_header(snapshot, start - 1).epoch:
            return start, True
    return wanted, False


def _read_bytes(snapshot: OpenSnapshot, height: int) -> bytes:
    data = snapshot.get(keyspace.header(height))
    if data is None:
        raise DryRunFailed(f"height {height}: the header is missing here; run this on a node that has it")
    return data


def _read_header(snapshot: OpenSnapshot, height: int) -> Header:
    return decode_header(_read_bytes(snapshot, height))


def _compute_lanes(snapshot: OpenSnapshot, base: Header, head: int) -> bytes:
    """Return the LtHash lanes of an earlier state, from the head's and what changed since; proven by its digest."""
    floor = int.from_bytes(snapshot.get(keyspace.META_UNDO_FLOOR) or b"")
    if base.height < floor:
        raise DryRunFailed(
            f"height {base.height}: the state is no longer known here, only from {floor} on; choose fewer blocks, or a "
            f"later height"
        )
    lanes = snapshot.get(keyspace.META_LANES)
    assert lanes is not None, "a chain that was opened has its lanes"
    changed: set[bytes] = set()
    for height in range(base.height + 1, head + 1):
        data = snapshot.get(keyspace.undo_keys(height))
        if data is None:
            raise DryRunFailed(f"height {height}: the undo records are missing; run `atlas verify`")
        changed.update(list_changed(data))
    state, keys = StateAt(snapshot, base.height, head), sorted(changed)
    lanes = lthash.combine(
        lanes,
        [(key, value) for key in keys if (value := snapshot.get(key)) is not None],
        [(key, value) for key in keys if (value := state.get(key)) is not None],
    )
    if lthash.digest(lanes) != base.state_digest:
        raise DryRunFailed(
            f"height {base.height}: the state does not have the digest of its header; run `atlas verify`"
        )
    return lanes


# Comparing.


def _compare(before: _Run, after: _Run, start: int) -> Findings:
    rows, accounts, per_token = _compare_balances(before, after)
    flips = [
        Flip(after.outcomes[event][1], outcome, event, kind)
        for event, (kind, outcome) in before.outcomes.items()
        if after.outcomes[event][1] != outcome
    ]
    places_before, places_after = _rank(before), _rank(after)
    distance, pairs = compute_kendall(places_before, places_after, RANKED)
    moved = [
        RankChange(places_after.get(item, 0), places_before.get(item, 0), item)
        for item in sorted({*places_before, *places_after})
        if min(places_before.get(item, RANKED + 1), places_after.get(item, RANKED + 1)) <= RANKED
        and places_before.get(item) != places_after.get(item)
    ]
    return Findings(
        account_rows=tuple(rows[:ROWS_MAX]),
        accounts=accounts,
        flip_rows=tuple(flips[:ROWS_MAX]),
        flips=len(flips),
        in_force_from=start,
        invariants=tuple(
            Invariant(after.counts[name], count, after.counts[name] <= count, name)
            for name, count in sorted(before.counts.items())
        ),
        rank_distance=distance,
        rank_pairs=pairs,
        rank_rows=tuple(sorted(moved, key=lambda row: (row.before or RANKED * RANKED, row.after, row.item))),
        state_after=lthash.digest(after.parent.lanes),
        state_before=lthash.digest(before.parent.lanes),
        tokens=tuple(
            TokenDelta(per_token[token], read_supply(after, token), read_supply(before, token), token)
            for token in TOKENS
        ),
    )


def _compare_balances(before: _Run, after: _Run) -> tuple[list[AccountDelta], int, dict[str, int]]:
    """Return the balances that differ, the number of accounts that differ, and for each token how many do."""
    rows: list[AccountDelta] = []
    accounts: set[bytes] = set()
    per_token: dict[str, int] = dict.fromkeys(TOKENS, 0)
    for key in sorted({*before.written, *after.written}):
        kind = key[:2]
        if kind not in (BALANCE, STANDING):
            continue
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        accounts.add(key[-32:])
        if kind == BALANCE:
            token = key[2:5].decode()
            per_token[token] += 1
            rows.append(AccountDelta(key[-32:], _number(new), _number(old), token))
    rows.sort(key=lambda row: (-abs(row.after - row.before), row.token, row.account))
    return rows, len(accounts), per_token


def _number(data: bytes | None) -> int:
    return 0 if data is None else decode_number(data)


def _rank(run: _Run) -> dict[bytes, int]:
    """Return the place, from 1, of every item that was published in the replayed blocks."""
    policies, header = read_policies(run), run.parent.header
    masses = dict(run.masses)
    for each in plan_epoch(run, header.epoch, policies, pay=False).items:  # what the running epoch gave so far
        masses[each.item_id] = each.support.mass * SCALE // MASS_SCALE
    scored: list[tuple[int, int, bytes]] = []
    for key in sorted(run.written):
        item = read_item(run, key[2:]) if key[:2] == ITEM else None
        if item is not None:
            scored.append((-_score(run, item, masses.get(key[2:], 0), header.beat), -item.beat, key[2:]))
    return {item_id: number for number, (_, _, item_id) in enumerate(sorted(scored), 1)}


def _score(run: _Run, item: Item, mass: int, beat: int) -> int:
    standing = read_standing(run, item.author)
    assert standing is not None, "an author has a standing"
    decay = compute_decay(beat - item.beat, read_policies(run).coherence.decay_step_beats)
    return compute_rank(item.coherence, standing.s_chr, mass, decay)
