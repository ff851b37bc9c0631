"""Penalties on what an account had locked: what was burned of its nodes' bonds and its proposals' deposits.

They change no balance of the wallet, which gave the tokens away when it locked them; so only the list of penalties has
them, beside those that were taken from the wallet itself.
"""

from dataclasses import fields
from itertools import islice

from client_api.context import Reading
from ledger import keyspace
from ledger.events import View
from ledger.moves import Move
from ledger.nodes import compute_node_bond_account, find_current
from ledger.receipts import APPLIED, Receipt, decode_receipt
from ledger.registry import Registry
from ledger.tokens import FLX
from ledger.wallet import PENALTY, Row
from social.governance.proposals import compute_deposit_account

REGISTERED = "infra.NodeRegistered"
BURNING = ("governance.ProposalExpired", "infra.EquivocationProven")
LOCKING_SCANNED_MAX = 20_000
"""Events that lock something, of anybody, that one request looks through, the newest of each type first."""


def list_held_accounts(reading: Reading, ledger: View, registry: Registry, account: bytes) -> tuple[bytes, ...]:
    """Return the system accounts that hold, or held, what an account locked; in order."""
    held: set[bytes] = set()
    left = LOCKING_SCANNED_MAX
    for name in sorted(_list_locking(registry)):
        start, stop = keyspace.by_type(name, 0), keyspace.by_type(name, reading.header.log_size)
        for key, _ in islice(reading.snapshot.iterate(start, stop, reverse=True, values=False), left):
            left -= 1
            data = ledger.get(keyspace.receipt(int.from_bytes(key[-8:], "big")))
            receipt = None if data is None else decode_receipt(data)
            if receipt is not None and (receipt.author, receipt.outcome) == (account, APPLIED):
                held.update(_name_held(reading.state, receipt))
    return tuple(sorted(held))


def _list_locking(registry: Registry) -> set[str]:
    """Return the types of events that lock tokens: the registration of nodes, and whatever has a deposit."""
    deposits = {kind.name for kind in registry.all() if "deposit" in {field.name for field in fields(kind.body)}}
    return deposits | {REGISTERED}


def _name_held(state: View, receipt: Receipt) -> tuple[bytes, ...]:
    if receipt.event_type != REGISTERED:
        return (compute_deposit_account(receipt.event_id),)
    key = bytes.fromhex(str(receipt.inputs["node"]))
    current = find_current(state, key)  # a rotated key takes the bond along
    keys = {key} if current is None else {key, current.key}
    return tuple(compute_node_bond_account(each) for each in sorted(keys))


def list_penalties(receipt: Receipt, moves: tuple[Move, ...]) -> list[Row]:
    """Return what an event burned of a held account; `balance` is what is left there."""
    if receipt.event_type not in BURNING:
        return []
    return [
        Row(receipt, PENALTY, move.token, move.after - move.before, move.after)
        for move in moves
        if move.token == FLX and move.after < move.before
    ]
