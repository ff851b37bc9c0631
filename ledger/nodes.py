"""Nodes: who serves the network, under which key, and what stands behind it.

Events: infra.NodeRegistered, infra.NodeRetired, infra.NodeBondReleased; infra.NodeRevoked, derived from a vote.

An operator is any account; each of its nodes locks a bond of NODE_BOND, and counts from the next epoch on.  The node's
key proves that it agrees.  A post-quantum key is registered by its hash: the key itself is larger than an event.  A key
is registered once, for ever: neither retiring nor revocation lets it come back.  A validator may go on under another
key (`ledger.validators`); the records of its earlier keys lead to the present one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, Bytes32, Bytes64, Length, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.service import read_validators
from ledger.state import encode_number, read_number, read_record
from ledger.tokens import FLX, move, read_balance
from ledger.verdict import Fact, Verdict, allow, deny

NODE_BOND = 1_000 * SCALE
"""What a node's operator locks; constitutional."""
NODES_MAX = 1_024
"""Nodes registered at a time: each is settled and explained in every epoch."""
RELEASE_EPOCHS = 10
"""How long the bond stays locked after a node retired, about a day: what it did may still be found out."""
ROTATIONS_MAX = 1_024
"""How often a node may change its key: so many records are followed at most from a key to the present one."""
VALIDATOR, AUDITOR, RELAY = "validator", "auditor", "relay"
NODE_KINDS = (VALIDATOR, AUDITOR, RELAY)
NO_GROUP = NO_KEY = bytes(32)
PQC_SCHEMES = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")

KindName = Annotated[str, Length(1, 16)]
Scheme = Annotated[str, Length(0, 16)]


@dataclass(frozen=True, slots=True)
class Node:
    """A node in the registry."""

    account: Bytes32  # its operator
    active_from: U64  # epoch
    group: Bytes32  # operator group that the operator declares; zero for none
    key: Bytes32
    kind: KindName
    place: U32  # in the list of nodes; of no meaning once it retired
    pqc_key: Bytes32  # hash of the post-quantum public key; zero for none
    pqc_scheme: Scheme
    registered_height: U64
    released: bool  # the bond was returned
    retired_epoch: U64 | None
    revoked: bool
    rotations: U32 = 0  # how often it changed its key
    successor: Bytes32 = NO_KEY  # the key that this one was rotated to; zero for none

    def serves_in(self, epoch: int) -> bool:
        """Whether its work counts in an epoch."""
        return self.active_from <= epoch and self.retired_epoch is None and not self.revoked


@dataclass(frozen=True, slots=True)
class NodeRegistered:
    """The author runs a node."""

    group: Bytes32
    kind: KindName
    node: Bytes32  # Ed25519 public key
    pqc_key: Bytes32
    pqc_scheme: Scheme
    proof: Bytes64  # by the node's key, over what `registration_message` gives


@dataclass(frozen=True, slots=True)
class NodeRetired:
    """The author's node leaves; it earns nothing from this epoch on."""

    node: Bytes32


@dataclass(frozen=True, slots=True)
class NodeBondReleased:
    """The author takes the bond of a retired node back."""

    node: Bytes32


@dataclass(frozen=True, slots=True)
class NodeRevoked:
    """Governance takes a node out; the bond stays until its operator retires it."""

    node: Bytes32
    reason: Annotated[str, Length(1, 96)]


def registration_message(account_id: bytes, node: bytes) -> bytes:
    """Return what the node's key signs, under Purpose.NODE_REGISTRATION: it is held, and serves for this account."""
    return account_id + node


def compute_node_bond_account(node: bytes) -> bytes:
    """Return the system account that holds a node's bond; it neither decays nor spends."""
    return tagged_hash("atlas/node-bond", node)


def read_node(view: View, key: bytes) -> Node | None:
    """Return a node that is or was registered, or None."""
    return read_record(view, keyspace.node(key), Node)


def find_current(view: View, key: bytes) -> Node | None:
    """Return the node that a key is of, or was of before it was rotated; None when it never was one's."""
    node = read_node(view, key)
    for _ in range(ROTATIONS_MAX):
        if node is None or node.successor == NO_KEY:
            break
        node = read_node(view, node.successor)
    return node


def list_nodes(view: View) -> tuple[Node, ...]:
    """Return the registered nodes that have not retired, by key."""
    keys: list[bytes] = []
    for place in range(read_number(view, keyspace.node_count())):
        key = view.get(keyspace.listed_node(place))
        assert key is not None, "a node that was counted is listed"
        keys.append(key)
    nodes = [read_node(view, key) for key in sorted(keys)]
    return tuple([node for node in nodes if node is not None])


