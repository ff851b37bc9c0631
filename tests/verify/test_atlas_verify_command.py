"""`atlas verify FILE` takes proofs of every kind, and its answers are those of the verifier that stands alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace
from ledger.bundles import encode_csv
from ledger.genesis import encode_genesis_file
from ledger.primitives.ids import IdKind, encode_id
from node.cli.home import write_client_file
from node.cli.main import main
from tests.archive.chains import ArchivedWorld
from tests.client_api.api import Api
from tests.ledger.changing_sets import ChangingWorld
from tests.ledger.world import make_genesis
from tests.verify.bundle_files import Bundles, decode
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


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main([*arguments, "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out if code == 0 else printed.err)


@pytest.mark.parametrize("name", ["event", "state", "wallet", "events", "endorsed post", "segment"])
def test_of_each_kind_it_says_what_it_proved_and_what_not(
    proofs: Proofs, bundles: Bundles, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world: ChangingWorld = proofs.world if name in ("event", "state") else bundles.world
    data = {"event": proofs.of_posts[1], "state": prove_state(proofs.world, keyspace.beat())} | bundles.files
    if name == "segment":
        world = ArchivedWorld(tmp_path / "ledger")
        data = {"segment": world.write_segments()[0]}
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(world.chain.genesis))
    (tmp_path / "file").write_bytes(data[name])
    given = ["verify", str(tmp_path / "file"), "--genesis", str(tmp_path / "genesis.json")]

    assert main(given) == 0
    printed = " ".join(capsys.readouterr().out.split())
    code, found = run_json(capsys, *given)

    assert (code, found["valid"]) == (0, True)
    assert len(found["proven"]) >= 1
    assert any("genesis" in sentence for sentence in found["not_proven"])
    for sentence in found["proven"]:
        assert f"proven {sentence}" in printed
    for sentence in found["not_proven"]:
        assert f"not proven {sentence}" in printed


@pytest.mark.parametrize("number", [0, 1])
def test_a_segment_says_whether_its_validators_follow_from_the_genesis(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ArchivedWorld(tmp_path / "ledger")
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(world.chain.genesis))
    (tmp_path / "a.segment").write_bytes(world.write_segments()[number])
    given = ["verify", str(tmp_path / "a.segment"), "--genesis", str(tmp_path / "genesis.json")]

    _, found = run_json(capsys, *given)
    changed = bytearray((tmp_path / "a.segment").read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "a.segment").write_bytes(changed)
    code, _ = run_json(capsys, *given)

    assert (found["kind"], found["from_genesis"], code) == ("segment", number == 0, 1)
    assert any("follow from the genesis" in sentence for sentence in found["not_proven"]) == (number == 1)
    world.store.close()


def test_a_segment_of_another_chain_is_refused(
    proofs: Proofs, genesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ArchivedWorld(tmp_path / "ledger")
    (tmp_path / "a.segment").write_bytes(world.write_segments()[0])
    other = tmp_path / "other.json"
    other.write_bytes(encode_genesis_file(make_genesis("another")))

    code, found = run_json(capsys, "verify", str(tmp_path / "a.segment"), "--genesis", str(other))

    assert (code, "another chain" in found["error"]) == (1, True)
    world.store.close()


def test_a_csv_file_is_checked_with_the_bundle_beside_it(
    bundles: Bundles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = decode(bundles.files["wallet"])
    twin = encode_csv(document["columns"], document["rows"])
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(bundles.world.chain.genesis))
    (tmp_path / "wallet.json").write_bytes(bundles.files["wallet"])
    (tmp_path / "wallet.csv").write_bytes(twin)
    given = ["verify", str(tmp_path / "wallet.csv"), "--genesis", str(tmp_path / "genesis.json")]

    code, found = run_json(capsys, *given)
    assert (code, found["csv"], found["rows"]) == (0, True, len(document["rows"]))

    (tmp_path / "wallet.csv").write_bytes(twin.replace(b"charge", b"change", 1))
    code, found = run_json(capsys, *given)
    assert (code, found["error"][:4]) == (1, "csv:")

    (tmp_path / "wallet.json").unlink()
    code, found = run_json(capsys, *given)
    assert (code, "no such file" in found["error"]) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (["wallet", "ACCOUNT"], 2),
        (["events", "--type", "content.PostPublished", "--limit", "2"], 2),
        (["events", "--module", "infra", "--limit", "3", "--pages", "2"], 3),
    ],
)
def test_atlas_export_writes_what_atlas_verify_accepts(
    proofs: Proofs, tmp_path: Path, arguments: list[str], rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(tmp_path, proofs.world)
    write_client_file(tmp_path / "home", api.url, None)
    (tmp_path / "home" / "genesis.json").write_bytes(encode_genesis_file(proofs.world.chain.genesis))
    home = ["--home", str(tmp_path / "home")]
    account = encode_id(IdKind.ACCOUNT, proofs.world.ada.account)
    asked = [account if argument == "ACCOUNT" else argument for argument in arguments]
    try:
        _, found = run_json(capsys, "export", *asked, "-o", str(tmp_path / "out"), *home)
    finally:
        api.server.stop()

    assert len(found["written"]) == (2 if "--pages" in arguments else 1)
    for each in found["written"]:
        assert each["rows"] >= rows
        assert run_json(capsys, "verify", each["csv"], *home)[0] == 0


@pytest.mark.parametrize("pages", ["0", "1001"])
def test_atlas_export_writes_a_bounded_number_of_files(
    tmp_path: Path, pages: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run_json(capsys, "export", "events", "--pages", pages, "--home", str(tmp_path))

    assert (code, "expected 1 to 1000" in found["error"]) == (2, True)


def test_a_large_file_that_is_no_segment_is_refused_unread(
    genesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large").write_bytes(bytes(5 * 1024 * 1024))

    code, found = run_json(capsys, "verify", str(tmp_path / "large"), "--genesis", genesis)

    assert (code, "at most" in found["error"]) == (1, True)
