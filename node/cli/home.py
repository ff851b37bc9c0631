"""Where the command line finds a network: a folder with `client.json`, a wallet and the genesis.

`client.json` names the API's URL.  `atlas devnet` writes one to build/devnet, and the command line looks there first
when it lies below the current folder, then in ~/.atlas; `--home` and ATLAS_HOME name another.
"""

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from ledger.genesis import Genesis, decode_genesis_file
from ledger.primitives.signing import SigningKey
from node.keystore import Keystore

DEVNET_HOME = Path("build/devnet")
DEFAULT_URL = "http://127.0.0.1:8080"


class UsageError(RuntimeError):
    """The person asked for something that can't be done as asked; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Home:
    """One network as this person uses it."""

    folder: Path
    url: str
    passphrase: str | None  # kept in client.json for development networks only

    @property
    def wallet(self) -> Keystore:
        return Keystore(self.folder / "wallet")

    def open_key(self, name: str) -> SigningKey:
        """Return a key of the wallet, asking for its passphrase if need be.  Raises KeystoreError."""
        return self.wallet.open(name, self.read_passphrase(f"Passphrase of {name}: "))

    def read_passphrase(self, prompt: str) -> str:
        """Return the passphrase from client.json, ATLAS_PASSPHRASE, or the terminal.  Raises UsageError."""
        given = self.passphrase if self.passphrase is not None else os.environ.get("ATLAS_PASSPHRASE")
        if given is not None:
            return given
        if not sys.stdin.isatty():
            raise UsageError("no passphrase: set ATLAS_PASSPHRASE, or run this in a terminal to be asked for it")
        return getpass.getpass(prompt)

    def read_genesis(self) -> Genesis:
        """Return the genesis that this person trusts.  Raises UsageError and GenesisInvalid."""
        path = self.folder / "genesis.json"
        if not path.exists():
            raise UsageError(f"{path}: no genesis here; name one with --genesis")
        return decode_genesis_file(path.read_bytes())


def find_home(given: str | None, url: str | None) -> Home:
    """Return the home that the options, the environment or the current folder name."""
    if given is not None:
        folder = Path(given)
    elif "ATLAS_HOME" in os.environ:
        folder = Path(os.environ["ATLAS_HOME"])
    elif (DEVNET_HOME / "client.json").exists():
        folder = DEVNET_HOME
    else:
        folder = Path.home() / ".atlas"
    path = folder / "client.json"
    document: dict[str, Any] = {}
    if path.exists():
        try:
            document = cast("dict[str, Any]", orjson.loads(path.read_bytes()))
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{path}: not readable as JSON: {error}") from error
    return Home(folder, url or document.get("url", DEFAULT_URL), document.get("passphrase"))


def write_client_file(folder: Path, url: str, passphrase: str | None) -> None:
    """Write `client.json`, so that the command line finds this network."""
    document = {"url": url} if passphrase is None else {"url": url, "passphrase": passphrase}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
