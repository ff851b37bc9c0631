"""Items: what the economy remembers of a post or reply.  It is paid and ranked by this; the text is not needed."""

from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.events import View
from ledger.policies import SafetyPolicy
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U64, Between, Bytes32
from ledger.state import read_record

VISIBLE, WARNED, HIDDEN = "visible", "warned", "hidden"
"""From harmless to gravest: shown; shown behind a warning; shown to who asks for it, and not paid."""
LABELS = (VISIBLE, WARNED, HIDDEN)
PAYABLE_EPOCHS = 3
"""An item is paid in the epoch that it was published in, and in the two that follow."""


@dataclass(frozen=True, slots=True)
class Item:
    """A post or reply in the economy."""

    author: Bytes32
    beat: U64
    c_holo: Annotated[int, Between(0, SCALE)]  # of the action that published it
    coherence: Annotated[int, Between(0, SCALE)]
    epoch: U64
    label: Annotated[int, Between(0, len(LABELS) - 1)]
    s_flx: Annotated[int, Between(0, SCALE)]


def compute_label(hate: int, offensive: int, policy: SafetyPolicy) -> str:
    """Return how an item with these scores is shown.  Only hate, the gravest class, hides."""
    if hate >= policy.hidden_hate:
        return HIDDEN
    if hate >= policy.warned_hate or offensive >= policy.warned_offensive:
        return WARNED
    return VISIBLE


def read_item(view: View, item_id: bytes) -> Item | None:
    """Return an item, or None."""
    return read_record(view, keyspace.item(item_id), Item)


def is_payable(item: Item, epoch: int) -> bool:
    """Whether an item is paid at the close of `epoch`."""
    return item.epoch <= epoch < item.epoch + PAYABLE_EPOCHS and LABELS[item.label] != HIDDEN
