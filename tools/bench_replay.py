"""Where a node that catches up spends its time: a stopped node's blocks installed into an empty store, by stage.

Does what block sync does with each fetched block, in one thread and without a network: CPU time says what a busy
machine pays, wall time adds waiting for the disk.  `python tools/bench_replay.py build/chaos/validator-0`, after a run
of the fault harness with --keep.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ledger.block import compute_header_hash
from ledger.chain import Chain, make_batch
from ledger.events import CheckedEvent
from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.store import Store
from node.block_fetch import BlockRange, Blocks, answer_range, verify_block, verify_payloads
from node.eras import make_parameters
from node.event_cache import EventCache
from node.judgement import Proposal
from node.modules import make_registry
from node.run import spare_collections


class Stages:
    """CPU and wall seconds by stage, in the order of first use."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        cpu, wall = time.thread_time(), time.perf_counter()
        yield
        before = self.seconds.get(name, (0.0, 0.0))
        self.seconds[name] = (before[0] + time.thread_time() - cpu, before[1] + time.perf_counter() - wall)


def replay(source: Chain, copy: Chain, stage: Stages, *, trusts_quorum: bool) -> int:
    """Install every block of `source` in `copy`; return how many events those hold.  trusts_quorum: see `BlockSync`."""
    parameters = make_parameters(source.chain_id, source.validators)
    cache = EventCache(copy.registry, copy.chain_id)
    events = 0
    while copy.head.height < source.head.height:
        wanted = BlockRange(copy.head.height + 1, source.head.height)
        with stage("the source reads and encodes a range"):
            answer = answer_range(source, encode_record(wanted))
        with stage("decode the answer"):
            blocks = decode_record(Blocks, answer).blocks
        if not blocks:
            break  # the newest blocks have no certificate yet
        for block in blocks:
            with stage("verify header, certificate, event root"):
                header = verify_block(parameters, block, copy.head.header, copy.head.hash)
            with stage("check events: decode, signature, payload, assessment"):
                batch = make_batch(header, copy.head.header, block.items)
                proposal = Proposal(
                    batch, cache.check_all(block.items, certified=trusts_quorum) if batch is not None else ()
                )
                verify_payloads(block, proposal)
            with stage("execute"):
                executed = copy.compute(proposal.batch, proposal.checked)
            assert executed.hash == compute_header_hash(block.header), f"height {header.height} differs"
            with stage("commit: one synced batch a block"):
                copy.commit(executed)
            with stage("write the certificate"):
                copy.write_certificate(header.height, block.certificate)
            with stage("(of the check: Ed25519 alone, done again)"):
                for checked in proposal.checked:
                    if isinstance(checked, CheckedEvent):
                        event = checked.signed
                        assert is_valid_signature(
                            checked.event.key, copy.chain_id, Purpose.EVENT, event.event, event.signature
                        )
            events += len(block.items)
    return events


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a stopped node; genesis.json lies beside it")
    parser.add_argument("--observer", action="store_true", help="check every signature again, as an observer does")
    given = parser.parse_args()
    spare_collections()
    genesis = decode_genesis_file((given.folder.parent / "genesis.json").read_bytes())
    stage = Stages()
    with tempfile.TemporaryDirectory(prefix="atlas-bench-replay-") as work:
        shutil.copytree(given.folder / "data" / "ledger", Path(work) / "source")
        source = Chain(Store(Path(work) / "source"), genesis, make_registry())
        copy = Chain(Store(Path(work) / "copy"), genesis, make_registry())
        assert source.chain_id == compute_chain_id(genesis)
        events = replay(source, copy, stage, trusts_quorum=not given.observer)
        blocks = copy.head.height
        source.store.close()
        copy.store.close()
    real = {name: spent for name, spent in stage.seconds.items() if not name.startswith("(")}
    cpu, wall = sum(spent[0] for spent in real.values()), sum(spent[1] for spent in real.values())
    table = Table("stage", "CPU µs an event", "CPU %", "wall µs an event", "wall %")
    for name, spent in stage.seconds.items():
        table.add_row(
            name, f"{spent[0] / events * 1e6:.0f}", f"{100 * spent[0] / cpu:.1f}",
            f"{spent[1] / events * 1e6:.0f}", f"{100 * spent[1] / wall:.1f}",
        )  # fmt: skip
    Console().print(
        table,
        f"{events} events in {blocks} blocks, {events / blocks:.1f} each: {events / cpu:.0f} events/s of CPU, "
        f"{events / wall:.0f} with the disk",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
