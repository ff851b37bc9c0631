"""Bundles: both verifiers accept what the node makes, find every changed byte, and believe no lie that is signed."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_verify.canonical import Invalid
from atlas_verify.chain import read_genesis
from atlas_verify.documents import verify
from ledger.bundle_tables import verify_table
from ledger.bundles import encode_csv
from ledger.genesis import encode_genesis_file
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.fixed_point import SCALE
from ledger.tokens import TOKENS, read_balance
from tests.verify.bundle_files import Bundles, decode

FILES = (
    "wallet", "wallet's end", "wallet's begin", "empty wallet", "events", "beats", "endorsed post", "lonely post",
)  # fmt: skip
BOTH = ["node", "atlas_tables"]
FORGERIES_MIN = 200
Document = dict[str, Any]


@pytest.mark.parametrize("name", FILES)
def test_both_accept_what_the_node_makes_and_say_the_same(bundles: Bundles, name: str) -> None:
    ours, theirs = bundles.verify(bundles.files[name])

    assert (theirs["kind"], theirs["subject"], theirs["node"]) == ("bundle", ours.subject, ours.node.hex())
    assert (theirs["events"], theirs["states"]) == (len(ours.receipts), len(ours.state))
    assert theirs["certified_height"] == ours.certified.header.height
    assert verify_table(ours).proven


def test_a_whole_wallet_leads_to_the_balances_of_the_state_root(bundles: Bundles) -> None:
    ours, theirs = bundles.verify(bundles.files["wallet"])
    world = bundles.world
    at_root = world.state(ours.certified.header.state_height)

    last = {row[5]: row[7] for row in ours.rows if not row[1] or int(row[1]) <= ours.certified.header.state_height}

    assert theirs["balances_proven_at_height"] == ours.certified.header.state_height
    assert {token: int(text.replace(".", "")) for token, text in last.items()} == {
        token: balance for token in TOKENS if (balance := read_balance(at_root, token, world.ada.account))
    }
    assert {row[4] for row in ours.rows} == {"carried", "charge", "decay", "recovery", "reward", "transfer"}


def test_a_part_that_ends_before_the_state_root_says_that_its_balances_are_not_proven(bundles: Bundles) -> None:
    ours, theirs = bundles.verify(bundles.files["wallet's begin"])

    assert theirs["balances_proven_at_height"] is None
    assert any("balances" in each for each in verify_table(ours).not_proven)


def test_ranks_are_told_with_their_factors(bundles: Bundles) -> None:
    (_, endorsed), (_, lonely) = (bundles.verify(bundles.files[name]) for name in ("endorsed post", "lonely post"))

    assert lonely["mass"] == "0.000000000000000000" != endorsed["mass"]
    for shown in (endorsed, lonely):
        coherence, s_chr, mass, decay, score = (
            int(shown[name].replace(".", "")) for name in ("coherence", "s_chr", "mass", "decay", "score")
        )
        half = 5 * SCALE
        assert score == coherence * (SCALE + s_chr) * (4 * mass + half) * decay // (4 * SCALE * SCALE * (mass + half))
        assert 0 < score < 2 * SCALE


@pytest.mark.parametrize("name", FILES)
def test_the_csv_twin_is_accepted_and_no_changed_byte_of_it(bundles: Bundles, name: str) -> None:
    genesis = read_genesis(encode_genesis_file(bundles.world.chain.genesis))
    document = decode(bundles.files[name])
    twin = encode_csv(document["columns"], document["rows"])
    verify(bundles.files[name], genesis, twin)

    for place in sorted({*range(0, len(twin), max(1, len(twin) // 40)), len(twin) - 1}):
        changed = bytearray(twin)
        changed[place] ^= 1
        with pytest.raises(Invalid, match=r"^csv: "):
            verify(bundles.files[name], genesis, bytes(changed))
    with pytest.raises(Invalid, match=r"^csv: "):
        verify(bundles.files[name], genesis, twin[:-1])


def test_csv_quotes_what_needs_it() -> None:
    assert encode_csv(("a", "b"), [("x,y", 'z"'), ("", "p\r\nq")]) == b'a,b\r\n"x,y","z"""\r\n,"p\r\nq"\r\n'


