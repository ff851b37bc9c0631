"""A node that archives and prunes while it runs: its proofs stay, others know of it, and an auditor replays from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.api_client import ApiClient
from node.devnet import Devnet
from tests.network.conftest import find_free_port
from tests.network.test_audit import finish, join
from tests.network.test_crashes import Load, wait_until

pytestmark = pytest.mark.network

EVENTS = 100
BEAT_MS, EPOCH_BEATS = 250, 8


@pytest.fixture
def quick_devnet(tmp_path: Path) -> Iterator[Devnet]:
    """Epochs of two seconds, and a gateway that keeps only the newest two of them."""
    network = Devnet(tmp_path / "devnet", find_free_port(), beat_ms=BEAT_MS, epoch_beats=EPOCH_BEATS)
    network.prepare()
    config = network.gateway.folder / "node.toml"
    text = config.read_text(encoding="utf-8")
    assert "write = false" in text
    assert "keep_epochs = 0" in text
    config.write_text(
        text.replace("write = false", "write = true").replace("keep_epochs = 0", "keep_epochs = 2"), encoding="utf-8"
    )
    try:
        for member in network.members:
            network.start(member)
        for member in network.members:
            network.wait_ready(member)
        yield network
    finally:
        network.stop()


def read_segments(client: ApiClient) -> list[dict[str, Any]]:
    segments: list[dict[str, Any]] = client.get("/archive/segments")["segments"]
    return segments


def test_a_pruned_node_proves_the_first_event_and_an_auditor_replays_all_from_it(
    quick_devnet: Devnet, tmp_path: Path
) -> None:
    gateway, validator = (ApiClient(each.url) for each in (quick_devnet.gateway, quick_devnet.validators[0]))
    load = Load(quick_devnet)
    load.start()
    wait_until(lambda: load.error is not None or len(load.final) >= EVENTS, 60, f"{EVENTS} final events")
    load.stop()
    event_id = min(load.final, key=lambda each: load.final[each])
    place = validator.get(f"/events/{event_id}/receipt")["receipt"]
    unpruned = validator.get(f"/ledger/events/{event_id}/proof")

    wait_until(
        lambda: any(each["first_height"] > place["height"] + 30 for each in read_segments(gateway)),
        60, "later epochs are archived",
    )  # fmt: skip
    log = quick_devnet.gateway.folder / "node.log"
    wait_until(lambda: _read_pruned(log) >= place["height"], 60, "the event's block is pruned")

    assert gateway.get(f"/ledger/events/{event_id}/proof") == unpruned
    gateway_key = gateway.get("/node")["public_key"]
    wait_until(
        lambda: any(gateway_key in each["holders"] for each in read_segments(validator)),
        60, "a validator knows who holds the archive",
    )  # fmt: skip
    shown = read_segments(validator)[0]
    own = read_segments(gateway)[0]
    assert (shown["root"], shown["header_hash"], shown["here"]) == (own["root"], own["header_hash"], False)

    found = finish(join(quick_devnet, tmp_path / "audit", "--once"))
    assert found["caught_up"]
    assert found["fault"] is None
    assert found["history_missing"] == 0
    header = validator.get(f"/ledger/blocks/{found['height']}")["header"]
    assert header["state_digest"] == found["state_digest"]


def _read_pruned(log: Path) -> int:
    """Return the height that the node has said last that it pruned up to."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "pruned up to height" in line]
    return int(lines[-1].partition("pruned up to height ")[2].partition(":")[0]) if lines else 0
