"""A real network of processes for the tests that need one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.devnet import Devnet

PORTS_NEEDED = 110


def find_free_port() -> int:
    """Return a port that is free, as are the ones at the offsets that a devnet uses."""
    for base in range(21_000, 60_000, 1_000):
        if all(_is_free(base + offset) for offset in (*range(5), *range(100, 105))):
            return base
    raise AssertionError("no free ports on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    """Four validators and a gateway, empty and running."""
    network = Devnet(tmp_path / "devnet", find_free_port())
    network.prepare()
    try:
        for member in network.members:
            network.start(member)
        for member in network.members:
            network.wait_ready(member)
        network.wait_height(1)
        yield network
    finally:
        network.stop()
