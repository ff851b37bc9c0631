"""`atlas governance`: a person drafts, reports, proposes, votes and watches over a node's API."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_api.shapes import account_text, event_text, parse_event_id

from ledger.genesis import encode_genesis_file
from ledger.policies import compute_policy_id, encode_values
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import Purpose
from ledger.registry import Registry
from ledger.roles import PLATFORM, read_grant
from ledger.scopes import AUDITOR
from node.cli.home import write_client_file
from node.cli.main import main
from node.keystore import Keystore
from social.governance.proposals import read_proposal
from social.governance.reports import ReportHead, compute_report_hash
from social.governance.votes import read_vote
from tests.client_api.api import Api
from tests.ledger.world import REGISTRY, VALIDATORS, id_of
from tests.social.assembly import DEPOSIT, WINDOW, Assembly, Plants
from tests.social.test_measures import sign_grant, with_operators

VALUES = encode_values("energy", {"base_cost": 200 * SCALE})


class Desk:
    """A home with two keys of people in a town, a node's API, and a folder for files."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], registry: Registry = REGISTRY) -> None:
        self.folder, self._capsys = folder, capsys
        self.town = Assembly(folder / "ledger", registry=registry)
        self.api = Api(folder, self.town)
        self.api.node.on_submit = lambda: threading.Timer(0.02, self.api.node.execute_waiting).start()
        home = folder / "home"
        write_client_file(home, self.api.url, "a passphrase")
        (home / "genesis.json").write_bytes(encode_genesis_file(self.town.chain.genesis))
        for name in ("p0", "p1"):
            Keystore(home / "wallet").add(name, name.encode().ljust(32, b"."), "a passphrase")

    def run(self, *arguments: str, code: int = 0) -> Any:
        """Run a command for programs; return its document."""
        assert main(["governance", *arguments, "--home", str(self.folder / "home"), "--json"]) == code
        return json.loads(self._capsys.readouterr().out)

    def read(self, *arguments: str, code: int = 0) -> str:
        """Run a command for people; return what it printed."""
        assert main(["governance", *arguments, "--home", str(self.folder / "home")]) == code
        return self._capsys.readouterr().out

    def fail(self, *arguments: str, code: int = 2) -> str:
        assert main(["governance", *arguments, "--home", str(self.folder / "home")]) == code
        return self._capsys.readouterr().err

    def attestation(self, head: ReportHead, validator: int) -> Path:
        """Return the file that a validator's operator makes by `atlas policy dry-run --attest --json`."""
        key = VALIDATORS[validator]
        signature = key.sign(self.town.chain.chain_id, Purpose.POLICY_REPORT, compute_report_hash(head))
        fields = {name: getattr(head, name) for name in ReportHead.__slots__}
        body = {name: each.hex() if isinstance(each, bytes) else each for name, each in fields.items()}
        body |= {"signature": signature.hex(), "validator": key.public.hex()}
        path = self.folder / f"report{validator}.json"
        path.write_text(json.dumps({"attestation": {"type": "governance.PolicySimulated", "body": body}}))
        return path

    def grant(self) -> str:
        """Have somebody propose a role; return the proposal's id."""
        signed = sign_grant(self.town, self.town.people[7], by=2)
        self.town.execute(signed)
        return event_text(id_of(signed))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    monkeypatch.setenv("COLUMNS", "200")
    desk = Desk(tmp_path, capsys)
    yield desk
    desk.api.close()


def test_a_policy_is_changed_from_the_command_line(desk: Desk) -> None:
    town = desk.town
    drafted = desk.run("draft", "energy", "--set", "base_cost=200", "--as", "p0")
    draft = compute_policy_id("energy", VALUES)
    head = town.head_of(draft)
    for validator in range(2):
        desk.run("report", str(desk.attestation(head, validator)), "--as", "p1")
    report = compute_report_hash(head).hex()
    proposed = desk.run("propose", draft.hex(), "--report", report, "--rollback", "1", "--as", "p0")
    proposal = proposed["event_id"]
    desk.run("vote", proposal, "yes", "--reason", "cheaper", "--as", "p1")
    town.vote(parse_event_id(proposal), "yes", *town.people[2:7])
    before = desk.run("show", proposal)
    town.close_vote()
    while town.state_of(parse_event_id(proposal)) == "QUEUED":
        town.beat()

    assert drafted["receipt"]["inputs"]["draft"] == draft.hex()
    assert before["proposal"]["voters"] == 6
    assert [each["field"] for each in before["changes"]] == ["base_cost"]
    assert desk.run("watch", proposal)["proposal"]["state"] == "ACTIVE"


