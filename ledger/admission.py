"""Admission: may this event be executed next?  The same rules judge it in the mempool and in the block.

An event that is not admitted has no effect at all; inside a block it gets a receipt with the outcome "skipped".
"""

from collections.abc import Callable
from typing import TypeAlias

from ledger.account_keys import find_overdue, judge_key
from ledger.events import EXPIRY_BEATS_MAX, CheckedEvent, Event, View
from ledger.identity import read_account
from ledger.scopes import scope_of
from ledger.verdict import Verdict, allow, deny

References: TypeAlias = Callable[[int], tuple[bytes, int] | None]
"""Gives the header hash and the beat of a height, None above the head."""


def judge_reference(event: Event, beat: int, references: References) -> Verdict:
    """The reference block must be one of this chain, and the expiry neither past nor too far after it."""
    reference = references(event.reference_height)
    if reference is None:
        return deny(
            "event.reference_unknown",
            "The reference block is above this chain's head; name a block that the node has.",
            reference_height=event.reference_height,
        )
    reference_hash, reference_beat = reference
    if reference_hash != event.reference_hash:
        return deny(
            "event.wrong_chain",
            "The reference block is not part of this chain; prepare the event against this network.",
            reference_height=event.reference_height,
        )
    latest = reference_beat + EXPIRY_BEATS_MAX
    if event.expires_beat > latest:
        return deny(
            "event.expiry_too_far",
            "The event expires too long after its reference block.",
            expires_beat=event.expires_beat,
            expires_beat_max=latest,
        )
    if event.expires_beat < beat:
        return deny(
            "event.expired", "The event has expired; prepare and sign it again.",
            expires_beat=event.expires_beat, beat=beat,
        )  # fmt: skip
    return allow("event.reference_known", "The reference block is part of this chain.")


def judge_author(view: View, checked: CheckedEvent) -> Verdict:
    """The key must be one of the account's, and may sign this; an account that does not exist may only be created."""
    event, kind = checked.event, checked.kind
    account = read_account(view, event.author)
    if account is None:
        if kind.opens_account:
            return allow("event.opens_account", "The event creates its account.")
        return deny("event.author_unknown", "The author's account does not exist; create it with IdentityCreated.")
    verdict = allow("event.key_of_author", "The key is the author's.")
    if account.key != event.key:
        verdict = judge_key(view, account, event, scope_of(kind.module, kind.name))
    if not verdict.allowed:
        return verdict
    return find_overdue(account, event.nonce, kind.name) or verdict


def judge_nonce(nonce: int, last: int) -> Verdict:
    """The nonce must be the one after the account's last."""
    if nonce <= last:
        return deny("event.nonce_used", "The nonce was used already.", nonce=nonce, nonce_next=last + 1)
    if nonce > last + 1:
        return deny("event.nonce_gap", "An event with a lower nonce is missing.", nonce=nonce, nonce_next=last + 1)
    return allow("event.nonce_next", "The nonce is the account's next.")
