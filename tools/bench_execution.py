"""Measure execution alone: the real-post workload on one core, signatures excluded, beside few and many accounts.

    python tools/bench_execution.py [--accounts 10000 1000000] [--events 20000] [--posts FILE] [--profile]

No network and no consensus: events are signed and their signatures checked ahead.  What is measured for each event is
all the rest: decoding, payload hash and assessment of the text ("check"), guards, transition, receipts, log tree and
state digest ("execute"), and the synced LevelDB batch ("commit").  The other accounts are in the store beside those
that act.  Prints a table and writes build/bench_execution.json.
"""

import argparse
import cProfile
import json
import platform
import pstats
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.progress import track
from rich.table import Table

from ledger import events as ledger_events
from ledger import keyspace
from ledger.authoring import Reference, make_event, sign_event
from ledger.block import Batch
from ledger.chain import Chain
from ledger.draft import Draft
from ledger.events import CheckedEvent, Put, SignedEvent, compute_event_id
from ledger.genesis import Genesis, make_policy_values
from ledger.identity import IdentityCreated, make_account
from ledger.payloads import Payload
from ledger.primitives import lthash
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import encode_record
from ledger.primitives.signing import SigningKey
from ledger.standing import open_standing
from ledger.store import Store
from node.devnet import SAMPLE
from node.loader import Author, make_authors, read_posts
from node.modules import make_registry
from node.run import spare_collections
from social.follows import AccountFollowed
from social.posts import make_post, make_reply
from social.reactions import ContentLiked

ROOT = Path(__file__).resolve().parent.parent
BATCH_EVENTS = 256
BATCHES_BY_BEAT = 8
ACTING = 1_000
POLICIES = {
    "energy": {"base_cost": 100 * SCALE, "burst_actions_min": 1_000},
    "sybil": {"age_epochs": 2, "bond": 0, "newcomer_epochs": 1, "posts_max": 10_000, "votes_max": 1_000},
}
LIMIT_EVENTS_S = 5_000
LIMIT_GROWTH = 1.2


def compute_resting(number: int) -> bytes:
    """Return the id of one of the accounts that do not act themselves; every other follow is of one of them."""
    return tagged_hash("bench", number.to_bytes(8, "big"))


class Bench:
    """One chain with many accounts."""

    def __init__(self, folder: Path, accounts: int, console: Console) -> None:
        keys = tuple(SigningKey(bytes([number + 1]) * 32).public for number in range(4))
        genesis = Genesis(
            allocations=(), beat_ms=1_000, epoch_beats=32, name="bench", time_ms=0, validators=keys,
            policies=make_policy_values(POLICIES),
        )  # fmt: skip
        self.registry = make_registry()
        self.store = Store(folder)
        self.chain = Chain(self.store, genesis, self.registry)
        self.authors = make_authors(self.chain.chain_id, ACTING, seed=1)
        self.resting = accounts - ACTING
        self._fill(self.resting, console)

    def _fill(self, accounts: int, console: Console) -> None:
        """Put other accounts into the store, with the lanes that go with them."""
        lanes = self.chain._lanes  # pyright: ignore[reportPrivateUsage]
        step = 20_000
        for start in track(range(0, accounts, step), f"{accounts} accounts", console=console, transient=True):
            draft = Draft(self.store)
            for number in range(start, min(start + step, accounts)):
                account = compute_resting(number)
                draft.put(keyspace.account(account), encode_record(make_account(account, 0)))
                open_standing(draft, account, 0)
            changes = [(write.key, write.value) for write in draft.writes() if isinstance(write, Put)]
            before = [(key, value) for key, _ in changes if (value := self.store.get(key)) is not None]
            lanes = lthash.combine(lanes, before, changes)
            self.store.write(changes, [])
        self.chain._lanes = lanes  # pyright: ignore[reportPrivateUsage]

    def workload(self, posts_file: Path, count: int) -> Iterator[list[tuple[SignedEvent, CheckedEvent]]]:
        """Yield batches of signed events: posts, three likes to each, replies and follows between."""
        draw = random.Random(2013)
        texts = read_posts(posts_file)
        posts: list[bytes] = [bytes(32)]
        batch: list[tuple[SignedEvent, CheckedEvent]] = [
            self._sign(author, IdentityCreated(), None) for author in self.authors
        ]
        yield batch
        made = 0
        while made < count:
            batch = []
            for _ in range(min(BATCH_EVENTS, count - made)):
                author = self.authors[int(ACTING * draw.random() ** 2)]
                number = draw.randrange(20)
                payload = None
                if number < 7:
                    source = texts[made % len(texts)]
                    payload = Payload(draw.randbytes(16), source.text)
                    signed = self._sign(author, make_post(payload, (source.community,)), payload)
                    posts.append(compute_event_id(signed[0].event))
                elif number < 15:
                    signed = self._sign(author, ContentLiked(draw.choice(posts[-2_000:])), None)
                elif number < 17:
                    payload = Payload(draw.randbytes(16), "This aged well; I tried it, and it works as described.")
                    signed = self._sign(author, make_reply(payload, draw.choice(posts[-200:])), payload)
                else:
                    other = draw.choice(self.authors).account if draw.random() < 0.5 else self._pick_resting(draw)
                    signed = self._sign(author, AccountFollowed(other), None)
                batch.append(signed)
                made += 1
            yield batch

    def _pick_resting(self, draw: random.Random) -> bytes:
        return compute_resting(draw.randrange(self.resting))

    def _sign(self, author: Author, body: object, payload: Payload | None) -> tuple[SignedEvent, CheckedEvent]:
        kind = next(kind for kind in self.registry.all() if kind.body is type(body))
        author.nonce += 1
        head = self.chain.head
        event = make_event(
            kind, body, author=author.account, key=author.key.public, nonce=author.nonce,
            reference=Reference(head.height, head.hash, head.header.beat),
        )  # fmt: skip
        signed = sign_event(author.key, self.chain.chain_id, event, payload)
        return signed, ledger_events.check_event(self.registry, self.chain.chain_id, signed, payload_required=True)


