"""The network that other implementations meet."""

from tests.network.conftest import devnet

__all__ = ["devnet"]
