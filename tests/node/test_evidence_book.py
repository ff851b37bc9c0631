"""Evidence on disk: what a replica found survives a restart until the ledger has it."""

from pathlib import Path
from typing import Any

from consensus.effects import Evidence
from consensus.inputs import Received
from consensus.messages import ViewChange
from ledger import keyspace
from ledger.service import Validators
from node.evidence_book import EvidenceBook
from tests.consensus.harness import KEYS, commit, make_replica, pre_prepare, sign

VALIDATORS = Validators(tuple(key.public for key in KEYS[:4]))


class State:
    """A view of a dict."""

    def __init__(self, found: dict[bytes, bytes]) -> None:
        self.found = found

    def get(self, key: bytes) -> bytes | None:
        return self.found.get(key)


def find_evidence(*items: Received) -> Evidence:
    """Return what a replica says of these messages."""
    replica = make_replica(3)
    effects = [effect for item in items for effect in replica.step(item)]
    (found,) = [effect for effect in effects if isinstance(effect, Evidence)]
    return found


def test_what_a_replica_found_is_there_after_a_restart(tmp_path: Path) -> None:
    found = find_evidence(pre_prepare(1, b"a"), pre_prepare(1, b"b"))
    body = EvidenceBook(tmp_path).keep(found, VALIDATORS)

    assert body is not None
    assert (body.key, body.kind, body.era) == (KEYS[0].public, "pre-prepare", 0)
    assert EvidenceBook(tmp_path).list_unproven(State({})) == [body]
    assert EvidenceBook(tmp_path).list_unproven(State({keyspace.evidence(body.key): b"id"})) == []


def test_one_proof_of_a_key_is_kept(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path)

    first = book.keep(find_evidence(commit(1, 1, b"a"), commit(1, 1, b"b")), VALIDATORS)
    again = book.keep(find_evidence(commit(1, 2, b"a"), commit(1, 2, b"b")), VALIDATORS)
    other = book.keep(find_evidence(commit(2, 2, b"a"), commit(2, 2, b"b")), VALIDATORS)

    assert again is None
    assert book.list_unproven(State({})) == sorted([first, other], key=lambda each: each.key if each else b"")
    assert len(list(tmp_path.glob("*.evidence"))) == 2


def test_what_the_ledger_does_not_punish_is_not_kept(tmp_path: Path) -> None:
    first: Any = sign(ViewChange((), 1, None, 1))
    assert EvidenceBook(tmp_path).keep(Evidence(first, first), VALIDATORS) is None


def test_a_damaged_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "00.evidence").write_bytes(b"\x00" * 10)
    (tmp_path / "01.evidence").write_bytes(b"\x00" * 10_000)

    assert EvidenceBook(tmp_path).list_unproven(State({})) == []
    assert len(list(tmp_path.iterdir())) == 2
