"""The validator set that orders the next height, and the changes of it that wait for the end of the epoch."""

from typing import Literal

from pydantic import Field

from client_api.context import Context
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import StaleHeight
from client_api.explorer import Height
from client_api.shapes import Anchor, account_text
from ledger.membership import Waiting, list_waiting
from ledger.nodes import read_node
from ledger.service import read_validators


class ValidatorShape(Model):
    replica: int = Field(description="its number in consensus, until the set changes")
    node: str = Field(description="its Ed25519 public key")
    operator: str | None = Field(description="null for a validator of genesis that was never registered")
    revoked: bool


class WaitingShape(Model):
    kind: Literal["admit", "leave", "expel", "rotate"]
    node: str
    new_node: str | None = Field(description="the key that a rotation leads to")
    decided_epoch: int | None = Field(description="null where the registry says it: the node retired, or is revoked")
    ready_epoch: int | None = Field(description="the last epoch in which an admitted node said that it is ready")
    last_epoch: int | None = Field(description="at whose end an admission lapses")


class ValidatorsQuery(Model):
    at: Height | None = None


class ValidatorsAnswer(Model):
    era: int = Field(description="counts the sets of the chain, from 0")
    since: int = Field(description="the first height that this set orders and certifies")
    faulty_max: int = Field(description="f: how many may be faulty")
    quorum: int
    validators: list[ValidatorShape] = Field(description="in replica order")
    waiting: list[WaitingShape]
    ledger: Anchor


async def list_validators(context: Context, query: ValidatorsQuery, body: None) -> Json:
    """The set of the height above the one that was read: its block's header names it."""
    with context.read(query.at) as reading:
        validators = read_validators(reading.state)
        assert validators is not None, "the state has the validator set since genesis"
        members: list[Json] = []
        for replica, key in enumerate(validators.keys):
            node = read_node(reading.state, key)
            operator = None if node is None else account_text(node.account)
            revoked = node is not None and node.revoked
            members.append({"replica": replica, "node": key.hex(), "operator": operator, "revoked": revoked})
        return {
            "era": validators.era,
            "since": validators.since,
            "faulty_max": validators.faulty_max,
            "quorum": validators.quorum,
            "validators": members,
            "waiting": [_waiting_to_json(each) for each in list_waiting(reading.state)],
            "ledger": reading.anchor(),
        }


def _waiting_to_json(waiting: Waiting) -> Json:
    return {
        "kind": waiting.kind,
        "node": waiting.key.hex(),
        "new_node": None if waiting.new_key is None else waiting.new_key.hex(),
        "decided_epoch": waiting.decided_epoch,
        "ready_epoch": waiting.ready_epoch,
        "last_epoch": waiting.last_epoch,
    }


ENDPOINTS = (
    Endpoint("GET", "/validators", "listValidators", "The validator set, and the changes of it that wait.", "infra",
             ValidatorsAnswer, list_validators, query=ValidatorsQuery, errors=(StaleHeight,)),
)  # fmt: skip
