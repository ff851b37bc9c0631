"""A replica that fetches blocks it missed, as `node.block_sync` does, in virtual time.

What is asked and what is believed is `node.block_fetch`; here are the order of asking, the waiting, and the giving up.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from consensus.messages import Certificate
from consensus.parameters import Parameters
from ledger.block import StoredBlock
from ledger.chain import Chain
from ledger.primitives.records import decode_record
from ledger.service import Validators
from ledger.transition import Executed
from node.block_fetch import (
    RANGE_BLOCKS_MAX,
    SourceFault,
    find_named,
    make_request,
    open_block,
    read_answer,
    read_height,
    replay_block,
    split_at_era,
)
from node.event_cache import EventCache

REQUEST_TIMEOUT_MS = 2_000
FRUITLESS_PAUSE_MS = 200

Answered = Callable[[bytes], None]


class Surroundings(Protocol):
    """What fetching needs of its replica."""

    def request(self, peer: int, body: bytes, answered: Answered) -> None:
        """Ask a peer; `answered` is called with what comes back, if anything does."""
        ...

    def after(self, delay_ms: int, action: Callable[[], None]) -> None: ...

    def write(self, action: Callable[[], None]) -> None:
        """Do this when the writing side of the chain is free."""
        ...

    def told(self, executed: Executed) -> None: ...

    def installed(self, height: int, certificate: Certificate) -> None: ...


class Fetching:
    """One target, one peer at a time."""

    def __init__(
        self,
        around: Surroundings,
        chain: Chain,
        make_parameters: Callable[[Validators], Parameters],
        cache: EventCache,
        peers: Sequence[int],
    ) -> None:
        self.heights = dict.fromkeys(peers, 0)
        """What each peer said last of its height."""
        self._around = around
        self._chain = chain
        self._make_parameters = make_parameters
        self._cache = cache
        self._failures = dict.fromkeys(peers, 0)
        self._target = 0
        self._active = False
        self._left: list[int] = []
        self._before = 0
        self._asked = 0  # counts requests, so that a late answer is known as one

    def want(self, height: int) -> None:
        """Ask to catch up to a height that a peer claims."""
        self._target = max(self._target, height)
        if not self._active:
            self._active = True
            self._begin_round()

    def _begin_round(self) -> None:
        self._before = self._chain.head.height
        if self._before >= self._target:
            self._active = False
            return
        self._left = sorted(self.heights, key=lambda peer: (self._failures[peer], -self.heights[peer], peer))
        self._ask_next()

    def _ask_next(self) -> None:
        height = self._chain.head.height
        if height < self._target and self._left:
            self._ask(self._left.pop(0))
        elif height == self._before:
            self._target = height
            self._around.after(FRUITLESS_PAUSE_MS, self._begin_round)
        else:
            self._begin_round()

    def _ask(self, peer: int) -> None:
        self._asked += 1
        number, height = self._asked, self._chain.head.height

        def answered(answer: bytes) -> None:
            if number == self._asked:
                self._asked += 1
                self._take(peer, height + 1, answer)

        def ran_out() -> None:
            if number == self._asked:
                self._asked += 1
                self._give_up(peer)

        self._around.request(peer, make_request(height, self._target), answered)
        self._around.after(REQUEST_TIMEOUT_MS, ran_out)

    def _take(self, peer: int, first: int, answer: bytes) -> None:
        try:
            blocks = list(read_answer(answer, first))
        except SourceFault:
            self._give_up(peer)
            return
        if blocks:
            self._install_all(peer, blocks, min(self._target, first - 1 + RANGE_BLOCKS_MAX))
        else:
            self._ask_next()

    def _install_all(self, peer: int, blocks: list[StoredBlock], asked_to: int) -> None:
        """Install what one validator set certifies, and then what the next one does."""
        try:
            fresh = [block for block in blocks if read_height(block) > self._chain.head.height]
            of_set, later = split_at_era(fresh, self._chain.head.header.validators_hash)
            named = find_named(self._make_parameters(self._chain.validators), of_set)
        except SourceFault:
            self._give_up(peer)
            return
        self._install_next(peer, of_set, named, later, asked_to)

    def _install_next(
        self,
        peer: int,
        blocks: list[StoredBlock],
        named: Mapping[int, bytes],
        later: list[StoredBlock],
        asked_to: int,
    ) -> None:
        def install() -> None:
            try:
                self._install(blocks.pop(0), named)
            except SourceFault:
                self._give_up(peer)
                return
            self._install_next(peer, blocks, named, later, asked_to)

        if blocks:
            self._around.write(install)
        elif later:
            self._install_all(peer, later, asked_to)
        elif self._chain.head.height < asked_to:
            self._give_up(peer)  # it gave less than was asked
        elif self._chain.head.height < self._target:
            self._ask(peer)
        else:
            self._ask_next()

    def _install(self, block: StoredBlock, named: Mapping[int, bytes]) -> None:
        """Verify, execute, write.  Raises SourceFault and ReplayDiffers."""
        head = self._chain.head
        if read_height(block) <= head.height:
            return  # consensus was quicker
        parameters = self._make_parameters(self._chain.validators)
        fetched = open_block(parameters, block, head, self._cache, named, trusts_quorum=True)
        if fetched.certificate:
            self._chain.write_certificate(fetched.height, fetched.certificate)
        self._around.told(replay_block(self._chain, fetched.proposal, fetched.header_hash, fetched.check_again))
        if fetched.certificate:
            self._around.installed(fetched.height, decode_record(Certificate, fetched.certificate))

    def _give_up(self, peer: int) -> None:
        self._failures[peer] += 1
        self._ask_next()
