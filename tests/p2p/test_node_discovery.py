"""Real nodes in their own processes: one address is enough to find a network, its book outlives it, versions count."""

from pathlib import Path
from typing import Any

import pytest

from node.api_client import ApiClient
from node.config import ApiSection, Config, NodeSection, P2pSection, load_config, render_config
from node.devnet import PASSPHRASE, Devnet, Member
from node.keystore import Keystore
from tests.network.conftest import devnet
from tests.network.test_crashes import read_status, wait_until

__all__ = ["devnet"]

pytestmark = pytest.mark.network

FOUND_WITHIN_S = 30
ALL = 5
"""Four validators and a gateway."""


def add_observer(devnet: Devnet, **section: Any) -> Member:
    """Make a node that nobody knows, with a [p2p] section of its own."""
    member = Member("observer", devnet.folder / "observer", devnet.port + 50)
    Keystore(member.folder / "data" / "keys").create("node", PASSPHRASE)
    configure(devnet, member, **section)
    devnet.members.append(member)
    return member


def configure(devnet: Devnet, member: Member, **section: Any) -> None:
    config = Config(
        folder=member.folder,
        node=NodeSection(name=member.name, genesis="../genesis.json"),
        p2p=P2pSection(port=devnet.port + 150, **section),
        api=ApiSection(port=member.api_port),
    )
    (member.folder / "node.toml").write_text(render_config(config), encoding="utf-8")


def begin(devnet: Devnet, member: Member) -> None:
    devnet.start(member)
    devnet.wait_ready(member)


def read_peers(member: Member) -> set[str]:
    return {peer["public_key"] for peer in read_status(member)["peers"]}


def test_a_node_finds_the_network_from_one_address_and_again_from_its_book(devnet: Devnet) -> None:
    everybody = {read_status(member)["public_key"] for member in devnet.members}
    one = load_config(devnet.gateway.folder / "node.toml").p2p.peers[:1]
    observer = add_observer(devnet, bootstrap=one)

    begin(devnet, observer)

    wait_until(lambda: read_peers(observer) >= everybody, FOUND_WITHIN_S, "links to all")
    wait_until(lambda: read_status(observer)["addresses_verified"] >= ALL, FOUND_WITHIN_S, "all verified")
    assert {peer["protocol_version"] for peer in read_status(observer)["peers"]} == {2}
    devnet.kill(
        observer
    )  # a crash: what the book held at the last minute's end may be old, so look at a clean stop too
    begin(devnet, observer)
    wait_until(lambda: read_peers(observer) >= everybody, FOUND_WITHIN_S, "links to all after a crash")
    wait_until(lambda: read_status(observer)["addresses_verified"] >= ALL, FOUND_WITHIN_S, "all verified again")
    stop(devnet, observer)

    configure(devnet, observer)  # no address at all
    begin(devnet, observer)

    wait_until(lambda: read_peers(observer) >= everybody, FOUND_WITHIN_S, "links to all from the book")
    there = ApiClient(devnet.gateway.url).get("/ledger/head")["header"]["height"]
    wait_until(lambda: read_status(observer)["height"] > there, FOUND_WITHIN_S, "it follows")
    stop(devnet, observer)

    (observer.folder / "data" / "peers.book").write_bytes(b"damaged")
    configure(devnet, observer, bootstrap=one)
    begin(devnet, observer)

    wait_until(lambda: read_peers(observer) >= everybody, FOUND_WITHIN_S, "links to all after damage")
    assert "the address book is begun anew" in read_log(observer)


def test_a_node_that_an_upgrade_left_behind_says_so_and_has_no_peers(devnet: Devnet) -> None:
    peers = load_config(devnet.gateway.folder / "node.toml").p2p.peers
    devnet.wait_height(3)
    observer = add_observer(devnet, peers=peers, upgrades=("2:2", "6:9"))

    begin(devnet, observer)

    wait_until(lambda: "this software up to 2: upgrade it" in read_log(observer), FOUND_WITHIN_S, "it says so")
    ended = "link ended: from this height on peers speak version 9 or newer"
    wait_until(lambda: ended in read_log(observer), FOUND_WITHIN_S, "the links that it had end")
    wait_until(lambda: not read_peers(observer), FOUND_WITHIN_S, "no peers")
    status = read_status(observer)
    assert status["height"] >= 6
    assert (status["protocol_min"], status["protocol_max"]) == (9, 2)
    wait_until(lambda: "we up to 2: upgrade this node" in read_log(observer), FOUND_WITHIN_S, "why there is no link")
    stop(devnet, observer)
    configure(devnet, observer, peers=peers)  # the operator takes the line back
    begin(devnet, observer)
    wait_until(lambda: len(read_peers(observer)) >= len(peers), FOUND_WITHIN_S, "let in again at once")


def stop(devnet: Devnet, member: Member) -> None:
    assert member.process is not None
    member.process.terminate()
    member.process.wait(20)
    devnet.forget(member)


def read_log(member: Member) -> str:
    return Path(member.folder / "node.log").read_text(encoding="utf-8")
