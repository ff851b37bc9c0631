"""Shared by the API's tests: the API over a chain of its own, or over one that many tests only read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client_api.api import Api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with Api(tmp_path) as api:
        yield api


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """For tests that change nothing: starting one for each would be slow."""
    with Api(tmp_path_factory.mktemp("api")) as api:
        yield api
