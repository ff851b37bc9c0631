"""`atlas community`: people found, join, moderate and contest over a node's API."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_api.shapes import account_text, event_text, parse_event_id

from ledger.genesis import encode_genesis_file
from ledger.sanctions import hiding_key, read_sanction
from node.cli.home import write_client_file
from node.cli.main import main
from node.keystore import Keystore
from social.communities.records import find_community, read_community
from social.communities.records import read_member as read_membership
from tests.client_api.api import Api
from tests.economy.harbour import Harbour

NAMES = ("p0", "p1", "p2")


class Desk:
    """A home with three keys of people in a harbour, and its node's API."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.town = Harbour(folder / "ledger")
        self.api = Api(folder, self.town)
        self.api.node.on_submit = lambda: threading.Timer(0.02, self.api.node.execute_waiting).start()
        home = folder / "home"
        write_client_file(home, self.api.url, "a passphrase")
        (home / "genesis.json").write_bytes(encode_genesis_file(self.town.chain.genesis))
        for name in NAMES:
            Keystore(home / "wallet").add(name, name.encode().ljust(32, b"."), "a passphrase")

    def show(self, *arguments: str, code: int = 0) -> str:
        """Run a command for people; return what it prints."""
        assert main(["community", *arguments, "--home", str(self.folder / "home")]) == code
        return self._capsys.readouterr().out

    def run(self, *arguments: str, code: int = 0) -> Any:
        """Run a command for programs; return its document."""
        return json.loads(self.show(*arguments, "--json", code=code))

    def act(self, *arguments: str) -> str:
        """Run a command that signs, which must be applied; return the event's id."""
        return str(self.run(*arguments)["event_id"])


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    desk = Desk(tmp_path, capsys)
    yield desk
    desk.api.close()


def test_a_community_is_founded_ruled_joined_and_posted_in(desk: Desk) -> None:
    space = desk.act("create", "hills", "--about", "About hills.", "--approval", "--as", "p1")
    desk.act("rules", "hills", "2", "1. Up.  2. Down.", "--as", "p1")
    desk.act("join", "hills", "--as", "p2")
    account = desk.town.people[2].account
    desk.act("admit", "hills", account_text(account), "--as", "p1")
    desk.act("appoint", space, account_text(account), "--as", "p1")
    post = desk.act("post", "hills", "A long way up, and a short way down.", "--as", "p2")

    store, found = desk.town.store, find_community(desk.town.store, "hills")
    assert found == parse_event_id(space)
    community = read_community(store, found)
    assert community is not None
    assert (community.join, community.ruleset, community.moderators) == ("approval", 1, (account,))
    assert read_membership(store, found, account) is not None
    assert desk.api.call("getPost", post_id=post)["post"]["space"] == space
    desk.act("dismiss", "hills", account_text(account), "--as", "p2")
    desk.act("leave", "hills", "--as", "p2")
    assert read_membership(desk.town.store, found, account) is None
    assert {each["name"] for each in desk.run("list")["items"]} == {"harbour", "hills"}


def test_a_post_is_reported_hidden_appealed_and_restored(desk: Desk) -> None:
    post = event_text(desk.town.publish(desk.town.author, 0))
    desk.act("report", post, "It insults somebody.", "--rule", "1", "--as", "p2")
    assert post in desk.show("queue", "harbour").replace("\n", "")
    decision = desk.act("hide", "harbour", post, "It insults the master.", "--rule", "1", "--as", "p0")
    shown = desk.show("decision", decision)
    assert "hide, OPEN" in shown
    assert "It insults the master." in shown
    appeal = desk.act("appeal", decision, "It praises him.", "--as", "p1")
    desk.act("say", appeal, "Read it again.", "--as", "p1")
    assert desk.run("decision", decision)["decision"]["appeal"] == appeal

    lifted = desk.run("lift", decision, "It was a mistake.", "--as", "p0")

    assert lifted["receipt"]["event_type"] == "moderation.PostRestoredInCommunity"
    assert read_sanction(desk.town.store, hiding_key(parse_event_id(post))) is None


def test_a_member_is_suspended_and_whoever_may_not_is_told_why(desk: Desk) -> None:
    member = account_text(desk.town.people[2].account)
    by_a_member = desk.run(
        "suspend", "harbour", member, "Noise.", "--rule", "1", "--beats", "9", "--as", "p1", code=1
    )  # fmt: skip
    desk.act("suspend", "harbour", member, "Noise.", "--rule", "1", "--beats", "9", "--as", "p0")

    denied = {each["code"] for each in by_a_member["receipt"]["verdicts"] if not each["allowed"]}
    assert denied == {"ROLE_NOT_GRANTED"}
    assert "SANCTION_SUSPENDED" in desk.show("post", "harbour", "May I speak?", "--as", "p2", code=1)


def test_an_unknown_space_is_told_with_the_remedy(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    for space in ("nowhere", "no where", "../feed"):
        assert main(["community", "join", space, "--as", "p1", "--home", str(desk.folder / "home")]) != 0
        assert "api/v1/communities" in capsys.readouterr().err.replace("\n", "")
