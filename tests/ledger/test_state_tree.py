"""The state tree: its root against the definition, proofs of presence and absence, and versions that are kept."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keyspace, state_pages
from ledger.head import encode_head
from ledger.primitives.merkle import ProofInvalid
from ledger.state_pages import TreeAt, TreeVersion, build_first, build_next, read_newest, read_version
from ledger.state_tree import EMPTY, Leaf, StateProof, compute_path, compute_subtree, make_leaf, verify_state
from ledger.undo import encode_undo
from simulations.disk import MemoryStore, PowerLost

keys = st.binary(max_size=2).map(lambda rest: keyspace.STATE + rest)
states = st.dictionaries(keys, st.binary(max_size=3), max_size=40)
blocks = st.lists(st.dictionaries(keys, st.none() | st.binary(max_size=3), max_size=12), max_size=4)


def compute_root(state: dict[bytes, bytes]) -> bytes:
    """The definition, bit by bit."""

    def subtree(leaves: list[Leaf], depth: int) -> bytes:
        if len(leaves) <= 1:
            return leaves[0][1] if leaves else EMPTY
        halves: tuple[list[Leaf], list[Leaf]] = ([], [])
        for leaf in leaves:
            halves[int.from_bytes(leaf[0], "big") >> (255 - depth) & 1].append(leaf)
        return hashlib.sha256(b"\x01" + subtree(halves[0], depth + 1) + subtree(halves[1], depth + 1)).digest()

    return subtree([make_leaf(key, value) for key, value in state.items()], 0)


class Ledger:
    """A store with a state, its undo records and its tree; an epoch begins when `begin_epoch` is called."""

    def __init__(self, state: dict[bytes, bytes]) -> None:
        self.store = MemoryStore("tree")
        self.state = dict(state)
        self.height = 0
        self.then = [dict(state)]
        self.store.write([*state.items(), *build_first(state.items(), 0, 0), self._head()], [])

    def write_block(self, changes: dict[bytes, bytes | None]) -> None:
        self.height += 1
        undo = [(key, self.state.get(key)) for key in sorted(changes)]
        puts = [(key, value) for key, value in changes.items() if value is not None]
        self.store.write(
            [*puts, *encode_undo(self.height, undo), self._head()],
            [key for key, value in changes.items() if value is None],
        )
        self.state = {key: value for key, value in (self.state | changes).items() if value is not None}

    def begin_epoch(self) -> int:
        self.then.append(dict(self.state))
        return self.height

    def build(self, height: int) -> TreeVersion:
        with self.store.snapshot() as snapshot:
            newest = read_newest(snapshot)
        return build_next(self.store, height, newest)

    def _head(self) -> tuple[bytes, bytes]:
        return keyspace.META_HEAD, encode_head(self.height, bytes(32))


@given(states)
def test_the_root_is_that_of_the_definition(state: dict[bytes, bytes]) -> None:
    leaves = sorted(make_leaf(key, value) for key, value in state.items())

    assert compute_subtree(leaves).hash == compute_root(state)


def test_the_root_of_three_known_keys_stays() -> None:
    # A change of the path, the tags or the hashing would give other roots than the chain's headers hold.
    leaves = sorted(make_leaf(key, value) for key, value in ((b"sa", b"1"), (b"sb", b""), (b"sc", b"\x00\xff")))

    assert compute_path(b"sa").hex() == PATH_OF_SA
    assert compute_subtree(leaves).hash.hex() == ROOT_OF_THREE


@given(states, st.lists(blocks, min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_every_kept_version_is_the_tree_over_its_state(
    state: dict[bytes, bytes], epochs: list[list[dict[bytes, bytes | None]]], data: st.DataObject
) -> None:
    ledger = Ledger(state)
    for changes in epochs:
        for block in changes:
            ledger.write_block(block)
        height = ledger.begin_epoch()
        for block in data.draw(blocks, "executed before the tree is built"):
            ledger.write_block(block)
        built = ledger.build(height)
        assert built.root == compute_root(ledger.then[-1])

    newest = len(epochs)
    with ledger.store.snapshot() as snapshot:
        for version, then in enumerate(ledger.then):
            found = read_version(snapshot, version)
            if version <= newest - state_pages.VERSIONS_KEPT:
                assert found is None
                continue
            assert found is not None
            assert found.root == compute_root(then)
            for key in sorted({*then, b"s", b"s\x01\x02"}):
                proof = TreeAt(snapshot, version).prove(key, then.get)
                verify_state(found.root, key, then.get(key), proof)
        kept = [key for key, _ in snapshot.iterate(keyspace.TREE_UNDO, keyspace.after(keyspace.TREE_UNDO))]
        assert all(int.from_bytes(key[-8:], "big") > newest - state_pages.VERSIONS_KEPT + 1 for key in kept)


@given(states, blocks, st.integers(0, 20), st.booleans())
@settings(deadline=None)
def test_a_build_that_a_crash_cut_off_gives_the_same_the_second_time(
    state: dict[bytes, bytes], changes: list[dict[bytes, bytes | None]], point: int, before: bool
) -> None:
    ledger = Ledger(state)
    for block in changes:
        ledger.write_block(block)
    height = ledger.begin_epoch()
    points = iter(range(1_000))

    def fail(name: str) -> None:
        if name == ("store write" if before else "store written") and next(points) == point:
            raise PowerLost

    ledger.store.point = fail
    try:
        ledger.build(height)
    except PowerLost:
        with ledger.store.snapshot() as snapshot:
            newest = read_newest(snapshot)
            for key in sorted(state):  # what is half written shows in no version
                verify_state(compute_root(state), key, state[key], TreeAt(snapshot, 0).prove(key, state.get))
        if newest.version == 0:
            ledger.build(height)

    with ledger.store.snapshot() as snapshot:
        assert read_newest(snapshot).root == compute_root(ledger.state)
        for version, then in enumerate(ledger.then):
            for key in sorted(then):
                proof = TreeAt(snapshot, version).prove(key, then.get)
                verify_state(compute_root(then), key, then[key], proof)


@given(st.dictionaries(keys, st.binary(max_size=3), min_size=1, max_size=40), keys, st.data())
def test_a_proof_shows_nothing_else_than_what_is(state: dict[bytes, bytes], key: bytes, data: st.DataObject) -> None:
    ledger = Ledger(state)
    root, value = compute_root(state), state.get(key)
    with ledger.store.snapshot() as snapshot:
        proof = TreeAt(snapshot, 0).prove(key, state.get)

    verify_state(root, key, value, proof)
    wrong = data.draw(st.none() | st.binary(max_size=3), "another value")
    if wrong != value:
        with pytest.raises(ProofInvalid):
            verify_state(root, key, wrong, proof)
    for place in range(len(proof.siblings)):
        for siblings in (
            proof.siblings[:place] + proof.siblings[place + 1 :],
            (*proof.siblings[:place], bytes(32 - 1) + b"\x01", *proof.siblings[place + 1 :]),
            (*proof.siblings[:place], EMPTY, *proof.siblings[place:]),
        ):
            with pytest.raises(ProofInvalid):
                verify_state(root, key, value, StateProof(siblings, proof.other))


def test_a_leaf_cannot_stand_for_an_absent_key_that_it_is_not_beside() -> None:
    key = b"sa"
    path, leaf = make_leaf(key, b"1")
    value_hash = hashlib.sha256(b"1").digest()

    with pytest.raises(ProofInvalid, match="expected another leaf"):
        verify_state(leaf, key, None, StateProof((), (path, value_hash)))
    flipped = bytes([path[0] ^ 0x80]) + path[1:]
    with pytest.raises(ProofInvalid, match="share the key's first 1 bits"):
        verify_state(leaf, key, None, StateProof((EMPTY,), (flipped, value_hash)))
    with pytest.raises(ProofInvalid, match="no other leaf beside a value"):
        verify_state(leaf, key, b"1", StateProof((), (flipped, value_hash)))
    with pytest.raises(ProofInvalid, match="at most 256 siblings"):
        verify_state(leaf, key, b"1", StateProof((EMPTY,) * 257))


PATH_OF_SA = "666e69e76e5a8d7e80ed437ddd4303bd33293dd70fc2616565e4b795db7938fb"
ROOT_OF_THREE = "a93b16f23d80720019618912d0a485008943d3fe7cd9a374d707bbc19ef2cd67"
