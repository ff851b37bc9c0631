"""Explaining a payment: the same sum from the ledger alone, and a receipt that says something else is told apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import keyspace
from ledger.explanation import AUTHOR, ENDORSER, NotExplained
from ledger.genesis import encode_genesis_file
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.ids import IdKind, encode_id
from ledger.receipts import Receipt
from node.cli.explain import explain_payment, explain_service, read_receipt
from node.cli.home import UsageError
from node.cli.main import main
from node.config import Config, render_config
from social.reactions import ContentLiked
from tests.economy.node_town import ASKED, NODES, NodeTown
from tests.economy.town import Town, by_type
from tests.ledger.world import id_of

PEOPLE = 30


def make_paid_town(folder: Path) -> tuple[Town, list[Receipt]]:
    """A town whose first ten wrote and whose others liked, after the epoch was settled."""
    town = Town(folder, PEOPLE, {"rewards": {"mass_full": 0}, "sybil": {"bond": 0}})
    posts = [town.post(person, number) for number, person in enumerate(town.people[:10])]
    town.beat(*posts)
    likes = [
        town.sign(person, ContentLiked, target=id_of(posts[(number + step) % 10]))
        for number, person in enumerate(town.people[10:])
        for step in range(3)
    ]
    town.beat(*likes)
    receipts = town.close_epoch()
    town.pass_epochs(2)  # the head has moved on since
    return town, by_type(receipts, "economics.RewardPaid")


def test_every_payment_is_the_sum_of_its_items(tmp_path: Path) -> None:
    town, payments = make_paid_town(tmp_path)
    issued = 0

    for receipt in payments:
        found = explain_payment(town.chain, receipt)

        assert found.agrees
        paid = found.paid.chr_author + found.paid.chr_endorser
        assert paid == min(found.chr_before_caps, found.chr_cap)
        assert sum(share.chr for share in found.shares if share.role == AUTHOR) >= found.paid.chr_author
        assert all(0 < share.own_mass <= SCALE for share in found.shares if share.role == ENDORSER)
        issued += paid

    assert len(payments) == PEOPLE
    assert {share.role for each in payments for share in explain_payment(town.chain, each).shares} == {AUTHOR, ENDORSER}
    assert issued == found.closed.chr_issued > 0


def test_a_receipt_that_says_more_is_told_apart(tmp_path: Path) -> None:
    town, payments = make_paid_town(tmp_path)
    true = payments[0]
    forged = replace(true, inputs={**true.inputs, "chr_author": int(true.inputs["chr_author"]) + 1})

    assert explain_payment(town.chain, true).agrees
    assert not explain_payment(town.chain, forged).agrees


def test_an_event_is_found_by_id_and_by_place(tmp_path: Path) -> None:
    town, payments = make_paid_town(tmp_path)
    paid = payments[3]

    assert read_receipt(town.chain, encode_id(IdKind.EVENT, paid.event_id)).log_index == paid.log_index
    assert read_receipt(town.chain, str(paid.log_index)).event_id == paid.event_id


def test_what_can_not_be_explained_says_why(tmp_path: Path) -> None:
    town, payments = make_paid_town(tmp_path)
    post = read_receipt(town.chain, "1")

    with pytest.raises(NotExplained, match=r"expected an event of type economics\.RewardPaid, got"):
        explain_payment(town.chain, post)
    for unknown in ("999999", str(2**70), encode_id(IdKind.EVENT, bytes(32))):
        with pytest.raises(UsageError, match="no such event"):
            read_receipt(town.chain, unknown)
    stranger = replace(payments[0], inputs={**payments[0].inputs, "account": "00" * 32})
    with pytest.raises(NotExplained, match="paid nothing to the account"):
        explain_payment(town.chain, stranger)
    town.store.write([(keyspace.META_UNDO_FLOOR, keyspace.u64(payments[0].height))], [])
    with pytest.raises(NotExplained, match="no longer kept here"):
        explain_payment(town.chain, payments[0])


def test_what_a_node_earned_is_explained_for_any_epoch_that_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    town = NodeTown(tmp_path / "data" / "ledger")
    town.register(*range(4))
    answered = dict.fromkeys(range(4), ASKED)
    town.close_epoch()
    town.live_epoch()
    town.settle()
    town.live_epoch(answered=answered, absent={3: 32})
    town.settle()
    earned, lacking = NODES[0].public, NODES[3].public

    first, second = (explain_service(town.chain, earned, epoch) for epoch in (1, None))
    absent = explain_service(town.chain, lacking, 2)

    assert first.outcome is not None
    assert second.outcome is not None
    assert absent.outcome is not None
    assert (first.outcome.epoch, second.outcome.epoch) == (1, 2)
    assert absent.outcome.code == "UPTIME_BELOW_THRESHOLD"
    with pytest.raises(NotExplained, match="epoch 7 was not settled"):
        explain_service(town.chain, earned, 7)
    with pytest.raises(UsageError, match="no node was registered"):
        explain_service(town.chain, bytes(32), None)
    genesis = town.chain.genesis
    town.close()
    (tmp_path / "node.toml").write_text(render_config(Config(tmp_path)), encoding="utf-8")
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(genesis))
    assert main(["explain", "nod", lacking.hex(), "--node", str(tmp_path)]) == 0
    assert "the node was there for too little of the epoch" in capsys.readouterr().out
    assert main(["explain", "nod", lacking.hex(), "--epoch", "1", "--node", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"]["epoch"] == 1
    assert main(["explain", "nod", "x", "--node", str(tmp_path)]) == 2
