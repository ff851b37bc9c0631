"""`atlas policy`: what it shows, compares and tries, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.genesis import encode_genesis_file
from ledger.policies import compute_policy_id, encode_values
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import Purpose, is_valid_signature
from node.cli.main import main
from node.config import Config, NodeSection, render_config
from node.dry_run import run_dry
from node.keystore import Keystore
from social.governance.reports import ReportHead, compute_report_hash
from tests.economy.town import make_town_genesis
from tests.ledger.world import VALIDATORS
from tests.node.test_dry_run import DEARER, PEOPLE, POLICIES, make_town

VALIDATOR_SEED = bytes([200]) * 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped validator's folder."""
    folder = tmp_path_factory.mktemp("node")
    config = Config(folder, NodeSection(name="v", role="validator"))
    (folder / "node.toml").write_text(render_config(config), encoding="utf-8")
    config.genesis_file.write_bytes(encode_genesis_file(make_town_genesis(PEOPLE, POLICIES)))
    Keystore(config.data_folder / "keys").add(config.node.key, VALIDATOR_SEED, "a passphrase")
    make_town(config.data_folder / "ledger").close()
    return folder


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_PASSPHRASE", "a passphrase")
    monkeypatch.setenv("COLUMNS", "200")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_list_names_every_policy_with_its_version_and_track(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "policy", "list", "--node", str(folder))

    assert [each["policy"] for each in found][:2] == ["aegis", "coherence"]
    assert {each["version"] for each in found} == {1}
    assert {each["policy"]: each["track"] for each in found}["nod"] == "infra"


def test_without_a_node_the_genesis_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_genesis = run_json(capsys, "policy", "list", "--home", str(folder))

    assert of_genesis == run_json(capsys, "policy", "list", "--node", str(folder))


def test_show_gives_values_and_ranges(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "policy", "show", "energy", "--node", str(folder))
    main(["policy", "show", "energy", "--node", str(folder)])
    text = capsys.readouterr().out

    recovery = next(each for each in found["values"] if each["field"] == "recovery")
    assert recovery == {"field": "recovery", "value": str(95 * 10**16), "min": str(5 * 10**17), "max": str(99 * 10**16)}
    assert "energy@1" in text
    assert "0.95" in text


def test_diff_tells_what_would_change_and_under_which_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "policy", "diff", "energy", "--set", "base_cost=10000", "--node", str(folder))

    assert found["changes"] == [{"field": "base_cost", "before": str(1_000 * SCALE), "after": str(10_000 * SCALE)}]
    assert found["draft"] == compute_policy_id("energy", encode_values("energy", {"base_cost": 10_000 * SCALE})).hex()


def test_a_dry_run_gives_the_report_and_a_validators_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("policy", "dry-run", "energy", "--set", "base_cost=10000", "--node", str(folder))
    found = run_json(capsys, *arguments, "--attest")
    town = make_town(folder / "again")
    expected = run_dry(town.chain, "energy", DEARER)
    chain_id = town.chain.chain_id
    town.close()

    assert found["hash"] == expected.hash.hex()
    assert found["findings"]["flips"] == expected.findings.flips > 0
    assert bytes.fromhex(found["values"]) == DEARER
    body = found["attestation"]["body"]
    fields: dict[str, Any] = {name: body[name] for name in ReportHead.__slots__}
    fields = {name: bytes.fromhex(each) if type(each) is str else each for name, each in fields.items()}
    head = ReportHead(**fields)
    assert compute_report_hash(head) == expected.hash
    signature = bytes.fromhex(body["signature"])
    assert is_valid_signature(VALIDATORS[0].public, chain_id, Purpose.POLICY_REPORT, expected.hash, signature)


def test_people_read_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["policy", "dry-run", "energy", "--set", "base_cost=10000", "--node", str(folder), "--attest"])
    text = capsys.readouterr().out

    assert code == 0
    for expected in ("replayed", "flipped", "largest differences", "ECON_ATR_EXHAUSTED", "held", "PolicySimulated"):
        assert expected in text


FAULTS = [
    (["diff", "energy"], "expected either --set"),
    (["diff", "energy", "--set", "x=1"], "expected FIELD=VALUE"),
    (["diff", "energy", "--set", "base_cost=much"], "base_cost=much"),
    (["diff", "energy", "--set", "base_cost=1"], "policy energy: base_cost"),
    (["show", "energy", "--version", "7"], "there are the versions 1 to 1, got 7"),
]


@pytest.mark.parametrize(("arguments", "message"), FAULTS)
def test_what_was_asked_wrongly_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code = main(["policy", *arguments, "--node", str(folder)])

    assert code == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_needs_blocks_to_replay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without = main(["policy", "dry-run", "energy", "--home", str(folder)])
    elsewhere = main(["policy", "dry-run", "energy", "--node", str(folder / "nowhere")])
    beyond = main(["policy", "dry-run", "energy", "--node", str(folder), "--height", "9999"])
    text = capsys.readouterr().err

    assert (without, elsewhere, beyond) == (2, 2, 1)
    assert "expected --node FOLDER" in text
    assert "this node has the heights 1 to" in text
