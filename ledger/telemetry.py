"""Telemetry: who served, shown by signatures.  Events: infra.CheckpointCertified, infra.ServiceAttested.

No node reports its own uptime.  Checkpoint signatures of validators are put on the ledger, a few for each beat; any
operator may add those that another left out, so leaving somebody out gains nothing.  Validators challenge every node,
and each attests once for an epoch, in the epoch after it, how many of its challenges a node answered.

Both cost no energy: only operators of registered nodes may send them, a certificate must bring a signature that the
ledger does not have, and a validator attests once for each node and epoch.  So there are at most as many as there is
to say, and neither feeds the pool of NOD or an account's standing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from ledger import keyspace
from ledger.events import Entry, Event, EventRefused, EventType, Put, View, Write
from ledger.nodes import NO_GROUP, Node, find_server, read_node
from ledger.primitives.checkpoint import Checkpoint, is_checkpoint_signature
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U32, U64, Between, Bytes32, Bytes64, Length, encode_record
from ledger.service import VALIDATORS_MAX, Validators, count_votes, read_service, read_signers, read_validators
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny

VOTES_MAX = 12
"""Signatures in one event; a larger validator set takes several."""
NODES_ATTESTED_MAX = 24
"""Nodes in one event; a larger registry takes several."""
CHALLENGES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class CheckpointVote:
    """A validator's signature over the block that the event names as its reference."""

    key: Bytes32
    replica: Annotated[int, Between(0, VALIDATORS_MAX - 1)]
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class CheckpointCertified:
    """Signatures over the event's reference block.  `node` is one of the author's, and serves."""

    node: Bytes32
    votes: Annotated[tuple[CheckpointVote, ...], Length(1, VOTES_MAX)]


@dataclass(frozen=True, slots=True)
class Attestation:
    """How a node answered one validator's challenges in an epoch."""

    answered: Annotated[int, Between(0, CHALLENGES_MAX)]
    asked: Annotated[int, Between(1, CHALLENGES_MAX)]
    node: Bytes32


@dataclass(frozen=True, slots=True)
class ServiceAttested:
    """What the author's validator found in an epoch.  `node` is that validator."""

    entries: Annotated[tuple[Attestation, ...], Length(1, NODES_ATTESTED_MAX)]
    epoch: U64
    node: Bytes32


@dataclass(frozen=True, slots=True)
class Attested:
    """One validator's word about a node, as the state keeps it."""

    answered: U32
    asked: U32
    validator: Bytes32


@dataclass(frozen=True, slots=True)
class Attestations:
    """All that validators attested of a node for one epoch, by their keys."""

    epoch: U64
    words: Annotated[tuple[Attested, ...], Length(1, VALIDATORS_MAX)]


@dataclass(frozen=True, slots=True)
class Health:
    """What the attestations of an epoch amount to."""

    rate: int  # raw: the lower median over the attesting validators
    attesters: int
    is_enough: bool  # more than can be faulty attested
    is_conflicting: bool  # more than can be faulty got no answer at all, and as many got enough


def read_attestations(view: View, node: bytes, epoch: int) -> tuple[Attested, ...]:
    """Return what validators attested of a node for an epoch."""
    found = read_record(view, keyspace.attestations(node), Attestations)
    return found.words if found is not None and found.epoch == epoch else ()


