"""Validators: how a node gets into the validator set, out of it, and to another key.

Events: infra.ValidatorReady, ValidatorResigned, ValidatorKeyRotated; derived from votes: infra.ValidatorAdmitted,
ValidatorDismissed.

What these decide waits for the end of the epoch (`ledger.membership`).  A node that operators have admitted says in
each epoch that it is ready, until it has joined: its key signs the block that the event refers to, which only who
follows the chain knows in time.  A validator's operator may give it another key, which signs that it agrees, as for a
registration; the bond stays, and answers for what the old key signed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.events import Entry, Event, EventRefused, EventType, Put, View, Write
from ledger.membership import (
    ADMIT,
    LEAVE,
    ROTATE,
    WAITING_MAX,
    Change,
    Membership,
    find_change,
    is_expelled,
    list_change_writes,
    read_membership,
)
from ledger.nodes import ROTATIONS_MAX, find_current, read_node, registration_message
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Bytes32, Bytes64, Length, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.service import read_validators
from ledger.verdict import Verdict, allow, deny


@dataclass(frozen=True, slots=True)
class ValidatorAdmitted:
    """Operators admitted a node to the validator set."""

    node: Bytes32


@dataclass(frozen=True, slots=True)
class ValidatorDismissed:
    """Operators let a validator go; its node serves on as a relay."""

    node: Bytes32
    reason: Annotated[str, Length(1, 96)]


@dataclass(frozen=True, slots=True)
class ValidatorReady:
    """An admitted node follows the chain: its key signs the event's reference block, as `readiness_message` says."""

    node: Bytes32
    proof: Bytes64


@dataclass(frozen=True, slots=True)
class ValidatorResigned:
    """The author's node leaves the validator set; it serves on as a relay."""

    node: Bytes32


@dataclass(frozen=True, slots=True)
class ValidatorKeyRotated:
    """The author's validator goes on under another key, which signs `registration_message`."""

    new_node: Bytes32
    node: Bytes32
    proof: Bytes64


def readiness_message(reference_hash: bytes) -> bytes:
    """Return what a candidate's key signs, under Purpose.NODE_READY: it knows this block of the chain."""
    return reference_hash


def is_in_set(view: View, key: bytes) -> bool:
    """Whether a key is one of the set that orders the next height."""
    validators = read_validators(view)
    return validators is not None and key in validators.keys


# What a vote may decide; asked when it is proposed, and again when it is due.


def judge_admission(view: View, key: bytes) -> Verdict:
    """Say whether a node could be admitted to the set now."""
    node, change = read_node(view, key), find_change(view, key)
    if node is None:
        return deny("NODE_NOT_IN_REGISTRY", "No node was registered under this key.", node=key.hex())
    if is_expelled(view, key):
        return deny("NODE_REVOKED", "The node was taken out of service.", node=key.hex())
    if node.retired_epoch is not None:
        return deny("NODE_RETIRED", "The node has left by itself.", node=key.hex())
    if is_in_set(view, key):
        return deny("VALIDATOR_IN_SET", "The node is in the validator set already.", node=key.hex())
    if change is not None:
        return deny("VALIDATOR_CHANGE_WAITS", "The node was admitted, and may join when it is ready.",
                    change=change.kind)  # fmt: skip
    if len(read_membership(view).waiting) >= WAITING_MAX:
        return deny("VALIDATOR_CHANGES_FULL", "As many changes of the set wait as may.", waiting_max=WAITING_MAX)
    return allow("VALIDATOR_ADMISSIBLE", "The node serves, and is not in the validator set.", node=key.hex())


def judge_dismissal(view: View, key: bytes) -> Verdict:
    """Say whether a validator could be let go now.  key: its own, or one that it had before a rotation."""
    current = find_current_key(view, key)
    if not is_in_set(view, current):
        return deny("VALIDATOR_NOT_IN_SET", "The node is not in the validator set.", node=current.hex())
    change = find_change(view, current)
    if change is not None and change.kind == LEAVE:
        return deny("VALIDATOR_CHANGE_WAITS", "The validator leaves already.", change=change.kind)
    if change is None and len(read_membership(view).waiting) >= WAITING_MAX:
        return deny("VALIDATOR_CHANGES_FULL", "As many changes of the set wait as may.", waiting_max=WAITING_MAX)
    return allow("VALIDATOR_DISMISSIBLE", "The node is in the validator set.", node=current.hex())


