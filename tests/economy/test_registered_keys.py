"""Whose addresses a node dials first: the keys that the ledger's node registry holds."""

from pathlib import Path

from ledger.nodes import NodeRetired
from node.peering import read_registered
from tests.economy.node_town import NODES, NodeTown, make_registry_that_revokes


def test_registered_keys_are_those_of_nodes_that_have_not_retired(town: NodeTown) -> None:
    assert read_registered(town.chain) == frozenset()

    town.register(4, 5)
    assert read_registered(town.chain) == {NODES[4].public, NODES[5].public}

    town.do(town.operators[4], NodeRetired, node=NODES[4].public)
    assert read_registered(town.chain) == {NODES[5].public}


def test_a_revoked_key_is_registered_no_more(tmp_path: Path) -> None:
    town = NodeTown(tmp_path, make_registry_that_revokes(lambda closed: NODES[5].public))
    town.register(4, 5)
    assert NODES[5].public in read_registered(town.chain)

    for _ in range(3):
        town.beat()
    town.settle()

    assert read_registered(town.chain) == {NODES[4].public}
    town.close()