def test_the_deposit_is_what_the_policy_asks_unless_said_otherwise(desk: Desk) -> None:
    account = account_text(desk.town.people[7].account)
    low = desk.run("grant", AUDITOR, account, "--deposit", "1", "--as", "p0", code=1)
    asked = desk.run("grant", AUDITOR, account, "--as", "p0")

    denied = [each["code"] for each in low["receipt"]["verdicts"] if not each["allowed"]]
    assert denied == ["PROPOSAL_DEPOSIT_TOO_LOW"]
    assert asked["receipt"]["inputs"]["deposit"].startswith(str(DEPOSIT // SCALE))


def test_a_role_is_granted_by_commands_and_a_handle_names_the_account(desk: Desk) -> None:
    town = desk.town
    proposal = desk.run("grant", AUDITOR, account_text(town.people[7].account), "--as", "p0")["event_id"]
    desk.run("vote", proposal, "yes", "--as", "p1")
    town.vote(parse_event_id(proposal), "yes", *town.people[2:7])
    town.close_vote()
    while town.state_of(parse_event_id(proposal)) == "QUEUED":
        town.beat()

    assert read_grant(town.store, town.people[7].account, AUDITOR, PLATFORM) is not None
    assert "nobody holds the handle" in desk.fail("revoke", AUDITOR, "@nobody", "--as", "p0", code=1)


def test_a_missing_step_is_told_by_its_code(desk: Desk) -> None:
    found = desk.run("propose", "00" * 32, "--report", "00" * 32, "--rollback", "1", "--as", "p0", code=1)
    text = desk.read("revoke-node", "00" * 32, "--reason", "lies", "--as", "p1", code=1)

    assert "PROPOSAL_DRAFT_UNKNOWN" in {each["code"] for each in found["receipt"]["verdicts"]}
    assert "NODE_NOT_IN_REGISTRY" in text


def test_people_read_what_is_open_and_how_it_stands(desk: Desk) -> None:
    proposal = desk.grant()
    desk.run("vote", proposal, "no", "--as", "p0")

    listed, shown = desk.read("list", "--state", "open"), desk.read("show", proposal)

    assert proposal in listed
    assert "grant role AUDITOR" in listed
    for expected in ("VOTING", f"closes in {WINDOW} beats", "1 voted", "quorum 30 %", "majority 66 %"):
        assert expected in shown
    assert desk.run("list", "--state", "closed")["items"] == []


def test_a_vote_is_kept_with_its_reason_and_only_once(desk: Desk) -> None:
    proposal = desk.grant()
    desk.run("vote", proposal, "abstain", "--reason", "no view", "--as", "p1")
    again = desk.run("vote", proposal, "yes", "--as", "p1", code=1)

    vote = read_vote(desk.town.store, parse_event_id(proposal), desk.town.people[1].account)
    assert vote is not None
    assert (vote.choice, vote.reason) == ("abstain", "no view")
    assert "VOTE_ALREADY_CAST" in {each["code"] for each in again["receipt"]["verdicts"]}


def test_the_proposer_cancels(desk: Desk) -> None:
    proposal = desk.run("grant", AUDITOR, account_text(desk.town.people[7].account), "--as", "p0")["event_id"]
    desk.run("cancel", proposal, "--as", "p1", code=1)
    desk.run("cancel", proposal, "--as", "p0")

    found = read_proposal(desk.town.store, parse_event_id(proposal))
    assert found is not None
    assert found.state == "CANCELLED"


def test_watching_ends_with_the_vote_and_says_each_change(desk: Desk) -> None:
    proposal = desk.grant()
    closing = threading.Timer(0.3, desk.town.close_vote)
    closing.start()

    text = desk.read("watch", proposal, "--every", "0.05", code=1)
    closing.join()

    assert "VOTING" in text
    assert "EXPIRED" in text.splitlines()[-1]


FAULTS = [
    (("draft", "energy", "--set", "x=1", "--as", "p0"), "expected FIELD=VALUE"),
    (("draft", "energy", "--set", "base_cost=1", "--as", "p0"), "policy energy: base_cost"),
    (("report", "nowhere.json", "--as", "p0"), "not readable as JSON"),
    (("rollback", "energy", "--deposit", "much", "--as", "p0"), "--deposit"),
]


@pytest.mark.parametrize(("arguments", "message"), FAULTS)
def test_what_was_asked_wrongly_is_named(desk: Desk, arguments: tuple[str, ...], message: str) -> None:
    assert message in desk.fail(*arguments)


def test_a_report_without_a_validators_word_is_refused(desk: Desk) -> None:
    path = desk.folder / "report.json"
    path.write_text("{}")

    assert "--attest --json" in desk.fail("report", str(path), "--as", "p0")


def test_the_help_teaches_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["governance", "--help"])

    text = capsys.readouterr().out
    for expected in (
        "draft energy --set",
        "policy dry-run",
        "report report.json",
        "propose DRAFT",
        "vote evt1",
        "watch",
    ):
        assert expected in text


def test_people_read_the_validator_set_and_what_waits(desk: Desk) -> None:
    listed, found = desk.read("validators"), desk.run("validators")

    assert "validators of era 0, from height 1 on: 3 of 4 decide" in listed
    assert VALIDATORS[2].public.hex() in listed
    assert [each["node"] for each in found["validators"]] == [key.public.hex() for key in VALIDATORS]


def test_who_is_in_the_validator_set_is_proposed_by_commands(desk: Desk) -> None:
    admitted = desk.read("admit-validator", "00" * 32, "--as", "p0", code=1)
    removed = desk.run(
        "remove-validator", VALIDATORS[2].public.hex(), "--reason", "often absent", "--as", "p1", code=1
    )  # fmt: skip

    assert "NODE_NOT_IN_REGISTRY" in admitted
    codes = [each["code"] for each in removed["receipt"]["verdicts"] if not each["allowed"]]
    assert codes == ["PROPOSAL_NO_ELECTORATE"]


def test_votes_on_validators_are_listed_with_what_they_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    plants = Plants()
    desk = Desk(tmp_path, capsys, plants.registry)
    with_operators(plants, desk.town)
    desk.run("admit-validator", "04" * 32, "--as", "p0")
    validator = VALIDATORS[2].public.hex()
    proposal = desk.run("remove-validator", validator, "--reason", "often absent", "--urgent", "--as", "p1")["event_id"]

    listed, shown = desk.read("list"), desk.run("show", proposal)["proposal"]

    assert "admit validator 0404040404040404" in listed
    assert "remove validator" in listed
    assert "often absent" in listed
    assert (shown["measure"]["node"], shown["subject"], shown["urgent"]) == (validator, "validators", True)
    desk.api.close()
