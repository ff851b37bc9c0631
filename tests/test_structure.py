"""What the folders promise: who imports whom, and behind which file each library stays."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "atlas_tables": ROOT / "atlas_tables",
    "atlas_verify": ROOT / "atlas_verify",
    "client_api": ROOT / "client-api" / "client_api",
    "consensus": ROOT / "consensus",
    "guards": ROOT / "guards",
    "ledger": ROOT / "ledger",
    "node": ROOT / "node",
    "p2p": ROOT / "p2p",
    "simulations": ROOT / "simulations",
    "social": ROOT / "social",
}
HOMES = {
    "plyvel": {"ledger/store.py"},
    "msgpack": {"ledger/primitives/encoding.py"},
    "ed25519_zebra": {"ledger/primitives/signing.py"},
    "blake3": {"ledger/primitives/lthash.py"},
    "cryptography": {"node/pqc.py"},
    "numpy": {"ledger/primitives/lthash.py"},
    "nacl": {"node/keystore.py", "atlas_verify/hashes.py"},
    "zstandard": {"ledger/archive/compression.py"},
    "fsspec": {"node/archive_store.py"},
    # The loader is a client of the API, not a part of the server.
    "aiohttp": {"client-api/client_api/server.py", "node/loader.py"},
}


def list_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def list_files() -> list[Path]:
    return sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_our_packages_are_imported_from_our_folders(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__file__ is not None
    assert Path(module.__file__).parent == PACKAGES[name]


@pytest.mark.parametrize("name", ["consensus", "p2p"])
def test_consensus_and_p2p_know_of_the_ledger_only_its_primitives(name: str) -> None:
    for path in sorted(PACKAGES[name].rglob("*.py")):
        foreign = [
            module
            for module in list_imports(path)
            if module.partition(".")[0] in PACKAGES
            and module.partition(".")[0] != name
            and not module.startswith("ledger.primitives")
        ]
        assert foreign == [], path


def test_the_primitives_import_nothing_else_of_ours() -> None:
    for path in sorted((PACKAGES["ledger"] / "primitives").rglob("*.py")):
        ours = [module for module in list_imports(path) if module.partition(".")[0] in PACKAGES]
        assert [module for module in ours if not module.startswith("ledger.primitives")] == [], path


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_stays_behind_its_file(library: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in list_files()
        if library in {module.partition(".")[0] for module in list_imports(path)}
    }

    assert users <= HOMES[library]


def test_libp2p_is_imported_only_by_the_files_that_wrap_it() -> None:
    for path in list_files():
        if any(module.partition(".")[0] == "libp2p" for module in list_imports(path)):
            assert path.parent == PACKAGES["p2p"], path
            assert path.name == "host.py" or path.name.startswith("libp2p_"), path


def test_no_file_is_longer_than_a_few_hundred_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in list_files()}

    assert {path.name: length for path, length in lengths.items() if length > 500} == {}