@settings(max_examples=300, deadline=None)
@given(which=st.sampled_from(FILES), place=st.integers(0, 2**32), flip=st.integers(1, 255))
def test_a_changed_byte_of_any_bundle_is_found_by_both(bundles: Bundles, which: str, place: int, flip: int) -> None:
    changed = bytearray(bundles.files[which])
    changed[place % len(changed)] ^= flip

    assert bundles.list_believers(bytes(changed)) == []


def test_every_third_byte_of_a_small_bundle_matters_to_both(bundles: Bundles) -> None:
    """One after the other; which bytes the test above takes, hypothesis draws."""
    file = bundles.files["empty wallet"]
    document = decode(file)
    small = bundles.sign_again(document | {"states": []})
    assert bundles.list_believers(small) == BOTH

    survivors: list[tuple[int, list[str]]] = []
    for place in range(0, len(small), 3):
        changed = bytearray(small)
        changed[place] ^= 1
        believers = bundles.list_believers(bytes(changed))
        if believers:
            survivors.append((place, believers))

    assert survivors == []


Change = Callable[[Document, Document], Document]


def edit_row(place: int, cell: int, text: str) -> Change:
    def change(document: Document, other: Document) -> Document:
        rows = [list(row) for row in document["rows"]]
        rows[place][cell] = text
        return document | {"rows": rows}

    return change


def shift_amount(place: int, atoms: int) -> Change:
    """Change an amount and every balance of its token after it, so that the sums stay right."""

    def change(document: Document, other: Document) -> Document:
        rows = [list(row) for row in document["rows"]]
        token = rows[place][5]
        for number, row in enumerate(rows):
            if number == place:
                row[6] = _shift(row[6], atoms)
            if number >= place and row[5] == token:
                row[7] = _shift(row[7], atoms)
        return document | {"rows": rows}

    return change


def _shift(text: str, atoms: int) -> str:
    raw = int(text.replace(".", "")) + atoms
    return f"{'-' if raw < 0 else ''}{abs(raw) // SCALE}.{abs(raw) % SCALE:018}"


def drop(member: str, place: int) -> Change:
    return lambda document, other: (
        document
        | {member: [each for number, each in enumerate(document[member]) if number != place % len(document[member])]}
    )


def double(member: str) -> Change:
    return lambda document, other: document | {member: [*document[member], document[member][-1]]}


def put(member: str, value: object) -> Change:
    return lambda document, other: document | {member: value}


def turn(member: str) -> Change:
    return lambda document, other: document | {member: document[member][::-1]}


def borrow(*members: str) -> Change:
    return lambda document, other: document | {member: other[member] for member in members}


