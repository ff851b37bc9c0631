"""Integrity: a node that finds that it is not what the chain says stops voting, and serves reads only (CIR-412).

What may be found: the state does not have the digest that the head commits to, the software has other rules or another
text model than the chain runs under, a certified block gives another header here, or a quorum signed another digest.
An alert is raised once and stays until a restart; it carries a finality seal over state root, code and height.
"""

import logging
from collections.abc import Callable
from typing import NoReturn

import trio
from client_api.services import Alert

from ledger import keyspace
from ledger.block import Header
from ledger.chain import Chain
from ledger.primitives import lthash
from ledger.primitives.hashing import tagged_hash
from ledger.storage import Storage, StoreDamaged
from ledger.transition import Executed
from node.block_fetch import ReplayDiffers
from node.executor import Executor
from node.judgement import Proposal

logger = logging.getLogger(__name__)

CODE = "CIR-412"
STATE, RULES, EXECUTION = "state", "rules", "execution"
"""What does not fit.  From a damaged state nothing is read; blocks, receipts and proofs verify by themselves."""

REMEDIES = {
    STATE: "Stop the node, remove its ledger folder, and start it: it fetches the chain again from its peers.",
    RULES: "Install the version of the software that the network runs, and start the node again.",
    EXECUTION: "Stop the node, run `atlas replay` on its folder, compare the software's version with the network's, "
    "then remove the ledger folder and let the node fetch the chain again.",
}


def compute_seal(root: bytes, code: str, height: int) -> bytes:
    """Return the finality seal: what an operator quotes, and others compare, of where a node stopped."""
    return tagged_hash("atlas/finality-seal", root, code.encode(), keyspace.u64(height))


class Integrity:
    """Whether this node may still vote and write.  Raised in the trio thread or at start; read from any."""

    def __init__(self) -> None:
        self.alert: Alert | None = None
        self._raised = trio.Event()

    def raise_alert(self, what: str, why: str, header: Header) -> None:
        """Stop this node's writing side for good; the first reason stays."""
        if self.alert is not None:
            return
        seal = compute_seal(header.state_digest, CODE, header.height)
        self.alert = Alert(CODE, what, why, header.height, header.state_digest, seal, REMEDIES[what])
        logger.critical(
            "%s at height %d: %s; this node neither votes nor takes events, and serves reads only; seal %s; %s",
            CODE, header.height, why, seal.hex(), REMEDIES[what],
        )  # fmt: skip
        self._raised.set()

    async def wait_raised(self) -> None:
        await self._raised.wait()


def is_state_intact(store: Storage, header: Header) -> bool:
    """Whether the state on disk has the digest that a header commits to; about 5 µs a key."""
    found = lthash.combine(lthash.EMPTY, [], store.iterate(keyspace.STATE, keyspace.after(keyspace.STATE)))
    return lthash.digest(found) == header.state_digest


class WatchedExecutor(Executor):
    """An executor that stops for good when the chain and this node disagree, instead of stopping the node.

    Whoever waits for it then waits until the node ends: nothing is executed on a ledger that can't be trusted.
    """

    def __init__(self, chain: Chain, integrity: Integrity) -> None:
        super().__init__(chain)
        self._integrity = integrity

    async def execute(self, height: int, proposal: Proposal) -> Executed | None:
        await self._rest_if_alerted()
        try:
            return await super().execute(height, proposal)
        except StoreDamaged as damaged:
            await self._stop(damaged)

    async def replay(
        self,
        height: int,
        proposal: Proposal,
        header_hash: bytes,
        check_again: Callable[[], Proposal] | None = None,
        *,
        synced: bool = True,
    ) -> Executed | None:
        """As `Executor.replay`; what it would raise becomes the node's alert."""
        await self._rest_if_alerted()
        try:
            return await super().replay(height, proposal, header_hash, check_again, synced=synced)
        except (ReplayDiffers, StoreDamaged) as error:
            await self._stop(error)

    async def _rest_if_alerted(self) -> None:
        if self._integrity.alert is not None:
            await trio.sleep_forever()

    async def _stop(self, error: Exception) -> NoReturn:
        header = self.chain.head.header
        try:
            intact = await trio.to_thread.run_sync(is_state_intact, self.chain.store, header)
        except StoreDamaged:
            intact = False
        self._integrity.raise_alert(EXECUTION if intact else STATE, str(error), header)
        await trio.sleep_forever()
