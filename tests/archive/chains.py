"""A small chain with all that an archive must keep: posts, denied, skipped and malformed events, changing sets."""

from collections.abc import Iterable
from pathlib import Path

from ledger.archive.collection import Archive
from ledger.archive.segment import FrameCache, Segment
from ledger.archive.writing import SegmentWriter
from ledger.block import Header, compute_header_hash, encode_header
from ledger.certified import VerifyCertificate
from ledger.chain import compute_genesis_block
from ledger.events import SignedEvent
from ledger.service import Validators
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from node.archive_writer import Source
from node.certificates import make_certificate_verifier
from social.posts import PostPublished
from tests.ledger.changing_sets import EPOCH_BEATS, JOINER, ChangingWorld
from tests.ledger.world import RICH, VALIDATORS, id_of

SETS = {0: (*VALIDATORS, JOINER), 2: (*VALIDATORS[1:], JOINER)}
EPOCHS = 4
"""Whole ones; a fifth has begun."""
SKIPPED_IN, EXECUTED_IN = 5, 8
"""One event is ordered in the second epoch, before its turn, and again in the third."""
SECRET = "what was said in confidence"


class ArchivedWorld(ChangingWorld):
    """`events` are all that were signed, in order; `secret` is one of them, with a text that may have to go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SETS)
        self.events: list[SignedEvent] = []
        for number in range(EPOCHS * EPOCH_BEATS):
            self._certify(self.execute(*self._sign_some(number), beat=True).header)
        self.secret = self.events[2]

    def _sign_some(self, number: int) -> list[SignedEvent]:
        text = SECRET if number == 2 else f"post {number}"
        post = self.sign(self.ada, PostPublished, text=text, tags=("tag",))
        events = [post]
        if number % 3 == 1:
            too_much = self.sign(self.ben, TokensTransferred, to=self.ada.account, token=FLX, atoms=RICH)
            events += [too_much, post, SignedEvent(b"no event at all", None, bytes(64))]
        if number == SKIPPED_IN:
            self.early = self.sign(self.ben, PostPublished, text="early", tags=(), nonce=self.ben.nonce + 2)
        if number in (SKIPPED_IN, EXECUTED_IN):
            events.append(self.early)
            self.ben.nonce += number == EXECUTED_IN
        self.events.append(post)
        return events

    def _certify(self, header: Header) -> None:
        """One block inside an era has no certificate of its own; nor has the newest."""
        if header.height not in (EPOCH_BEATS + 1, EPOCHS * EPOCH_BEATS):
            self.chain.write_certificate(header.height, self.certify(header.height))

    @property
    def verify_certificate(self) -> VerifyCertificate:
        return make_certificate_verifier(self.chain.chain_id)

    @property
    def genesis_hash(self) -> bytes:
        return compute_header_hash(encode_header(compute_genesis_block(self.chain.genesis, self.chain.registry)[0]))

    def id_of_secret(self) -> bytes:
        return id_of(self.secret)

    def write_segments(self, epochs: int = 1) -> list[bytes]:
        """Return the files of all ranges of so many whole epochs."""
        files: list[bytes] = []
        height = 0
        with self.store.snapshot() as snapshot:
            source = Source("test", snapshot)
            while (wanted := source.plan(height + 1, epochs)) is not None:
                writer = SegmentWriter(source.make_tally(height + 1, self.verify_certificate))
                heights = range(wanted.first_height, wanted.last_height + 1)
                data = b"".join([writer.add(source.read_block(at)) for at in heights])
                files.append(data + writer.finish()[1])
                height = wanted.last_height
        return files

    def verify(self, segment: Segment) -> None:
        """Verify a segment that begins the archive."""
        segment.verify(self.genesis_hash, Validators(self.chain.genesis.validators), self.verify_certificate)


def open_segment(data: bytes, name: str = "test.segment", cache: FrameCache | None = None) -> Segment:
    return Segment(name, len(data), lambda offset, count: data[offset : offset + count], cache)


def open_archive(files: Iterable[bytes]) -> Archive:
    return Archive("test", [open_segment(data, f"{number}.segment") for number, data in enumerate(files)])
