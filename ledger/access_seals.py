"""Seals of access logs: what a node's operator fixes of its log of role checks.  Events: access.AccessLogSealed.

The log itself stays on the node (`node.access_log`); its Merkle root for each epoch is here, so that nothing can be
taken from it or put into it later.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.records import U64, Bytes32, encode_record
from ledger.roles import has_role
from ledger.scopes import OPERATOR
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny


@dataclass(frozen=True, slots=True)
class AccessLogSealed:
    """The author's node closed its access log of an epoch."""

    count: U64  # of records
    epoch: U64
    node: Bytes32  # the node's public key
    root: Bytes32  # of the RFC 6962 tree over the records


def read_seal(view: View, account_id: bytes) -> AccessLogSealed | None:
    """Return the last seal of an operator; the earlier ones are in the log of events."""
    return read_record(view, keyspace.access_seal(account_id), AccessLogSealed)


def author_is_operator(view: View, entry: Entry[AccessLogSealed]) -> Verdict:
    if has_role(view, entry.author, OPERATOR):
        return allow("ROLE_HELD", "The author is an operator.", role=OPERATOR)
    return deny("ROLE_NOT_GRANTED", "Only an operator seals an access log.", role=OPERATOR)


def epoch_is_over(view: View, entry: Entry[AccessLogSealed]) -> Verdict:
    facts: dict[str, Fact] = {"epoch": entry.body.epoch, "epoch_now": entry.epoch}
    if entry.body.epoch < entry.epoch:
        return allow("ACCESS_EPOCH_OVER", "The epoch is over.", **facts)
    return deny("ACCESS_EPOCH_NOT_OVER", "The epoch is not over, so its log can still grow.", **facts)


def epoch_is_not_sealed(view: View, entry: Entry[AccessLogSealed]) -> Verdict:
    last = read_seal(view, entry.author)
    if last is None or last.epoch < entry.body.epoch:
        return allow("ACCESS_EPOCH_UNSEALED", "The author has sealed neither this epoch nor a later one.")
    return deny(
        "ACCESS_EPOCH_SEALED", "The author has sealed this epoch or a later one.",
        epoch=entry.body.epoch, epoch_last=last.epoch,
    )  # fmt: skip


def apply_access_log_sealed(view: View, entry: Entry[AccessLogSealed]) -> Iterator[Write]:
    """Keep the seal as the author's last."""
    yield Put(keyspace.access_seal(entry.author), encode_record(entry.body))


EVENTS = (
    EventType(
        name="access.AccessLogSealed",
        version=1,
        body=AccessLogSealed,
        guards=(author_is_operator, epoch_is_over, epoch_is_not_sealed),
        apply=apply_access_log_sealed,
        summary="An operator sealed a node's access log of an epoch.",
        example=AccessLogSealed(3, 7, bytes(32), bytes(32)),
        inputs=lambda body: {
            "count": body.count,
            "epoch": body.epoch,
            "node": body.node.hex(),
            "root": body.root.hex(),
        },
    ),
)
