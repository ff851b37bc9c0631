"""`atlas node`: a validator's operator takes it out of the set, or gives it another key, over a node's API."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.genesis import encode_genesis_file
from ledger.membership import LEAVE, ROTATE, find_change
from ledger.primitives.signing import SigningKey
from node.cli.home import write_client_file
from node.cli.main import main
from node.config import Config, NodeSection, render_config
from node.keystore import Keystore
from tests.client_api.api import Api
from tests.economy.council import open_council
from tests.economy.node_town import NODES

SEED, NEW_SEED = bytes([201]) * 32, b"n" * 32


class Bureau:
    """An operator's home, and the folders of its validator and of a node with a new key."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.council = open_council(folder / "ledger")
        self.api = Api(folder, self.council)
        self.api.node.on_submit = lambda: threading.Timer(0.02, self.api.node.execute_waiting).start()
        genesis = encode_genesis_file(self.council.chain.genesis)
        write_client_file(folder / "home", self.api.url, "a passphrase")
        (folder / "home" / "genesis.json").write_bytes(genesis)
        Keystore(folder / "home" / "wallet").add("o1", b"o1".ljust(32, b"."), "a passphrase")
        for name, seed in (("old", SEED), ("new", NEW_SEED)):
            (folder / name).mkdir()
            (folder / name / "genesis.json").write_bytes(genesis)
            (folder / name / "node.toml").write_text(render_config(Config(folder / name, node=NodeSection(name=name))))
            Keystore(folder / name / "data" / "keys").add("node", seed, "a passphrase")

    def run(self, action: str, *arguments: str, code: int = 0) -> Any:
        folder, home = str(self.folder / "old"), str(self.folder / "home")
        assert main(["node", action, folder, "--as", "o1", "--home", home, *arguments, "--json"]) == code
        printed = self._capsys.readouterr()
        return json.loads(printed.out) if printed.out else printed.err


@pytest.fixture
def bureau(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Bureau]:
    bureau = Bureau(tmp_path, capsys)
    yield bureau
    bureau.api.close()


def test_a_validator_resigns(bureau: Bureau) -> None:
    bureau.run("resign")
    again = bureau.run("resign", code=1)

    change = find_change(bureau.council.store, NODES[1].public)
    assert change is not None
    assert change.kind == LEAVE
    assert [each["code"] for each in again["receipt"]["verdicts"] if not each["allowed"]] == ["VALIDATOR_CHANGE_WAITS"]


def test_a_validator_changes_its_key_for_that_of_another_folder(bureau: Bureau) -> None:
    bureau.run("rotate", "--to", str(bureau.folder / "new"))

    change = find_change(bureau.council.store, NODES[1].public)
    assert change is not None
    assert (change.kind, change.new_key) == (ROTATE, SigningKey(NEW_SEED).public)


def test_a_rotation_names_the_folder_of_the_new_key_and_nothing_else_does(bureau: Bureau) -> None:
    missing = bureau.run("rotate", code=2)
    needless = bureau.run("resign", "--to", str(bureau.folder / "new"), code=2)

    assert "--to FOLDER" in missing
    assert "--to FOLDER" in needless
