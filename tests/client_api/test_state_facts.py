"""Proofs of facts of the state, over the API."""

import pytest
from client_api.services import Alert
from client_api.shapes import account_text

from ledger import keyspace
from ledger.state import decode_number
from ledger.state_proofs import ProvenState, verify_state_proof
from tests.client_api.api import Api
from tests.ledger.world import RICH


@pytest.fixture
def certified(api: Api) -> Api:
    api.node.execute_waiting(beat=True)
    api.world.chain.write_certificate(1, b"signed")
    return api


def prove(api: Api, fact: str) -> ProvenState:
    api.call("getStateProof", fact=fact)  # of the declared shape
    data = api.try_call("getStateProof", fact=fact).body
    return verify_state_proof(data, api.world.chain.genesis, lambda *given: None)


def test_a_balance_is_proven_by_account_id(certified: Api) -> None:
    proven = prove(certified, f"balance:FLX:{account_text(certified.world.ada.account)}")

    assert proven.key == keyspace.balance("FLX", certified.world.ada.account)
    assert proven.value is not None
    assert decode_number(proven.value) == RICH


def test_the_balance_of_somebody_unknown_is_proven_to_be_absent(certified: Api) -> None:
    assert prove(certified, f"balance:CHR:{account_text(bytes(32))}").value is None


def test_what_a_key_of_the_state_holds_is_proven(certified: Api) -> None:
    assert prove(certified, keyspace.policies().hex()).value is not None
    assert prove(certified, "73ff").value is None


def test_the_validator_set_an_account_and_a_free_handle_are_proven(certified: Api) -> None:
    assert prove(certified, "validators").key == keyspace.validators()
    assert prove(certified, f"account:{account_text(certified.world.ada.account)}").value is not None
    assert prove(certified, "handle:nobody").value is None


@pytest.mark.parametrize(
    "fact",
    [
        "x",
        "68",
        "7",
        "73AB",
        "balance",
        "balance:FLX",
        "balance:XXX:acct1",
        "balance:FLX:acct1x",
        "handle:",
        "a:b:c:d",
        "73" * 300,
    ],
)
def test_what_is_no_fact_is_refused(certified: Api, fact: str) -> None:
    assert certified.problem("getStateProof", fact=fact)["status"] == 400


def test_a_handle_that_nobody_holds_has_no_balance(certified: Api) -> None:
    assert certified.problem("getStateProof", fact="balance:FLX:nobody")["status"] == 404


def test_a_proof_waits_for_the_certificate(api: Api) -> None:
    assert api.problem("getStateProof", fact="validators")["status"] == 409


def test_a_node_that_does_not_trust_its_state_proves_nothing_of_it(certified: Api) -> None:
    certified.node.alerted = Alert("CIR-412", "state", "It differs.", 1, bytes(32), bytes(32), "Start anew.")

    assert certified.problem("getStateProof", fact="validators")["status"] == 503
