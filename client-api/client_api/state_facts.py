"""Proofs of single facts of the state: a balance, an account, a handle, the validator set, or any key."""

from typing import Annotated

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Model, Reply
from client_api.errors import AccountUnknown, InvalidRequest, ProofNotReady
from client_api.explorer import HandoverDocument
from client_api.shapes import find_account
from ledger import keyspace
from ledger.certified import ProofUnavailable
from ledger.state_proofs import make_state_proof
from ledger.tokens import TOKENS

FACT_LENGTH_MAX = 512
FORMS = "balance:TOKEN:ACCOUNT, account:ACCOUNT, handle:NAME, validators, or a key of the state as hex"


class FactQuery(Model):
    fact: Annotated[str, Field(max_length=FACT_LENGTH_MAX, description=f"{FORMS}; ACCOUNT is acct1… or a handle")]


class OtherLeaf(Model):
    path: str
    value_hash: str


class StateProofDocument(Model):
    certificate: str
    handovers: list[HandoverDocument]
    header: str
    key: str
    kind: str
    other: OtherLeaf | None = Field(description="for an absent key: the leaf that stands in its place, if one does")
    place: str
    siblings: list[str]
    value: str | None = Field(description="null for an absent key")
    version: int


async def get_state_proof(context: Context, query: FactQuery, body: None) -> Reply:
    """The proof file, byte for byte as `atlas verify` takes it."""
    with context.read() as reading:
        key = parse_fact(reading, query.fact)
        reading.state.get(key)  # a node that does not trust its state proves nothing of it
        try:
            proof = make_state_proof(reading.snapshot, reading.height, key)
        except ProofUnavailable as error:
            raise ProofNotReady(str(error), fact=query.fact) from error
    return Reply(200, proof, "application/json")


def parse_fact(reading: Reading, text: str) -> bytes:
    """Return the key of the state that a fact is about.  Raises InvalidRequest and AccountUnknown."""
    match text.split(":"):
        case ["validators"]:
            return keyspace.validators()
        case ["balance", token, account] if token in TOKENS:
            return keyspace.balance(token, find_account(reading.state, account))
        case ["account", account]:
            return keyspace.account(find_account(reading.state, account))
        case ["handle", name] if name:
            return keyspace.handle(name)
        case [key] if (
            key.startswith(keyspace.STATE.hex()) and len(key) % 2 == 0 and set(key) <= set("0123456789abcdef")
        ):
            return bytes.fromhex(key)
        case _:
            raise InvalidRequest(f"expected {FORMS}; tokens are {', '.join(TOKENS)}")


ENDPOINTS = (
    Endpoint("GET", "/ledger/state/{fact}/proof", "getStateProof",
             "A proof that anyone can check offline, of what one key of the state held when an epoch began.",
             "ledger", StateProofDocument, get_state_proof, query=FactQuery, errors=(AccountUnknown, ProofNotReady)),
)  # fmt: skip
