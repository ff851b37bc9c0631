"""Wallet histories, and bundles that anyone can check offline: of wallets, lists of events, and what ranks a post."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model, Reply
from client_api.errors import (
    AccountUnknown,
    AnswerTooLarge,
    CursorInvalid,
    HistoryMissing,
    PostUnknown,
    ProofNotReady,
    StaleHeight,
)
from client_api.explorer import EventsQuery, HandoverDocument, Height, list_receipts
from client_api.listing import open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.penalties import list_held_accounts, list_penalties
from client_api.shapes import Anchor, account_text, event_text, find_account, parse_account_id, parse_event_id
from client_api.state_facts import OtherLeaf
from ledger import keyspace
from ledger.archive.collection import HotAndCold
from ledger.bundle_tables import make_events_bundle
from ledger.bundles import EVENTS_MAX, Bundle, BundleTooLarge, encode_csv, find_certified_height, make_bundle
from ledger.certified import ProofUnavailable
from ledger.chain import Chain
from ledger.draft import Draft
from ledger.events import View
from ledger.identity import read_account
from ledger.moves import Move, decode_moves
from ledger.primitives.fixed_point import format_decimal
from ledger.primitives.ids import compute_account_id
from ledger.ranking import make_ranking_bundle
from ledger.receipts import Receipt
from ledger.standing import bring_up_to_date, read_standing
from ledger.tokens import ATR, ATR_STORE, FLX, TOKENS, read_balance
from ledger.undo import StateAt
from ledger.wallet import DECAY, PENALTY, RECOVERY, Row, chain_rows, format_signed, list_rows, name_policy
from ledger.wallet_export import plan_wallet_bundle, read_cite, read_event_moves

Cursor = Annotated[str, Field(max_length=512)]
AccountText = Annotated[str, Field(max_length=100, description="An account id, or a handle.")]
Kind = Literal[
    "charge", "decay", "hold", "missing", "opening", "penalty", "recovery", "release", "reward", "transfer"
]  # fmt: skip
Format = Literal["json", "csv"]
EventsLimit = Annotated[int, Field(ge=1, le=EVENTS_MAX)]
PAGE_DEFAULT = 100


class WalletRow(Model):
    log_index: int | None = Field(description="null for a step that no event here explains, and for what is pending")
    height: int | None
    beat: int | None
    event_id: str | None
    event_type: str | None
    kind: Kind
    token: str
    amount: str = Field(description="Signed decimal text with 18 decimals.")
    balance: str = Field(description="Of this token, after the row.")
    policy: str = Field(description="Policies and versions under which the change came about.")


class HistoryQuery(Model):
    account: AccountText
    kind: Kind | None = None
    limit: Annotated[int, Field(ge=1, le=EVENTS_MAX, description="Events, each of which may have several rows.")] = (
        LIMIT_DEFAULT
    )
    cursor: Cursor | None = None
    at: Height | None = None


class HistoryAnswer(Model):
    account: str
    items: list[WalletRow]
    balances: dict[str, str] = Field(description="As the state has them: what the newest row of each token says.")
    pending: list[WalletRow] = Field(
        description="Decay and recovery of epochs that passed since the account was touched; written when it next is."
    )
    next: str | None
    prev: str | None
    ledger: Anchor


async def get_history(context: Context, query: HistoryQuery, body: None) -> Json:
    """Newest first.  Without a filter, rows of a token add up from page to page: balance = balance below + amount.

    What was pruned, or came before a snapshot, is a step of kind "missing", on the last page from genesis on.
    kind=penalty: also what was burned of what the account had locked; those rows are in no other list.
    """
    filter_hash = hash_filter("history", query.account, query.kind)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        account = _find(reading, query.account)
        ledger = await _open_ledger(context, reading)

        def list_wanted(receipt: Receipt, moves: tuple[Move, ...]) -> list[Row]:
            own = reading.snapshot.get(keyspace.move_of(account, receipt.log_index))
            if own is None or decode_moves(own) != moves:  # of what is held for the account
                return list_penalties(receipt, moves)
            return [row for row in list_rows(receipt, moves, account) if row.kind == query.kind]

        def keep(index: int, value: bytes) -> bool:
            return query.kind is None or any(list_wanted(*event) for event in _read_moves(ledger, [(index, value)]))

        owners: tuple[bytes, ...] = (account,)
        if query.kind == PENALTY:
            owners += list_held_accounts(reading, ledger, context.chain.registry, account)
        prefixes = tuple(keyspace.MOVES + owner for owner in owners)
        page = read_page(reading, prefixes, filter_hash, query.limit, before, after, keep)
        events = _read_moves(ledger, page.entries[::-1])
        rows = (
            chain_rows(events, account, {} if page.next is not None else _read_begin(context.chain, account))
            if query.kind is None
            else (row for event in events for row in list_wanted(*event))
        )
        epoch_beats = context.chain.genesis.epoch_beats
        items = [_row_to_json(reading.state, row, epoch_beats) for row in rows]
        return {
            "account": account_text(account),
            "items": items[::-1],
            "balances": {token: format_decimal(read_balance(reading.state, token, account)) for token in TOKENS},
            "pending": _list_pending(reading, account, epoch_beats),
            "next": page.next,
            "prev": page.prev,
            "ledger": reading.anchor(),
        }


def _read_begin(chain: Chain, account: bytes) -> dict[str, int]:
    """Return token to balance before all events, in atoms."""
    allocations = _read_allocations(chain)
    begun: dict[str, int] = dict.fromkeys(TOKENS, 0)
    return begun | ({ATR: ATR_STORE, FLX: allocations[account]} if account in allocations else {})


@lru_cache(maxsize=4)
def _read_allocations(chain: Chain) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for each in chain.genesis.allocations:
        account = compute_account_id(chain.chain_id, each.key)
        found[account] = found.get(account, 0) + each.atoms
    return found


def _find(reading: Reading, text: str) -> bytes:
    account = find_account(reading.state, text)
    if read_account(reading.state, account) is None:
        raise AccountUnknown(f"no account {text} at height {reading.height}")
    return account


def _read_moves(ledger: View, entries: list[tuple[int, bytes]]) -> list[tuple[Receipt, tuple[Move, ...]]]:
    try:
        return read_event_moves(ledger, entries)
    except ProofUnavailable as error:
        raise HistoryMissing(str(error)) from error


async def _open_ledger(context: Context, reading: Reading) -> View:
    """Return what receipts and events are read from: the store, and where some are pruned the archive too."""
    if not reading.history.pruned_to:
        return reading.snapshot
    archive = await asyncio.to_thread(context.services.open_archive)
    return reading.snapshot if archive is None else HotAndCold(reading.snapshot, archive)


def _row_to_json(state: View, row: Row, epoch_beats: int) -> Json:
    receipt = row.receipt
    return {
        "log_index": None if receipt is None else receipt.log_index,
        "height": None if receipt is None else receipt.height,
        "beat": None if receipt is None else receipt.beat,
        "event_id": None if receipt is None else event_text(receipt.event_id),
        "event_type": None if receipt is None else receipt.event_type,
        "kind": row.kind,
        "token": row.token,
        "amount": format_signed(row.atoms),
        "balance": format_decimal(row.balance),
        "policy": "" if receipt is None else name_policy(row, read_cite(state, receipt.beat, epoch_beats)),
    }


def _list_pending(reading: Reading, account: bytes, epoch_beats: int) -> list[Json]:
    now, rows = Draft(reading.state), list[Json]()
    standing = read_standing(now, account)
    if standing is not None:
        bring_up_to_date(now, account, standing, reading.header.epoch)
    cite = read_cite(reading.state, reading.header.beat, epoch_beats)
    for token in TOKENS:
        balance = read_balance(now, token, account)
        atoms = balance - read_balance(reading.state, token, account)
        if atoms:
            row = Row(None, RECOVERY if token == ATR else DECAY, token, atoms, balance)
            rows.append(_row_to_json(reading.state, row, epoch_beats) | {"policy": name_policy(row, cite)})
    return rows


# Bundles.


class EntryDocument(Model):
    event: str
    path: list[str]
    receipt: str
    signature: str


class FactDocument(Model):
    key: str
    other: OtherLeaf | None
    place: str
    siblings: list[str]
    value: str | None


class BundleDocument(Model):
    certificate: str
    columns: list[str]
    events: list[EntryDocument]
    handovers: list[HandoverDocument]
    header: str
    kind: str
    next: str | None
    node: str
    query: dict[str, str]
    rows: list[list[str]]
    signature: str
    states: list[FactDocument]
    subject: str
    version: int


class WalletExportQuery(Model):
    account: AccountText
    format: Format = "json"
    limit: EventsLimit = PAGE_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class EventsExportQuery(EventsQuery):
    format: Format = "json"
    limit: EventsLimit = PAGE_DEFAULT


class RankingQuery(Model):
    post_id: str
    format: Format = "json"


@contextmanager
def _open_certified(
    context: Context, cursor: str | None, filter_hash: bytes, at: int | None
) -> Generator[tuple[Reading, int | None, int | None]]:
    """Give (reading, before, after) at the newest certified height up to the one that is asked for."""
    if cursor is None:
        with context.read(at) as reading:
            at = _certified_height(reading)
    with open_listing(context, cursor, filter_hash, at) as found:
        yield found


def _certified_height(reading: Reading) -> int:
    try:
        return find_certified_height(reading.snapshot, reading.height)
    except ProofUnavailable as error:
        raise ProofNotReady(str(error)) from error


async def _reply(
    context: Context, reading: Reading, ledger: View, format: str, plan: Callable[[], Bundle]
) -> Reply:  # fmt: skip
    """Return the bundle that a plan gives, proven and signed, or its CSV twin; disk and hashing run in a thread."""

    def make() -> bytes:
        bundle = plan()
        if format == "csv":
            return encode_csv(bundle.columns, bundle.rows)
        node, sign = context.services.status().public_key, context.services.sign_bundle
        return make_bundle(reading.snapshot, ledger, reading.head_height, reading.height, bundle, node, sign)

    reading.state.get(keyspace.beat())  # a node that does not trust its state proves nothing of it
    try:
        data = await asyncio.to_thread(make)
    except ProofUnavailable as error:
        raise ProofNotReady(str(error)) from error
    except BundleTooLarge as error:
        raise AnswerTooLarge(str(error)) from error
    return Reply(200, data, "application/json" if format == "json" else "text/csv")


async def export_wallet(context: Context, query: WalletExportQuery, body: None) -> Reply:
    """The newest page first; within a page rows run from old to new, and add up from what was held before."""
    filter_hash = hash_filter("wallet export", query.account)
    with _open_certified(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        account = _find(reading, query.account)
        ledger = await _open_ledger(context, reading)
        page = read_page(reading, keyspace.MOVES + account, filter_hash, query.limit, before, after)
        entries, head, beats = page.entries[::-1], reading.head_height, context.chain.genesis.epoch_beats
        return await _reply(
            context, reading, ledger, query.format,
            lambda: plan_wallet_bundle(
                reading.snapshot, ledger, head, reading.height, account, entries, beats, page.next
            ),
        )  # fmt: skip


async def export_events(context: Context, query: EventsExportQuery, body: None) -> Reply:
    """The newest page first; within a page rows run from old to new."""
    given = {
        "author": None if query.author is None else parse_account_id(query.author).hex(),
        "from_height": query.from_height, "module": query.module, "outcome": query.outcome,
        "to_height": query.to_height, "type": query.type,
    }  # fmt: skip
    asked = {name: str(value) for name, value in given.items() if value is not None}
    filter_hash = hash_filter("events export", sorted(asked.items()))
    with _open_certified(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        ledger = await _open_ledger(context, reading)
        receipts, page = list_receipts(reading, query, filter_hash, before, after)
        return await _reply(
            context, reading, ledger, query.format, lambda: make_events_bundle(receipts[::-1], asked, page.next)
        )  # fmt: skip


async def get_ranking(context: Context, query: RankingQuery, body: None) -> Reply:
    """As the state was when the epoch of the newest certified block began, or the one before."""
    post = parse_event_id(query.post_id)
    with _open_certified(context, None, b"", None) as (reading, _, _):
        if reading.state.get(keyspace.item(post)) is None:
            raise PostUnknown(f"no post of this id at height {reading.height}", post_id=query.post_id)
        ledger = await _open_ledger(context, reading)
        committed = StateAt(reading.snapshot, reading.header.state_height, reading.head_height)
        return await _reply(
            context, reading, ledger, query.format, lambda: make_ranking_bundle(reading.snapshot, committed, post)
        )  # fmt: skip


ENDPOINTS = (
    Endpoint("GET", "/wallets/{account}/history", "getHistory",
             "What each event did to an account's balances, newest first.", "wallet", HistoryAnswer, get_history,
             query=HistoryQuery, errors=(AccountUnknown, CursorInvalid, HistoryMissing, StaleHeight)),
    Endpoint("GET", "/wallets/{account}/export", "exportWallet",
             "A part of a wallet's history as a signed bundle that anyone can check offline, or as CSV.", "wallet",
             BundleDocument, export_wallet, query=WalletExportQuery,
             errors=(AccountUnknown, AnswerTooLarge, CursorInvalid, ProofNotReady, StaleHeight)),
    Endpoint("GET", "/ledger/events/export", "exportEvents",
             "Events with filters as a signed bundle that anyone can check offline, or as CSV.", "ledger",
             BundleDocument, export_events, query=EventsExportQuery,
             errors=(AnswerTooLarge, CursorInvalid, ProofNotReady, StaleHeight)),
    Endpoint("GET", "/posts/{post_id}/ranking", "getRanking",
             "What a post's rank is made of when an epoch began, as a signed bundle, or as CSV.", "social",
             BundleDocument, get_ranking, query=RankingQuery, errors=(PostUnknown, ProofNotReady)),
)  # fmt: skip
