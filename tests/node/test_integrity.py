"""CIR-412: a node that is not what the chain says neither votes nor writes, and serves what verifies."""

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from ledger import keyspace
from ledger.genesis import encode_genesis_file
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.ids import IdKind, encode_id
from ledger.storage import StoreDamaged
from ledger.store import Store
from ledger.tokens import FLX
from node import modules
from node import run as run_module
from node.api_client import ApiClient, ApiProblem
from node.block_fetch import ReplayDiffers
from node.cli.main import main
from node.config import ApiSection, Config, NodeSection, P2pSection
from node.devnet import Devnet, DevnetFailed
from node.integrity import CODE, Integrity, WatchedExecutor, compute_seal
from node.judgement import NULL_PROPOSAL
from node.run import Node, run_node
from social.posts import PostPublished
from tests.client_api.api import Api, event_json
from tests.ledger.world import VALIDATORS, World, make_genesis

SEED = bytes([200]) * 32


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a validator with a chain of three blocks, one event signed for the next."""

    config: Config
    path: Path
    event: dict[str, Any]
    post_id: str
    root: bytes
    chain_id: bytes

    @property
    def ledger(self) -> Path:
        return self.config.data_folder / "ledger"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    world = World(tmp_path / "data" / "ledger")
    receipt = world.do(world.ada, PostPublished, text="One.", tags=())
    for _ in range(2):
        world.do(world.ada, PostPublished, text="More.", tags=())
    event = event_json(world.sign(world.ada, PostPublished, text="Next.", tags=()))
    root, chain_id = world.chain.head.header.state_digest, world.chain.chain_id
    world.close()
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(make_genesis()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = Config(
        tmp_path, NodeSection(data="data", genesis="genesis.json", role="validator"),
        P2pSection(port=port), ApiSection(port=0),
    )  # fmt: skip
    return Place(
        config, tmp_path / "node.toml", event, encode_id(IdKind.EVENT, receipt.event_id), root, chain_id
    )  # fmt: skip


def edit_balance(place: Place) -> None:
    """Give Ada a million: one value on disk, as somebody with an editor would."""
    store = Store(place.ledger)
    account, balance = next(store.iterate(b"sb" + FLX.encode(), keyspace.after(b"sb" + FLX.encode())))
    store.write([(account, balance[:-1] + bytes([balance[-1] ^ 1]))], [])
    store.close()


@asynccontextmanager
async def running(place: Place) -> AsyncGenerator[ApiClient]:
    """Run the whole node of `run_node`; give a client of its API."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        ready = await nursery.start(run_node, place.config, place.path, SEED, stop)
        assert ready.api_url is not None
        yield ApiClient(ready.api_url)
        stop.set()


async def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    return await trio.to_thread.run_sync(function, *arguments)


