"""The evidence that this node has found: kept on disk until it is on the ledger, as it may be all that there is of it.

One file for each key, named by it, with the canonical bytes of infra.EquivocationProven.  The first evidence against a
key is enough, so there are at most as many files as the chain ever had validators.
"""

import logging
from pathlib import Path

from consensus.effects import Evidence
from consensus.messages import AnySigned, get_purpose
from ledger import keyspace
from ledger.events import View
from ledger.evidence import KINDS, EquivocationProven, SignedVote
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record, encode_record
from ledger.service import Validators
from node.vote_log import write_whole

logger = logging.getLogger(__name__)

FILE_BYTES_MAX = 4_096


class EvidenceBook:
    """Keeps evidence in a folder.  Plain blocking file calls: what is written is small and rare."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, or make it.  Files that hold no evidence are left alone, and said in the log."""
        self._folder = folder
        self._found: dict[bytes, EquivocationProven] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.evidence")):
            body = _read(path)
            if body is not None:
                self._found[body.key] = body

    def keep(self, evidence: Evidence, validators: Validators) -> EquivocationProven | None:
        """Keep two votes that contradict each other, durably; None for what the ledger does not punish, or knows."""
        kind = get_purpose(type(evidence.first.message)).value
        replica = evidence.first.message.replica
        if kind not in KINDS or replica >= len(validators.keys):
            return None
        key = validators.keys[replica]
        if key in self._found:
            return None
        body = EquivocationProven(validators.era, _sign(evidence.first), key, kind, _sign(evidence.second))
        write_whole(self._folder / f"{key.hex()}.evidence", encode_record(body))
        self._found[key] = body
        return body

    def list_unproven(self, view: View) -> list[EquivocationProven]:
        """Return what the ledger does not have yet, by key."""
        return [self._found[key] for key in sorted(self._found) if view.get(keyspace.evidence(key)) is None]


def _sign(signed: AnySigned) -> SignedVote:
    return SignedVote(signed.encoded, signed.signature)


def _read(path: Path) -> EquivocationProven | None:
    try:
        data = path.read_bytes()
        return decode_record(EquivocationProven, data) if len(data) <= FILE_BYTES_MAX else None
    except (OSError, EncodingError) as error:
        logger.warning("%s: not evidence: %s", path, error)
        return None