def compute_health(
    view: View, node: Node, epoch: int, validators: Validators, health_min: int
) -> Health:  # fmt: skip
    """Return a node's answer rate in an epoch, as the validators of other operators saw it."""
    words = [
        each
        for each in read_attestations(view, node.key, epoch)
        if not _is_own_side(node, read_node(view, each.validator))
    ]
    rates = sorted(each.answered * SCALE // each.asked for each in words)
    silent = sum(1 for each in words if each.answered == 0)
    content = sum(1 for rate in rates if rate >= health_min)
    faulty = validators.faulty_max
    return Health(
        rate=rates[(len(rates) - 1) // 2] if rates else 0,
        attesters=len(rates),
        is_enough=len(rates) > faulty,
        is_conflicting=silent > faulty and content > faulty,
    )


def _is_own_side(node: Node, attester: Node | None) -> bool:
    """Whether an attester must not speak for a node: it left the registry, or has the same operator or group."""
    if attester is None or attester.revoked:
        return True
    return attester.account == node.account or (attester.group == node.group != NO_GROUP)


def verify_votes(chain_id: bytes, event: Event, body: CheckpointCertified) -> None:
    """Raise EventRefused unless every signature is one over the event's reference block; keys are judged later."""
    replicas = [vote.replica for vote in body.votes]
    if any(first >= second for first, second in pairwise(replicas)):
        raise EventRefused("TELEMETRY_VOTES_UNORDERED", "The votes are of distinct replicas, in their order.")
    if event.reference_height < 1:
        raise EventRefused("TELEMETRY_CHECKPOINT_UNKNOWN", "Genesis has no checkpoint.")
    for vote in body.votes:
        checkpoint = Checkpoint(event.reference_hash, vote.replica, event.reference_height)
        if not is_checkpoint_signature(vote.key, chain_id, checkpoint, vote.signature):
            raise EventRefused(
                "TELEMETRY_SIGNATURE_INVALID", "A vote is not one of its key over the event's reference block.",
                replica=vote.replica, height=event.reference_height,
            )  # fmt: skip


def author_serves(view: View, entry: Entry[Any]) -> Verdict:
    if find_server(view, entry.body.node, entry.author, entry.epoch) is not None:
        return allow("NODE_SERVES", "The author's node serves in this epoch.")
    return deny("NODE_NOT_IN_REGISTRY", "The author has no such node that serves in this epoch.")


def author_validates(view: View, entry: Entry[ServiceAttested]) -> Verdict:
    node, validators = find_server(view, entry.body.node, entry.author, entry.epoch), read_validators(view)
    if node is not None and validators is not None and node.key in validators.keys:
        return allow("NODE_SERVES", "The author's validator serves in this epoch.")
    return deny("NODE_NOT_VALIDATOR", "Only a registered validator that serves attests the service of others.")


def votes_are_of_validators(view: View, entry: Entry[CheckpointCertified]) -> Verdict:
    validators = read_validators(view)
    keys = () if validators is None else validators.keys
    foreign = [vote.replica for vote in entry.body.votes if vote.key not in keys[vote.replica : vote.replica + 1]]
    if not foreign:
        return allow("TELEMETRY_SIGNERS_KNOWN", "Every signature is one of the validator set.")
    return deny("TELEMETRY_SIGNER_UNKNOWN", "A key is not the validator's that it is named for.", replica=foreign[0])


def beat_is_of_epoch(view: View, entry: Entry[CheckpointCertified]) -> Verdict:
    service, validators = read_service(view, entry.epoch), read_validators(view)
    if validators is not None and entry.reference_height < validators.since:
        return deny("TELEMETRY_ERA_OVER", "The block is one that an earlier validator set has certified.",
                    since=validators.since)  # fmt: skip
    first = None if service is None else service.first_beat
    if first is not None and first <= entry.reference_beat <= entry.beat:
        return allow("TELEMETRY_BEAT_CURRENT", "The block is of the present epoch.", beat=entry.reference_beat)
    return deny("TELEMETRY_EPOCH_OVER", "The block is not of the present epoch.", beat=entry.reference_beat)


def votes_are_new(view: View, entry: Entry[CheckpointCertified]) -> Verdict:
    service = read_service(view, entry.epoch)
    known = 0 if service is None else read_signers(view, service, entry.reference_beat)
    fresh = _signers(entry.body) & ~known
    if fresh:
        return allow("TELEMETRY_VOTES_NEW", "A signature is new to the beat.", new=fresh.bit_count())
    return deny("TELEMETRY_VOTES_KNOWN", "Every signature's validator is known for this beat.")


def epoch_is_the_last(view: View, entry: Entry[ServiceAttested]) -> Verdict:
    facts: dict[str, Fact] = {"epoch": entry.body.epoch, "epoch_now": entry.epoch}
    if entry.body.epoch + 1 == entry.epoch:
        return allow("TELEMETRY_EPOCH_OVER", "The epoch is the one that ended last.", **facts)
    return deny("TELEMETRY_EPOCH_UNFIT", "What is attested is the epoch that ended last, and no other.", **facts)


def entries_are_fit(view: View, entry: Entry[ServiceAttested]) -> Verdict:
    body = entry.body
    if any(first.node >= second.node for first, second in pairwise(body.entries)):
        return deny("TELEMETRY_NODES_UNORDERED", "The entries are of distinct nodes, in order of their keys.")
    for each in body.entries:
        facts: dict[str, Fact] = {"node": each.node.hex()}
        node = read_node(view, each.node)
        if node is None or not node.serves_in(body.epoch):
            return deny("NODE_NOT_IN_REGISTRY", "A node did not serve in that epoch.", **facts)
        if each.answered > each.asked:
            return deny("TELEMETRY_CONFLICTING", "More answers than questions.", **facts)
        if node.account == entry.author:
            return deny("TELEMETRY_OWN_NODE", "Nobody attests a node of his own.", **facts)
    return allow("TELEMETRY_NODES_KNOWN", "Every entry is of a node of others that served.", nodes=len(body.entries))


def nodes_are_not_attested(view: View, entry: Entry[ServiceAttested]) -> Verdict:
    for each in entry.body.entries:
        if any(word.validator == entry.body.node for word in read_attestations(view, each.node, entry.body.epoch)):
            return deny("TELEMETRY_ATTESTED", "The validator has attested this node's epoch.", node=each.node.hex())
    return allow("TELEMETRY_NEW", "The validator has attested none of these nodes for the epoch.")


def apply_checkpoint_certified(view: View, entry: Entry[CheckpointCertified]) -> Iterator[Write]:
    """Count the validators whose signatures are new to the beat."""
    service, validators = read_service(view, entry.epoch), read_validators(view)
    assert service is not None, "a guard found it"
    assert validators is not None, "a guard found them"
    yield from count_votes(view, service, validators, entry.reference_beat, _signers(entry.body))


def apply_service_attested(view: View, entry: Entry[ServiceAttested]) -> Iterator[Write]:
    """Keep the author's word with the others', by key."""
    body = entry.body
    for each in body.entries:
        words = [*read_attestations(view, each.node, body.epoch), Attested(each.answered, each.asked, body.node)]
        ordered = tuple(sorted(words, key=lambda word: word.validator))
        yield Put(keyspace.attestations(each.node), encode_record(Attestations(body.epoch, ordered)))


def _signers(body: CheckpointCertified) -> int:
    return sum(1 << vote.replica for vote in body.votes)


EVENTS = (
    EventType(
        name="infra.CheckpointCertified",
        version=1,
        body=CheckpointCertified,
        guards=(author_serves, votes_are_of_validators, beat_is_of_epoch, votes_are_new),
        apply=apply_checkpoint_certified,
        summary="A node's operator put validators' signatures over a block on the ledger.",
        example=CheckpointCertified(bytes(32), (CheckpointVote(bytes(32), 0, bytes(64)),)),
        inputs=lambda body: {
            "node": body.node.hex(),
            "replicas": " ".join(str(vote.replica) for vote in body.votes),
        },
        verify=verify_votes,
    ),
    EventType(
        name="infra.ServiceAttested",
        version=1,
        body=ServiceAttested,
        guards=(author_validates, epoch_is_the_last, entries_are_fit, nodes_are_not_attested),
        apply=apply_service_attested,
        summary="A validator attested how other nodes answered its challenges.",
        example=ServiceAttested((Attestation(9, 10, bytes(32)),), 3, bytes(32)),
        inputs=lambda body: {"entries": len(body.entries), "epoch": body.epoch, "node": body.node.hex()},
    ),
)
