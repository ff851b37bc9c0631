"""The validator set over the API: who is in it, since when, and what waits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_api.shapes import account_text

from ledger.membership import ADMISSION_EPOCHS
from ledger.nodes import NodeRetired
from ledger.primitives.signing import SigningKey
from tests.client_api.api import Api
from tests.economy.council import Council, open_council
from tests.economy.node_town import NODES


class House:
    """A council, and the API over its ledger."""

    def __init__(self, folder: Path) -> None:
        self.council: Council = open_council(folder / "ledger")
        self.api = Api(folder, self.council)

    def read(self, **parameters: object) -> Any:
        return self.api.call("listValidators", **parameters)

    def waiting(self) -> list[tuple[Any, ...]]:
        return [(each["kind"], each["node"], each["new_node"]) for each in self.read()["waiting"]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.api.close()


def test_the_set_of_genesis_is_era_0_from_height_1(house: House) -> None:
    found = house.read()

    assert (found["era"], found["since"], found["faulty_max"], found["quorum"]) == (0, 1, 1, 3)
    assert [each["node"] for each in found["validators"]] == [key.public.hex() for key in NODES[:4]]
    assert [each["replica"] for each in found["validators"]] == [0, 1, 2, 3]
    assert found["validators"][1]["operator"] == account_text(house.council.operators[1].account)
    assert found["waiting"] == []


def test_a_changed_set_says_since_when_and_the_old_one_is_read_at_its_height(house: House) -> None:
    house.council.join(4)
    height = house.council.chain.head.height
    now, before = house.read(), house.read(at=height - 1)

    assert (now["era"], now["since"], now["quorum"], len(now["validators"])) == (1, height + 1, 4, 5)
    assert (before["era"], before["since"], len(before["validators"])) == (0, 1, 4)
    assert before["waiting"][0]["kind"] == "admit"


def test_everything_that_waits_is_shown(house: House) -> None:
    council, new = house.council, SigningKey(b"n" * 32)
    council.admit(4)
    admitted = house.read()["waiting"][0]
    epoch = council.chain.head.header.epoch
    council.apply(council.sign_rotation(0, new))
    council.apply(council.sign_resignation(1))
    council.do(council.operators[2], NodeRetired, node=NODES[2].public)
    council.apply(council.sign_evidence(NODES[3], 3))

    assert admitted == {
        "kind": "admit", "node": NODES[4].public.hex(), "new_node": None, "decided_epoch": epoch, "ready_epoch": None,
        "last_epoch": epoch + ADMISSION_EPOCHS - 1,
    }  # fmt: skip
    assert house.waiting() == [
        ("expel", NODES[3].public.hex(), None),
        ("leave", NODES[2].public.hex(), None),
        ("admit", NODES[4].public.hex(), None),
        ("rotate", NODES[0].public.hex(), new.public.hex()),
        ("leave", NODES[1].public.hex(), None),
    ]
    assert [each["revoked"] for each in house.read()["validators"]] == [False, False, False, True]


def test_a_validator_without_a_node_has_no_operator(shared_api: Api) -> None:
    assert {each["operator"] for each in shared_api.call("listValidators")["validators"]} == {None}
