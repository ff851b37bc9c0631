"""Real chains with certificates, and both verifiers over the proofs that they give."""

from pathlib import Path

from atlas_verify.canonical import Invalid
from atlas_verify.chain import read_genesis
from atlas_verify.documents import verify
from ledger.certified import ProofInvalid, decode_kind
from ledger.genesis import Genesis, compute_chain_id, encode_genesis_file
from ledger.primitives.signing import SigningKey
from ledger.proofs import Proven, make_event_proof, verify_event_proof
from ledger.state_proofs import ProvenState, make_state_proof, verify_state_proof
from node.certificates import make_certificate_verifier
from social.posts import PostPublished
from tests.ledger.changing_sets import JOINER, ChangingWorld
from tests.ledger.world import VALIDATORS, id_of

FRESH = tuple(SigningKey(bytes([220 + number]) * 32) for number in range(4))
SETS = {0: (*VALIDATORS, JOINER), 1: FRESH, 2: (*FRESH, *VALIDATORS[:3])}


def make_world(folder: Path) -> ChangingWorld:
    """Return a chain whose set changes after each of its first three epochs: of 4, 5, 4 others and 7 validators."""
    return ChangingWorld(folder, SETS)


def post(world: ChangingWorld, text: str = "hello") -> bytes:
    """Publish a post in a certified block; return its id."""
    signed = world.sign(world.ada, PostPublished, text=text, tags=())
    height = world.execute(signed).header.height
    world.chain.write_certificate(height, world.certify(height))
    return id_of(signed)


def prove(world: ChangingWorld, event_id: bytes) -> bytes:
    with world.store.snapshot() as snapshot:
        return make_event_proof(snapshot, world.chain.head.height, event_id)


def prove_state(world: ChangingWorld, key: bytes) -> bytes:
    with world.store.snapshot() as snapshot:
        return make_state_proof(snapshot, world.chain.head.height, key)


class BothVerifiers:
    """The node's verifier and the one for third parties, trusting the same genesis."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._verify_certificate = make_certificate_verifier(compute_chain_id(genesis))
        self._foreign = read_genesis(encode_genesis_file(genesis))

    def verify(self, proof: bytes) -> tuple[Proven, dict[str, object]]:
        """Return what each finds proven of an event."""
        return verify_event_proof(proof, self._genesis, self._verify_certificate), verify(proof, self._foreign)

    def verify_state(self, proof: bytes) -> tuple[ProvenState, dict[str, object]]:
        """Return what each finds proven of the state."""
        return verify_state_proof(proof, self._genesis, self._verify_certificate), verify(proof, self._foreign)

    def list_believers(self, proof: bytes) -> list[str]:
        """Return which of the two accept a proof, of any kind.  Whatever else they raise is a fault of theirs."""
        believers: list[str] = []
        try:
            node_verify = verify_state_proof if decode_kind(proof) == "state" else verify_event_proof
            node_verify(proof, self._genesis, self._verify_certificate)
            believers.append("node")
        except ProofInvalid:
            pass
        try:
            verify(proof, self._foreign)
            believers.append("atlas_verify")
        except Invalid:
            pass
        return believers
