"""What must hold when all is healed: one chain on all nodes, and in it what the clients were told, exactly once."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import orjson

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger.primitives.ids import IdKind, encode_id
from ledger.primitives.records import decode_record
from ledger.service import Validators
from node.eras import make_parameters
from tools.chaos.load import Line, Load
from tools.chaos.network import ChaosNetwork, InvariantBroken, Node

REQUESTS_AT_ONCE = 8
CATCH_UP_S = 60.0
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True, slots=True)
class NodeChain:
    """What one node shows of heights 1 to the common one."""

    blocks: list[str]
    digests: list[str]
    certificates: int


def wait_common_height(network: ChaosNetwork) -> int:
    """Return a height that all nodes have, with all below it, at or above the highest that any had when asked."""
    target: int = max(node.read_status()["height"] for node in network.nodes)
    deadline = time.monotonic() + CATCH_UP_S
    heights: dict[str, int] = {}
    while time.monotonic() < deadline:
        states = {node.name: node.read_status() for node in network.nodes}
        heights = {name: state["height"] for name, state in states.items()}
        if min(heights.values()) >= target and not any(state["history_missing"] for state in states.values()):
            return target
        time.sleep(0.1)
    raise InvariantBroken("all nodes reach one height", f"{target} on every node in {CATCH_UP_S:.0f} s", str(heights))


def check_equal_so_far(network: ChaosNetwork) -> None:
    """The cheap check in between: the newest height that the running nodes share has one header."""
    running = [node for node in network.nodes if node.is_running()]
    height = min(node.read_status()["height"] for node in running)
    hashes = {node.name: asyncio.run(_read_blocks(node, [height]))[0]["block"] for node in running}
    if len(set(hashes.values())) != 1:
        raise InvariantBroken("headers are equal", f"one header at height {height}", str(hashes))


async def _read_blocks(node: Node, heights: list[int]) -> list[dict[str, Any]]:
    limit = asyncio.Semaphore(REQUESTS_AT_ONCE)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def read(height: int) -> dict[str, Any]:
            async with limit, session.get(f"{node.url}/api/v1/ledger/blocks/{height}") as response:
                return cast("dict[str, Any]", orjson.loads(await response.read()))

        return await asyncio.gather(*(read(height) for height in heights))


def read_chain(network: ChaosNetwork, node: Node, height: int) -> NodeChain:
    """Read every header up to a height; verify each certificate.  Raises InvariantBroken."""
    parameters = make_parameters(network.chain_id, Validators(network.genesis.validators))
    blocks: list[str] = []
    digests: list[str] = []
    certificates = 0
    for first in range(1, height + 1, 500):
        for block in asyncio.run(_read_blocks(node, list(range(first, min(height, first + 499) + 1)))):
            at = len(blocks) + 1
            blocks.append(block["block"])
            digests.append(block["header"]["state_digest"])
            if block["certificate"] is None:
                continue
            certificate = decode_record(Certificate, bytes.fromhex(block["certificate"]))
            try:
                verify_certificate(parameters, certificate)
            except ValueError as error:
                raise InvariantBroken(
                    "certificates verify", f"a quorum at height {at} of {node.name}", str(error)
                ) from error
            if encode_id(IdKind.BLOCK, certificate.digest) != block["block"]:
                raise InvariantBroken("certificates are for their block", block["block"], certificate.digest.hex())
            certificates += 1
    return NodeChain(blocks, digests, certificates)


def read_receipts(node: Node, height: int) -> Iterator[dict[str, Any]]:
    """Yield every receipt up to a height, newest first."""

    async def page(cursor: str | None) -> dict[str, Any]:
        query = {"limit": "100", "to_height": str(height)} | ({} if cursor is None else {"cursor": cursor})
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{node.url}/api/v1/ledger/events", params=query) as response,
        ):
            return cast("dict[str, Any]", orjson.loads(await response.read()))

    cursor: str | None = None
    while True:
        found = asyncio.run(page(cursor))
        yield from found["items"]
        cursor = found["next"]
        if cursor is None:
            return


def check_headers(network: ChaosNetwork, height: int) -> int:
    """Every header and state digest is equal on every node; return how many certificates were verified."""
    chains = [read_chain(network, node, height) for node in network.nodes]
    for number in range(height):
        for what in ("blocks", "digests"):
            values = {
                node.name: getattr(chain, what)[number] for node, chain in zip(network.nodes, chains, strict=True)
            }
            if len(set(values.values())) != 1:
                raise InvariantBroken(f"{what} are equal at every height", f"one value at {number + 1}", str(values))
    return sum(chain.certificates for chain in chains)


def check_events(network: ChaosNetwork, load: Load, height: int) -> dict[str, int]:
    """On every node: what clients know as final is there once and where they were told, and nonces have no gaps."""
    authors = {encode_id(IdKind.ACCOUNT, author.account): number for number, author in enumerate(network.authors)}
    counted: dict[str, int] = {}
    for node in network.nodes:
        found: dict[str, int] = {}
        for receipt in read_receipts(node, height):
            if receipt["author"] not in authors or receipt["outcome"] == "skipped":
                continue
            event_id = receipt["event_id"]
            if event_id in found:
                raise InvariantBroken("nothing is doubled", f"{event_id} once", f"twice in the log of {node.name}")
            found[event_id] = receipt["log_index"]
        check_book(node, load.book, found)
        check_nonces(node, load.book, found)
        counted[node.name] = len(found)
    return counted


def check_book(node: Node, book: dict[str, Line], found: dict[str, int]) -> None:
    """Compare what clients were told with one node's log (event id -> log index).  Raises InvariantBroken."""
    for event_id, line in book.items():
        at = found.get(event_id)
        if line.log_index is not None and at != line.log_index:
            raise InvariantBroken(
                "nothing is lost", f"{event_id} at log index {line.log_index} of {node.name}", f"{at}"
            )
        if line.refused is not None and at is not None:
            raise InvariantBroken("what was refused is not committed", f"no {event_id} ({line.refused})", f"at {at}")
    unknown = [event_id for event_id in found if event_id not in book]
    if unknown:
        raise InvariantBroken("only what was signed is committed", "no other events", f"{unknown[0]} at {node.name}")