def find_server(view: View, key: bytes, account_id: bytes, epoch: int) -> Node | None:
    """Return the account's node if it serves in the epoch, or None."""
    node = read_node(view, key)
    return node if node is not None and node.account == account_id and node.serves_in(epoch) else None


def key_is_unregistered(view: View, entry: Entry[NodeRegistered]) -> Verdict:
    known = read_node(view, entry.body.node)
    if known is None and view.get(keyspace.evidence(entry.body.node)) is not None:
        return deny("NODE_EQUIVOCATED", "It is proven that this key signed two votes that contradict each other.")
    if known is None:
        return allow("NODE_KEY_NEW", "No node was ever registered under this key.")
    code = "NODE_REVOKED" if known.revoked else "NODE_RETIRED" if known.retired_epoch is not None else "NODE_EXISTS"
    return deny(
        code, "A node was registered under this key; another node needs another key.", account=known.account.hex()
    )


def kind_fits(view: View, entry: Entry[NodeRegistered]) -> Verdict:
    body = entry.body
    validators = read_validators(view)
    is_member = validators is not None and body.node in validators.keys
    facts: dict[str, Fact] = {"kind": body.kind, "in_validator_set": is_member}
    if body.kind not in NODE_KINDS:
        return deny("NODE_KIND_UNKNOWN", f"A node is one of {', '.join(NODE_KINDS)}.", **facts)
    if is_member != (body.kind == VALIDATOR):
        return deny("NODE_KIND_UNFIT", "A key of the validator set is a validator's, and no other key is.", **facts)
    return allow("NODE_KIND_FITS", "The kind is that of the key.", **facts)


def node_agrees(view: View, entry: Entry[NodeRegistered]) -> Verdict:
    body, message = entry.body, registration_message(entry.author, entry.body.node)
    if is_valid_signature(body.node, entry.chain_id, Purpose.NODE_REGISTRATION, message, body.proof):
        return allow("NODE_KEY_PROVEN", "The node's key has signed that it serves for this account.")
    return deny("NODE_PROOF_INVALID", "The proof is not the node key's, for this account.")


def pqc_fields_agree(view: View, entry: Entry[NodeRegistered]) -> Verdict:
    body = entry.body
    if (body.pqc_key == NO_KEY) == (body.pqc_scheme == ""):
        return allow("NODE_PQC_STATED", "Key and scheme are both there, or neither.", scheme=body.pqc_scheme)
    return deny("NODE_PQC_INCOMPLETE", "A post-quantum key needs its scheme, and a scheme its key.")


def balance_covers_node(view: View, entry: Entry[NodeRegistered]) -> Verdict:
    balance = read_balance(view, FLX, entry.author)
    facts: dict[str, Fact] = {"bond_atoms": NODE_BOND, "balance_atoms": balance}
    if balance >= NODE_BOND:
        return allow("NODE_BOND_COVERED", "The balance covers the bond.", **facts)
    return deny("NODE_BOND_UNCOVERED", "The balance does not cover the bond of a node.", **facts)


def registry_has_room(view: View, entry: Entry[NodeRegistered]) -> Verdict:
    count = read_number(view, keyspace.node_count())
    if count < NODES_MAX:
        return allow("NODE_REGISTRY_ROOM", "The registry has room.", nodes=count, nodes_max=NODES_MAX)
    return deny("NODE_REGISTRY_FULL", "The registry is full.", nodes=count, nodes_max=NODES_MAX)


def node_is_authors(view: View, entry: Entry[NodeRetired] | Entry[NodeBondReleased]) -> Verdict:
    node = read_node(view, entry.body.node)
    if node is not None and node.account == entry.author:
        return allow("NODE_OF_AUTHOR", "The node is the author's.")
    return deny("NODE_NOT_IN_REGISTRY", "The author has registered no such node.", node=entry.body.node.hex())


def node_is_listed(view: View, entry: Entry[NodeRetired]) -> Verdict:
    node = read_node(view, entry.body.node)
    if node is not None and node.retired_epoch is None:
        return allow("NODE_LISTED", "The node has not retired.")
    return deny("NODE_RETIRED", "The node has retired, or was never registered.")


def release_is_due(view: View, entry: Entry[NodeBondReleased]) -> Verdict:
    node = read_node(view, entry.body.node)
    if node is None or node.retired_epoch is None:
        return deny("NODE_NOT_RETIRED", "Only a retired node's bond is returned.")
    if node.released:
        return deny("NODE_BOND_RELEASED", "The bond was returned already.")
    facts: dict[str, Fact] = {"epoch": entry.epoch, "due_epoch": node.retired_epoch + RELEASE_EPOCHS}
    validators = read_validators(view)
    if validators is not None and node.key in validators.keys:
        return deny("NODE_VALIDATES", "The node still votes in the validator set, and its bond stands for that.")
    if entry.epoch >= node.retired_epoch + RELEASE_EPOCHS:
        return allow("NODE_BOND_DUE", "The bond may be returned.", **facts)
    return deny("NODE_BOND_LOCKED", "The bond stays locked for some epochs after a node retired.", **facts)