LIES: dict[str, Change] = {
    **{f"{member} of another": borrow(member) for member in ("events", "rows", "states", "query", "columns", "header")},
    "rows and columns of another": borrow("rows", "columns"),
    "subject of another": borrow("subject"),
    "all but the certificate of another": borrow("subject", "columns", "query", "rows"),
    "certificate of another": put("certificate", "00"),
    "a row left out": drop("rows", -1),
    "the first row left out": drop("rows", 0),
    "a row twice": double("rows"),
    "rows turned": turn("rows"),
    "a row of nothing": lambda document, other: document | {"rows": [*document["rows"], []]},
    "a row of numbers": lambda document, other: document | {"rows": [*document["rows"], [1, 2]]},
    "a row that is no list": lambda document, other: document | {"rows": [*document["rows"], "x"]},
    "no rows": put("rows", []),
    "too many rows": put("rows", [["", ""]] * 8_193),
    "an event left out": drop("events", -1),
    "an event twice": double("events"),
    "events turned": turn("events"),
    "an event that is no object": put("events", [1]),
    "a state left out": drop("states", 0),
    "a state twice": double("states"),
    "a state that is no object": put("states", [[]]),
    "another subject": put("subject", "receipts"),
    "subject events": put("subject", "events"),
    "subject wallet": put("subject", "wallet"),
    "subject ranking": put("subject", "ranking"),
    "no columns": put("columns", []),
    "columns turned": turn("columns"),
    "query of nothing": put("query", {}),
    "query of more": lambda document, other: document | {"query": document["query"] | {"more": "1"}},
    "query of numbers": put("query", {"account": 1}),
    "query of another account": put("query", {"account": "11" * 32}),
    "query of another post": put("query", {"post": "11" * 32}),
    "query in capitals": lambda document, other: (
        document | {"query": {name: text.upper() for name, text in document["query"].items()}}
    ),
    "query of another type": put("query", {"type": "content.PostPublished"}),
    "query of another outcome": put("query", {"outcome": "denied"}),
    "query of another module": put("query", {"module": "governance"}),
    "query above all heights": put("query", {"from_height": "99999"}),
    "query below all heights": put("query", {"to_height": "0"}),
    "query of a height that is none": put("query", {"from_height": "x"}),
    "next is a number": put("next", 5),
    "next is empty and long": put("next", "x" * 5_000),
    "version 2": put("version", 2),
    "another kind": put("kind", "state"),
    "handovers left out": put("handovers", []),
}
WALLET_LIES: dict[str, Change] = {
    **{f"{name} of row 3": edit_row(3, cell, text) for cell, (name, text) in enumerate((
        ("log index", "1"), ("height", "7"), ("event id", "00" * 32), ("event type", "content.PostPublished"),
        ("kind", "reward"), ("token", "CHR"), ("amount", "-1.000000000000000000"), ("balance", "1.000000000000000000"),
    ))},
    "amount without decimals": edit_row(2, 6, "-119"),
    "amount of minus nothing": edit_row(2, 6, "-0.000000000000000000"),
    "amount with leading zeros": edit_row(2, 6, "-0119.589803000000000000"),
    "an unknown token": edit_row(2, 5, "XYZ"),
    "a carried row with an event": edit_row(0, 0, "0"),
    "a carried row with a height": edit_row(1, 1, "1"),
    "a charge that is carried": edit_row(2, 4, "carried"),
    "more was carried, sums right": shift_amount(1, SCALE),
    "less was carried, sums right": shift_amount(1, -1),
    "a smaller charge, sums right": shift_amount(2, SCALE),
    "a smaller transfer, sums right": shift_amount(4, SCALE),
    "more recovery, sums right": shift_amount(5, SCALE),
    "a larger reward, sums right": shift_amount(6, 5 * SCALE),
    "less decay, sums right": shift_amount(7, 5),
    "decay that gives, sums right": shift_amount(7, 1_000 * SCALE),
    "an atom of PSI, sums right": shift_amount(10, 1),
    "the first event's rows left out": lambda document, other: document | {"rows": [
        row for row in document["rows"] if row[0] != "0"]},
    "a transfer and its event left out": lambda document, other: document | {
        "rows": [row for row in document["rows"] if row[0] != "2"],
        "events": [document["events"][0], *document["events"][2:]]},
    "decay in two rows": lambda document, other: _split_decay(document),
    "a transfer called decay": edit_row(4, 4, "decay"),
    "recovery called opening": edit_row(5, 4, "opening"),
    "one balance not proven": drop("states", 3),
    "balances of somebody else": borrow("states"),
}  # fmt: skip


def _split_decay(document: Document) -> Document:
    rows = [list(row) for row in document["rows"]]
    first, second = list(rows[7]), list(rows[7])
    first[6], first[7] = _shift(first[6], 5), _shift(first[7], 5)
    second[6] = _shift("0.000000000000000000", -5)
    return document | {"rows": [*rows[:7], first, second, *rows[8:]]}


def edit_ranking(factor: str, atoms: int) -> Change:
    def change(document: Document, other: Document) -> Document:
        rows = [[name, _raise(text, atoms) if name == factor else text] for name, text in document["rows"]]
        return document | {"rows": rows}

    return change


def _raise(text: str, by: int) -> str:
    return _shift(text, by) if "." in text else str(int(text) + by)


def change_leaf(document: Document, place: int) -> Document:
    """Change the value of a key of the state, in its last byte."""
    states = [dict(each) for each in document["states"]]
    value = bytearray.fromhex(states[place]["value"])
    value[-1] ^= 1
    return document | {"states": [*states[:place], states[place] | {"value": value.hex()}, *states[place + 1 :]]}


RANKING_LIES: dict[str, Change] = {
    **{
        f"{factor} by {by}": edit_ranking(factor, by)
        for factor in ("beat", "published_beat", "decay_step_beats", "coherence", "s_chr", "mass", "decay", "score")
        for by in (1, -1)
    },
    **{
        f"another value of state {place}": lambda document, other, place=place: change_leaf(document, place)  # type: ignore[misc]
        for place in range(4)
    },
    "no settlement": put("events", []),
    "the settlement of another post": borrow("events"),
    "absent item": lambda document, other: (
        document
        | {
            "states": [
                each | {"value": None} if each["key"].startswith("7349") else each for each in document["states"]
            ]
        }
    ),
}


