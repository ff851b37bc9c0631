"""Execution: a batch at its place becomes receipts, writes and a header.  Pure: the same inputs give the same bytes.

For each event: admission, then its judgement (`ledger.judgement`), then, if everything allows it, the writes.  A denied
event uses up its nonce and leaves a receipt; a skipped one leaves a receipt only.  What the state machine makes itself,
such as vetoes and the settlement of an epoch, are derived events with receipts of their own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ledger import keyspace
from ledger.admission import References, judge_author, judge_nonce, judge_reference
from ledger.beats import BEAT_STARTED, BeatStarted, read_beat
from ledger.block import (
    HEADER_VERSION,
    Batch,
    Header,
    StoredEvent,
    compute_event_leaf,
    compute_header_hash,
    encode_header,
)
from ledger.conduct import (
    AEGIS_ROLLED_BACK,
    AEGIS_VETOED,
    CIR_302,
    CIR_511,
    AegisRollbackApplied,
    AegisVetoed,
    Cir302Raised,
    Cir511Raised,
    count_denial,
    list_conduct_events,
)
from ledger.conservation import find_unconserved
from ledger.draft import Change, Draft, Overlay
from ledger.events import (
    CheckedEvent,
    Entry,
    EpochStep,
    EventRefused,
    EventType,
    SignedEvent,
    View,
    compute_event_id,
)
from ledger.genesis import compute_validators_hash
from ledger.identity import read_nonce
from ledger.judgement import RULE_ERRORS, GuardStack, judge_event
from ledger.moves import list_moves
from ledger.policies import compute_policy_root
from ledger.primitives import lthash, merkle
from ledger.primitives.hashing import tagged_hash
from ledger.receipts import APPLIED, DENIED, SKIPPED, Receipt, encode_receipt
from ledger.service import read_validators
from ledger.settlement import Derived, SettlementRefused, close_unpaid, settle_epoch
from ledger.state import encode_number
from ledger.verdict import Fact, Verdict

ReadKey: TypeAlias = Callable[[bytes], bytes | None]
CommitState: TypeAlias = Callable[[int], tuple[int, bytes]]
"""Gives, of an epoch, the height that began it and the root of the state tree after that height."""
COMMIT_PARTS = 4
"""Headers commit to the state in which an epoch began from a quarter of the epoch on: so long may the tree take."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The block below, and what execution continues from it."""

    header: Header
    hash: bytes
    lanes: bytes  # the LtHash of the state, 2,048 bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """All that a block changes, ready to be written in one batch."""

    header: Header
    header_bytes: bytes
    hash: bytes
    lanes: bytes
    receipts: tuple[Receipt, ...]
    receipt_bytes: tuple[bytes, ...]
    stored: tuple[StoredEvent | None, ...]  # one for each receipt; None for derived events
    nonces: tuple[int, ...]  # one for each receipt; 0 for derived events
    log_nodes: dict[tuple[int, int], bytes]
    changes: tuple[tuple[bytes, bytes | None, bytes | None], ...]
    payloads: tuple[tuple[bytes, bytes], ...]  # content hash, payload bytes; of applied events


