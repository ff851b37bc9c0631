"""Bundles over a real chain whose validator set changes: a wallet, a part of one, events, and ranks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from atlas_tables.tables import verify_tables
from atlas_verify.canonical import Invalid
from atlas_verify.chain import read_genesis
from ledger import keyspace
from ledger.bundle_tables import make_events_bundle, verify_table
from ledger.bundles import Bundle, ProvenBundle, find_certified_height, make_bundle, verify_bundle
from ledger.certified import ProofInvalid
from ledger.genesis import compute_chain_id, encode_genesis_file
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import Purpose, SigningKey
from ledger.ranking import make_ranking_bundle
from ledger.receipts import Receipt, decode_receipt
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from ledger.undo import StateAt
from ledger.wallet_export import plan_wallet_bundle
from node.certificates import make_certificate_verifier
from social.posts import PostPublished
from social.reactions import ContentLiked
from tests.ledger.changing_sets import EPOCH_BEATS, ChangingWorld
from tests.ledger.world import id_of
from tests.verify.chains import make_world

NODE = SigningKey(bytes([91]) * 32)
EPOCHS = 5


class Town:
    """People who post, like and pay for some epochs; every block is certified."""

    def __init__(self, folder: Path) -> None:
        self.world = make_world(folder)
        world = self.world
        self.posts: list[bytes] = []
        for number in range(EPOCHS):
            text = f"The harbour was quiet on morning number {number}, and the boats came back early."
            post = world.sign(world.ada, PostPublished, text=text, tags=())
            self.posts.append(id_of(post))
            self._execute(post)
            self._execute(
                world.sign(world.ben, ContentLiked, target=id_of(post)),
                world.sign(world.ada, TokensTransferred, atoms=SCALE + number, to=world.ben.account, token=FLX),
            )
            for _ in range(EPOCH_BEATS - 1):
                world.beat()
            if number == EPOCHS - 1:
                lonely = world.sign(
                    world.ben, PostPublished, text="Nobody reads this one, and nobody likes it.", tags=()
                )
                self.lonely = id_of(lonely)
                self._execute(lonely)
            world.beat()
        world.beat()

    def _execute(self, *events: Any) -> None:
        height = self.world.execute(*events).header.height
        self.world.chain.write_certificate(height, self.world.certify(height))

    def export(self, plan: Any) -> bytes:
        """Return the file of the bundle that a plan gives for (snapshot, head height, certified height)."""
        head = self.world.chain.head.height
        with self.world.store.snapshot() as snapshot:
            height = find_certified_height(snapshot, head)
            bundle = plan(snapshot, head, height)
            return make_bundle(snapshot, snapshot, head, height, bundle, NODE.public, self.sign)

    def sign(self, message: bytes) -> bytes:
        return NODE.sign(self.world.chain.chain_id, Purpose.BUNDLE, message)

    def wallet(self, account: bytes, first: int = 0, count: int = 256) -> bytes:
        """Return the bundle of some of an account's moves."""
        prefix = keyspace.MOVES + account

        def plan(snapshot: Any, head: int, height: int) -> Bundle:
            found = [(int.from_bytes(key[-8:], "big"), value)
                     for key, value in snapshot.iterate(prefix, keyspace.after(prefix))]  # fmt: skip
            return plan_wallet_bundle(
                snapshot, snapshot, head, height, account, found[first : first + count], EPOCH_BEATS, None
            )

        return self.export(plan)

    def events(self, **query: str) -> bytes:
        """Return the bundle of all events of one type."""

        def plan(snapshot: Any, head: int, height: int) -> Bundle:
            receipts = [
                decode_receipt(data) for _, data in snapshot.iterate(keyspace.receipt(0), keyspace.receipt(2**32))
            ]
            chosen: list[Receipt] = [each for each in receipts if each.event_type == query["type"]]
            return make_events_bundle(chosen, query, None)

        return self.export(plan)

    def ranking(self, post: bytes) -> bytes:
        def plan(snapshot: Any, head: int, height: int) -> Bundle:
            header = self.world.chain.read_header(height)
            assert header is not None
            return make_ranking_bundle(snapshot, StateAt(snapshot, header.state_height, head), post)

        return self.export(plan)


@dataclass(frozen=True)
class Bundles:
    """Files of every subject."""

    town: Town
    files: dict[str, bytes]

    @property
    def world(self) -> ChangingWorld:
        return self.town.world

    def verify(self, data: bytes) -> tuple[ProvenBundle, dict[str, Any]]:
        """Return what each of the two verifiers finds, rows included."""
        genesis = self.world.chain.genesis
        ours = verify_bundle(data, genesis, make_certificate_verifier(compute_chain_id(genesis)))
        verify_table(ours)
        return ours, verify_tables(data, read_genesis(encode_genesis_file(genesis)))

    def list_believers(self, data: bytes) -> list[str]:
        """Return which of the two accept a file.  Whatever else they raise is a fault of theirs."""
        genesis = self.world.chain.genesis
        believers: list[str] = []
        try:
            verify_table(verify_bundle(data, genesis, make_certificate_verifier(compute_chain_id(genesis))))
            believers.append("node")
        except ProofInvalid:
            pass
        try:
            verify_tables(data, read_genesis(encode_genesis_file(genesis)))
            believers.append("atlas_tables")
        except Invalid:
            pass
        return believers

    def sign_again(self, document: dict[str, Any]) -> bytes:
        """Return a changed document as a node that lies would sign it."""
        unsigned = {name: value for name, value in document.items() if name != "signature"}
        return canonical_json(unsigned | {"signature": self.town.sign(canonical_json(unsigned)).hex()}) + b"\n"


def make_bundles(folder: Path) -> Bundles:
    town = Town(folder)
    ada = town.world.ada.account
    files = {
        "wallet": town.wallet(ada),
        "wallet's end": town.wallet(ada, first=9),
        "wallet's begin": town.wallet(ada, count=3),
        "empty wallet": town.wallet(bytes(32)),
        "events": town.events(type="economics.TokensTransferred", outcome="applied"),
        "beats": town.events(type="infra.BeatStarted", module="infra"),
        "endorsed post": town.ranking(town.posts[-2]),
        "lonely post": town.ranking(town.lonely),
    }
    return Bundles(town, files)


def decode(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(data)
    return document