async def refusal(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Return the problem with which the node refuses; it must be CIR-412."""
    with pytest.raises(ApiProblem) as refused:
        await ask(function, *arguments)
    assert refused.value.status == 503
    assert refused.value.problem["type"].endswith("/CIR-412")
    assert refused.value.problem["remedy"]
    return refused.value.problem


def prepare() -> dict[str, Any]:
    return {"type": "content.PostPublished", "key": VALIDATORS[0].public.hex(), "text": "x", "body": {"tags": []}}


# At start.


async def test_a_node_over_an_edited_state_serves_the_ledger_and_nothing_of_the_state(place: Place) -> None:
    edit_balance(place)

    async with running(place) as client:
        status = await ask(client.get, "/node/status")
        ready = await refusal(client.get, "/health/ready")
        balances = await refusal(client.get, "/feed")
        event = await ask(client.get, f"/ledger/events/{place.post_id}")
        head = await ask(client.get, "/ledger/head")

    seal = tagged_hash("atlas/finality-seal", place.root, b"CIR-412", keyspace.u64(3))
    assert compute_seal(place.root, CODE, 3) == seal
    alert = status["alert"]
    assert (alert["code"], alert["what"], alert["height"]) == ("CIR-412", "state", 3)
    assert (alert["root"], alert["seal"]) == (place.root.hex(), seal.hex())
    assert (status["healthy"], status["replica"]) == (False, None)
    assert "does not have the digest" in status["halted"]
    assert ready["seal"] == balances["seal"] == seal.hex()
    assert (event["receipt"]["outcome"], head["header"]["height"]) == ("applied", 3)


async def test_it_takes_no_event_and_prepares_none(place: Place) -> None:
    edit_balance(place)

    async with running(place) as client:
        for path, body in (("/events", {"events": [place.event]}), ("/events/prepare", prepare())):
            problem = await refusal(client.post, path, body)
            assert "Remove" in problem["remedy"] or "remove" in problem["remedy"]
        status = await ask(client.get, "/node/status")

    assert status["mempool_events"] == 0
    assert not (place.config.data_folder / "votes.log").exists()


async def test_other_rules_than_the_chains_leave_the_state_to_be_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ledger.registry.Registry.compute_root", lambda registry: bytes(32))

    async with running(place) as client:
        status = await ask(client.get, "/node/status")
        feed = await ask(client.get, "/feed")
        await refusal(client.post, "/events", {"events": [place.event]})
        await ask(main, ["status", "--url", client.url])
        shown = capsys.readouterr().out

    assert "CIR-412: serves reads only" in shown
    assert status["alert"]["seal"] in shown
    assert (status["alert"]["what"], status["alert"]["remedy"][:7]) == ("rules", "Install")
    assert len(feed["items"]) == 3


async def test_another_text_model_than_the_policys_is_such_a_case(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "compute_model_digest", lambda: bytes(32))

    async with running(place) as client:
        status = await ask(client.get, "/node/status")

    assert status["alert"]["what"] == "rules"
    assert "safety@1 names text model" in status["alert"]["why"]


async def test_a_ledger_whose_receipts_were_edited_is_still_refused_with_its_remedy(place: Place) -> None:
    store = Store(place.ledger)
    store.write([(keyspace.receipt(0), b"edited")], [])
    store.close()

    with pytest.raises(StoreDamaged, match="a receipt of height 1"):
        await run_node(place.config, place.path, SEED, trio.Event())


async def test_a_sound_node_has_no_alert(place: Place) -> None:
    async with running(place) as client:
        status = await ask(client.get, "/node/status")
        accepted = await ask(client.post, "/events", {"events": [place.event]})

    assert (status["alert"], status["halted"], status["replica"]) == (None, None, 0)
    assert accepted["results"][0]["status"] == "accepted"


def test_a_development_network_says_that_it_has_to_be_begun_anew(world: World, tmp_path: Path) -> None:
    with Api(tmp_path, world) as api:
        devnet = Devnet(tmp_path / "devnet", api.port)
        devnet.wait_ready(devnet.gateway)
        integrity = Integrity()
        integrity.raise_alert("rules", "the chain runs under other rules", world.chain.head.header)
        api.node.alerted = integrity.alert

        with pytest.raises(DevnetFailed, match=r"CIR-412: the chain runs under other rules; .* --fresh"):
            devnet.wait_ready(devnet.gateway)


# While it runs.


async def test_a_certified_block_that_differs_here_stops_voting_and_not_the_node(world: World) -> None:
    integrity = Integrity()
    executor = WatchedExecutor(world.chain, integrity)

    with trio.move_on_after(5) as waited:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.replay, 1, NULL_PROPOSAL, bytes(32))
            await integrity.wait_raised()
            nursery.cancel_scope.cancel()

    assert not waited.cancelled_caught
    assert integrity.alert is not None
    assert (integrity.alert.what, integrity.alert.height) == ("execution", 0)
    assert str(ReplayDiffers(1, b"", bytes(32)))[:8] in integrity.alert.why
    assert world.chain.head.height == 0
    with trio.move_on_after(0.05) as rests:
        await executor.execute(1, NULL_PROPOSAL)
    assert rests.cancelled_caught
    assert world.chain.head.height == 0


async def test_the_first_alert_stays(world: World) -> None:
    integrity = Integrity()

    integrity.raise_alert("rules", "first", world.chain.head.header)
    integrity.raise_alert("state", "second", world.chain.head.header)

    assert integrity.alert is not None
    assert integrity.alert.why == "first"


async def test_an_alert_ends_consensus_and_leaves_the_api(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[Node] = []
    sent: list[object] = []

    class Watched(Node):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            nodes.append(self)

    monkeypatch.setattr(run_module, "Node", Watched)
    async with running(place) as client:
        (node,) = nodes
        assert node.validator is not None
        assert node.validator.driver is not None
        monkeypatch.setattr(node.network, "send", lambda *message: sent.append(message))
        with trio.move_on_after(0.2):
            await node.executor.replay(4, NULL_PROPOSAL, bytes(32))
        sent.clear()
        await trio.sleep(1.5)  # several times as long as a replica that waits is silent
        status = await ask(client.get, "/node/status")
        feed = await ask(client.get, "/feed")
        await refusal(client.post, "/events", {"events": [place.event]})

    assert sent == []
    assert status["alert"]["what"] == "execution"
    assert len(feed["items"]) == 3


async def test_a_state_that_was_edited_under_a_running_node_is_told_from_a_fault_of_the_software(
    place: Place,
) -> None:
    world = World(place.ledger)
    store = world.store
    account, balance = next(store.iterate(b"sb" + FLX.encode(), keyspace.after(b"sb" + FLX.encode())))
    store.write([(account, balance[:-1] + bytes([balance[-1] ^ 1]))], [])
    integrity = Integrity()

    with trio.move_on_after(0.5):
        await WatchedExecutor(world.chain, integrity).replay(4, NULL_PROPOSAL, bytes(32))

    assert integrity.alert is not None
    assert integrity.alert.what == "state"
    world.close()


async def test_a_replica_that_halts_raises_the_alert(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[Node] = []

    class Watched(Node):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            nodes.append(self)

    monkeypatch.setattr(run_module, "Node", Watched)
    async with running(place) as client:
        (node,) = nodes
        assert node.validator is not None
        assert node.validator.driver is not None
        node.validator.driver._core.halted = "a quorum signed another digest"  # pyright: ignore[reportPrivateUsage]
        with trio.fail_after(5):
            await node.integrity.wait_raised()
        status = await ask(client.get, "/node/status")

    assert "a quorum signed another digest" in status["alert"]["why"]
