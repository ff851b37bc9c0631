"""Shared by the guards' tests: a fresh court for each, over one genesis that is made once."""

from dataclasses import replace

import pytest

from tests.guards.court import Court, make_court


@pytest.fixture(scope="session")
def first_court(tmp_path_factory: pytest.TempPathFactory) -> Court:
    return make_court(tmp_path_factory.mktemp("court") / "ledger")


@pytest.fixture
def court(first_court: Court) -> Court:
    return replace(first_court)
