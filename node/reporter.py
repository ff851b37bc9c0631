"""The reporter: what a validator puts on the ledger about service.  It runs where the node is a registered validator.

votes         the signatures over the first block of each beat, taken from the replica's messages.  Validators take
              turns; whoever comes later adds only what is missing, so a silent or a partial reporter changes nothing.
challenges    a few nodes in each beat, over `node.challenges`
attestations  of the last epoch, early in the next, and again where they did not reach the ledger
evidence      two votes of a validator that contradict each other, until the ledger has them
readiness     of this node, once in each epoch, while it is admitted to the validator set and not in it yet

Events are signed with the node's key: it is the root key of the operator's account, or an app key of it with the scope
"nodes".  Counts are kept in memory: a restart forgets the challenges of the running epoch.
"""

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

import trio

from ledger.authoring import Reference, make_event, sign_event
from ledger.chain import Chain
from ledger.events import EventType, SignedEvent
from ledger.identity import read_nonce
from ledger.membership import ADMIT, find_change
from ledger.nodes import VALIDATOR, Node, find_current, list_nodes, read_node
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.signing import Purpose, SigningKey
from ledger.service import read_service, read_signers
from ledger.telemetry import (
    CHALLENGES_MAX,
    NODES_ATTESTED_MAX,
    VOTES_MAX,
    Attestation,
    CheckpointCertified,
    CheckpointVote,
    ServiceAttested,
    read_attestations,
)
from ledger.transition import Executed
from ledger.validators import ValidatorReady, readiness_message
from node.challenges import Challenge, encode_challenge, is_right_answer
from node.evidence_book import EvidenceBook
from node.mempool import Accepted, Answer
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

WINDOW = 64
"""Signatures are kept for heights this close to the head, and for the blocks that began the last beats."""
BEATS_KEPT = 4
SETTLED_DEPTH = 64
"""A challenge draws from blocks this far below our head: nodes that follow closely have them."""
CHALLENGED_PER_BEAT = 32
CHALLENGE_TIMEOUT_S_MAX = 5.0
ATTEST_EVERY_BEATS = 4
EXPIRY_BEATS = 64
EPOCHS_COUNTED = 2

Request = Callable[[bytes, bytes, float], Awaitable[bytes]]
"""(public key of the peer, body, timeout in seconds) to its answer.  Raises PeerUnreachable and PeerFault."""