def find_current_key(view: View, key: bytes) -> bytes:
    """Return the key that a node has now; the key itself where no node was ever registered under it."""
    node = find_current(view, key)
    return key if node is None else node.key


def apply_validator_admitted(view: View, entry: Entry[ValidatorAdmitted]) -> Iterator[Write]:
    """Let the node say that it is ready."""
    yield from list_change_writes(view, Change(entry.epoch, entry.body.node, ADMIT))


def apply_validator_dismissed(view: View, entry: Entry[ValidatorDismissed]) -> Iterator[Write]:
    """Let the validator leave; a rotation that waited is not made."""
    yield from list_change_writes(view, Change(entry.epoch, entry.body.node, LEAVE))


# What operators say.


def node_is_admitted(view: View, entry: Entry[ValidatorReady]) -> Verdict:
    node, change = read_node(view, entry.body.node), find_change(view, entry.body.node)
    if node is None or node.account != entry.author or node.retired_epoch is not None or node.revoked:
        return deny("NODE_NOT_IN_REGISTRY", "The author has no such node that serves.", node=entry.body.node.hex())
    if change is None or change.kind != ADMIT:
        return deny("VALIDATOR_NOT_ADMITTED", "No vote has admitted this node to the validator set.")
    if change.ready_epoch == entry.epoch:
        return deny("VALIDATOR_READY_ALREADY", "The node has said in this epoch that it is ready.", epoch=entry.epoch)
    return allow("VALIDATOR_ADMITTED", "A vote has admitted the node.", since_epoch=change.epoch)


def verify_readiness(chain_id: bytes, event: Event, body: ValidatorReady) -> None:
    """Raise EventRefused unless the node's key has signed the reference block."""
    message = readiness_message(event.reference_hash)
    if not is_valid_signature(body.node, chain_id, Purpose.NODE_READY, message, body.proof):
        raise EventRefused("VALIDATOR_PROOF_INVALID", "The proof is not the node key's over the reference block.")


def validator_is_authors(view: View, entry: Entry[ValidatorResigned] | Entry[ValidatorKeyRotated]) -> Verdict:
    key = entry.body.node
    node, change = read_node(view, key), find_change(view, key)
    if node is None or node.account != entry.author:
        return deny("NODE_NOT_IN_REGISTRY", "The author has registered no such node.", node=key.hex())
    if not is_in_set(view, key):
        return deny("VALIDATOR_NOT_IN_SET", "The node is not in the validator set.", node=key.hex())
    if node.revoked or node.retired_epoch is not None:
        return deny("VALIDATOR_LEAVES", "The validator leaves already: its node is out of service.", node=key.hex())
    if change is not None:
        return deny("VALIDATOR_CHANGE_WAITS", "A change of this validator waits for the end of the epoch.",
                    change=change.kind)  # fmt: skip
    if len(read_membership(view).waiting) >= WAITING_MAX:
        return deny("VALIDATOR_CHANGES_FULL", "As many changes of the set wait as may.", waiting_max=WAITING_MAX)
    return allow("VALIDATOR_OF_AUTHOR", "The validator is the author's.")


def new_key_is_free(view: View, entry: Entry[ValidatorKeyRotated]) -> Verdict:
    new, waiting = entry.body.new_node, read_membership(view).waiting
    is_known = read_node(view, new) is not None or is_in_set(view, new) or is_expelled(view, new)
    if is_known or any(change.new_key == new for change in waiting):
        return deny("NODE_EXISTS", "The new key is or was a node's.", node=new.hex())
    node = read_node(view, entry.body.node)
    if node is not None and node.rotations >= ROTATIONS_MAX:
        return deny("VALIDATOR_ROTATIONS_SPENT", "The node has changed its key as often as it may.",
                    rotations_max=ROTATIONS_MAX)  # fmt: skip
    return allow("NODE_KEY_NEW", "No node was ever registered under the new key.")