def list_index(event_type: str, author: bytes, log_index: int) -> tuple[bytes, bytes]:
    """Return the keys under which every executed event is listed."""
    return keyspace.by_type(event_type, log_index), keyspace.by_author(author, log_index)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the ledger the block stands."""

    chain_id: bytes
    height: int
    beat: int
    time_ms: int
    epoch: int


class Execution:
    """One block in the making."""

    def __init__(
        self,
        read: ReadKey,
        place: Place,
        references: References,
        first_log_index: int,
        lanes: bytes,
        stack: GuardStack,
        at_close: tuple[tuple[str, EpochStep], ...] = (),
    ) -> None:
        self.overlay = Overlay(read)
        self.place = place
        self.receipts: list[Receipt] = []
        self.stored: list[StoredEvent | None] = []
        self.nonces: list[int] = []
        self.payloads: list[tuple[bytes, bytes]] = []
        self._lanes = lanes
        self._references = references
        self._first_log_index = first_log_index
        self._stack = stack
        self._at_close = at_close

    def run_derived(self, kind: EventType[Any], body: Any, verdicts: tuple[Verdict, ...] = ()) -> None:
        """Execute an event that the state machine itself makes; it has no author, key or nonce.

        verdicts: those that led to it, where no other receipt has them.
        """
        event_id = tagged_hash("atlas/derived", self.place.chain_id, keyspace.u64(self._log_index), kind.name.encode())
        entry = self._entry(event_id, bytes(32), bytes(32), 0, body, None, 0)
        draft = Draft(self.overlay)
        draft.write(kind.apply(self.overlay, entry))
        self._take(draft.changes())
        self._receive(kind, entry, verdicts, APPLIED, kind.summary, {})
        self.stored.append(None)
        self.nonces.append(0)

    def run(self, checked: CheckedEvent) -> None:
        """Execute one signed event, and what follows from it."""
        event, kind, body = checked.event, checked.kind, checked.body
        content = None if kind.content is None else kind.content(body).hash
        self.stored.append(StoredEvent(content, checked.signed.event, checked.signed.signature))
        self.nonces.append(event.nonce)
        admission = (
            judge_nonce(event.nonce, read_nonce(self.overlay, event.author)),
            judge_author(self.overlay, checked),
            judge_reference(event, self.place.beat, self._references),
        )
        refused = next((verdict for verdict in admission if not verdict.allowed), None)
        reference = self._references(event.reference_height)
        entry = self._entry(
            checked.event_id, event.author, event.key, event.nonce, body, checked.payload,
            0 if reference is None else reference[1], event.reference_height,
        )  # fmt: skip
        if refused is not None:
            self._receive(kind, entry, (refused,), SKIPPED, refused.because, {})
            return
        nonce_key = keyspace.nonce(event.author)
        self.overlay.apply(((nonce_key, self.overlay.get(nonce_key), encode_number(event.nonce)),))
        judged = judge_event(self._stack, self.overlay, entry, kind)
        if judged.allowed:
            self._take(judged.changes)
            self.overlay.apply((key, None, entry.event_id) for key in kind.index(entry))
            if content is not None and checked.signed.payload is not None:
                self.payloads.append((content, checked.signed.payload))
            self._receive(kind, entry, judged.verdicts, APPLIED, kind.summary, judged.evidence)
            return
        vetoed = judged.vetoed is not None
        self.overlay.write(count_denial(self.overlay, entry.author, entry.epoch, judged.verdicts, vetoed=vetoed))
        before = self._digest() if vetoed else None
        denied = judged.vetoed or next(verdict for verdict in judged.verdicts if not verdict.allowed)
        self._receive(kind, entry, judged.verdicts, DENIED, denied.because, judged.evidence)
        if before is not None and judged.vetoed is not None:
            self.run_derived(AEGIS_VETOED, AegisVetoed(denied.code, denied.severity, entry.event_id))
            self.run_derived(AEGIS_ROLLED_BACK, AegisRollbackApplied(self._digest(), before, entry.event_id))
        if judged.fault is not None:
            self.run_derived(CIR_302, Cir302Raised(entry.author, judged.fault, entry.event_id))
        for follows, body in list_conduct_events(self.overlay, entry.author, self.place.beat, entry.epoch):
            self.run_derived(follows, body)

    def _take(self, changes: list[Change]) -> None:
        """Take what the event at this place changes, and keep what that does to balances."""
        self.overlay.apply(changes)
        self.overlay.apply(list_moves(changes, self._log_index))

    def close_epoch(self, closed: int) -> None:
        """Settle an epoch that has ended: every payment is an event of its own.

        A settlement whose rules raise an error, or whose result does not conserve a token, is dropped as a whole.
        Then come the steps of other modules, under the same rule, each alone.
        """
        for pay, module in ((True, "rewards"), (False, "settlement")):
            fault, verdicts = self._try_settlement(closed, pay=pay)
            if fault is None:
                break
            self.run_derived(CIR_511, Cir511Raised(fault, module), verdicts)
        else:
            for kind, body in close_unpaid(closed):
                self.run_derived(kind, body)
        for module, step in self._at_close:
            fault, verdicts = self._try_step(step, closed)
            if fault is not None:
                self.run_derived(CIR_511, Cir511Raised(fault, module), verdicts)

    def _try_settlement(self, closed: int, *, pay: bool) -> tuple[str | None, tuple[Verdict, ...]]:
        return self._try(lambda view: settle_epoch(view, closed, pay=pay))

    def _try_step(self, step: EpochStep, closed: int) -> tuple[str | None, tuple[Verdict, ...]]:
        return self._try(lambda view: step(view, closed, self.place.beat))

    def _try(self, derive: Callable[[View], Iterator[Derived]]) -> tuple[str | None, tuple[Verdict, ...]]:
        """Execute derived events on an overlay of their own; keep them, or drop them all and return the fault."""
        below, count = self.overlay, len(self.receipts)
        verdicts: tuple[Verdict, ...] = ()
        self.overlay = Overlay(below.get)
        try:
            for kind, body in derive(self.overlay):
                self.run_derived(kind, body)
            fault = find_unconserved(self.overlay.changes())
        except RULE_ERRORS as error:
            fault = type(error).__name__
        except SettlementRefused as refused:
            fault, verdicts = refused.code, refused.verdicts
        if fault is None:
            below.apply(self.overlay.changes())
        else:
            del self.receipts[count:], self.stored[count:], self.nonces[count:]
        self.overlay = below
        return fault, verdicts

    def finish_lanes(self) -> bytes:
        """Return the LtHash lanes of the state with everything that was executed."""
        self._digest()
        return self._lanes

    def _digest(self) -> bytes:
        changed = self.overlay.take_undigested()
        self._lanes = lthash.combine(
            self._lanes,
            [(key, before) for key, before, _ in changed if before is not None],
            [(key, after) for key, _, after in changed if after is not None],
        )
        return lthash.digest(self._lanes)

    def skip(self, signed: SignedEvent, refused: EventRefused) -> None:
        """Leave a receipt for something that no correct primary would have proposed."""
        verdict = Verdict(False, refused.code, refused.because, refused.facts)
        self.receipts.append(
            Receipt(
                event_id=compute_event_id(signed.event),
                event_type="",
                event_version=0,
                author=bytes(32),
                height=self.place.height,
                index=len(self.receipts),
                log_index=self._log_index,
                beat=self.place.beat,
                modules=(),
                inputs={},
                verdicts=(verdict,),
                outcome=SKIPPED,
                explanation=refused.because,
            )
        )
        self.stored.append(StoredEvent(None, signed.event, signed.signature))
        self.nonces.append(0)

    @property
    def _log_index(self) -> int:
        return self._first_log_index + len(self.receipts)

    def _entry(
        self, event_id: bytes, author: bytes, key: bytes, nonce: int, body: Any, payload: Any, reference_beat: int,
        reference_height: int = 0,
    ) -> Entry[Any]:  # fmt: skip
        place = self.place
        return Entry(
            event_id, author, key, nonce, body, payload, place.height, self._log_index, place.beat, place.time_ms,
            place.chain_id, place.epoch, reference_beat, reference_height,
        )  # fmt: skip

    def _receive(
        self,
        kind: EventType[Any],
        entry: Entry[Any],
        verdicts: tuple[Verdict, ...],
        outcome: str,
        explanation: str,
        evidence: dict[str, Fact],
    ) -> None:
        if outcome != SKIPPED:
            index = list_index(kind.name, entry.author, entry.log_index)
            self.overlay.apply((key, None, b"") for key in index)
        self.receipts.append(
            Receipt(
                event_id=entry.event_id,
                event_type=kind.name,
                event_version=kind.version,
                author=entry.author,
                height=entry.height,
                index=len(self.receipts),
                log_index=entry.log_index,
                beat=entry.beat,
                modules=(kind.module,),
                inputs=kind.inputs(entry.body),
                verdicts=verdicts,
                outcome=outcome,
                explanation=explanation,
                evidence=evidence,
            )
        )


def execute_batch(
    batch: Batch | None,
    checked: tuple[CheckedEvent | EventRefused, ...],
    parent: Parent,
    *,
    epoch_beats: int,
    read: ReadKey,
    read_log_node: merkle.ReadNode,
    references: References,
    commit_state: CommitState,
    stack: GuardStack,
    at_close: tuple[tuple[str, EpochStep], ...] = (),
) -> Executed:
    """Execute a batch on its parent.  None is a null request: an empty block.

    checked: for each item of the batch what `check_event` gave or raised.
    references: must know every height up to the parent's.
    commit_state: is asked for the epoch of the block when a part of that has passed.
    """
    above = parent.header
    height = above.height + 1
    beat = above.beat + (1 if batch is not None and batch.beat else 0)
    time_ms = above.time_ms if batch is None else max(batch.time_ms, above.time_ms)
    place = Place(above.chain_id, height, beat, time_ms, beat // epoch_beats)
    execution = Execution(read, place, references, above.log_size, parent.lanes, stack, at_close)
    if batch is not None and beat != above.beat:
        assert read_beat(execution.overlay) == above.beat, "the state's beat differs from the header's"
        execution.run_derived(BEAT_STARTED, BeatStarted(beat, batch.proposer, batch.view, parent.hash))
        if place.epoch != above.epoch:
            execution.close_epoch(above.epoch)
    items = () if batch is None else batch.items
    assert len(items) == len(checked)
    for signed, event in zip(items, checked, strict=True):
        if isinstance(event, EventRefused):
            execution.skip(signed, event)
        else:
            execution.run(event)
    commits = beat != above.beat and beat % epoch_beats == max(1, epoch_beats // COMMIT_PARTS)
    state = commit_state(place.epoch) if commits else (above.state_height, above.state_root)
    return seal(execution, items, parent, batch, read_log_node, state)


def _compute_next_set(view: View, above: Header) -> bytes:
    """Return the hash of the set that orders the next height; a state without one keeps its parent's."""
    validators = read_validators(view)
    return above.validators_hash if validators is None else compute_validators_hash(validators.keys)


