"""Shared by the archive's tests: one chain, which no test changes, and its segments."""

from collections.abc import Iterator

import pytest

from tests.archive.chains import ArchivedWorld


@pytest.fixture(scope="package")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchivedWorld]:
    world = ArchivedWorld(tmp_path_factory.mktemp("archive") / "ledger")
    yield world
    world.close()


@pytest.fixture(scope="package")
def files(chain: ArchivedWorld) -> list[bytes]:
    """One segment for each whole epoch."""
    return chain.write_segments()
