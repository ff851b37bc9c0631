"""The configuration: every fault names its file and its key."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.config import (
    ApiSection,
    Config,
    ConfigInvalid,
    NodeSection,
    P2pSection,
    load_config,
    parse_peers,
    render_config,
)

KEY = "ab" * 32


def load(folder: Path, text: str | bytes) -> Config:
    path = folder / "node.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "")

    assert config == Config(folder=tmp_path)
    assert (config.data_folder, config.genesis_file) == (tmp_path / "data", tmp_path / "genesis.json")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = Config(
        folder=tmp_path,
        node=NodeSection(name='a "quoted" \\ näme\n\t\x7f', role="validator"),
        p2p=P2pSection(
            port=5,
            peers=(f"{KEY}@[::1]:4001", f"{KEY}@node.example:1"),
            bootstrap=(f"{KEY}@seed.example:4001",),
            outbound=3,
            advertise="node.example:4001",
            upgrades=("100:2", "200:3"),
        ),
        api=ApiSection(enabled=False, port=0),
    )

    assert load(tmp_path, render_config(config)) == config
    assert load(tmp_path, render_config(Config(folder=tmp_path))) == Config(folder=tmp_path)


FAULTS = [
    ("[nodes]", "unknown section [nodes]; expected one of node"),
    ("node = 5", "node: expected a section, got a int"),
    ("[node]\nnam = 'x'", "node.nam: unknown key; expected one of name"),
    ("[node]\nname = 5", "node.name: expected a str, got 5"),
    ("[node]\nrole = 'king'", "node.role: expected one of validator, observer, auditor, got 'king'"),
    ("[p2p]\nport = 0", "p2p.port: expected 1 to 65535, got 0"),
    ("[p2p]\nport = 65536", "p2p.port: expected 1 to 65535, got 65536"),
    ("[p2p]\nport = '4001'", "p2p.port: expected a int, got '4001'"),
    ("[p2p]\nport = true", "p2p.port: expected a int, got True"),
    ("[p2p]\nport = 1.5", "p2p.port: expected a int, got 1.5"),
    ("[p2p]\npeers = 'x'", "p2p.peers: expected a list of texts"),
    ("[p2p]\npeers = [5]", "p2p.peers: expected a list of texts"),
    ("[p2p]\npeers = ['x']", "p2p.peers: expected '<64 hex digits>@host:port', got 'x'"),
    (f"[p2p]\npeers = ['{KEY}@host']", "p2p.peers: expected"),
    (f"[p2p]\npeers = ['{KEY}@:1']", "p2p.peers: expected"),
    (f"[p2p]\npeers = ['{KEY}@host:0']", "p2p.peers: expected"),
    (f"[p2p]\npeers = ['{KEY}@host:65536']", "p2p.peers: expected"),
    (f"[p2p]\npeers = ['{KEY[2:]}@host:1']", "p2p.peers: expected"),
    ("[p2p]\nbootstrap = ['x']", "p2p.bootstrap: expected '<64 hex digits>@host:port', got 'x'"),
    ("[p2p]\noutbound = 65", "p2p.outbound: expected 0 to 64, got 65"),
    ("[p2p]\nadvertise = 'host'", "p2p.advertise: expected 'host:port' or nothing, got 'host'"),
    ("[p2p]\nadvertise = 'host:0'", "p2p.advertise: expected 'host:port'"),
    ("[p2p]\nupgrades = ['5']", "p2p.upgrades: expected 'HEIGHT:VERSION' in digits, got '5'"),
    ("[p2p]\nupgrades = ['-5:2']", "p2p.upgrades: expected"),
    ("[api]\nenabled = 1", "api.enabled: expected a bool, got 1"),
    ("[api]\nport = -1", "api.port: expected 0 to 65535, got -1"),
    ("[consensus]\nbatch_wait_ms = -1", "consensus.batch_wait_ms: expected 0 to 1000, got -1"),
    ("[consensus]\nbatch_events_max = 0", "consensus.batch_events_max: expected 1 to 1024, got 0"),
    ("[consensus]\nview_timeout_ms = 49", "consensus.view_timeout_ms: expected 50 to 600000, got 49"),
    (
        "[consensus]\nview_timeout_ms = 5000\nview_timeout_ms_max = 4000",
        "consensus.view_timeout_ms: expected at most view_timeout_ms_max, 4000, got 5000",
    ),
    ("[log]\nlevel = 'loud'", "log.level: expected one of debug, info, warning, error"),
    ("[log]\nformat = 'xml'", "log.format: expected one of text, json"),
    ("[node", "not readable as TOML"),
    (b"\xff", "not readable as TOML"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_fault_names_file_and_key(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        load(tmp_path, text)

    assert str(invalid.value).startswith(f"{tmp_path / 'node.toml'}: {message}")


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no such file; make one with `atlas init`"):
        load_config(tmp_path / "nothing.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="not readable"):
        load_config(tmp_path)


def test_peers_are_keys_and_addresses(tmp_path: Path) -> None:
    (found,) = parse_peers(tmp_path, (f"{KEY}@[::1]:4001",))

    assert (found.public_key, found.host, found.port) == (bytes.fromhex(KEY), "[::1]", 4001)


def test_a_changed_section_is_rendered(tmp_path: Path) -> None:
    config = replace(Config(tmp_path), p2p=P2pSection(peers=(f"{KEY}@host:1",)))

    assert f'"{KEY}@host:1"' in render_config(config)