def list_lies(bundles: Bundles) -> Iterator[tuple[str, Document]]:
    """Yield documents that a node could sign though they are not true, with their names."""
    files = {name: decode(data) for name, data in bundles.files.items()}
    others = {name: files[FILES[(number + 3) % len(FILES)]] for number, name in enumerate(FILES)}
    for name in FILES:
        for lie, change in LIES.items():
            try:
                yield f"{name}: {lie}", change(files[name], others[name])
            except (IndexError, ZeroDivisionError):
                continue  # what is not there can't be changed
    for lie, change in WALLET_LIES.items():
        yield f"wallet: {lie}", change(files["wallet"], files["empty wallet"])
    for lie, change in RANKING_LIES.items():
        other = files["wallet"] if "another post" in lie else files["events"]
        yield f"endorsed post: {lie}", change(files["endorsed post"], other)


NO_LIES = {
    "events: query of nothing",  # they are events of that query too
    "beats: query of nothing",
    "wallet's end: states of another",  # that has none: then the balances are not proven, as both say
    "wallet's begin: a row left out",  # of decay, where no balance is proven: the page says so
}


def test_neither_believes_a_lie_that_the_node_signed(bundles: Bundles) -> None:
    true = {canonical_json(decode(data)) for data in bundles.files.values()}
    lies = [(name, lie) for name, lie in list_lies(bundles) if canonical_json(lie) not in true]

    believed = {name: believers for name, lie in lies if (believers := bundles.list_believers(bundles.sign_again(lie)))}

    assert believed == dict.fromkeys(sorted(NO_LIES), BOTH)
    assert len(lies) - len(NO_LIES) >= FORGERIES_MIN


CELLS = st.sampled_from(
    ("", "0", "1", "01", "-1", "x", "FLX", "ATR", "decay", "reward", "carried", "missing", "release", "opening", "mass",
     "0.000000000000000000", "-0.000000000000000001", "1.000000000000000000", "00.100000000000000000", "1e3", "٣")
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(which=st.sampled_from(FILES), data=st.data())
def test_both_judge_alike_what_the_node_signed_with_other_cells(
    bundles: Bundles, which: str, data: st.DataObject
) -> None:
    document = decode(bundles.files[which])
    rows = [list(row) for row in document["rows"]]
    for _ in range(data.draw(st.integers(1, 3))):
        if rows:
            row = rows[data.draw(st.integers(0, len(rows) - 1))]
            cell = data.draw(st.integers(0, len(row) - 1))
            other = rows[data.draw(st.integers(0, len(rows) - 1))][cell]
            row[cell] = data.draw(st.just(other) | CELLS)
    query = document["query"] | data.draw(
        st.just({})
        | st.dictionaries(st.sampled_from(("author", "from_height", "to_height", "module")), CELLS, max_size=1)
    )

    believers = bundles.list_believers(bundles.sign_again(document | {"rows": rows, "query": query}))

    assert believers in ([], BOTH)


def test_a_changed_bundle_that_the_node_did_not_sign_is_refused_for_that(bundles: Bundles) -> None:
    document = decode(bundles.files["wallet"])
    genesis = read_genesis(encode_genesis_file(bundles.world.chain.genesis))

    for change in (put("next", "x"), drop("rows", 3), put("node", "ab" * 32), put("signature", "00" * 64)):
        with pytest.raises(Invalid, match=r"^signature: "):
            verify(canonical_json(change(document, document)) + b"\n", genesis)


def test_a_signature_of_another_purpose_or_chain_is_none(bundles: Bundles) -> None:
    from ledger.primitives.signing import Purpose
    from tests.verify.bundle_files import NODE

    document = decode(bundles.files["events"])
    unsigned = {name: value for name, value in document.items() if name != "signature"}
    chain_id = bundles.world.chain.chain_id

    for chain, purpose in ((chain_id, Purpose.EVENT), (hashlib.sha256(chain_id).digest(), Purpose.BUNDLE)):
        signature = NODE.sign(chain, purpose, canonical_json(unsigned)).hex()
        assert bundles.list_believers(canonical_json(unsigned | {"signature": signature}) + b"\n") == []
