"""Two thousand hostile connections to one validator of a running network: its memory stays bounded, blocks flow, and
its honest peers stay connected."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from ledger.genesis import compute_chain_id, decode_genesis_file
from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.config import load_config, parse_peers
from node.devnet import Devnet, Member
from p2p.host import PeerAddress
from tests.network.conftest import devnet
from tests.p2p.attackers import make_network, running
from tests.p2p.floods import KEYED, RAW, Victim, flood

__all__ = ["devnet"]

pytestmark = pytest.mark.network

RAW_CONNECTIONS = 1_600
KEYED_CONNECTIONS = 400
AT_ONCE = 200
RSS_BYTES_MAX = 300 * 1024 * 1024
"""Some 200 MiB are usual; with the bounds on streams, handshakes, rates, answers and bans taken away it was 386."""
STANDSTILL_S_MAX = 15.0
COUNTED = (
    "yamux_malformed", "window_overrun", "multistream_garbage", "hello_malformed", "wrong_chain", "frame_oversize",
    "frame_flood", "submission_malformed", "not_a_validator", "request_malformed",
)  # fmt: skip
"""Faults that these attacks must have come far enough to be counted for."""
MIB = 1024 * 1024


@dataclass
class Watch:
    """Samples of the node under attack, taken all the time."""

    devnet: Devnet
    victim: Member
    rss: list[int] = field(default_factory=list)
    heights: list[tuple[float, int]] = field(default_factory=list)
    peers: list[frozenset[str]] = field(default_factory=list)
    unanswered: int = 0
    stopping: bool = False

    def run(self) -> None:
        assert self.victim.process is not None
        statm = Path(f"/proc/{self.victim.process.pid}/statm")
        while not self.stopping:
            self.rss.append(int(statm.read_text().split()[1]) * 4_096)
            try:
                status = ApiClient(self.victim.url, timeout_s=10).get("/node/status")
                self.heights.append((time.monotonic(), status["height"]))
                self.peers.append(frozenset(peer["public_key"] for peer in status["peers"]))
            except (NodeUnreachable, ApiProblem):
                self.unanswered += 1
            time.sleep(0.2)

    def longest_standstill_s(self) -> float:
        """Return the longest time in which the height was not seen to grow."""
        longest, (since, height) = 0.0, self.heights[0]
        for now, seen in self.heights:
            if seen > height:
                since, height = now, seen
            longest = max(longest, now - since)
        return longest


async def count_blocks_of_newcomer(victim: Victim) -> int:
    """Return how many bytes of blocks an honest newcomer is answered."""
    newcomer = make_network(
        1_000_000, PeerAddress(victim.public_key, "127.0.0.1", victim.listen_port), chain_id=victim.chain_id
    )
    async with running(newcomer):
        with trio.fail_after(20):
            await newcomer.wait_connected(victim.public_key)
            answer = await newcomer.request(victim.public_key, "blocks", b"\x82\xa5first\x01\xa4last\x03")
    return len(answer)


def test_two_thousand_hostile_connections_stop_nothing(devnet: Devnet, capsys: pytest.CaptureFixture[str]) -> None:
    config = devnet.gateway.folder / "node.toml"
    target = parse_peers(config, load_config(config).p2p.peers)[0]
    chain_id = compute_chain_id(decode_genesis_file((devnet.folder / "genesis.json").read_bytes()))
    victim = Victim(target.public_key, target.port, chain_id)
    member = devnet.validators[0]
    devnet.wait_height(3)
    honest = frozenset(ApiClient(each.url).get("/node/status")["public_key"] for each in devnet.members[1:])
    watch = Watch(devnet, member)
    watcher = threading.Thread(target=watch.run, daemon=True)
    watcher.start()
    began = time.monotonic()

    made = trio.run(flood, victim, RAW_CONNECTIONS, KEYED_CONNECTIONS, AT_ONCE)

    took_s = time.monotonic() - began
    watch.stopping = True
    watcher.join(20)
    grown = watch.heights[-1][1] - watch.heights[0][1]
    with capsys.disabled():
        print(
            f"\n{sum(made[name] for name in NAMES)} connections in {took_s:.0f} s, "
            f"{made['proved a key']} proved a key, {made['hung up on']} were hung up on; "
            f"resident {watch.rss[0] // MIB} MiB before, {max(watch.rss) // MIB} most, {watch.rss[-1] // MIB} after; "
            f"{grown} blocks, longest standstill {watch.longest_standstill_s():.1f} s; {len(watch.peers)} looks, "
            f"{watch.unanswered} unanswered"
        )
    assert {name: made[name] > 0 for name in NAMES} == dict.fromkeys(NAMES, True)
    assert sum(made[name] for name in NAMES) == RAW_CONNECTIONS + KEYED_CONNECTIONS
    assert made["proved a key"] >= KEYED_CONNECTIONS // 10
    assert max(watch.rss) < RSS_BYTES_MAX
    assert [honest - seen for seen in watch.peers if not honest <= seen] == []
    assert watch.longest_standstill_s() < STANDSTILL_S_MAX
    assert grown >= took_s / STANDSTILL_S_MAX
    log = (member.folder / "node.log").read_text()
    assert {code: f": {code}: " in log for code in COUNTED} == dict.fromkeys(COUNTED, True)
    assert "Traceback" not in log
    assert member.process is not None
    assert member.process.poll() is None
    assert trio.run(count_blocks_of_newcomer, victim) > 1_000


NAMES = (*(name for name, _ in RAW), *(attack.__name__ for attack in KEYED))
