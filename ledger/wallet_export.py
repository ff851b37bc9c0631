"""Making a wallet bundle: from moves and receipts at one height, with the balances that the chain committed to."""

from collections.abc import Sequence
from itertools import islice

from ledger import keyspace
from ledger.block import decode_header
from ledger.bundles import Bundle, Sign, make_bundle
from ledger.certified import ProofUnavailable
from ledger.events import View
from ledger.moves import Move, decode_moves
from ledger.policies import read_version_at
from ledger.reading import Snapshot
from ledger.receipts import Receipt, decode_receipt
from ledger.tokens import TOKENS, read_balance
from ledger.undo import StateAt
from ledger.wallet_table import make_wallet_bundle

MOVES_SCANNED_MAX = 20_000
"""Moves that are looked through for what an account held before a page; a balance that is not found is left out."""
_PASSED, _CURRENT = ("decay", "energy", "rewards"), ("governance",)


def read_event_moves(
    ledger: View, entries: Sequence[tuple[int, bytes]]
) -> list[tuple[Receipt, tuple[Move, ...]]]:  # fmt: skip
    """Return the receipt beside each of an account's moves.  Raises ProofUnavailable where one is not here.

    entries: (log index, stored moves).
    """
    found: list[tuple[Receipt, tuple[Move, ...]]] = []
    for log_index, value in entries:
        data = ledger.get(keyspace.receipt(log_index))
        if data is None:
            raise ProofUnavailable(f"receipt {log_index} is not here; ask another node")
        found.append((decode_receipt(data), decode_moves(value)))
    return found


def read_cite(state: View, beat: int, epoch_beats: int) -> dict[str, str]:
    """Return the policies of an event at a beat, name to policy and version.

    What epochs take and pay goes by the policies of the epoch that has passed, the rest by those of its own.
    """
    epoch = beat // epoch_beats
    found = {name: max(epoch - 1, 0) for name in _PASSED} | dict.fromkeys(_CURRENT, epoch)
    return {name: f"{name}@{read_version_at(state, name, at).version}" for name, at in sorted(found.items())}


def read_carried(snapshot: Snapshot, state: View, account: bytes, first: int, size: int) -> dict[str, int]:
    """Return token to balance before the event at a place of the log, in atoms.

    state: after the last of `size` receipts.
    """
    found: dict[str, int] = {}
    start, stop = keyspace.move_of(account, first), keyspace.move_of(account, size)
    moves = snapshot.iterate(start, stop)
    for _, value in islice(moves, MOVES_SCANNED_MAX):
        for move in decode_moves(value):
            found.setdefault(move.token, move.before)
        if len(found) == len(TOKENS):
            break
    else:
        if next(moves, None) is None:
            found = {token: read_balance(state, token, account) for token in TOKENS} | found
    return found


def plan_wallet_bundle(
    snapshot: Snapshot,
    ledger: View,
    head_height: int,
    height: int,
    account: bytes,
    entries: Sequence[tuple[int, bytes]],
    epoch_beats: int,
    following: str | None,
) -> Bundle:
    """Return the bundle of an account's moves, in order of the log, as of a certified height.

    ledger: the snapshot, or that and the archive behind it.  Raises ProofUnavailable.
    """
    header_bytes = snapshot.get(keyspace.header(height))
    assert header_bytes is not None, f"header {height} is missing"
    header = decode_header(header_bytes)
    state = StateAt(snapshot, height, head_height)
    first = entries[0][0] if entries else header.log_size
    events = read_event_moves(ledger, entries)
    committed = StateAt(snapshot, header.state_height, head_height)
    return make_wallet_bundle(
        account,
        events,
        read_carried(snapshot, state, account, first, header.log_size),
        [read_cite(state, receipt.beat, epoch_beats) for receipt, _ in events],
        {token: read_balance(committed, token, account) for token in TOKENS},
        header.state_height,
        following,
    )


def export_wallet(
    snapshot: Snapshot,
    ledger: View,
    head_height: int,
    height: int,
    account: bytes,
    entries: Sequence[tuple[int, bytes]],
    epoch_beats: int,
    following: str | None,
    node: bytes,
    sign: Sign,
) -> bytes:
    """Return the file of `plan_wallet_bundle`, proven and signed."""
    bundle = plan_wallet_bundle(snapshot, ledger, head_height, height, account, entries, epoch_beats, following)
    return make_bundle(snapshot, ledger, head_height, height, bundle, node, sign)
