"""Sources of blocks that lie to whoever fetches: about heights, certificates, validators, contents, or by waiting."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, get_args

from consensus.messages import Certificate, Checkpoint, Vote
from ledger.block import StoredBlock, compute_header_hash, decode_header, encode_header
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose
from node.block_fetch import Blocks
from simulations.fetching import REQUEST_TIMEOUT_MS
from simulations.observations import Scripted
from simulations.setting import make_key
from simulations.world import World

FAR = 1_000_000
Way = Literal["height", "certificate", "validators", "block", "uncertified", "drip", "stale", "silent", "garbage"]
Change = Callable[[bytes, StoredBlock], StoredBlock]


@dataclass(frozen=True, slots=True)
class LyingSource:
    """These replicas answer wrongly when they are asked for blocks, each in a way that the seed draws from `ways`."""

    name: ClassVar[str] = "lying_source"
    at_ms: int
    replicas: tuple[int, ...]
    ways: tuple[Way, ...]

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return self.replicas

    def begin(self, world: World) -> None:
        for number in self.replicas:
            way = world.schedule.stream(f"source {number}").choice(self.ways)
            world.show(Scripted(world.now_ms, self.name, (("replica", number), ("way", way))))
            node = world.nodes[number]
            node.block_answers = partial(_answer, ANSWERS[way], world.setting.chain_id)
            if way == "height":
                node.height_claim = FAR
            if way == "drip":
                node.answer_ms = (REQUEST_TIMEOUT_MS * 9 // 10, REQUEST_TIMEOUT_MS * 9 // 10)


def _answer(
    answer: Callable[[bytes, bytes], bytes | None], chain_id: bytes, request: bytes, true: bytes
) -> bytes | None:
    return answer(chain_id, true)


def _each(change: Change) -> Callable[[bytes, bytes], bytes]:
    """Return what changes every block of an answer."""

    def answer(chain_id: bytes, true: bytes) -> bytes:
        blocks = decode_record(Blocks, true)
        return encode_record(replace(blocks, blocks=tuple(change(chain_id, each) for each in blocks.blocks)))

    return answer


def _forge_signatures(chain_id: bytes, block: StoredBlock) -> StoredBlock:
    """The right signers, and signatures that are nobody's."""
    if not block.certificate:
        return block
    certificate = decode_record(Certificate, block.certificate)
    votes = tuple(Vote(each.replica, each.signature[::-1]) for each in certificate.signatures)
    return replace(block, certificate=encode_record(replace(certificate, signatures=votes)))


def _certify_by_others(chain_id: bytes, block: StoredBlock) -> StoredBlock:
    """A block that never was, with a certificate by keys that are no validators'."""
    header = decode_header(block.header)
    forged = encode_header(replace(header, state_digest=tagged_hash("test/forged", header.state_digest)))
    digest = compute_header_hash(forged)
    signers = len(decode_record(Certificate, block.certificate).signatures) if block.certificate else 3
    votes = [
        Vote(number, make_key(f"nobody {number}").sign(
            chain_id, Purpose.CHECKPOINT, encode_record(Checkpoint(digest, number, header.height))
        ))
        for number in range(signers)
    ]  # fmt: skip
    return replace(block, header=forged, certificate=encode_record(Certificate(digest, header.height, tuple(votes))))


def _drop_event(chain_id: bytes, block: StoredBlock) -> StoredBlock:
    return replace(block, items=block.items[:-1])


def _drop_certificate(chain_id: bytes, block: StoredBlock) -> StoredBlock:
    return replace(block, certificate=b"")


def _claim_height(chain_id: bytes, true: bytes) -> bytes:
    return encode_record(Blocks((), FAR))


def _drip(chain_id: bytes, true: bytes) -> bytes:
    blocks = decode_record(Blocks, true)
    return encode_record(replace(blocks, blocks=blocks.blocks[:1]))


def _shift(chain_id: bytes, true: bytes) -> bytes:
    """Good blocks that are not those asked for: without the first, or the last again."""
    blocks = decode_record(Blocks, true)
    return encode_record(replace(blocks, blocks=blocks.blocks[1:] or blocks.blocks * 2))


ANSWERS: dict[Way, Callable[[bytes, bytes], bytes | None]] = {
    "height": _claim_height,
    "certificate": _each(_forge_signatures),
    "validators": _each(_certify_by_others),
    "block": _each(_drop_event),
    "uncertified": _each(_drop_certificate),
    "drip": _drip,
    "stale": _shift,
    "silent": lambda chain_id, true: None,
    "garbage": lambda chain_id, true: true[::-1],
}
assert set(ANSWERS) == set(get_args(Way)), "each way has its answer"
