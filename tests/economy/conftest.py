"""Shared by the economy's tests: a town of nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.economy.node_town import NodeTown


@pytest.fixture
def town(tmp_path: Path) -> Iterator[NodeTown]:
    made = NodeTown(tmp_path / "town")
    yield made
    made.close()
