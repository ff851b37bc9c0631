"""Policies, guards, proposals and nodes: what the API says of them is what the ledger says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from client_api.rules import PROPOSED
from client_api.shapes import account_text, event_text

from guards.stack import make_guard_stack
from ledger.policies import TRACKS, list_active
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.primitives.ids import IdKind, encode_id
from ledger.scopes import AUDITOR
from social.governance.measures import NodeRevocationProposed, RoleGrantProposed
from tests.client_api.api import Api
from tests.ledger.world import REGISTRY, id_of
from tests.social.assembly import DEPOSIT, Assembly, Plants

DEARER = 200 * SCALE


class Hall:
    """An assembly with four operators, and the API over its ledger."""

    def __init__(self, folder: Path) -> None:
        self.plants = Plants()
        self.town = Assembly(folder / "ledger", registry=self.plants.registry)
        for number in range(4):
            self.plants.node(self.town.people[number], (number + 1) * SCALE, number)
        self.town.close_epoch()
        self.api = Api(folder, self.town)

    def call(self, operation: str, **parameters: object) -> Any:
        return self.api.call(operation, **parameters)

    def close(self) -> None:
        self.api.close()


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


# Policies and guards.


def test_every_policy_in_force_is_listed_with_its_track(shared_api: Api) -> None:
    answer = shared_api.call("listPolicies")

    assert {each["policy"]: each["track"] for each in answer["items"]} == TRACKS
    assert [each["id"] for each in answer["items"]] == [
        each.id.hex() for each in list_active(shared_api.world.store)
    ]  # fmt: skip


def test_a_policy_is_shown_with_its_ranges(shared_api: Api) -> None:
    answer = shared_api.call("getPolicy", policy="aegis")

    values = {each["field"]: each for each in answer["values"]}
    assert values["anomaly_faults"] == {"field": "anomaly_faults", "value": "2", "min": "1", "max": "10"}
    assert (answer["policy"]["in_force"], answer["versions"]) == (True, 1)


def test_an_earlier_version_stays_readable(hall: Hall) -> None:
    hall.town.enact(base_cost=DEARER)

    now, first = hall.call("getPolicy", policy="energy"), hall.call("getPolicy", policy="energy@1")

    def cost(answer: Any) -> int:
        return int(next(each["value"] for each in answer["values"] if each["field"] == "base_cost"))

    assert (cost(now), now["policy"]["version"], now["policy"]["in_force"]) == (DEARER, 2, True)
    assert (cost(first), first["policy"]["version"], first["policy"]["in_force"]) == (100 * SCALE, 1, False)


@pytest.mark.parametrize("name", ["protocol", "energy@2", "energy@0", "energy@", "energy@x", "energy@9999999999", "@1"])
def test_an_unknown_policy_or_version_is_said_to_be(shared_api: Api, name: str) -> None:
    assert shared_api.problem("getPolicy", policy=name)["status"] == 404


def test_guards_are_listed_in_their_order_and_shown_by_name(shared_api: Api) -> None:
    names = [each["name"] for each in shared_api.call("listGuards")["items"]]

    assert names == [guard.name for guard in make_guard_stack().all()]
    assert shared_api.call("getGuard", name="aegis")["guard"]["codes"]["AEGIS_CLEAR"] == "nothing to add"
    assert "constitution" in shared_api.problem("getGuard", name="nobody")["detail"]


# Proposals.


def test_a_proposal_shows_what_it_changes_and_how_its_vote_stands(hall: Hall) -> None:
    proposal = hall.town.open_vote(base_cost=DEARER)
    hall.town.vote(proposal, "yes", *hall.town.people[:3])
    hall.town.vote(proposal, "no", hall.town.people[3])

    answer = hall.call("getProposal", proposal_id=event_text(proposal))

    found = hall.town.proposal(proposal)
    assert answer["changes"] == [{"field": "base_cost", "before": str(100 * SCALE), "after": str(DEARER)}]
    shape = answer["proposal"]
    assert (shape["kind"], shape["subject"], shape["state"], shape["voters"]) == ("change", "energy", "VOTING", 4)
    assert (shape["yes"], shape["no"]) == (format_decimal(found.yes), format_decimal(found.no))
    assert shape["measure"] is None


def test_proposals_of_all_kinds_are_listed_newest_first_and_paged(hall: Hall) -> None:
    town = hall.town
    first = town.open_vote(base_cost=DEARER)
    grant = town.sign(
        town.people[1], RoleGrantProposed, account=town.people[7].account, deposit=DEPOSIT, expires_beat=None,
        role=AUDITOR,
    )  # fmt: skip
    denied = town.sign(
        town.people[1], RoleGrantProposed, account=town.people[6].account, deposit=0, expires_beat=None, role=AUDITOR
    )
    town.execute(grant, denied)
    revoke = town.sign(
        town.people[2], NodeRevocationProposed, deposit=DEPOSIT, node=bytes([4]) * 32, reason="lies", urgent=True
    )
    town.execute(revoke)
    ids = [event_text(each) for each in (id_of(revoke), id_of(grant), first)]

    everything = hall.call("listProposals")
    one = hall.call("listProposals", limit=2)
    two = hall.call("listProposals", limit=2, cursor=one["next"])
    back = hall.call("listProposals", limit=2, cursor=two["prev"])

    assert [each["proposal_id"] for each in everything["items"]] == ids
    assert [each["proposal_id"] for each in one["items"] + two["items"]] == ids
    assert back["items"] == one["items"]
    measures = [each["measure"] for each in everything["items"]]
    assert measures[0]["node"] == (bytes([4]) * 32).hex()
    assert (measures[1]["role"], measures[1]["account"]) == (AUDITOR, account_text(town.people[7].account))
    assert measures[2] is None


def test_open_and_closed_proposals_are_told_apart(hall: Hall) -> None:
    done = hall.town.enact(base_cost=DEARER)
    hall.town.pass_epochs(2)
    waiting = hall.town.open_vote(base_cost=300 * SCALE)

    def ids(state: str) -> list[str]:
        return [each["proposal_id"] for each in hall.call("listProposals", state=state)["items"]]

    assert (ids("open"), ids("closed")) == ([event_text(waiting)], [event_text(done)])


def test_a_proposal_is_read_as_it_was(hall: Hall) -> None:
    proposal = hall.town.open_vote(base_cost=DEARER)
    height = hall.town.chain.head.height
    hall.town.vote(proposal, "yes", hall.town.people[2])

    before = hall.call("getProposal", proposal_id=event_text(proposal), at=height)["proposal"]
    after = hall.call("getProposal", proposal_id=event_text(proposal))["proposal"]

    assert (before["voters"], after["voters"]) == (0, 1)


def test_what_is_no_proposal_is_said_to_be_none(shared_api: Api) -> None:
    assert shared_api.problem("getProposal", proposal_id=encode_id(IdKind.EVENT, bytes(32)))["status"] == 404
    assert shared_api.problem("getProposal", proposal_id="nothing")["status"] == 400
    assert shared_api.problem("listProposals", cursor="00")["status"] == 400
    assert shared_api.call("listProposals")["items"] == []


# Nodes.


def test_nodes_are_listed_by_key_with_what_they_earned(hall: Hall) -> None:
    answer = hall.call("listNodes")

    assert [each["node"] for each in answer["items"]] == [(bytes([number]) * 32).hex() for number in range(1, 5)]
    assert answer["items"][0]["operator"] == account_text(hall.town.people[0].account)
    assert cast("dict[str, Any]", answer["items"][0]["outcome"])["code"]
    assert (answer["next"], answer["prev"]) == (None, None)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_nodes_give_each_once_forward_and_back(hall: Hall, limit: int) -> None:
    page = hall.call("listNodes", limit=limit)
    forward = [each["node"] for each in page["items"]]
    while page["next"] is not None:
        page = hall.call("listNodes", limit=limit, cursor=page["next"])
        forward += [each["node"] for each in page["items"]]
    back = [each["node"] for each in page["items"]]
    while page["prev"] is not None:
        page = hall.call("listNodes", limit=limit, cursor=page["prev"])
        back = [each["node"] for each in page["items"]] + back

    assert forward == back == [(bytes([number]) * 32).hex() for number in range(1, 5)]


def test_a_node_says_why_it_earned_what_it_earned(hall: Hall) -> None:
    hall.town.close_epoch()
    node = hall.call("getRegisteredNode", node=(bytes([1]) * 32).hex())["node"]

    assert (node["kind"], node["revoked"], node["retired_epoch"]) == ("relay", False, None)
    assert (node["outcome"]["code"], node["outcome"]["nod"]) == ("PQC_KEY_MISSING", format_decimal(0))
    assert "post-quantum" in node["outcome"]["because"]


def test_an_unknown_node_is_said_to_be(shared_api: Api) -> None:
    assert shared_api.problem("getRegisteredNode", node="00" * 32)["status"] == 404
    assert shared_api.problem("getRegisteredNode", node="xyz")["status"] == 400
    assert shared_api.call("listNodes")["items"] == []


def test_every_event_that_makes_a_proposal_is_listed() -> None:
    names = [kind.name for kind in REGISTRY.all() if kind.name.startswith("governance.")]

    assert sorted(PROPOSED) == sorted(name for name in names if name.endswith("Proposed"))
