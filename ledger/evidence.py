"""Evidence: two signed votes of one validator that contradict each other, and what follows.  infra.EquivocationProven.

Anyone may put it on the ledger, once for each key.  Two votes contradict each other when they are of one kind, for one
place (era, view and height; for CHECKPOINT the height), and name different digests: no correct replica signs both,
restarts included.  The bond of the key's node is burned and the node is revoked: it earns nothing more, weighs nothing
in votes, and leaves the validator set at the end of the epoch, or once the set can do without it (`ledger.membership`).
Sets of all eras are kept, so a validator that has left answers for what it signed, and one that rotated its key since
for what the old key did.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, Event, EventRefused, EventType, View, Write
from ledger.nodes import compute_node_bond_account, find_current
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U32, Bytes32, Bytes64, Length, decode_record, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.primitives.votes import ORDERING, OrderingVote, compute_era_domain
from ledger.service import read_era
from ledger.tokens import FLX, burn, read_balance
from ledger.verdict import Fact, Verdict, allow, deny

VOTE_BYTES_MAX = 256
KINDS = {purpose.value: purpose for purpose in (*ORDERING, Purpose.CHECKPOINT)}

AnyVote: TypeAlias = OrderingVote | Checkpoint


@dataclass(frozen=True, slots=True)
class SignedVote:
    """A vote as it was signed."""

    message: Annotated[bytes, Length(1, VOTE_BYTES_MAX)]
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class EquivocationProven:
    """`key` signed both votes as a validator of `era`."""

    era: U32
    first: SignedVote
    key: Bytes32
    kind: Annotated[str, Length(1, 16)]
    second: SignedVote


def decode_vote(kind: str, message: bytes) -> AnyVote:
    """Return a vote of a kind.  Raises EncodingError."""
    record: type[AnyVote] = Checkpoint if kind == Purpose.CHECKPOINT.value else OrderingVote
    return decode_record(record, message)


def are_contradicting(first: AnyVote, second: AnyVote) -> bool:
    """Tell whether two votes of one kind are of one replica, for one place, and name different digests."""
    if first.digest == second.digest or type(first) is not type(second):
        return False
    return replace(first, digest=second.digest) == second


def verify_evidence(chain_id: bytes, event: Event, body: EquivocationProven) -> None:
    """Raise EventRefused unless both votes are the key's and contradict each other.  Whose key it was is a guard's."""
    purpose = KINDS.get(body.kind)
    if purpose is None:
        raise EventRefused(
            "EVIDENCE_KIND_UNKNOWN", f"Evidence is of one of {', '.join(sorted(KINDS))}.", kind=body.kind
        )  # fmt: skip
    domain = chain_id if purpose is Purpose.CHECKPOINT else compute_era_domain(chain_id, body.era)
    for vote in (body.first, body.second):
        if not is_valid_signature(body.key, domain, purpose, vote.message, vote.signature):
            raise EventRefused("EVIDENCE_SIGNATURE_INVALID", "A vote is not one that the key signed in this era.")
    try:
        votes = [decode_vote(body.kind, vote.message) for vote in (body.first, body.second)]
    except EncodingError as error:
        raise EventRefused("EVIDENCE_MALFORMED", f"A vote is not one of consensus: {error}.") from error
    if not are_contradicting(*votes):
        raise EventRefused(
            "EVIDENCE_NOT_CONTRADICTING",
            "The votes are not of one replica, for one place, with different digests.",
            kind=body.kind,
        )


def key_is_of_the_set(view: View, entry: Entry[EquivocationProven]) -> Verdict:
    body = entry.body
    try:
        replica = decode_vote(body.kind, body.first.message).replica
    except EncodingError:
        return deny("EVIDENCE_MALFORMED", "A vote is not one of consensus.", kind=body.kind)
    validators = read_era(view, body.era)
    facts: dict[str, Fact] = {"era": body.era, "replica": replica}
    if validators is not None and body.key in validators.keys[replica : replica + 1]:
        return allow("EVIDENCE_OF_VALIDATOR", "The key is the validator's that the votes name.", **facts)
    return deny("EVIDENCE_NOT_OF_VALIDATOR", "The key is not that of the validator that the votes name.", **facts)


def evidence_is_new(view: View, entry: Entry[EquivocationProven]) -> Verdict:
    if view.get(keyspace.evidence(entry.body.key)) is None:
        return allow("EVIDENCE_NEW", "Nothing was proven against this key before.")
    return deny("EVIDENCE_KNOWN", "It is proven already that this key equivocated.", key=entry.body.key.hex())


def apply_equivocation_proven(view: View, entry: Entry[EquivocationProven]) -> Iterator[Write]:
    """Burn the bond, whether the node has retired or not, and revoke the node; of a key without one that is noted."""
    draft, key = Draft(view), entry.body.key
    draft.put(keyspace.evidence(key), entry.event_id)
    node = find_current(draft, key)
    if node is not None:
        bond = compute_node_bond_account(node.key)
        burn(draft, FLX, bond, read_balance(draft, FLX, bond))
        draft.put(keyspace.node(node.key), encode_record(replace(node, revoked=True)))
    yield from draft.writes()


EVENTS = (
    EventType(
        name="infra.EquivocationProven",
        version=1,
        body=EquivocationProven,
        guards=(key_is_of_the_set, evidence_is_new),
        apply=apply_equivocation_proven,
        summary="It was proven that a validator signed two votes that contradict each other; its bond was burned.",
        example=EquivocationProven(
            0, SignedVote(b"\x80", bytes(64)), bytes(32), "commit", SignedVote(b"\x81", bytes(64))
        ),
        inputs=lambda body: {"era": body.era, "key": body.key.hex(), "kind": body.kind},
        verify=verify_evidence,
    ),
)