def check_nonces(node: Node, book: dict[str, Line], found: dict[str, int]) -> None:
    """Each account's nonces are 1, 2, 3, … in the order of the log.  Raises InvariantBroken."""
    last: dict[int, int] = {}
    for event_id in sorted(found, key=lambda each: found[each]):
        line = book[event_id]
        expected = last.get(line.author, 0) + 1
        if line.nonce != expected:
            raise InvariantBroken(
                "nonces are contiguous", f"nonce {expected} of account {line.author} at {node.name}", f"{line.nonce}"
            )
        last[line.author] = line.nonce


def check_offline(node: Node) -> dict[str, Any]:
    """Replay one stopped node's chain from genesis, as `atlas verify` does."""
    command = [sys.executable, "-m", "node.cli.main", "verify", "--json", str(node.folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise InvariantBroken(
            "the stored chain verifies offline", f"{node.name} to verify", done.stderr.decode()[-600:]
        )
    return cast("dict[str, Any]", orjson.loads(done.stdout))


def check_logs(nodes: Sequence[Node], tell: Callable[[str], None]) -> None:
    """No log has a traceback: a node that can't go on says why in a sentence."""
    for node in nodes:
        for incarnation in node.incarnations:
            text = incarnation.log.read_text(encoding="utf-8", errors="replace")
            if TRACEBACK in text:
                start = text.index(TRACEBACK)
                raise InvariantBroken(
                    "logs hold no traceback", f"none in {incarnation.log}", text[max(0, start - 200) : start + 1_500]
                )
        if any("evidence of equivocation" in each.log.read_text(errors="replace") for each in node.incarnations):
            tell(f"{node.name} saw two votes of one replica for one place (expected after a lost vote only)")
