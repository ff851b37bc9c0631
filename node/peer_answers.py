"""What a node answers when a peer asks for a part of the chain, by the kind of request."""

from collections.abc import Callable
from functools import partial

from ledger.chain import Chain
from node.block_fetch import OpenArchive, answer_range
from node.catalogue import CATALOGUE_REQUEST, answer_catalogue
from node.history_fill import HISTORY_REQUEST, answer_history
from node.snapshot_fetch import (
    HEADERS_REQUEST,
    MANIFEST_REQUEST,
    PAGES_REQUEST,
    ManifestAnswers,
    answer_headers,
    answer_pages,
)

BLOCKS_REQUEST = "blocks"
Answer = Callable[[Chain, bytes], bytes]
"""(chain, request body) to the answer; reads the disk, so it is called in a thread.  Raises EncodingError."""


def list_answers(open_archive: OpenArchive = lambda: None) -> list[tuple[str, Answer]]:
    """Return all kinds of requests for the chain, and who answers each.  open_archive: of what is pruned here."""
    return [
        (BLOCKS_REQUEST, partial(answer_range, open_archive=open_archive)),
        (HEADERS_REQUEST, answer_headers),
        (HISTORY_REQUEST, partial(answer_history, open_archive=open_archive)),
        (MANIFEST_REQUEST, ManifestAnswers()),
        (PAGES_REQUEST, answer_pages),
        (CATALOGUE_REQUEST, partial(answer_catalogue, open_archive=open_archive)),
    ]
