"""Both verifiers accept the same proofs, and have the same canonical bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_verify import canonical
from atlas_verify.canonical import Invalid
from atlas_verify.chain import read_genesis
from atlas_verify.documents import verify
from atlas_verify.hashes import compute_log_root
from ledger.events import SignedEvent
from ledger.genesis import Allocation, Genesis, compute_chain_id, encode_genesis_file
from ledger.primitives import encoding, merkle
from ledger.primitives.encoding import EncodingError
from tests.ledger.world import id_of, make_genesis
from tests.verify.chains import make_world, prove
from tests.verify.conftest import Proofs


@pytest.mark.parametrize("era", [0, 1, 2, 3])
def test_both_accept_a_post_of_any_era_and_say_the_same(proofs: Proofs, era: int) -> None:
    ours, theirs = proofs.both.verify(proofs.of_posts[era])

    assert (theirs["kind"], theirs["era"]) == ("event", era)
    assert theirs["event_id"] == ours.event_id.hex()
    assert theirs["author"] == ours.receipt.author.hex()
    assert (theirs["outcome"], theirs["explanation"]) == (ours.receipt.outcome, ours.receipt.explanation)
    assert (theirs["height"], theirs["certified_height"]) == (ours.receipt.height, ours.header.height)
    assert ours.validators.era == era


def test_both_accept_what_nobody_signed(proofs: Proofs) -> None:
    ours, theirs = proofs.both.verify(proofs.of_a_beat)

    assert ours.event is None
    assert (theirs["author"], theirs["event_type"]) == (None, "infra.BeatStarted")


def test_both_accept_what_was_skipped_as_malformed(proofs: Proofs, tmp_path: Path) -> None:
    world = make_world(tmp_path / "ledger")
    malformed = SignedEvent(b"junk", None, bytes(64))
    world.execute(malformed)
    world.chain.write_certificate(1, world.certify(1))

    ours, theirs = proofs.both.verify(prove(world, id_of(malformed)))

    assert (ours.receipt.outcome, theirs["outcome"], theirs["author"]) == ("skipped", "skipped", None)
    world.close()


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]\n", b"5\n", b"null\n", b'"x"\n', b"\xff\n", b"[" * 100_000, b'{"a":NaN}\n', bytes(2**22)]
)
def test_both_refuse_what_is_no_proof_file(proofs: Proofs, data: bytes) -> None:
    assert proofs.both.list_believers(data) == []


def test_both_refuse_proofs_of_another_chain(proofs: Proofs) -> None:
    genesis = read_genesis(encode_genesis_file(make_genesis("another")))

    with pytest.raises(Invalid, match=r"^header: of another chain"):
        verify(proofs.of_posts[0], genesis)


@pytest.mark.parametrize(
    "genesis",
    [
        make_genesis(),
        make_genesis("größer 🌍"),
        make_genesis("odd", {"energy": {"base_cost": 5}, "sybil": {"bond": 0}}),
        Genesis(
            allocations=(Allocation(1, bytes(32)), Allocation(2**127 + 1, bytes([1]) * 32)),
            beat_ms=100,
            epoch_beats=2,
            name="n",
            time_ms=2**64 - 1,
            validators=tuple(bytes([number]) * 32 for number in range(100)),
        ),
    ],
)
def test_both_give_a_genesis_the_same_chain_id(genesis: Genesis) -> None:
    assert read_genesis(encode_genesis_file(genesis)).chain_id == compute_chain_id(genesis)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"name":1}',
        encode_genesis_file(make_genesis()).replace(b'"version": 2', b'"version": 3'),
    ],
)
def test_what_is_no_genesis_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match=r"^genesis: "):
        read_genesis(data)


Plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**128 - 1) | st.text(max_size=40) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=20),
    max_leaves=30,
)


@given(Plain)
def test_both_have_the_same_canonical_msgpack(value: object) -> None:
    data = encoding.encode(value)

    assert canonical.encode(value) == data
    assert canonical.decode(data) == encoding.decode(data)


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65_535, 65_536])
def test_both_write_the_same_sizes(size: int) -> None:
    for value in ("x" * size, bytes(size), [None] * size, {f"{number:05}": None for number in range(size)}):
        assert canonical.encode(value) == encoding.encode(value)
        assert canonical.decode(encoding.encode(value)) == value


@given(Plain, st.data())
def test_both_refuse_the_same_other_forms(value: object, data: st.DataObject) -> None:
    changed = bytearray(encoding.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    for tried in (bytes(changed), bytes(changed[:cut])):
        assert _decodes(canonical.decode, tried) == _decodes(encoding.decode, tried)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 15, 16, 17, 255])
def test_both_take_the_same_sizes_of_large_numbers(size: int) -> None:
    for head in (bytes([0xC7, size, 1]), bytes([0xC7, size, 2]), b"\xd8\x01", b"\xc8\0" + bytes([size, 1])):
        data = head + b"\x01" * size
        assert _decodes(canonical.decode, data) == _decodes(encoding.decode, data)


@given(st.binary(max_size=40))
def test_both_decode_the_same_of_any_bytes(data: bytes) -> None:
    assert _decodes(canonical.decode, data) == _decodes(encoding.decode, data)


@pytest.mark.parametrize("depth", [31, 32, 33, 40, 1_000])
def test_both_go_equally_deep(depth: int) -> None:
    for data in (b"\x91" * depth + b"\xc0", b"\x81\xa0" * depth + b"\xc0"):
        assert _decodes(canonical.decode, data) == _decodes(encoding.decode, data)


def _decodes(decode: Callable[[bytes], object], data: bytes) -> tuple[bool, object]:
    try:
        return True, decode(data)
    except (EncodingError, ValueError):
        return False, None


@given(st.integers(1, 70), st.data())
def test_paths_of_the_log_lead_to_its_root(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [bytes([number]) for number in range(size)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    path = merkle.compute_inclusion_path(hashes, index)

    assert compute_log_root(leaves[index], index, size, path) == merkle.compute_root(hashes)
