"""The table of a wallet bundle: a part of an account's history, and the balances that its sums lead to."""

import re
from collections.abc import Iterable, Sequence

from ledger import keyspace
from ledger.bundles import WALLET, Bundle, Finding, ProvenBundle
from ledger.certified import ProofInvalid
from ledger.moves import Move
from ledger.receipts import Receipt
from ledger.state import decode_number
from ledger.tokens import TOKENS
from ledger.wallet import CARRIED, MISSING, Row, chain_rows, format_signed, list_effects, name_policy, name_rest

WALLET_COLUMNS = (
    "log_index", "height", "event_id", "event_type", "kind", "token", "amount", "balance", "policy",
)  # fmt: skip
_AMOUNT = re.compile(r"-?[0-9]{1,21}\.[0-9]{18}")
_INDEX = re.compile(r"[0-9]{1,20}")


def make_wallet_bundle(
    account: bytes,
    events: Sequence[tuple[Receipt, tuple[Move, ...]]],
    carried: dict[str, int],
    cites: Sequence[dict[str, str]],
    state: dict[str, int] | None,
    state_height: int,
    following: str | None,
) -> Bundle:
    """Return the bundle of a part of a wallet's history.

    carried: token to balance before the first event, in atoms.  cites: for each event the policies of its epoch, name
    to policy and version.  state: balances after `state_height`, which are proven where the rows lead to them; None
    where the rows do not reach over that height.
    """
    known = dict(carried)
    cite = {receipt.log_index: cites[number] for number, (receipt, _) in enumerate(events)}
    rows: list[tuple[str, ...]] = [
        ("", "", "", "", CARRIED, token, format_signed(carried[token]), format_signed(carried[token]), "")
        for token in TOKENS
        if carried.get(token)
    ]
    rows += [
        _make_wallet_row(row, {} if row.receipt is None else cite[row.receipt.log_index])
        for row in chain_rows(events, account, known)
    ]
    named = {row[0] for row in rows}
    indexes = [receipt.log_index for receipt, _ in events if str(receipt.log_index) in named]
    keys: tuple[bytes, ...] = ()
    if state is not None and _sum_rows(rows, state_height) == {token: state[token] for token in TOKENS}:
        keys = tuple(keyspace.balance(token, account) for token in TOKENS)
    return Bundle(WALLET, {"account": account.hex()}, WALLET_COLUMNS, rows, indexes, keys, following)


def _make_wallet_row(row: Row, cite: dict[str, str]) -> tuple[str, ...]:
    place = ("", "", "", "")
    if row.receipt is not None:
        place = _make_place(row.receipt)
    policy = "" if row.receipt is None else name_policy(row, cite)
    return (*place, row.kind, row.token, format_signed(row.atoms), format_signed(row.balance), policy)


def _make_place(receipt: Receipt) -> tuple[str, str, str, str]:
    return str(receipt.log_index), str(receipt.height), receipt.event_id.hex(), receipt.event_type


def verify_wallet(bundle: ProvenBundle) -> Finding:
    """Check a part of a wallet's history against its events and balances.  Raises ProofInvalid."""
    if bundle.columns != WALLET_COLUMNS:
        raise ProofInvalid(f"columns: expected {', '.join(WALLET_COLUMNS)}")
    if set(bundle.query) != {"account"} or not re.fullmatch(r"[0-9a-f]{64}", bundle.query["account"]):
        raise ProofInvalid("query: expected exactly the account, as 64 hex digits")
    account = bytes.fromhex(bundle.query["account"])
    state_height = bundle.certified.header.state_height
    at_state = _sum_rows(bundle.rows, state_height)
    told: dict[int, list[tuple[str, str, int]]] = {log_index: [] for log_index in bundle.receipts}
    last = -1
    for number, row in enumerate(bundle.rows):
        log_index, height, event_id, event_type, kind, token, amount, _, _ = row
        if kind in (CARRIED, MISSING):
            if any(row[:4]):
                raise ProofInvalid(f"rows[{number}]: expected no event of a row of kind {kind}")
            continue
        receipt = bundle.receipts.get(int(log_index)) if _INDEX.fullmatch(log_index) else None
        if receipt is None or receipt.log_index < last:
            raise ProofInvalid(f"rows[{number}]: expected one of the events, in order of the log")
        last = receipt.log_index
        if _make_place(receipt) != (log_index, height, event_id, event_type):
            raise ProofInvalid(f"rows[{number}]: not what the event's receipt says")
        told[last].append((kind, token, _read_signed(amount)))
    for place in sorted(told):
        if not told[place]:
            raise ProofInvalid(f"events: expected only those that rows name, got {place}")
        _verify_effects(bundle.receipts[place], account, told[place])
    missing = sum(row[4] == MISSING for row in bundle.rows)
    return _conclude_wallet(bundle, account, at_state, missing)


