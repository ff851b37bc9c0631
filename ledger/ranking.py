"""What a post's rank is made of, and its proof: the factors of its score as the state had them when an epoch began.

    coherence   of the item                                   item record
    standing    s_chr of its author, as it was last written   standing record
    mass        what the newest epoch that endorsed the item gave it; 0 before      that epoch's RewardAccrued
    decay       from the beats since it was published         beat, and the coherence policy's step

The score is `ledger.coherence.compute_rank` of these; whoever has the proof computes it again.
"""

import re

from ledger import keyspace
from ledger.block import decode_header
from ledger.bundles import RANKING, Bundle, Finding, ProvenBundle
from ledger.certified import ProofInvalid, ProofUnavailable
from ledger.coherence import compute_decay, compute_rank
from ledger.events import View
from ledger.items import PAYABLE_EPOCHS, Item, read_item
from ledger.policies import read_policies
from ledger.primitives.fixed_point import format_decimal
from ledger.reading import Snapshot
from ledger.receipts import Receipt, decode_receipt
from ledger.rewards import REWARD_ACCRUED
from ledger.standing import read_standing
from ledger.state import read_number

COLUMNS = ("factor", "value")
_ACCRUED = REWARD_ACCRUED.name


class Known:
    """A state of which some keys are known.  Reading another one raises ProofInvalid."""

    def __init__(self, state: dict[bytes, bytes | None]) -> None:
        self._state = state

    def get(self, key: bytes) -> bytes | None:
        if key not in self._state:
            raise ProofInvalid(f"states: the key {key.hex()} is missing")
        return self._state[key]


def list_ranking_keys(post: bytes, item: Item) -> tuple[bytes, ...]:
    """Return the keys of the state that the rank of a post is made of."""
    return keyspace.beat(), keyspace.item(post), keyspace.policies(), keyspace.standing(item.author)


def make_ranking_rows(view: View, post: bytes, mass: int) -> tuple[tuple[str, str], ...]:
    """Return the factors of a post's rank and its score; the post must be an item.  mass: raw.

    Shares are texts with 18 decimals, beats are counts.
    """
    item = read_item(view, post)
    assert item is not None, "who asks has found the item"
    standing = read_standing(view, item.author)
    assert standing is not None, "an author has a standing"
    beat, step = read_number(view, keyspace.beat()), read_policies(view).coherence.decay_step_beats
    decay = compute_decay(beat - item.beat, step)
    score = compute_rank(item.coherence, standing.s_chr, mass, decay)
    return (
        ("beat", str(beat)),
        ("published_beat", str(item.beat)),
        ("decay_step_beats", str(step)),
        ("coherence", format_decimal(item.coherence)),
        ("s_chr", format_decimal(standing.s_chr)),
        ("mass", format_decimal(mass)),
        ("decay", format_decimal(decay)),
        ("score", format_decimal(score)),
    )


def make_ranking_bundle(snapshot: Snapshot, view: View, post: bytes) -> Bundle:
    """Return the bundle of what a post's rank is made of.  Raises ProofUnavailable.

    view: the state that a header commits to.  The newest accrual is found by the epochs in which an item is paid.
    """
    item = read_item(view, post)
    if item is None:
        raise ProofUnavailable("the post is not in the state that is proven yet; ask again when the next epoch runs")
    accrued = _find_accrued(snapshot, post, item, read_number(view, keyspace.beat()))
    rows = make_ranking_rows(view, post, 0 if accrued is None else int(accrued.inputs["mass"]))
    indexes = () if accrued is None else (accrued.log_index,)
    return Bundle(RANKING, {"post": post.hex()}, COLUMNS, rows, indexes, list_ranking_keys(post, item))


def _find_accrued(snapshot: Snapshot, post: bytes, item: Item, beat: int) -> Receipt | None:
    """Return the newest RewardAccrued of an item that was executed up to a beat."""
    for closed in range(item.epoch + PAYABLE_EPOCHS - 1, item.epoch - 1, -1):
        start = snapshot.get(keyspace.epoch_start(closed + 1))
        data = None if start is None else snapshot.get(keyspace.header(int.from_bytes(start, "big")))
        header = None if data is None else decode_header(data)
        if header is None or header.beat > beat:
            continue
        first, stop = (
            keyspace.by_type(_ACCRUED, place) for place in (header.log_size - header.event_count, header.log_size)
        )
        for key, _ in snapshot.iterate(first, stop, values=False):
            found = snapshot.get(keyspace.receipt(int.from_bytes(key[-8:], "big")))
            receipt = None if found is None else decode_receipt(found)
            if receipt is not None and receipt.inputs["item"] == post.hex():
                return receipt
    return None


def verify_ranking(bundle: ProvenBundle) -> Finding:
    """Compute a post's score again from what is proven.  Raises ProofInvalid."""
    post = bundle.query.get("post", "")
    if set(bundle.query) != {"post"} or not re.fullmatch(r"[0-9a-f]{64}", post):
        raise ProofInvalid("query: expected exactly the post, as 64 hex digits")
    header, view = bundle.certified.header, Known(bundle.state)
    item = read_item(view, bytes.fromhex(post))
    if item is None:
        raise ProofInvalid("states: there is no such post")
    if set(bundle.state) != set(list_ranking_keys(bytes.fromhex(post), item)):
        raise ProofInvalid("states: expected the beat, the item, the policies and the author's standing")
    accrued = [bundle.receipts[log_index] for log_index in sorted(bundle.receipts)]
    for receipt in accrued:
        if (receipt.event_type, receipt.inputs.get("item")) != (_ACCRUED, post) or receipt.height > header.state_height:
            raise ProofInvalid("events: expected a settlement of this post, not above the height of the state")
    if len(accrued) > 1:
        raise ProofInvalid(f"events: expected at most one settlement, got {len(accrued)}")
    mass = int(accrued[0].inputs["mass"]) if accrued else 0
    if bundle.columns != COLUMNS or bundle.rows != make_ranking_rows(view, bytes.fromhex(post), mass):
        raise ProofInvalid("rows: not the factors and the score that follow from the state")
    return Finding(
        (f"the factors are those of the state after height {header.state_height}, and give exactly this score",),
        (
            "that no newer settlement gave the post another mass" if accrued else "that no settlement gave it mass",
            "the rank at the head: standing and decay go on",
        ),
    )
