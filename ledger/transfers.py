"""Transfers: the one token that moves between accounts is FLX.  Events: economics.TokensTransferred."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.identity import read_account
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.primitives.records import U128_MAX, Between, Bytes32, Length
from ledger.tokens import FLX, FLX_BALANCE_ATOMS_MAX, TOKENS, move, read_balance
from ledger.verdict import Fact, Verdict, allow, deny


@dataclass(frozen=True, slots=True)
class TokensTransferred:
    """Move `atoms` of `token` from the author to another account."""

    atoms: Annotated[int, Between(0, U128_MAX)]
    to: Bytes32
    token: Annotated[str, Length(3)]


def token_is_transferable(view: View, entry: Entry[TokensTransferred]) -> Verdict:
    if entry.body.token == FLX:
        return allow("tokens.transferable", "FLX can be transferred.", token=FLX)
    return deny("tokens.not_transferable", "Only FLX can be transferred.", token=entry.body.token)


def amount_is_positive(view: View, entry: Entry[TokensTransferred]) -> Verdict:
    if entry.body.atoms > 0:
        return allow("tokens.amount_positive", "The amount is positive.")
    return deny("tokens.amount_zero", "A transfer needs an amount above zero.")


def receiver_is_another_account(view: View, entry: Entry[TokensTransferred]) -> Verdict:
    if entry.body.to == entry.author:
        return deny("tokens.to_oneself", "A transfer needs another account to go to.")
    if read_account(view, entry.body.to) is None:
        return deny("tokens.receiver_unknown", "The receiving account does not exist.")
    return allow("tokens.receiver_exists", "The receiving account exists.")


def balance_covers_amount(view: View, entry: Entry[TokensTransferred]) -> Verdict:
    token = entry.body.token if entry.body.token in TOKENS else FLX
    balance = read_balance(view, token, entry.author)
    facts: dict[str, Fact] = {"balance_atoms": balance, "amount_atoms": entry.body.atoms}
    if balance >= entry.body.atoms:
        return allow("tokens.covered", "The balance covers the amount.", **facts)
    return deny("tokens.overdraft", "The balance does not cover the amount.", **facts)


def receiver_stays_below_cap(view: View, entry: Entry[TokensTransferred]) -> Verdict:
    # The sum may leave the range of amounts, which integers here do not mind; facts are encoded, so it is capped.
    after = min(read_balance(view, FLX, entry.body.to) + entry.body.atoms, U128_MAX)
    facts: dict[str, Fact] = {"after_atoms": after, "balance_atoms_max": FLX_BALANCE_ATOMS_MAX}
    if after <= FLX_BALANCE_ATOMS_MAX:
        return allow("tokens.below_cap", "The receiver stays below the cap.", **facts)
    return deny("ECON_FLX_PER_USER_EXCEEDED", "The receiver would hold more FLX than one account may.", **facts)


def apply_tokens_transferred(view: View, entry: Entry[TokensTransferred]) -> Iterator[Write]:
    """Take from the author, give to the receiver."""
    body, draft = entry.body, Draft(view)
    move(draft, body.token, entry.author, body.to, body.atoms)
    yield from draft.writes()


EVENTS = (
    EventType(
        name="economics.TokensTransferred",
        version=1,
        body=TokensTransferred,
        guards=(
            token_is_transferable,
            amount_is_positive,
            receiver_is_another_account,
            balance_covers_amount,
            receiver_stays_below_cap,
        ),
        apply=apply_tokens_transferred,
        summary="An account transferred tokens to another.",
        example=TokensTransferred(atoms=5 * SCALE // 2, to=bytes(32), token=FLX),
        weight=SCALE // 2,
        touches=lambda entry: (entry.body.to,),
        index=lambda entry: tuple(
            keyspace.transfer_of(account, entry.log_index) for account in (entry.author, entry.body.to)
        ),
        inputs=lambda body: {"amount": format_decimal(body.atoms), "to": body.to.hex(), "token": body.token},
    ),
)