def _verify_effects(receipt: Receipt, account: bytes, told: list[tuple[str, str, int]]) -> None:
    """Check an event's rows against its receipt: all that it tells is there, and the rest is what epochs do."""
    rest = list(told)
    for effect in list_effects(receipt, account):
        if (effect.kind, effect.token, effect.atoms) not in rest:
            raise ProofInvalid(f"rows: event {receipt.log_index} has no row for {effect.kind} of {effect.token}")
        rest.remove((effect.kind, effect.token, effect.atoms))
    for kind, token, atoms in rest:
        if kind != name_rest(receipt, token, atoms):
            raise ProofInvalid(f"rows: event {receipt.log_index} does not tell of this {kind} of {token}")
    if len({token for _, token, _ in rest}) != len(rest):
        raise ProofInvalid(f"rows: event {receipt.log_index} has two rows of one token beside what it tells")


def _conclude_wallet(bundle: ProvenBundle, account: bytes, at_state: dict[str, int], missing: int) -> Finding:
    state_height = bundle.certified.header.state_height
    proven = [
        f"each of the {len(bundle.receipts)} events is in the ledger, and the rows say of it what its receipt says",
        "the amounts add up to the balance in every row",
    ]
    open_ = ["what passing epochs took and gave back (decay, recovery), but as part of the sums"]
    if bundle.state:
        for token in TOKENS:
            key = keyspace.balance(token, account)
            value = bundle.state.get(key, b"?")
            if value == b"?" or (0 if value is None else decode_number(value)) != at_state[token]:
                raise ProofInvalid(f"states: the rows do not lead to the balance of {token} at height {state_height}")
        if len(bundle.state) != len(TOKENS):
            raise ProofInvalid("states: expected the balances of the account, one for each token")
        proven.append(f"they lead to the balances that the chain committed to after height {state_height}")
    else:
        open_.append("the balances that the rows begin and end with: this part does not reach over a state root")
    if missing:
        open_.append(f"{missing} steps that no event here explains")
    open_.append("that no event was left out; the node's signature holds it to that")
    return Finding(tuple(proven), tuple(open_))


def _sum_rows(rows: Iterable[Sequence[str]], state_height: int) -> dict[str, int]:
    """Return token to balance after the last row that is not above a height.

    Raises ProofInvalid where amounts do not add up to the balances beside them.
    """
    at_state: dict[str, int] | None = None
    balances: dict[str, int] = dict.fromkeys(TOKENS, 0)
    begun: set[str] = set()
    for number, row in enumerate(rows):
        if len(row) != len(WALLET_COLUMNS) or row[5] not in TOKENS:
            raise ProofInvalid(f"rows[{number}]: expected {len(WALLET_COLUMNS)} cells with one of {', '.join(TOKENS)}")
        if at_state is None and _INDEX.fullmatch(row[1]) and int(row[1]) > state_height:
            at_state = dict(balances)
        token, atoms = row[5], _read_signed(row[6])
        if row[4] == CARRIED and (token in begun or atoms <= 0):
            raise ProofInvalid(f"rows[{number}]: expected what is carried over once, and before the token's other rows")
        begun.add(token)
        balances[token] += atoms
        if balances[token] < 0 or format_signed(balances[token]) != row[7]:
            raise ProofInvalid(f"rows[{number}]: the amounts do not add up to the balance")
    return dict(balances) if at_state is None else at_state


def _read_signed(text: str) -> int:
    if not _AMOUNT.fullmatch(text):
        raise ProofInvalid(f"rows: expected an amount with 18 decimals, got {text!r}")
    atoms = int(text.replace(".", ""))
    if format_signed(atoms) != text:
        raise ProofInvalid(f"rows: expected an amount in its one form, got {text!r}")
    return atoms