def apply_node_registered(view: View, entry: Entry[NodeRegistered]) -> Iterator[Write]:
    """Lock the bond, and list the node for the epochs to come."""
    body, draft = entry.body, Draft(view)
    place = read_number(draft, keyspace.node_count())
    move(draft, FLX, entry.author, compute_node_bond_account(body.node), NODE_BOND)
    node = Node(
        account=entry.author,
        active_from=entry.epoch + 1,
        group=body.group,
        key=body.node,
        kind=body.kind,
        place=place,
        pqc_key=body.pqc_key,
        pqc_scheme=body.pqc_scheme,
        registered_height=entry.height,
        released=False,
        retired_epoch=None,
        revoked=False,
    )
    draft.put(keyspace.node(body.node), encode_record(node))
    draft.put(keyspace.listed_node(place), body.node)
    draft.put(keyspace.node_count(), encode_number(place + 1))
    yield from draft.writes()


def apply_node_retired(view: View, entry: Entry[NodeRetired]) -> Iterator[Write]:
    """Take the node from the list; the last one there gets its place."""
    draft = Draft(view)
    node = read_node(draft, entry.body.node)
    assert node is not None, "a guard found it"
    last_place = read_number(draft, keyspace.node_count()) - 1
    last_key = draft.get(keyspace.listed_node(last_place))
    assert last_key is not None, "a node that was counted is listed"
    last = read_node(draft, last_key)
    assert last is not None, "a listed node is registered"
    draft.put(keyspace.listed_node(node.place), last_key)
    draft.put(keyspace.node(last_key), encode_record(replace(last, place=node.place)))
    draft.delete(keyspace.listed_node(last_place))
    draft.put(keyspace.node_count(), encode_number(last_place))
    draft.put(keyspace.node(node.key), encode_record(replace(node, retired_epoch=entry.epoch)))
    yield from draft.writes()


def apply_node_bond_released(view: View, entry: Entry[NodeBondReleased]) -> Iterator[Write]:
    """Move the bond back."""
    draft = Draft(view)
    node = read_node(draft, entry.body.node)
    assert node is not None, "a guard found it"
    bond = compute_node_bond_account(node.key)
    move(draft, FLX, bond, entry.author, read_balance(draft, FLX, bond))
    draft.put(keyspace.node(node.key), encode_record(replace(node, released=True)))
    yield from draft.writes()


def apply_node_revoked(view: View, entry: Entry[NodeRevoked]) -> Iterator[Write]:
    """Mark the node; an unknown one is left alone."""
    node = read_node(view, entry.body.node)
    if node is not None:
        yield Put(keyspace.node(node.key), encode_record(replace(node, revoked=True)))


NODE_REVOKED = EventType(
    name="infra.NodeRevoked",
    version=1,
    body=NodeRevoked,
    guards=(),
    apply=apply_node_revoked,
    summary="Governance took a node out of service.",
    example=NodeRevoked(bytes(32), "decided by a vote"),
    inputs=lambda body: {"node": body.node.hex(), "reason": body.reason},
    derived=True,
)

EVENTS = (
    EventType(
        name="infra.NodeRegistered",
        version=1,
        body=NodeRegistered,
        guards=(key_is_unregistered, kind_fits, node_agrees, pqc_fields_agree, balance_covers_node, registry_has_room),
        apply=apply_node_registered,
        summary="An account registered a node and locked its bond.",
        example=NodeRegistered(bytes(32), RELAY, bytes(32), bytes(32), "", bytes(64)),
        inputs=lambda body: {
            "group": body.group.hex(),
            "kind": body.kind,
            "node": body.node.hex(),
            "pqc_key": body.pqc_key.hex(),
            "pqc_scheme": body.pqc_scheme,
        },
        weight=SCALE // 4,
    ),
    EventType(
        name="infra.NodeRetired",
        version=1,
        body=NodeRetired,
        guards=(node_is_authors, node_is_listed),
        apply=apply_node_retired,
        summary="An operator's node left the network.",
        example=NodeRetired(bytes(32)),
        inputs=lambda body: {"node": body.node.hex()},
        weight=SCALE // 4,
    ),
    EventType(
        name="infra.NodeBondReleased",
        version=1,
        body=NodeBondReleased,
        guards=(node_is_authors, release_is_due),
        apply=apply_node_bond_released,
        summary="An operator took the bond of a retired node back.",
        example=NodeBondReleased(bytes(32)),
        inputs=lambda body: {"node": body.node.hex()},
        weight=SCALE // 4,
    ),
    NODE_REVOKED,
)
