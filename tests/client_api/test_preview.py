"""The preview and the execution are one judgement: what `prepare` shows is what the receipt says."""

from typing import Any

import pytest
from client_api import gateway
from client_api.shapes import account_text

from ledger import transition
from ledger.conduct import Conduct
from ledger.events import SignedEvent
from ledger.judgement import judge_event
from ledger.primitives.signing import Purpose
from tests.client_api.api import Api
from tests.ledger.world import RICH, Person

LONG = "The library opens at nine, closes at six, and lends to everyone who brings a card and a little patience."


def ask(api: Api, name: str) -> tuple[Person, dict[str, Any]]:
    """Return who asks for what: events that are allowed, and events that a guard denies."""
    ada, ben, cyd = api.world.ada, api.world.ben, api.world.cyd
    ben_id = account_text(ben.account)
    asked: dict[str, tuple[Person, dict[str, Any]]] = {
        "a post": (ada, {"type": "content.PostPublished", "text": LONG, "body": {"tags": ["books"]}}),
        "an empty post": (ada, {"type": "content.PostPublished", "text": "", "body": {"tags": []}}),
        "a transfer": (ada, transfer(str(5 * 10**18), ben_id)),
        "an overdraft": (ada, transfer(str(2 * RICH), ben_id)),
        "a transfer of nothing": (ada, transfer("0", ben_id)),
        "a transfer to oneself": (ben, transfer("1", ben_id)),
        "a follow": (ben, {"type": "graph.AccountFollowed", "body": {"target": account_text(ada.account)}}),
        "a like of nothing": (ben, {"type": "graph.ContentLiked", "body": {"target": "00" * 32}}),
        "a new account": (cyd, {"type": "identity.IdentityCreated"}),
        "a second account": (ada, {"type": "identity.IdentityCreated"}),
        "a bond": (ada, {"type": "identity.BondLocked", "body": {"atoms": str(10**18)}}),
        "a vouch": (ada, {"type": "reputation.VouchGiven", "body": {"target": ben_id}}),
    }
    return asked[name]


def transfer(atoms: str, to: str) -> dict[str, Any]:
    return {"type": "economics.TokensTransferred", "body": {"atoms": atoms, "to": to, "token": "FLX"}}


CASES = {
    "a post": "applied", "an empty post": "denied", "a transfer": "applied", "an overdraft": "denied",
    "a transfer of nothing": "denied", "a transfer to oneself": "denied", "a follow": "applied",
    "a like of nothing": "denied", "a new account": "applied", "a second account": "denied", "a bond": "applied",
    "a vouch": "denied",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_is_previewed_is_what_becomes_of_the_event(api: Api, name: str) -> None:
    api.node.execute([], [], beat=True)
    person, asked = ask(api, name)

    prepared = api.call("prepareEvent", asked | {"key": person.key.public.hex()})
    event = bytes.fromhex(prepared["event"])
    payload = None if prepared["payload"] is None else bytes.fromhex(prepared["payload"])
    signature = person.key.sign(api.world.chain.chain_id, Purpose.EVENT, event)
    api.submit(SignedEvent(event, payload, signature))
    api.node.execute_waiting()
    receipt = api.call("getReceipt", event_id=prepared["event_id"])["receipt"]

    assert prepared["would"] == receipt["outcome"] == CASES[name]
    assert [shown(verdict) for verdict in prepared["guards"]] == [shown(verdict) for verdict in receipt["verdicts"]]
    assert prepared["evidence"] == receipt["evidence"]
    assert len(prepared["guards"]) >= 6


def shown(verdict: dict[str, Any]) -> dict[str, Any]:
    """A receipt keeps the sentence of what denies, and not that of what allows."""
    return {name: value for name, value in verdict.items() if name != "because" or not verdict["allowed"]}


def test_one_function_judges_both() -> None:
    assert vars(gateway)["judge_event"] is vars(transition)["judge_event"] is judge_event


def test_the_preview_of_a_quarantined_author_shows_the_veto(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guards.aegis.read_conduct", lambda view, account: Conduct(0, 0, 2**63, 1))
    person, asked = ask(api, "a post")

    prepared = api.call("prepareEvent", asked | {"key": person.key.public.hex()})

    assert prepared["would"] == "denied"
    assert prepared["guards"][-1]["code"] == "AEGIS_ACTOR_QUARANTINED"
