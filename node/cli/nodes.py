"""Commands for who runs a node: register it with its bond, retire it, take the bond back; leave the validator set, or
change the key."""

import argparse
from pathlib import Path
from typing import Any

from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.nodes import NO_GROUP, NODE_KINDS, RELAY, VALIDATOR, registration_message
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import Purpose, SigningKey
from node.api_client import ApiClient
from node.cli.home import Home, UsageError, find_home
from node.cli.output import Output, outcome
from node.cli.people import print_receipt, sign_prepared
from node.config import load_config
from node.keystore import Keystore
from node.pqc import PQC_SCHEME, compute_pqc_key_hash, compute_pqc_public_key

OF_NODE = {
    "retire": "infra.NodeRetired",
    "release": "infra.NodeBondReleased",
    "resign": "infra.ValidatorResigned",
}
"""What a command about one node submits."""


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    summary = (
        "Register a node and lock its bond of 1,000 FLX, retire it, or take the bond back; take a validator out of the "
        "set, or give it another key."
    )
    command: argparse.ArgumentParser = commands.add_parser("node", help=summary, description=summary, parents=[shared])
    command.set_defaults(run=run_node_command)
    command.add_argument("action", choices=("register", "retire", "release", "resign", "rotate"))
    command.add_argument("folder", type=Path, help="the node's folder, with node.toml and its key")
    command.add_argument("--as", dest="key", metavar="NAME", help="the operator's wallet key (default: the node's own)")
    command.add_argument("--kind", choices=NODE_KINDS, help="default: validator where the genesis has it, else relay")
    command.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="rotate: the folder of a node with the new key",
    )
    command.add_argument("--group", default="", help="name of the operator group that the node is of")
    command.add_argument(
        "--home", help="folder with client.json, wallet and genesis (default: build/devnet or ~/.atlas)"
    )
    command.add_argument("--url", help="a node's API, e.g. http://127.0.0.1:8080 (default: from client.json)")


def run_node_command(given: argparse.Namespace, output: Output) -> int:
    home = find_home(given.home, given.url)
    if (given.action == "rotate") != (given.to is not None):
        raise UsageError("rotate needs --to FOLDER, and nothing else takes it")
    config = load_config(given.folder / "node.toml")
    passphrase = home.read_passphrase("Passphrase of the node's key: ")
    seed = _open_seed(given.folder, passphrase)
    genesis = decode_genesis_file(config.genesis_file.read_bytes())
    if compute_chain_id(genesis) != compute_chain_id(home.read_genesis()):
        raise UsageError(f"{config.genesis_file}: the node is of another network than {home.folder}")
    node = SigningKey(seed)
    signer = node if given.key is None else home.open_key(given.key)
    client = ApiClient(home.url)
    if given.action == "rotate":
        new = SigningKey(_open_seed(given.to, passphrase))
        code = _show(rotate_key(home, client, signer, node, new), output)
        if code == 0 and not output.as_json:
            output.line(
                "[dim]keep both nodes running: the old key votes until the epoch ends, the new one from then on[/dim]"
            )
            _tell_of_app_key(signer, new, output)
        return code
    if given.action != "register":
        return _show(_submit(home, client, signer, OF_NODE[given.action], {"node": node.public.hex()}), output)
    kind = given.kind or (VALIDATOR if node.public in genesis.validators else RELAY)
    code = _show(register_node(home, client, seed, signer, kind, given.group), output)
    if code == 0 and not output.as_json:
        _tell_of_app_key(signer, node, output)
    return code


def _tell_of_app_key(signer: SigningKey, node: SigningKey, output: Output) -> None:
    if signer.public != node.public:
        output.line(
            "[dim]a validator's reports are signed by its node key: let it, with AppKeyGranted for the scope "
            '"nodes"[/dim]'
        )


def _open_seed(folder: Path, passphrase: str) -> bytes:
    config = load_config(folder / "node.toml")
    return Keystore(config.data_folder / "keys").open_seed(config.node.key, passphrase)


def rotate_key(home: Home, client: ApiClient, signer: SigningKey, old: SigningKey, new: SigningKey) -> dict[str, Any]:
    """Give a validator of the signer's account another key, from the end of the epoch on; return the API's result."""
    chain_id = compute_chain_id(home.read_genesis())
    message = registration_message(compute_account_id(chain_id, signer.public), new.public)
    proof = new.sign(chain_id, Purpose.NODE_REGISTRATION, message)
    body = {"new_node": new.public.hex(), "node": old.public.hex(), "proof": proof.hex()}
    return _submit(home, client, signer, "infra.ValidatorKeyRotated", body)


def register_node(
    home: Home, client: ApiClient, seed: bytes, signer: SigningKey, kind: str, group: str = ""
) -> dict[str, Any]:
    """Register the node of a seed for the signer's account; return the API's result, final or refused."""
    node, chain_id = SigningKey(seed), compute_chain_id(home.read_genesis())
    message = registration_message(compute_account_id(chain_id, signer.public), node.public)
    body = {
        "group": (tagged_hash("atlas/operator-group", group.encode()) if group else NO_GROUP).hex(),
        "kind": kind,
        "node": node.public.hex(),
        "pqc_key": compute_pqc_key_hash(compute_pqc_public_key(seed)).hex(),
        "pqc_scheme": PQC_SCHEME,
        "proof": node.sign(chain_id, Purpose.NODE_REGISTRATION, message).hex(),
    }
    return _submit(home, client, signer, "infra.NodeRegistered", body)


def _submit(home: Home, client: ApiClient, signer: SigningKey, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    prepared = client.post("/events/prepare", {"type": kind, "key": signer.public.hex(), "body": body})
    answer = client.post("/events?wait=final", {"events": [sign_prepared(home, signer, prepared)]})
    result: dict[str, Any] = answer["results"][0]
    return result


def _show(result: dict[str, Any], output: Output) -> int:
    applied = result["status"] == "final" and result["receipt"]["outcome"] == "applied"
    if output.document(result):
        return 0 if applied else 1
    if result["status"] != "final":
        output.line(f"{outcome(result['status'])} {result['event_id']}")
        return 1
    print_receipt(result["receipt"], output)
    return 0 if applied else 1
