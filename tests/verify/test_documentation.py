"""docs/proofs.md says what the code does: its example, its bytes, its tables."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from atlas_tables import tables
from atlas_verify import canonical, documents, hashes
from atlas_verify.chain import CERTIFICATE, CERTIFIED, GENESIS, HEADER, VOTE, read_genesis
from consensus.messages import Certificate, Vote
from consensus.parameters import Parameters
from ledger.block import Header
from ledger.bundle_tables import EVENT_COLUMNS, FILTERS
from ledger.bundles import CELL_CHARACTERS_MAX, COLUMNS_MAX, EVENTS_MAX, QUERY_MAX, ROWS_MAX, STATES_MAX
from ledger.events import Event
from ledger.genesis import Genesis, decode_genesis_file
from ledger.primitives import encoding
from ledger.ranking import COLUMNS as RANKING_COLUMNS
from ledger.receipts import Receipt
from ledger.wallet import CARRIED, KINDS, PARTS
from ledger.wallet_table import WALLET_COLUMNS
from tests.verify.chains import BothVerifiers
from tests.verify.worked_example import VECTOR, compute_steps, make_example

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "proofs.md").read_text(encoding="utf-8")
EXAMPLE: dict[str, Any] = json.loads(VECTOR.read_text(encoding="utf-8"))
FILES: dict[str, str] = EXAMPLE["files"]
STEPS: dict[str, str] = EXAMPLE["steps"]
UNPRINTED = {"event", "genesis record", "header"}
"""Steps that are too long for a table; the header stands above it."""


def get_section(title: str) -> str:
    """Return what stands below a heading, down to the next."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def read_rows(title: str) -> list[list[str]]:
    rows = [line.strip("|").split(" | ") for line in get_section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if "---" not in row[0]]


def list_members(title: str) -> set[str]:
    """Return the names in the first column of a section's table."""
    return {name for row in read_rows(title)[1:] for name in re.findall(r"`(\w+)`", row[0])}


def test_both_verifiers_accept_the_files_of_the_example() -> None:
    both = BothVerifiers(decode_genesis_file(FILES["genesis"].encode()))

    ours, theirs = both.verify(FILES["event_proof"].encode())
    balance, told = both.verify_state(FILES["balance_proof"].encode())
    absence, _ = both.verify_state(FILES["absence_proof"].encode())

    assert ours.event_id.hex() == theirs["event_id"] == STEPS["event id"]
    assert (balance.value, told["balance_atoms"]) == (bytes.fromhex(STEPS["state value"]), str(1000 * 10**18))
    assert (absence.key.hex(), absence.value) == (STEPS["absent state key"], None)


def test_the_node_finds_every_step_of_the_example() -> None:
    assert compute_steps(FILES) == STEPS


def test_the_node_still_makes_files_of_these_members(tmp_path: Path) -> None:
    """What they hold may have changed with the rules; a changed format needs python -m tests.verify.worked_example."""
    made = make_example(tmp_path / "ledger")

    assert {name: set(json.loads(text)) for name, text in made.items()} == {
        name: set(json.loads(text)) for name, text in FILES.items()
    }
    assert set(compute_steps(made)) == set(STEPS)


def test_the_other_verifier_finds_the_same_steps() -> None:
    genesis = read_genesis(FILES["genesis"].encode())
    event = json.loads(FILES["event_proof"])
    header = canonical.read_record("header", bytes.fromhex(STEPS["header"]), HEADER)
    checkpoint = canonical.encode({"digest": bytes.fromhex(STEPS["header hash"]), "replica": 0, "seq": 1})
    path = [bytes.fromhex(node) for node in event["path"]]

    assert genesis.chain_id.hex() == STEPS["chain id"]
    assert (
        hashes.tagged_hash("atlas/validators", canonical.encode(list(genesis.keys))).hex() == STEPS["validators hash"]
    )
    assert checkpoint.hex() == STEPS["checkpoint of validator 0"]
    assert hashes.compute_log_root(bytes.fromhex(event["receipt"]), 1, 3, path).hex() == STEPS["log root"]
    assert header["state_root"].hex() == STEPS["state root"]


def test_the_page_shows_the_steps_of_the_example() -> None:
    rows = {row[0]: row[2].strip("`") for row in read_rows("A worked example") if row[0] in STEPS}
    dump = re.search(r"```\n(.*?)```", get_section("A worked example"), re.DOTALL)

    assert rows == {name: value for name, value in STEPS.items() if name not in UNPRINTED}
    assert dump is not None
    assert dump[1].replace("\n", "") == STEPS["header"]


VALUES: dict[str, tuple[encoding.Value, ...]] = {
    "nil, false, true": (None, False, True),
    "127, 128, 300": (127, 128, 300),
    "-32, -33": (-32, -33),
    "2^64 - 1": (2**64 - 1,),
    "2^64": (2**64,),
    "2^128 - 1": (2**128 - 1,),
    'text "a"': ("a",),
    "bytes 00 01": (b"\0\1",),
    "list of 1, 2": ([1, 2],),
    'map of "b" to nil and "a" to 1': ({"b": None, "a": 1},),
}


