"""Shared by the economy's tests: a town of nodes, and one whose validator set changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.economy.council import Council, open_council
from tests.economy.node_town import NodeTown


@pytest.fixture
def town(tmp_path: Path) -> Iterator[NodeTown]:
    made = NodeTown(tmp_path / "town")
    yield made
    made.close()


@pytest.fixture
def council(tmp_path: Path) -> Iterator[Council]:
    made = open_council(tmp_path / "council")
    yield made
    made.close()
