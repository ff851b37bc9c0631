"""`atlas verify FILE` takes proofs of every kind, and its answers are those of the verifier that stands alone."""

import json
from pathlib import Path

import pytest

from ledger import keyspace
from ledger.genesis import encode_genesis_file
from ledger.primitives.ids import IdKind, encode_id
from node.cli.home import write_client_file
from node.cli.main import main
from tests.client_api.api import Api
from tests.verify.chains import prove_state
from tests.verify.conftest import Proofs


@pytest.fixture
def genesis(proofs: Proofs, tmp_path: Path) -> str:
    path = tmp_path / "genesis.json"
    path.write_bytes(encode_genesis_file(proofs.world.chain.genesis))
    return str(path)


def test_it_shows_an_event(proofs: Proofs, genesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.proof").write_bytes(proofs.of_posts[3])

    assert main(["verify", str(tmp_path / "a.proof"), "--genesis", genesis]) == 0
    assert "validator set of era 3" in " ".join(capsys.readouterr().out.split())


def test_it_shows_a_balance(proofs: Proofs, genesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = keyspace.balance("FLX", proofs.world.ada.account)
    (tmp_path / "a.proof").write_bytes(prove_state(proofs.world, key))

    assert main(["verify", str(tmp_path / "a.proof"), "--genesis", genesis]) == 0
    assert " FLX\n" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "a.proof"), "--genesis", genesis, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    _, theirs = proofs.both.verify_state((tmp_path / "a.proof").read_bytes())
    assert (found["key"], found["value"], found["state_height"]) == (key.hex(), theirs["value"], theirs["state_height"])
    assert (found["token"], found["account"][:5]) == ("FLX", "acct1")


def test_it_shows_that_a_key_is_absent(
    proofs: Proofs, genesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.proof").write_bytes(prove_state(proofs.world, keyspace.account(bytes(32))))

    assert main(["verify", str(tmp_path / "a.proof"), "--genesis", genesis]) == 0
    assert "no value" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [b'"kind":"stAte"', b'"kind":[]', b'"kind":null'])
def test_an_unknown_kind_is_refused(
    proofs: Proofs, genesis: str, tmp_path: Path, kind: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = prove_state(proofs.world, keyspace.beat()).replace(b'"kind":"state"', kind)
    (tmp_path / "a.proof").write_bytes(proof)

    assert main(["verify", str(tmp_path / "a.proof"), "--genesis", genesis]) == 1
    assert proofs.both.list_believers(proof) == []


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (["--balance", "ACCOUNT"], "FLX"),
        (["--balance", "ACCOUNT", "--token", "CHR"], "CHR"),
        (["--state", "validators"], "state key 734e76"),
        (["--state", "73ff"], "no value"),
    ],
)
def test_atlas_proof_fetches_what_atlas_verify_accepts(
    proofs: Proofs, tmp_path: Path, wanted: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api, file = Api(tmp_path, proofs.world), str(tmp_path / "a.proof")
    write_client_file(tmp_path / "home", api.url, None)
    (tmp_path / "home" / "genesis.json").write_bytes(encode_genesis_file(proofs.world.chain.genesis))
    home = ["--home", str(tmp_path / "home")]
    account = encode_id(IdKind.ACCOUNT, proofs.world.ada.account)
    try:
        arguments = [account if argument == "ACCOUNT" else argument for argument in wanted]
        assert main(["proof", *arguments, "-o", file, *home]) == 0
        assert main(["verify", file, *home]) == 0
    finally:
        api.server.stop()

    assert shown in capsys.readouterr().out
    assert proofs.both.list_believers(Path(file).read_bytes()) == ["node", "atlas_verify"]
