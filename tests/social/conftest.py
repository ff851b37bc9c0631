"""Shared by the tests of the social rules: a chain in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.economy.harbour import Harbour
from tests.ledger.world import World
from tests.social.assembly import Assembly, Plants


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "ledger")
    yield world
    world.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Assembly]:
    town = Assembly(tmp_path / "ledger")
    yield town
    town.assert_conserved()
    town.close()


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    harbour = Harbour(tmp_path / "ledger")
    yield harbour
    harbour.assert_conserved()
    harbour.close()


@pytest.fixture
def plants() -> Plants:
    return Plants()


@pytest.fixture
def planted(tmp_path: Path, plants: Plants) -> Iterator[Assembly]:
    town = Assembly(tmp_path / "ledger", registry=plants.registry)
    yield town
    town.assert_conserved()
    town.close()