def is_valid_anyway(*_: object) -> bool:
    return True


@contextmanager
def signatures_excluded() -> Iterator[None]:
    """Every signature was checked before; within, checking an event does all but that."""
    with mock.patch.object(ledger_events, "is_valid_signature", new=is_valid_anyway):
        yield


def measure(accounts: int, events: int, posts: Path, console: Console, profile: bool) -> dict[str, float]:
    """Return the microseconds an event that each part took, in CPU time of the thread that executes."""
    spent = {"check": 0.0, "execute": 0.0, "commit": 0.0}
    counted = applied = 0
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        bench = Bench(Path(folder) / "ledger", accounts, console)
        for number, batch in enumerate(bench.workload(posts, events)):
            signed = tuple(each for each, _ in batch)
            started = time.thread_time()
            with signatures_excluded():
                checked = tuple(
                    ledger_events.check_event(bench.registry, bench.chain.chain_id, each, payload_required=True)
                    for each in signed
                )
            after_check = time.thread_time()
            block = Batch(number % BATCHES_BY_BEAT == 0, bench.chain.head.height + 1, signed, 0, number, 0)
            if profile:
                profiler.enable()
            executed = bench.chain.compute(block, checked)
            profiler.disable()
            after_execute = time.thread_time()
            bench.chain.commit(executed)
            if number > 0:  # the first block opens accounts
                spent["check"] += after_check - started
                spent["execute"] += after_execute - after_check
                spent["commit"] += time.thread_time() - after_execute
                counted += len(batch)
                applied += sum(
                    1 for receipt in executed.receipts if receipt.outcome == "applied" and receipt.author != bytes(32)
                )
        bench.store.close()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(60)
    return {name: seconds / counted * 1e6 for name, seconds in spent.items()} | {
        "applied": applied / counted,
        "events": counted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--posts", type=Path, default=SAMPLE)
    parser.add_argument("--profile", action="store_true", help="print where execution spends its time")
    options = parser.parse_args()
    spare_collections()
    console = Console(stderr=True)
    rows: list[dict[str, float]] = []
    for accounts in options.accounts:
        row = measure(accounts, options.events, options.posts, console, options.profile)
        rows.append(row | {"accounts": accounts})
    table = Table(
        title=f"execution on one core, µs of CPU an event ({platform.machine()}, Python {platform.python_version()})"
    )
    for name in ("accounts", "check", "execute", "commit", "in all", "events/s", "limit", "applied"):
        table.add_column(name, justify="right")
    for row in rows:
        total = row["check"] + row["execute"] + row["commit"]
        row["events_s"] = 1e6 / total
        table.add_row(
            f"{row['accounts']:,.0f}", *(f"{row[name]:.0f}" for name in ("check", "execute", "commit")), f"{total:.0f}",
            f"{row['events_s']:,.0f}", f"≥ {LIMIT_EVENTS_S:,}", f"{row['applied']:.1%}",
        )  # fmt: skip
    Console().print(table)
    if len(rows) > 1:
        growth = rows[0]["events_s"] / rows[-1]["events_s"]
        Console().print(f"cost an event at the most accounts / at the fewest: {growth:.2f} (limit {LIMIT_GROWTH})")
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "bench_execution.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
