"""The worked example of docs/proofs.md: one small chain, three proofs, and every value on the way.

python -m tests.verify.worked_example      writes tests/vectors/proofs.json anew, after a change of a format
"""

import hashlib
import json
import tempfile
from pathlib import Path

import orjson

from consensus.messages import Certificate
from ledger import keyspace
from ledger.block import decode_header
from ledger.events import Event
from ledger.genesis import decode_genesis_file, encode_genesis_file
from ledger.primitives import merkle
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.encoding import encode
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, signed_digest
from ledger.receipts import decode_receipt
from ledger.state_tree import compute_path, hash_leaf
from social.posts import PostPublished
from tests.ledger.changing_sets import ChangingWorld
from tests.ledger.world import id_of
from tests.verify.chains import prove, prove_state

VECTOR = Path(__file__).resolve().parents[1] / "vectors" / "proofs.json"
Example = dict[str, str]
"""The files, by name: genesis, event_proof, balance_proof, absence_proof."""


def make_example(folder: Path) -> Example:
    """Return the files of the example: a block with a beat and two posts, certified by four validators."""
    world = ChangingWorld(folder, {})
    posts = [world.sign(world.ada, PostPublished, text=text, tags=()) for text in ("hello", "world")]
    world.execute(*posts, beat=True)
    world.chain.write_certificate(1, world.certify(1))
    example = {
        "genesis": encode_genesis_file(world.chain.genesis).decode(),
        "event_proof": prove(world, id_of(posts[0])).decode(),
        "balance_proof": prove_state(world, keyspace.balance("FLX", world.ada.account)).decode(),
        "absence_proof": prove_state(world, keyspace.balance("FLX", world.cyd.account)).decode(),
    }
    world.close()
    return example


def compute_steps(example: Example) -> dict[str, str]:
    """Return every value on the way from the files to what they prove, as hex, by the node's code."""
    genesis = decode_genesis_file(example["genesis"].encode())
    event, balance, absence = (orjson.loads(example[f"{name}_proof"]) for name in ("event", "balance", "absence"))
    header_bytes, receipt_bytes, event_bytes = (bytes.fromhex(event[name]) for name in ("header", "receipt", "event"))
    header, receipt = decode_header(header_bytes), decode_receipt(receipt_bytes)
    certificate = decode_record(Certificate, bytes.fromhex(event["certificate"]))
    chain_id = tagged_hash("atlas/genesis", encode_record(genesis))
    header_hash = tagged_hash("atlas/header", header_bytes)
    checkpoint = encode_record(Checkpoint(header_hash, 0, header.height))
    key, value = (bytes.fromhex(balance[name]) for name in ("key", "value"))
    steps = {
        "genesis record": encode_record(genesis),
        "chain id": chain_id,
        "validators hash": tagged_hash("atlas/validators", encode(list(genesis.validators))),
        "header": header_bytes,
        "header hash": header_hash,
        "checkpoint of validator 0": checkpoint,
        "what validator 0 signs": signed_digest(chain_id, Purpose.CHECKPOINT, checkpoint),
        "key of validator 0": genesis.validators[0],
        "signature of validator 0": certificate.signatures[0].signature,
        "leaf of the receipt": merkle.leaf_hash(receipt_bytes),
        "first hash of the path": bytes.fromhex(event["path"][0]),
        "second hash of the path": bytes.fromhex(event["path"][1]),
        "log root": header.log_root,
        "event": event_bytes,
        "event id": tagged_hash("atlas/event", event_bytes),
        "what the author signs": signed_digest(chain_id, Purpose.EVENT, event_bytes),
        "key of the author": decode_record(Event, event_bytes).key,
        "signature of the author": bytes.fromhex(event["signature"]),
        "account of the author": receipt.author,
        "state key": key,
        "state value": value,
        "place of the state key": compute_path(key),
        "leaf of the state key": hash_leaf(compute_path(key), hashlib.sha256(value).digest()),
        "state root": header.state_root,
        "absent state key": bytes.fromhex(absence["key"]),
        "place of the absent key": compute_path(bytes.fromhex(absence["key"])),
    }
    return {name: step.hex() for name, step in steps.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = make_example(Path(temporary) / "ledger")
    source = "Our own formats, as docs/proofs.md specifies them; written by python -m tests.verify.worked_example."
    VECTOR.write_text(json.dumps({"source": source, "files": made, "steps": compute_steps(made)}, indent=2) + "\n")