def test_the_page_shows_canonical_bytes() -> None:
    shown = {row[0]: re.findall(r"`(\w+)`", row[1]) for row in read_rows("Canonical msgpack")[1:]}

    assert shown == {name: [encoding.encode(value).hex() for value in values] for name, values in VALUES.items()}


@pytest.mark.parametrize(
    ("title", "record", "fields"),
    [("Header", Header, HEADER), ("Certificate", Certificate, CERTIFICATE), ("Genesis", Genesis, GENESIS)],
)
def test_the_page_names_the_members_of_a_record(title: str, record: Any, fields: dict[str, canonical.Field]) -> None:
    assert list_members(title) == set(fields) == {field.name for field in dataclasses.fields(record)}


@pytest.mark.parametrize(("record", "fields"), [(Event, documents.EVENT), (Receipt, documents.RECEIPT), (Vote, VOTE)])
def test_both_verifiers_know_the_same_members(record: Any, fields: dict[str, canonical.Field]) -> None:
    assert set(fields) == {field.name for field in dataclasses.fields(record)}
    assert all(f"`{name}`" in PAGE for name in fields)


@pytest.mark.parametrize(
    ("title", "fields"),
    [
        ("Event proofs", documents.EVENT_PROOF),
        ("State proofs", documents.STATE_PROOF),
        ("Bundles", documents.BUNDLE),
    ],
)
def test_the_page_names_the_members_of_a_file(title: str, fields: dict[str, canonical.Field]) -> None:
    beside = set(re.findall(r"`(\w+)` \(", get_section(title).partition("Members beside the three:")[2][:60]))

    assert list_members(title) | beside | set(CERTIFIED) == set(fields)


def test_the_page_says_how_many_are_a_quorum() -> None:
    said = {int(n): int(quorum) for quorum, n in re.findall(r"(\d+) of\s(\d+)", get_section("Certificate"))}

    assert said == {
        n: Parameters(bytes(32), tuple(bytes([number]) * 32 for number in range(n)), window=1).quorum
        for n in (4, 5, 7, 100)
    }


def test_the_page_names_every_tag() -> None:
    named = set(re.findall(r"^\| `(atlas/[\w/-]+)`", PAGE, re.MULTILINE))
    folder = Path(documents.__file__).parent
    used = {tag for path in folder.glob("*.py") for tag in re.findall(r'"(atlas/[\w-]+)"', path.read_text())}

    assert named == used | {"atlas/account", "atlas/sign/bundle", "atlas/sign/checkpoint", "atlas/sign/event"}


@pytest.mark.parametrize(
    ("title", "subject", "columns"),
    [
        ("Events", "events", EVENT_COLUMNS),
        ("Wallets", "wallet", WALLET_COLUMNS),
        ("Rankings", "ranking", RANKING_COLUMNS),
    ],
)
def test_the_page_names_the_columns_of_a_table(title: str, subject: str, columns: tuple[str, ...]) -> None:
    said = re.match(r"\n`columns`: (.*?)\. [`OA]", get_section(title), re.DOTALL)

    assert said is not None
    assert tuple(re.findall(r"`(\w+)`", said[1].replace("\n", " "))) == columns
    assert tables.COLUMNS[subject].split() == list(columns)


def test_the_page_names_every_kind_of_row_and_filter() -> None:
    kinds = {name for row in read_rows("Wallets")[1:] for name in re.findall(r"`(\w+)`", row[0])}

    assert kinds == {*KINDS, CARRIED}
    assert set(FILTERS) == tables.FILTERS
    assert all(f"`{name}`" in get_section("Events") for name in FILTERS)


def test_both_verifiers_know_what_each_event_type_tells_of_a_balance() -> None:
    bond = ("hold", "author", -1, "FLX", "node_bond")
    ours = {name: tuple((*part[:4], " ".join(part.amounts)) for part in parts) for name, parts in PARTS.items()}

    assert ours | {"infra.NodeRegistered": (bond,)} == tables.TOLD


def test_the_page_names_what_each_event_type_tells_of_a_balance() -> None:
    page = " ".join(get_section("Wallets").split())

    for name, parts in tables.TOLD.items():
        assert f"`{name}`" in page
        for _, _, _, token, amounts in parts:
            assert token in page
            assert all(f"`{amount}`" in page for amount in amounts.split() if amount != "node_bond")


def test_the_page_says_the_limits_of_a_bundle() -> None:
    said = get_section("Bundles").replace(",", "")

    for limit in (EVENTS_MAX, STATES_MAX, ROWS_MAX, COLUMNS_MAX, QUERY_MAX, CELL_CHARACTERS_MAX):
        assert re.search(rf"\b{limit}\b", said), limit
    assert documents.BUNDLE["events"].high == EVENTS_MAX
    assert documents.BUNDLE["states"].high == STATES_MAX
    assert documents.BUNDLE["rows"].high == ROWS_MAX
    assert documents.BUNDLE["query"].high == QUERY_MAX
    assert documents.BUNDLE["columns"].high == COLUMNS_MAX
    assert tables.CELL_CHARACTERS_MAX == CELL_CHARACTERS_MAX
