"""A chain in a temporary folder, whose blocks the checkers are shown."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "ledger")
    yield world
    world.close()


@pytest.fixture(autouse=True, scope="session")
def _collect_seldom() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """As the command does: runs make millions of small objects, and looking through all of them is half the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
