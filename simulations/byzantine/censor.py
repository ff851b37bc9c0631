"""The censor: as primary it proposes what others want, and never anything of one account."""

from collections.abc import Iterable

from ledger.events import CheckedEvent, View
from node.mempool import Mempool


class CensoringMempool(Mempool):
    """Takes every event, and chooses none of `account`."""

    def __init__(self, account: bytes) -> None:
        super().__init__()
        self._account = account

    def propose(
        self, view: View, in_flight: Iterable[CheckedEvent], beat: int, events_max: int, bytes_max: int
    ) -> list[CheckedEvent]:
        chosen = super().propose(view, in_flight, beat, events_max, bytes_max)
        return [checked for checked in chosen if checked.event.author != self._account]
