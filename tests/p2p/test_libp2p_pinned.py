"""The library is the one that p2p/libp2p_*.py was written against.

When this fails after an upgrade, read what changed in the named function, look whether the defence that rests on it
still holds (docs/networking.md lists them), and only then take the new hash.
"""

import hashlib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from libp2p.host.basic_host import BasicHost
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.swarm import Swarm
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.security.noise.io import BaseNoiseMsgReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.upgrader import TransportUpgrader

from p2p import libp2p_yamux

PINNED: dict[str, tuple[Callable[..., Any], str]] = {
    "Swarm.upgrade_inbound_raw_conn": (Swarm.upgrade_inbound_raw_conn, "e24c4285f494767a"),
    "Swarm._do_handle_inbound_connection": (Swarm._do_handle_inbound_connection, "c22fdfd5289f671c"),
    "Swarm._handle_inbound_connection": (Swarm._handle_inbound_connection, "0800fdf9770ed8e6"),
    "Swarm.add_conn": (Swarm.add_conn, "d469d71b3ed1f4df"),
    "Swarm.remove_conn": (Swarm.remove_conn, "0a3e93157b1a04c3"),
    "Swarm.notify_disconnected": (Swarm.notify_disconnected, "2d0650609e08818f"),
    "Swarm._notify": (Swarm._notify, "36afe611751a4cb8"),
    "Swarm.dial_addr": (Swarm.dial_addr, "d8224e38e702f063"),
    "Swarm._dial_with_retry": (Swarm._dial_with_retry, "bd2025f00c84dddb"),
    "Swarm.upgrade_outbound_raw_conn": (Swarm.upgrade_outbound_raw_conn, "54a8867681b2f4f0"),
    "Swarm.run": (Swarm.run, "15ac9440b4fed110"),
    "SwarmConn.close": (SwarmConn.close, "442c6259a8e9e45e"),
    "SwarmConn._cleanup": (SwarmConn._cleanup, "84470a285af6c287"),
    "SwarmConn._handle_new_streams": (SwarmConn._handle_new_streams, "3469a326ba930915"),
    "SwarmConn._handle_muxed_stream": (SwarmConn._handle_muxed_stream, "fb51f8a3e37c9800"),
    "BasicHost.__init__": (BasicHost.__init__, "6a81506e92fbd211"),
    "BasicHost.run": (BasicHost.run, "49d086030a367765"),
    "BasicHost.close": (BasicHost.close, "f3c4dec7de560031"),
    "BasicHost._swarm_stream_handler": (BasicHost._swarm_stream_handler, "cec985884b1ba269"),
    "BasicHost._schedule_identify": (BasicHost._schedule_identify, "d24ee6400132b4af"),
    "TransportUpgrader.upgrade_security": (TransportUpgrader.upgrade_security, "70dd214038eced03"),
    "TransportUpgrader.upgrade_connection": (TransportUpgrader.upgrade_connection, "0c3f2991f070b2b9"),
    "Multiselect.negotiate": (Multiselect.negotiate, "e870e3fe41c87e3c"),
    "SecureSession.read": (SecureSession.read, "eeba14a89cf12325"),
    "BaseNoiseMsgReadWriter.write_msg": (BaseNoiseMsgReadWriter.write_msg, "00818920318f86aa"),
    "BaseNoiseMsgReadWriter.read_msg": (BaseNoiseMsgReadWriter.read_msg, "b2fa218c135c82c0"),
}


def test_the_version_is_the_pinned_one() -> None:
    assert importlib.metadata.version("libp2p") == "0.8.1"


@pytest.mark.parametrize("name", PINNED)
def test_what_we_override_or_rely_on_has_not_changed(name: str) -> None:
    function, expected = PINNED[name]

    assert hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16] == expected


def test_our_yamux_writes_the_library_s_header() -> None:
    assert yamux.YAMUX_HEADER_FORMAT == "!BBHII"
    assert yamux.HEADER_SIZE == libp2p_yamux.HEADER_BYTES
    assert yamux.DEFAULT_WINDOW_SIZE == libp2p_yamux.INITIAL_WINDOW
