"""A wallet's history: what each event did to an account's balances, and what kind of change each part of that is.

A change is the balance after less the balance before, so rows add up by construction.  What the receipt tells of it
(`list_effects`) is known exactly; what is left comes from the epochs that passed over the account since it was last
touched, which the event wrote down with its own change:

    transfer  FLX to or from another account          hold      FLX locked as a bond or a deposit
    reward    what an epoch paid                       release   FLX given back of what was held
    charge    ATR that an action cost                  opening   the energy that an account begins with
    decay     what passing epochs took                 recovery  ATR that passing epochs gave back
    penalty   what was taken back of what a post had earned that was rightly hidden
    missing   a step that no event here explains: rows that were pruned, or came before a snapshot

A release of a node's bond is net of the decay in the same event, as its receipt does not name the amount.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ledger.moves import Move
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.receipts import APPLIED, Receipt
from ledger.tokens import ATR, CHR, FLX, NOD, PSI
from ledger.verdict import Fact

TRANSFER, REWARD, CHARGE, HOLD, RELEASE = "transfer", "reward", "charge", "hold", "release"
OPENING, DECAY, RECOVERY, MISSING = "opening", "decay", "recovery", "missing"
PENALTY, CARRIED = "penalty", "carried"
"""In exports: what an account held before the first row."""
KINDS = (CHARGE, DECAY, HOLD, MISSING, OPENING, PENALTY, RECOVERY, RELEASE, REWARD, TRANSFER)
MICRO = 10**12
"""Atoms of a millionth of a token, in which receipts say what an action cost."""
NODE_BOND_ATOMS = 1_000 * SCALE
_PROTOCOL = "protocol"


class Effect(NamedTuple):
    """A part of a change that the receipt itself tells."""

    kind: str
    token: str
    atoms: int  # signed


class Row(NamedTuple):
    """One line of a history."""

    receipt: Receipt | None  # None for a step that no event explains
    kind: str
    token: str
    atoms: int  # signed
    balance: int  # after


class _Part(NamedTuple):
    """Which members of an event's inputs add up to an effect, and on whom."""

    kind: str
    whose: str  # a member that names the account, or "author"
    sign: int
    token: str
    amounts: tuple[str, ...]


PARTS: dict[str, tuple[_Part, ...]] = {
    "economics.TokensTransferred": (
        _Part(TRANSFER, "author", -1, FLX, ("amount",)),
        _Part(TRANSFER, "to", 1, FLX, ("amount",)),
    ),
    "economics.RewardClawedBack": (
        _Part(PENALTY, "account", -1, CHR, ("chr",)),
        _Part(PENALTY, "account", -1, FLX, ("flx",)),
    ),
    "economics.RewardPaid": (
        _Part(REWARD, "account", 1, CHR, ("chr_author", "chr_endorser")),
        _Part(REWARD, "account", 1, FLX, ("flx_author", "flx_endorser")),
        _Part(REWARD, "account", 1, PSI, ("psi",)),
    ),
    "identity.BondLocked": (_Part(HOLD, "author", -1, FLX, ("amount",)),),
    "identity.BondReleased": (_Part(RELEASE, "author", 1, FLX, ("amount",)),),
    "infra.NodAllocated": (_Part(REWARD, "account", 1, NOD, ("atoms",)),),
}
_DEPOSIT = _Part(HOLD, "author", -1, FLX, ("deposit",))
"""Of every proposal: their inputs alone have a deposit."""


def list_effects(receipt: Receipt, account: bytes) -> list[Effect]:
    """Return what an event's receipt says of an account's balances, in a fixed order, without what is zero."""
    if receipt.outcome != APPLIED:
        return []
    inputs, is_author = receipt.inputs, receipt.author == account
    effects: list[Effect] = []
    if is_author and "charge_micro_atr" in receipt.evidence:
        effects.append(Effect(CHARGE, ATR, -MICRO * int(receipt.evidence["charge_micro_atr"])))
    if is_author and receipt.event_type == "infra.NodeRegistered":
        effects.append(Effect(HOLD, FLX, -NODE_BOND_ATOMS))
    for part in (*PARTS.get(receipt.event_type, ()), *((_DEPOSIT,) if "deposit" in inputs else ())):
        if is_author if part.whose == "author" else inputs[part.whose] == account.hex():
            atoms = part.sign * sum(_read_atoms(inputs[name]) for name in part.amounts)
            effects.append(Effect(part.kind, part.token, atoms))
    return [effect for effect in effects if effect.atoms]


def _read_atoms(fact: Fact) -> int:
    """Return an amount: a receipt has atoms as a number, or tokens as text with exactly 18 decimals."""
    return int(fact.replace(".", "")) if isinstance(fact, str) else int(fact)


def list_rows(receipt: Receipt, moves: Iterable[Move], account: bytes) -> list[Row]:
    """Return the lines of one event: for each token what adds first, then what takes, so no balance is below zero."""
    effects = list_effects(receipt, account)
    rows: list[Row] = []
    for move in moves:
        parts = [(effect.kind, effect.atoms) for effect in effects if effect.token == move.token]
        rest = move.after - move.before - sum(atoms for _, atoms in parts)
        if rest:
            parts.append((name_rest(receipt, move.token, rest), rest))
        balance = move.before
        for kind, atoms in sorted(parts, key=lambda part: (-part[1], part[0])):
            balance += atoms
            rows.append(Row(receipt, kind, move.token, atoms, balance))
    return rows


def name_rest(receipt: Receipt, token: str, rest: int) -> str:
    """Return what a change is that the receipt does not tell of."""
    if rest < 0:
        return DECAY
    if token != ATR:
        return RELEASE
    return OPENING if receipt.event_type == "identity.IdentityCreated" else RECOVERY


def chain_rows(
    events: Iterable[tuple[Receipt, tuple[Move, ...]]], account: bytes, known: dict[str, int]
) -> Iterator[Row]:
    """Yield the lines of events in order of the log, with a line for each step that no event here explains.

    known: token to balance before the first event, in atoms; it holds the balances after the last one in the end.
    """
    for receipt, moves in events:
        for move in moves:
            if known.setdefault(move.token, move.before) != move.before:
                yield Row(None, MISSING, move.token, move.before - known[move.token], move.before)
            known[move.token] = move.after
        yield from list_rows(receipt, moves, account)


def name_policy(row: Row, cite: dict[str, str]) -> str:
    """Return the policies under which a line came about, such as "energy@1".

    cite: name to policy and version, of the epoch in which the event was executed.
    """
    if row.kind in (DECAY, RECOVERY):
        return cite["decay" if row.kind == DECAY else "energy"]
    if row.receipt is None or row.kind in (OPENING, RELEASE, TRANSFER):
        return f"{_PROTOCOL}@1"
    if row.kind == CHARGE:
        return str(row.receipt.evidence["policies"])
    if row.kind == REWARD:
        return str(row.receipt.inputs["policy"]) if row.token == NOD else cite["rewards"]
    return cite["governance"] if row.receipt.event_type.startswith("governance.") else f"{_PROTOCOL}@1"


def format_signed(atoms: int) -> str:
    """Return an amount as tokens with exactly 18 decimals, with a minus sign below zero."""
    return f"-{format_decimal(-atoms)}" if atoms < 0 else format_decimal(atoms)
