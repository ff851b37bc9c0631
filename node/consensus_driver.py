"""The driver of an era: waits, and carries out what the core decides, in the order given.

One task owns the core.  Votes are durable before they are sent: all records that a round of inputs gave are synced
once, and only then its messages leave.  Execution and judging run beside it and come back as inputs.
"""

from collections.abc import Callable

import trio

from consensus.effects import Evidence, Execute, JudgeBatch
from consensus.inputs import Input, Started
from consensus.messages import Checkpoint
from consensus.parameters import Parameters
from consensus.replica import Replica
from ledger.chain import Chain
from ledger.events import CheckedEvent
from node.clock import BeatClock, monotonic_ms, now_ms
from node.consensus_core import ConsensusCore, Work
from node.event_cache import EventCache
from node.executor import Executor
from node.mempool import Mempool
from node.vote_log import REWRITE_AFTER_BYTES, VoteLog

SendFrame = Callable[[int, bytes], bool]
RequestSync = Callable[[int], None]


class ConsensusDriver:
    """Runs one replica, in one era.  `send(replica, frame)` queues a frame for another validator and never waits."""

    def __init__(
        self,
        replica: Replica,
        parameters: Parameters,
        me: int,
        *,
        chain: Chain,
        executor: Executor,
        mempool: Mempool,
        cache: EventCache,
        beats: BeatClock,
        vote_log: VoteLog,
        send: SendFrame,
        request_sync: RequestSync,
        on_stable: Callable[[int], None],
        on_vote: Callable[[Checkpoint, bytes], None],
        on_evidence: Callable[[Evidence], None],
        events_max: int,
        batch_wait_ms: int,
        pass_on: Callable[[CheckedEvent], object],
        on_remembered: Callable[[], None] | None = None,
        rewrite_after_bytes: int = REWRITE_AFTER_BYTES,
    ) -> None:
        """on_remembered: called once, when the replica no longer abstains."""
        self.replica = replica
        self._tell_remembered = on_remembered
        self._core = ConsensusCore(
            replica,
            parameters,
            me,
            chain=chain,
            mempool=mempool,
            cache=cache,
            beats=beats,
            monotonic_ms=monotonic_ms,
            wall_ms=now_ms,
            on_stable=on_stable,
            on_vote=on_vote,
            events_max=events_max,
            batch_wait_ms=batch_wait_ms,
            pass_on=pass_on,
        )
        self._others = [number for number in range(len(parameters.replicas)) if number != me]
        self._me = me
        self._executor = executor
        self._vote_log = vote_log
        self._rewrite_after_bytes = rewrite_after_bytes
        self._must_shorten: trio.Event | None = None
        self._send = send
        self._request_sync = request_sync
        self._tell_evidence = on_evidence
        self._wake = trio.Event()
        self._to_judge, self._judging = trio.open_memory_channel[JudgeBatch](64)
        self._to_execute, self._executing = trio.open_memory_channel[Execute](64)

    @property
    def halted(self) -> str | None:
        """Why this replica votes no more, if so."""
        return self._core.halted

    # What others call, from the trio thread.

    def put(self, item: Input) -> None:
        """Hand over an input; our own are never dropped."""
        self._core.put(item)
        self._wake.set()

    def receive(self, frame: bytes) -> None:
        """Take a consensus frame of a validator.  Raises InvalidMessage, at that peer's expense."""
        if self._core.receive(frame):
            self._wake.set()

    def events_arrived(self) -> None:
        """Tell that the mempool has more than before."""
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the replica until its era has ended; then the certificate that ended it is durable."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._judge_proposals)
            nursery.start_soon(self._execute_batches)
            self.put(Started())
            task_status.started()
            while not self._core.has_ended:
                await self._wait_for_work()
                await self._carry_out(self._core.advance())
            await trio.to_thread.run_sync(self._core.make_certificate_durable)
            nursery.cancel_scope.cancel()

    async def _wait_for_work(self) -> None:
        if self._core.inputs_waiting:
            await trio.lowlevel.checkpoint()
            return
        self._wake = trio.Event()
        with trio.move_on_after(max(0, self._core.next_deadline_ms() - monotonic_ms()) / 1000):
            await self._wake.wait()

    async def _carry_out(self, work: Work) -> None:
        if self._tell_remembered is not None and not self.replica.status().abstains:
            self._tell_remembered()
            self._tell_remembered = None
        for judge in work.judge:
            self._to_judge.send_nowait(judge)
        for order in work.execute:
            self._to_execute.send_nowait(order)
        for height in work.fetch_to:
            self._request_sync(height)
        for evidence in work.evidence:
            self._tell_evidence(evidence)
        self._vote_log.append(work.records)
        if self._vote_log.size_bytes > self._rewrite_after_bytes or self._must_shorten is not None:
            await trio.to_thread.run_sync(self._shorten_vote_log)
            if self._must_shorten is not None:
                self._must_shorten.set()
                self._must_shorten = None
        elif work.records:
            await trio.to_thread.run_sync(self._vote_log.sync)
        for outgoing in work.outgoing:
            for replica in self._others if outgoing.replica is None else (outgoing.replica,):
                if replica != self._me:
                    self._send(replica, outgoing.frame)

    async def shorten_vote_log(self) -> None:
        """Have the vote log rewritten without what is needless, and wait for it.  It happens with the next work."""
        if self._must_shorten is None:
            self._must_shorten = trio.Event()
        await self._must_shorten.wait()

    def _shorten_vote_log(self) -> None:
        """Keep only what is still needed, once the certificate that makes the rest needless is durable."""
        self._vote_log.rewrite(self._core.make_certificate_durable())

    # Judging and executing, beside the loop.

    async def _judge_proposals(self) -> None:
        async for judge in self._judging:
            await trio.lowlevel.checkpoint()
            judged = self._core.judge(judge)
            if judged is not None:
                self.put(judged)

    async def _execute_batches(self) -> None:
        async for order in self._executing:
            executed = await self._executor.execute(order.seq, self._core.open(order.batch))
            self.put(self._core.compute_executed(order.seq, None if executed is None else executed.hash))