class Reporter:
    """Reports for one validator."""

    def __init__(
        self,
        chain: Chain,
        key: SigningKey,
        *,
        submit: Callable[[Sequence[SignedEvent]], list[Answer]],
        is_waiting: Callable[[bytes], bool],
        request: Request,
        connected: Callable[[], Collection[bytes]],
        evidence: EvidenceBook,
    ) -> None:
        self._chain = chain
        self._key = key
        self._submit = submit
        self._is_waiting = is_waiting
        self._request = request
        self._connected = connected
        self._evidence = evidence
        self._accused: dict[bytes, bytes] = {}  # key -> id of our event that proves its equivocation
        self._votes: dict[int, dict[int, tuple[bytes, bytes]]] = {}  # height -> replica -> digest, signature
        self._beat_heights: deque[int] = deque(maxlen=BEATS_KEPT)
        self._counts: dict[int, dict[bytes, list[int]]] = {}  # epoch -> node -> answered, asked
        self._last: tuple[bytes, int] | None = None  # id and nonce of our last event
        self._attested: bytes | None = None  # id of our last attestation
        self._readiness: bytes | None = None  # id of our last event that says that we are ready
        self._to_report, self._beats = trio.open_memory_channel[tuple[int, int]](1)  # beat, its first height

    # From the driver and the executor, in the trio thread.

    def saw_vote(self, checkpoint: Checkpoint, signature: bytes) -> None:
        """Remember a checkpoint signature that was verified; a replica's first for a height is kept."""
        if self._is_kept(checkpoint.seq):
            votes = self._votes.setdefault(checkpoint.seq, {})
            votes.setdefault(checkpoint.replica, (checkpoint.digest, signature))

    def _is_kept(self, height: int) -> bool:
        return abs(height - self._chain.head.height) <= WINDOW or height in self._beat_heights

    def saw_block(self, executed: Executed) -> None:
        """Take notice of a block; the first of a beat is reported."""
        header = executed.header
        if not executed.receipts or executed.receipts[0].event_type != "infra.BeatStarted":
            return
        self._beat_heights.append(header.height)
        for old in [height for height in self._votes if not self._is_kept(height)]:
            del self._votes[old]
        try:
            self._to_report.send_nowait((header.beat, header.height))
        except trio.WouldBlock:
            logger.debug("beat %d is not reported: another still is", header.beat)

    # The service.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Report until cancelled."""
        task_status.started()
        async for beat, height in self._beats:
            turn = self._find_turn(beat)
            if turn is None:
                self._report_readiness()
            if self._own_node() is None or turn is None:
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._challenge_nodes, beat)
                await trio.sleep(self._delay_s(turn))
                self._report_votes(beat, height)
                self._report_evidence()
                if turn % ATTEST_EVERY_BEATS == 0:
                    self._attest()

    def _report_readiness(self) -> None:
        """Say, once in each epoch, that this node follows the chain, where a vote admitted it to the validator set."""
        head, key = self._chain.head, self._key.public
        own, change = read_node(self._chain.store, key), find_change(self._chain.store, key)
        if own is None or change is None or change.kind != ADMIT or change.ready_epoch == head.header.epoch:
            return
        if self._readiness is not None and self._is_waiting(self._readiness):
            return
        proof = self._key.sign(self._chain.chain_id, Purpose.NODE_READY, readiness_message(head.hash))
        reference = Reference(head.height, head.hash, head.header.beat)
        self._readiness = self._send("infra.ValidatorReady", ValidatorReady(key, proof), own, reference)

    def _find_turn(self, beat: int) -> int | None:
        """Return how many validators come before this one in a beat; None when it is not in the set."""
        keys = self._chain.validators.keys
        return (keys.index(self._key.public) - beat) % len(keys) if self._key.public in keys else None

    def _delay_s(self, turn: int) -> float:
        """Signatures take a moment to come; then validators take turns, in an order that changes with the beat."""
        return self._chain.genesis.beat_ms * (1 / 4 + turn / (2 * len(self._chain.validators.keys))) / 1000

    def _own_node(self) -> Node | None:
        node = read_node(self._chain.store, self._key.public)
        serves = node is not None and node.kind == VALIDATOR and node.serves_in(self._chain.head.header.epoch)
        return node if serves else None

    def _report_votes(self, beat: int, height: int) -> None:
        store = self._chain.store
        header, own, known = self._chain.head.header, self._own_node(), self._chain.references(height)
        service = read_service(store, header.epoch)
        if own is None or known is None or service is None or beat < service.first_beat:
            return
        validators = self._chain.validators
        if height < validators.since:
            return  # the block that changed the set is certified by the one before; it counts for nobody
        signers = read_signers(store, service, beat)
        found = self._votes.get(height, {})
        votes = [
            CheckpointVote(validators.keys[replica], replica, found[replica][1])
            for replica in sorted(found)
            if found[replica][0] == known[0] and not signers >> replica & 1
        ]
        for at in range(0, len(votes), VOTES_MAX):
            body = CheckpointCertified(self._key.public, tuple(votes[at : at + VOTES_MAX]))
            self._send("infra.CheckpointCertified", body, own, Reference(height, *known))

    def _report_evidence(self) -> None:
        """Prove what nobody has proven yet; each in an event of its own, again when it was lost."""
        own, head = self._own_node(), self._chain.head
        for body in self._evidence.list_unproven(self._chain.store):
            before = self._accused.get(body.key)
            if own is not None and (before is None or not self._is_waiting(before)):
                event_id = self._send(
                    "infra.EquivocationProven", body, own, Reference(head.height, head.hash, head.header.beat)
                )  # fmt: skip
                if event_id is not None:
                    self._accused[body.key] = event_id

    async def _challenge_nodes(self, beat: int) -> None:
        """Challenge some of the others, all of them in turn; whoever is not connected has not answered."""
        if not self._connected():
            return  # it is us who are cut off
        header = self._chain.head.header
        nodes = [
            node
            for node in list_nodes(self._chain.store)
            if node.serves_in(header.epoch) and node.key != self._key.public
        ]
        first = beat * CHALLENGED_PER_BEAT % len(nodes) if len(nodes) > CHALLENGED_PER_BEAT else 0
        timeout_s = min(CHALLENGE_TIMEOUT_S_MAX, self._chain.genesis.beat_ms / 2000)
        async with trio.open_nursery() as nursery:
            for node in [*nodes[first:], *nodes[:first]][:CHALLENGED_PER_BEAT]:
                nursery.start_soon(self._challenge, node.key, header.epoch, timeout_s)

    async def _challenge(self, node: bytes, epoch: int, timeout_s: float) -> None:
        challenge = Challenge(epoch, max(0, self._chain.head.height - SETTLED_DEPTH), os.urandom(32))
        try:
            answer = await self._request(node, encode_challenge(challenge), timeout_s)
        except (PeerUnreachable, PeerFault) as error:
            logger.debug("node %s did not answer a challenge: %s", node.hex()[:16], error)
            answer = b""
        self._count(node, epoch, is_right=is_right_answer(self._chain, node, challenge, answer))

    def _count(self, node: bytes, epoch: int, *, is_right: bool) -> None:
        while len(self._counts) >= EPOCHS_COUNTED and epoch not in self._counts:
            del self._counts[min(self._counts)]
        count = self._counts.setdefault(epoch, {}).setdefault(node, [0, 0])
        if count[1] < CHALLENGES_MAX:
            count[0] += is_right
            count[1] += 1

    def _attest(self) -> None:
        """Attest what we found of the epoch that ended last, as far as the ledger does not have it."""
        store, header, own = self._chain.store, self._chain.head.header, self._own_node()
        counts = self._counts.get(header.epoch - 1)
        if own is None or counts is None or (self._attested is not None and self._is_waiting(self._attested)):
            return
        entries: list[Attestation] = []
        for key in sorted(counts):
            node = find_current(store, key)  # it may have changed its key since
            if node is None or not node.serves_in(header.epoch - 1) or node.account == own.account:
                continue
            words = read_attestations(store, node.key, header.epoch - 1)
            if all(word.validator != self._key.public for word in words):
                answered, asked = counts[key]
                entries.append(Attestation(answered, asked, node.key))
        entries.sort(key=lambda entry: entry.node)
        known = self._chain.references(self._chain.head.height)
        assert known is not None, "the head has a header"
        for at in range(0, len(entries), NODES_ATTESTED_MAX):
            chunk = tuple(entries[at : at + NODES_ATTESTED_MAX])
            body = ServiceAttested(chunk, header.epoch - 1, self._key.public)
            self._attested = self._send("infra.ServiceAttested", body, own, Reference(self._chain.head.height, *known))

    def _send(self, name: str, body: object, own: Node, reference: Reference) -> bytes | None:
        """Submit an event of ours behind those that wait; return its id, or None when it was refused."""
        kind: EventType[object] | None = self._chain.registry.latest(name)
        assert kind is not None, f"{name} is one of the event types"
        nonce = read_nonce(self._chain.store, own.account) + 1
        if self._last is not None and self._is_waiting(self._last[0]):
            nonce = max(nonce, self._last[1] + 1)
        event = make_event(
            kind,
            body,
            author=own.account,
            key=self._key.public,
            nonce=nonce,
            reference=reference,
            expiry_beats=EXPIRY_BEATS,
        )
        answer = self._submit([sign_event(self._key, self._chain.chain_id, event)])[0]
        if isinstance(answer, Accepted):
            self._last = (answer.event_id, nonce)
            return answer.event_id
        logger.warning("the mempool refused our %s: %s", name, answer.verdict.because)
        return None