def new_key_agrees(view: View, entry: Entry[ValidatorKeyRotated]) -> Verdict:
    message = registration_message(entry.author, entry.body.new_node)
    proof = entry.body.proof
    if is_valid_signature(entry.body.new_node, entry.chain_id, Purpose.NODE_REGISTRATION, message, proof):
        return allow("NODE_KEY_PROVEN", "The new key has signed that it serves for this account.")
    return deny("NODE_PROOF_INVALID", "The proof is not the new key's, for this account.")


def apply_validator_ready(view: View, entry: Entry[ValidatorReady]) -> Iterator[Write]:
    """Note the epoch."""
    waiting = tuple([
        replace(change, ready_epoch=entry.epoch) if change.key == entry.body.node else change
        for change in read_membership(view).waiting
    ])  # fmt: skip
    yield Put(keyspace.membership(), encode_record(Membership(waiting)))


def apply_validator_resigned(view: View, entry: Entry[ValidatorResigned]) -> Iterator[Write]:
    """Let the validator leave at the end of the epoch."""
    yield from list_change_writes(view, Change(entry.epoch, entry.body.node, LEAVE))


def apply_validator_key_rotated(view: View, entry: Entry[ValidatorKeyRotated]) -> Iterator[Write]:
    """Let the validator change its key at the end of the epoch."""
    yield from list_change_writes(view, Change(entry.epoch, entry.body.node, ROTATE, entry.body.new_node))


VALIDATOR_ADMITTED = EventType(
    name="infra.ValidatorAdmitted",
    version=1,
    body=ValidatorAdmitted,
    guards=(),
    apply=apply_validator_admitted,
    summary="A vote of operators admitted a node to the validator set; it joins when it is ready.",
    example=ValidatorAdmitted(bytes(32)),
    inputs=lambda body: {"node": body.node.hex()},
    derived=True,
)
VALIDATOR_DISMISSED = EventType(
    name="infra.ValidatorDismissed",
    version=1,
    body=ValidatorDismissed,
    guards=(),
    apply=apply_validator_dismissed,
    summary="A vote of operators let a validator go.",
    example=ValidatorDismissed(bytes(32), "decided by a vote"),
    inputs=lambda body: {"node": body.node.hex(), "reason": body.reason},
    derived=True,
)
EVENTS = (
    VALIDATOR_ADMITTED,
    VALIDATOR_DISMISSED,
    EventType(
        name="infra.ValidatorReady",
        version=1,
        body=ValidatorReady,
        guards=(node_is_admitted,),
        apply=apply_validator_ready,
        summary="A node that was admitted to the validator set said that it follows the chain.",
        example=ValidatorReady(bytes(32), bytes(64)),
        inputs=lambda body: {"node": body.node.hex()},
        verify=verify_readiness,
    ),
    EventType(
        name="infra.ValidatorResigned",
        version=1,
        body=ValidatorResigned,
        guards=(validator_is_authors,),
        apply=apply_validator_resigned,
        summary="An operator took a validator out of the set, from the end of the epoch on.",
        example=ValidatorResigned(bytes(32)),
        inputs=lambda body: {"node": body.node.hex()},
        weight=SCALE // 4,
    ),
    EventType(
        name="infra.ValidatorKeyRotated",
        version=1,
        body=ValidatorKeyRotated,
        guards=(validator_is_authors, new_key_is_free, new_key_agrees),
        apply=apply_validator_key_rotated,
        summary="An operator gave a validator another key, from the end of the epoch on.",
        example=ValidatorKeyRotated(bytes([1]) * 32, bytes(32), bytes(64)),
        inputs=lambda body: {"new_node": body.new_node.hex(), "node": body.node.hex()},
        weight=SCALE // 4,
    ),
)
