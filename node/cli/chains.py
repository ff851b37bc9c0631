"""The ledger of a stopped node, for commands that read it where it lies."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ledger.chain import Chain
from ledger.genesis import decode_genesis_file
from ledger.store import Store
from node.cli.home import UsageError
from node.config import load_config
from node.modules import make_registry


@contextmanager
def open_chain(folder: Path) -> Generator[Chain]:
    """Open the ledger of the node in `folder`.  Raises UsageError, StoreLocked while the node runs, StoreDamaged."""
    path = folder / "node.toml"
    if not path.exists():
        raise UsageError(f"{path}: no node here; expected a folder that `atlas init` or `atlas devnet` made")
    config = load_config(path)
    store = Store(config.data_folder / "ledger")
    try:
        yield Chain(store, decode_genesis_file(config.genesis_file.read_bytes()), make_registry())
    finally:
        store.close()
