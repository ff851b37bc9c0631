"""Random changes of the validator set, right and wrong, over many epochs: what must hold of every set holds."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.chain import Chain
from ledger.genesis import VALIDATORS_MIN, compute_validators_hash
from ledger.membership import ADMIT, find_change, list_waiting, read_membership
from ledger.nodes import NODE_BOND, NodeRetired, compute_node_bond_account, list_nodes, read_node
from ledger.primitives.signing import SigningKey
from ledger.service import Validators, compute_quorum, read_era, read_service, read_validators_at
from ledger.store import Store
from ledger.tokens import FLX, read_balance
from ledger.validators import (
    VALIDATOR_ADMITTED,
    VALIDATOR_DISMISSED,
    ValidatorAdmitted,
    ValidatorDismissed,
    find_current_key,
)
from tests.economy.council import Council, open_council
from tests.economy.node_town import make_node_genesis
from tests.economy.town import by_type

EPOCHS = 80


class Mover:
    """Draws what happens in an epoch; a good part of it is refused."""

    def __init__(self, council: "Watched", seed: int) -> None:
        self.council, self.random = council, random.Random(seed)
        self.made: list[SigningKey] = []

    @property
    def is_growing(self) -> bool:
        """Whether this is a time in which nobody wants to leave."""
        return self.council.chain.head.header.epoch % 16 < 10

    def act(self) -> None:
        council, number = self.council, self.random.randrange(8)
        admitted = [n for n in range(8) if find_change(council.store, council.keys[n].public) is not None]
        if admitted and self.random.random() < 0.4:
            number = self.random.choice(admitted)
        draws: list[Callable[[], Any]] = [
            lambda: council.execute(council.sign_ready(number)),
            lambda: council.execute(council.sign_ready(number)),
            lambda: council.execute(council.sign_ready(number)),
            lambda: council.execute(council.sign_rotation(number, self.make_key())),
        ]
        if not self.is_growing:
            by = self.random.choice((number, 0))
            draws.append(lambda: council.execute(council.sign_resignation(number, by=by)))
        if self.random.random() < 0.004:
            draws = [lambda: council.do(council.operators[number], NodeRetired, node=council.keys[number].public)]
        elif self.random.random() < 0.01:
            draws = [self.accuse]
        self.random.choice(draws)()

    def make_key(self) -> SigningKey:
        if self.random.random() < 0.2:
            return self.random.choice(self.council.keys)
        self.made.append(SigningKey(b"fresh".ljust(28, b".") + len(self.made).to_bytes(4, "big")))
        return self.made[-1]

    def accuse(self) -> None:
        """Prove that a key of an era, present or past, voted two ways."""
        council = self.council
        era = self.random.randrange(council.validators.era + 1)
        members = read_era(council.store, era)
        assert members is not None
        known = {key.public: key for key in council.every_key}
        replica = self.random.randrange(len(members.keys))
        council.execute(council.sign_evidence(known[members.keys[replica]], replica, era))

    def decide(self) -> list[tuple[Any, Any]]:
        pick = self.random
        node = pick.choice(self.council.keys).public
        if pick.random() < (0.9 if self.is_growing else 0.4):
            return [(VALIDATOR_ADMITTED, ValidatorAdmitted(node))]
        if not self.is_growing:
            current = find_current_key(self.council.store, node)
            return [(VALIDATOR_DISMISSED, ValidatorDismissed(current, "decided"))]
        return []


class Watched(Council):
    """A council whose operators follow their rotations, and forget no key."""

    every_key: list[SigningKey]

    def follow(self, candidates: list[SigningKey]) -> None:
        """Take notice of the keys that nodes have now."""
        known = {key.public: key for key in (*self.every_key, *candidates)}
        self.keys = [known[find_current_key(self.store, key.public)] for key in self.keys]
        self.every_key = list(known.values())


def check_change(council: Council, before: Validators, after: Validators) -> None:
    """Check what must hold between the sets of two epochs."""
    head = council.chain.head
    assert VALIDATORS_MIN <= len(after.keys) == len(frozenset(after.keys))
    assert head.header.validators_hash == compute_validators_hash(after.keys)
    assert read_era(council.store, after.era) == after == council.chain.validators
    if after == before:
        return
    assert (after.era, after.since) == (before.era + 1, head.height + 1)
    assert read_validators_at(council.store, head.height) == before
    stays = [key for key in before.keys if find_current_key(council.store, key) in after.keys]
    assert len(stays) >= compute_quorum(len(after.keys))
    renamed = [find_current_key(council.store, key) for key in stays]
    assert list(after.keys[: len(stays)]) == renamed
    service = read_service(council.store, head.header.epoch)
    assert service is not None
    assert len(service.led) == len(service.votes) == len(service.proposals) == len(after.keys)


def check_registry(council: Council) -> None:
    """Check that the registry agrees with the set, and that each bond is there or was burned."""
    validators, listed = council.validators.keys, list_nodes(council.store)
    assert [node.place for node in sorted(listed, key=lambda node: node.place)] == list(range(len(listed)))
    for node in listed:
        assert (node.kind == "validator") == (node.key in validators)
        bond = read_balance(council.store, FLX, compute_node_bond_account(node.key))
        assert bond == (0 if node.revoked else NODE_BOND)
    for change in read_membership(council.store).waiting:
        node_of = read_node(council.store, change.key)
        assert node_of is not None
        assert (change.key in validators) == (change.kind != ADMIT)
    assert len({each.key for each in list_waiting(council.store)}) == len(list_waiting(council.store))
    council.assert_conserved()


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_keep_every_rule_and_replay_alike(tmp_path: Path, seed: int) -> None:
    council = open_council(tmp_path / "one", Watched)
    assert isinstance(council, Watched)
    council.every_key = list(council.keys)
    mover = Mover(council, seed)
    sizes: set[int] = set()
    outcomes: dict[str, int] = {}
    for _ in range(EPOCHS):
        before, first = council.validators, len(council.blocks)
        for _ in range(mover.random.randrange(9)):
            mover.act()
            assert council.validators == before  # nothing changes within an epoch
        receipts = council.end(*mover.decide())
        council.follow(mover.made)

        check_change(council, before, council.validators)
        check_registry(council)
        assert len(by_type(receipts, "infra.ValidatorSetChanged")) == (council.validators != before)
        assert not by_type(receipts, "guards.Cir511Raised")
        sizes.add(len(council.validators.keys))
        for _, checked in council.blocks[first:]:
            for each in checked:
                outcomes[each.kind.name] = outcomes.get(each.kind.name, 0) + 1

    assert council.validators.era > 5
    assert {4, 5} <= sizes
    assert outcomes["infra.ValidatorReady"] > 10
    store = Store(tmp_path / "two")
    again = Chain(store, make_node_genesis(), council.votes.registry)
    for batch, checked in council.blocks:
        again.execute(batch, checked)
    assert list(store.iterate(b"s", b"t")) == list(council.store.iterate(b"s", b"t"))
    store.close()
    council.close()
