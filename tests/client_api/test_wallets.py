"""Wallet histories and signed bundles over the API."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from client_api.services import Alert
from client_api.shapes import account_text, event_text
from client_api.wallets import WalletRow

from ledger import keyspace
from ledger.bundle_tables import verify_table
from ledger.bundles import ProvenBundle, encode_csv, verify_bundle
from ledger.nodes import NODE_BOND
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.tokens import ATR_STORE, FLX, TOKENS
from ledger.transfers import TokensTransferred
from ledger.wallet import KINDS
from social.posts import PostPublished
from social.reactions import ContentLiked
from tests.client_api.api import NODE_KEY, Api
from tests.economy.node_town import NodeTown
from tests.economy.test_evidence import LIAR, submit
from tests.economy.test_evidence import prove as prove_equivocation
from tests.ledger.world import RICH, id_of
from tests.social.assembly import DEPOSIT, WINDOW, Assembly

EPOCH_BEATS = 32


@pytest.fixture
def town(api: Api) -> Api:
    """Ada posts and pays, Ben likes; then an epoch closes, and runs for its first half."""
    world = api.world
    post = world.sign(world.ada, PostPublished, text="The boats came back early, and nobody knew why.", tags=())
    pay = [world.sign(world.ada, TokensTransferred, atoms=SCALE, to=world.ben.account, token=FLX) for _ in range(3)]
    for events in ((post,), (world.sign(world.ben, ContentLiked, target=id_of(post)),), pay):
        certify(api, api.world.execute(*events).header.height)
    for _ in range(EPOCH_BEATS + EPOCH_BEATS // 2):
        certify(api, api.world.execute(beat=True).header.height)
    api.post = event_text(id_of(post))  # type: ignore[attr-defined]
    return api


def certify(api: Api, height: int) -> None:
    api.world.chain.write_certificate(height, b"signed")


def prove(api: Api, operation: str, **query: object) -> ProvenBundle:
    """Return a bundle of the declared shape, whose rows are true."""
    api.call(operation, **query)
    data = api.try_call(operation, **query).body
    proven = verify_bundle(data, api.world.chain.genesis, lambda *given: None)
    verify_table(proven)
    assert proven.node == NODE_KEY.public
    return proven


def read_all(api: Api, **query: Any) -> list[Any]:
    """Return all rows of a history, newest first, page by page."""
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        page = api.call("getHistory", cursor=cursor, **query)
        rows += page["items"]
        cursor = page["next"]
        if cursor is None:
            return rows


def to_atoms(text: str) -> int:
    return int(text.replace(".", ""))


def test_the_rows_of_all_pages_lead_from_genesis_to_the_balances(town: Api) -> None:
    ada = account_text(town.world.ada.account)
    rows = read_all(town, account=ada, limit=2)
    balances = dict.fromkeys(TOKENS, 0) | {"ATR": ATR_STORE, "FLX": RICH}

    for row in rows[::-1]:
        balances[row["token"]] += to_atoms(row["amount"])
        assert row["balance"] == format_decimal(balances[row["token"]])

    answer = town.call("getHistory", account=ada)
    assert answer["balances"] == {token: format_decimal(balances[token]) for token in TOKENS}
    assert {row["kind"] for row in rows} == {"charge", "decay", "recovery", "reward", "transfer"}
    assert {row["policy"] for row in rows} == {
        "coherence@1 energy@1", "decay@1", "energy@1", "protocol@1", "rewards@1",
    }  # fmt: skip
    for row in rows:
        assert town.call("getEvent", event_id=row["event_id"])["receipt"]["log_index"] == row["log_index"]


@pytest.mark.parametrize(("kind", "count"), [("transfer", 3), ("reward", 3), ("charge", 4), ("hold", 0)])
def test_a_history_is_filtered_by_kind(town: Api, kind: str, count: int) -> None:
    ada = account_text(town.world.ada.account)

    rows = read_all(town, account=ada, kind=kind, limit=1)

    assert {row["kind"] for row in rows} <= {kind}
    assert len(rows) == count
    assert rows == [row for row in read_all(town, account=ada) if row["kind"] == kind]


def test_what_passing_epochs_will_write_is_pending_and_agrees_with_the_balances(town: Api) -> None:
    ben = account_text(town.world.ben.account)
    for _ in range(2 * EPOCH_BEATS):
        town.world.execute(beat=True)

    answer = town.call("getHistory", account=ben)

    shown = town.call("getBalances", account=ben)["balances"]
    pending = {row["token"]: row for row in answer["pending"]}
    assert {row["kind"] for row in answer["pending"]} >= {"decay", "recovery"}
    for token in TOKENS:
        assert (pending[token]["balance"] if token in pending else answer["balances"][token]) == shown[token]


def test_a_cursor_of_another_account_is_refused(town: Api) -> None:
    ada, ben = (account_text(person.account) for person in (town.world.ada, town.world.ben))
    cursor = town.call("getHistory", account=ada, limit=1)["next"]

    assert town.problem("getHistory", account=ben, cursor=cursor)["type"].endswith("cursor-invalid")


def test_a_history_of_nobody_is_none(town: Api) -> None:
    for operation in ("getHistory", "exportWallet"):
        assert town.problem(operation, account=account_text(bytes(32)))["type"].endswith("account-unknown")


def test_a_wallet_is_exported_whole(town: Api) -> None:
    proven = prove(town, "exportWallet", account=account_text(town.world.ada.account))

    assert proven.next is None
    assert len(proven.state) == len(TOKENS)
    assert len(proven.receipts) == 5


def test_the_parts_of_a_wallet_join_without_a_gap(town: Api) -> None:
    ada = account_text(town.world.ada.account)
    newer = prove(town, "exportWallet", account=ada, limit=3)
    older = prove(town, "exportWallet", account=ada, limit=3, cursor=newer.next)
    whole = prove(town, "exportWallet", account=ada)

    carried = {row[5]: row[7] for row in newer.rows if row[4] == "carried"}
    led_to = {row[5]: row[7] for row in older.rows}
    assert carried == led_to
    assert older.next is None
    assert [*older.rows, *(row for row in newer.rows if row[4] != "carried")] == list(whole.rows)


@pytest.mark.parametrize(
    ("operation", "query"),
    [
        ("exportWallet", {"account": "ADA"}),
        ("exportEvents", {"type": "economics.TokensTransferred"}),
        ("getRanking", {"post_id": "POST"}),
    ],
)
def test_the_csv_says_what_the_bundle_says(town: Api, operation: str, query: dict[str, str]) -> None:
    names = {"ADA": account_text(town.world.ada.account), "POST": town.post}  # type: ignore[attr-defined]
    asked = {name: names.get(text, text) for name, text in query.items()}
    proven = prove(town, operation, **asked)

    answer = town.try_call(operation, format="csv", **asked)

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.body == encode_csv(proven.columns, proven.rows)
    assert [tuple(row) for row in csv.reader(io.StringIO(answer.body.decode()))] == [proven.columns, *proven.rows]


def test_events_are_exported_with_the_filters_of_the_list(town: Api) -> None:
    ada = account_text(town.world.ada.account)
    proven = prove(
        town, "exportEvents", author=ada, type="economics.TokensTransferred", outcome="applied", from_height=2
    )

    assert [row[3] for row in proven.rows] == ["economics.TokensTransferred"] * 3
    assert proven.query["author"] == town.world.ada.account.hex()


def test_a_long_list_of_events_goes_on_with_its_cursor(town: Api) -> None:
    first = prove(town, "exportEvents", module="infra", limit=20)
    second = prove(town, "exportEvents", module="infra", limit=20, cursor=first.next)

    assert (len(first.rows), len(second.rows)) == (20, 20)
    assert int(second.rows[-1][0]) < int(first.rows[0][0])


@pytest.mark.parametrize("limit", [0, 257])
def test_a_bundle_has_a_bounded_number_of_events(town: Api, limit: int) -> None:
    for operation, query in (("exportEvents", {}), ("exportWallet", {"account": account_text(bytes(32))})):
        assert town.problem(operation, limit=limit, **query)["status"] == 400


def test_the_rank_of_a_post_is_proven_once_the_state_that_has_it_is(town: Api) -> None:
    proven = prove(town, "getRanking", post_id=town.post)  # type: ignore[attr-defined]

    factors = {row[0]: row[1] for row in proven.rows}
    assert to_atoms(factors["mass"]) > 0
    assert 0 < to_atoms(factors["score"]) < 2 * SCALE


def test_the_rank_of_a_new_post_is_not_proven_yet_and_of_none_not_at_all(town: Api) -> None:
    world = town.world
    post = world.sign(world.ada, PostPublished, text="Too new for any state root.", tags=())
    certify(town, world.execute(post).header.height)

    assert town.problem("getRanking", post_id=event_text(id_of(post)))["type"].endswith("proof-not-ready")
    assert town.problem("getRanking", post_id=event_text(bytes(32)))["type"].endswith("post-unknown")


def test_nothing_is_exported_before_a_certificate(api: Api) -> None:
    api.world.execute(beat=True)

    for operation, query in (("exportEvents", {}), ("exportWallet", {"account": account_text(api.world.ada.account)})):
        assert api.problem(operation, **query)["type"].endswith("proof-not-ready")


def test_a_node_that_does_not_trust_its_state_exports_nothing_of_it(town: Api) -> None:
    town.node.alerted = Alert("CIR-412", "state", "it differs", 1, bytes(32), bytes(32), "fetch it again")

    assert town.problem("exportWallet", account=account_text(town.world.ada.account))["status"] == 503


def test_what_was_burned_of_a_bond_is_a_penalty_of_its_owner(tmp_path: Path) -> None:
    town = NodeTown(tmp_path / "ledger")
    town.register(*range(7))
    liar, other = (account_text(town.operators[number].account) for number in (LIAR, LIAR + 1))
    with Api(tmp_path, town) as api:
        assert read_all(api, account=liar, kind="penalty") == []
        proven = submit(town, prove_equivocation(town))

        (row,) = read_all(api, account=liar, kind="penalty")

        assert (row["event_id"], row["event_type"]) == (event_text(proven.event_id), "infra.EquivocationProven")
        assert (row["amount"], row["balance"]) == (f"-{format_decimal(NODE_BOND)}", format_decimal(0))
        assert read_all(api, account=other, kind="penalty") == []
        assert [each["kind"] for each in read_all(api, account=liar)].count("hold") == 1


def test_a_deposit_that_is_lost_for_want_of_votes_is_a_penalty(tmp_path: Path) -> None:
    town = Assembly(tmp_path / "ledger")
    town.open_vote(base_cost=200 * SCALE)
    proposer = account_text(town.people[0].account)
    with Api(tmp_path, town) as api:
        holds = read_all(api, account=proposer, kind="hold")
        for _ in range(2 * WINDOW):
            town.beat()

        (row,) = read_all(api, account=proposer, kind="penalty")

        assert holds[0]["amount"] == row["amount"] == f"-{format_decimal(DEPOSIT)}"
        assert (holds[0]["policy"], row["policy"]) == ("governance@1", "governance@1")
        assert row["event_type"] == "governance.ProposalExpired"


def test_the_kinds_of_the_contract_are_those_of_the_ledger() -> None:
    kinds = WalletRow.model_json_schema()["properties"]["kind"]["enum"]

    assert set(kinds) == set(KINDS)


def test_what_this_node_has_no_moves_of_is_a_missing_step_from_genesis(town: Api) -> None:
    ada = town.world.ada.account
    prefix = keyspace.MOVES + ada
    first, second, *_ = [key for key, _ in town.world.store.iterate(prefix, keyspace.after(prefix))]
    town.world.store.write([], [first, second])

    rows = read_all(town, account=account_text(ada))

    missing = [row for row in rows if row["kind"] == "missing"]
    assert missing == rows[-len(missing) :]
    assert {row["token"] for row in missing} == {"ATR", "FLX"}
    assert all(row["event_id"] is None and to_atoms(row["amount"]) < 0 for row in missing)


def test_a_bundle_that_would_be_too_large_is_refused_with_the_remedy(
    town: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.bundles.PROOF_BYTES_MAX", 4_000)

    problem = town.problem("exportEvents", module="infra")

    assert (problem["status"], "limit" in problem["remedy"]) == (413, True)