def seal(
    execution: Execution,
    items: tuple[SignedEvent, ...],
    parent: Parent,
    batch: Batch | None,
    read_log_node: merkle.ReadNode,
    state: tuple[int, bytes],
) -> Executed:
    """Make the header over an execution's results."""
    above = parent.header
    place = execution.place
    receipt_bytes = tuple(encode_receipt(receipt) for receipt in execution.receipts)
    leaves = [merkle.leaf_hash(data) for data in receipt_bytes]
    log_nodes, log_root = merkle.append_leaves(above.log_size, leaves, read_log_node)
    changes = tuple(execution.overlay.changes())
    lanes = execution.finish_lanes()
    header = Header(
        beat=place.beat,
        chain_id=above.chain_id,
        epoch=place.epoch,
        event_count=len(execution.receipts),
        event_root=merkle.compute_root([compute_event_leaf(signed) for signed in items]),
        height=place.height,
        log_root=log_root,
        log_size=above.log_size + len(leaves),
        policy_root=compute_policy_root(execution.overlay.get(keyspace.policies())),
        previous=parent.hash,
        proposer=None if batch is None else batch.proposer,
        receipt_root=merkle.compute_root(leaves),
        rules_root=above.rules_root,
        state_digest=lthash.digest(lanes),
        state_height=state[0],
        state_root=state[1],
        time_ms=place.time_ms,
        validators_hash=_compute_next_set(execution.overlay, above),
        version=HEADER_VERSION,
        view=above.view if batch is None else batch.view,
    )
    header_bytes = encode_header(header)
    return Executed(
        header=header,
        header_bytes=header_bytes,
        hash=compute_header_hash(header_bytes),
        lanes=lanes,
        receipts=tuple(execution.receipts),
        receipt_bytes=receipt_bytes,
        stored=tuple(execution.stored),
        nonces=tuple(execution.nonces),
        log_nodes=log_nodes,
        changes=changes,
        payloads=tuple(execution.payloads),
    )
