"""A node's configuration: one TOML file, every key with a default but the genesis.  Errors name the file and the key.

[node]      name, data (folder), genesis (file), role ("validator", "observer" or "auditor"), key (name in the keystore)
[p2p]       host, port, peers and bootstrap = ["<public key hex>@host:port", …], outbound, advertise, upgrades
[api]       host, port, enabled
[consensus] view_timeout_ms, view_timeout_ms_max, retransmit_ms, batch_events_max, batch_wait_ms
[log]       level, format ("json" or "text")
[archive]   url (a folder, file:///… or what fsspec has a driver for)
"""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_type_hints

VALIDATOR, AUDITOR = "validator", "auditor"
ROLES = (VALIDATOR, "observer", AUDITOR)


class ConfigInvalid(ValueError):
    """A configuration file that can't be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class NodeSection:
    name: str = "node"
    data: str = "data"
    genesis: str = "genesis.json"
    role: str = "observer"
    key: str = "node"


@dataclass(frozen=True, slots=True)
class P2pSection:
    host: str = "127.0.0.1"
    port: int = 4001
    peers: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    outbound: int = 8
    advertise: str = ""
    upgrades: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiSection:
    host: str = "127.0.0.1"
    port: int = 8080
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ConsensusSection:
    view_timeout_ms: int = 2_000
    view_timeout_ms_max: int = 60_000
    retransmit_ms: int = 500
    batch_events_max: int = 256
    batch_wait_ms: int = 10


@dataclass(frozen=True, slots=True)
class SyncSection:
    start: str = "auto"
    snapshot_events_min: int = 20_000
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class LogSection:
    level: str = "info"
    format: str = "text"


@dataclass(frozen=True, slots=True)
class ArchiveSection:
    url: str = ""
    write: bool = False
    keep_epochs: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """All of it.  `folder` is where the file lies; relative paths start there."""

    folder: Path
    node: NodeSection = field(default_factory=NodeSection)
    p2p: P2pSection = field(default_factory=P2pSection)
    api: ApiSection = field(default_factory=ApiSection)
    consensus: ConsensusSection = field(default_factory=ConsensusSection)
    sync: SyncSection = field(default_factory=SyncSection)
    log: LogSection = field(default_factory=LogSection)
    archive: ArchiveSection = field(default_factory=ArchiveSection)

    @property
    def begins_from_snapshots(self) -> bool:
        """Whether this node takes a certified state when it is far behind, instead of executing what led to it."""
        return self.sync.start == "snapshot" or (self.sync.start == "auto" and self.node.role == VALIDATOR)

    @property
    def data_folder(self) -> Path:
        return self.folder / self.node.data

    @property
    def archive_url(self) -> str:
        """Where `atlas archive` writes this node's cold epochs: a URL, or a folder."""
        url = self.archive.url
        if "://" in url:
            return url
        return str(self.folder / url if url else self.data_folder / "archive")

    @property
    def genesis_file(self) -> Path:
        return self.folder / self.node.genesis


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """One line of `p2p.peers`."""

    public_key: bytes
    host: str
    port: int


_SECTIONS: dict[str, type[Any]] = {
    "node": NodeSection,
    "p2p": P2pSection,
    "api": ApiSection,
    "consensus": ConsensusSection,
    "sync": SyncSection,
    "log": LogSection,
    "archive": ArchiveSection,
}
_RANGES: dict[tuple[str, str], tuple[int, int]] = {
    ("p2p", "port"): (1, 65_535),
    ("p2p", "outbound"): (0, 64),
    ("api", "port"): (0, 65_535),
    ("consensus", "view_timeout_ms"): (50, 600_000),
    ("consensus", "view_timeout_ms_max"): (50, 3_600_000),
    ("consensus", "retransmit_ms"): (20, 60_000),
    ("consensus", "batch_events_max"): (1, 1_024),
    ("consensus", "batch_wait_ms"): (0, 1_000),
    ("sync", "snapshot_events_min"): (0, 1_000_000_000),
    ("archive", "keep_epochs"): (0, 1_000_000),
}
_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("node", "role"): ROLES,
    ("sync", "start"): ("auto", "snapshot", "replay"),
    ("log", "level"): ("debug", "info", "warning", "error"),
    ("log", "format"): ("text", "json"),
}


def load_config(path: Path) -> Config:
    """Return the configuration in a TOML file.  Raises ConfigInvalid."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigInvalid(f"{path}: no such file; make one with `atlas init`") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigInvalid(f"{path}: not readable as TOML: {error}") from error
    sections: dict[str, Any] = {}
    for name, value in document.items():
        if name not in _SECTIONS:
            raise ConfigInvalid(f"{path}: unknown section [{name}]; expected one of {', '.join(_SECTIONS)}")
        if not isinstance(value, dict):
            raise ConfigInvalid(f"{path}: {name}: expected a section, got a {type(value).__name__}")
        sections[name] = _read_section(path, name, cast("dict[str, Any]", value))
    config = Config(folder=path.resolve().parent, **sections)
    timeouts = config.consensus
    if timeouts.view_timeout_ms > timeouts.view_timeout_ms_max:
        raise ConfigInvalid(
            f"{path}: consensus.view_timeout_ms: expected at most view_timeout_ms_max, {timeouts.view_timeout_ms_max}, "
            f"got {timeouts.view_timeout_ms}"
        )
    if config.archive.keep_epochs == 1:
        raise ConfigInvalid(f"{path}: archive.keep_epochs: expected 0 (keep all) or at least 2, got 1")
    parse_peers(path, config.p2p.peers)
    parse_peers(path, config.p2p.bootstrap, "bootstrap")
    parse_advertised(path, config.p2p.advertise)
    parse_upgrades(path, config.p2p.upgrades)
    return config


def parse_peers(path: Path, peers: tuple[str, ...], name: str = "peers") -> tuple[PeerEntry, ...]:
    """Return the peers as keys and addresses; `name` is that of the list in [p2p].  Raises ConfigInvalid."""
    entries: list[PeerEntry] = []
    for text in peers:
        key, _, address = text.partition("@")
        found = _read_host_and_port(address)
        try:
            public_key = bytes.fromhex(key)
        except ValueError:
            public_key = b""
        if len(public_key) != 32 or found is None:
            raise ConfigInvalid(f"{path}: p2p.{name}: expected '<64 hex digits>@host:port', got {text!r}")
        entries.append(PeerEntry(public_key, *found))
    return tuple(entries)


def parse_advertised(path: Path, text: str) -> tuple[str, int] | None:
    """Return where others can dial this node, or None: where it listens.  Raises ConfigInvalid."""
    found = _read_host_and_port(text)
    if text and found is None:
        raise ConfigInvalid(f"{path}: p2p.advertise: expected 'host:port' or nothing, got {text!r}")
    return found


def parse_upgrades(path: Path, upgrades: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return heights, and the version of the link's protocol that peers must speak from there on.

    Raises ConfigInvalid.
    """
    found: list[tuple[int, int]] = []
    for text in upgrades:
        height, _, version = text.partition(":")
        if not (height.isascii() and height.isdigit() and version.isascii() and version.isdigit()):
            raise ConfigInvalid(f"{path}: p2p.upgrades: expected 'HEIGHT:VERSION' in digits, got {text!r}")
        found.append((int(height), int(version)))
    return tuple(found)


def _read_host_and_port(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    try:
        number = int(port)
    except ValueError:
        return None
    return (host, number) if host and 1 <= number <= 65_535 else None


def _read_section(path: Path, name: str, values: dict[str, Any]) -> Any:
    kind = _SECTIONS[name]
    hints = get_type_hints(kind)
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise ConfigInvalid(f"{path}: {name}.{key}: unknown key; expected one of {', '.join(hints)}")
        read[key] = _read_value(path, name, key, hints[key], value)
    return kind(**read)


def _read_value(path: Path, section: str, key: str, hint: Any, value: Any) -> Any:
    where = f"{path}: {section}.{key}"
    if hint == tuple[str, ...]:
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        if not all(isinstance(item, str) for item in items):
            raise ConfigInvalid(f"{where}: expected a list of texts, got {value!r}")
        return tuple(items)
    if type(value) is not hint:
        raise ConfigInvalid(f"{where}: expected a {hint.__name__}, got {value!r}")
    if (section, key) in _RANGES:
        low, high = _RANGES[section, key]
        if not low <= value <= high:
            raise ConfigInvalid(f"{where}: expected {low} to {high}, got {value}")
    choices = _CHOICES.get((section, key))
    if choices is not None and value not in choices:
        raise ConfigInvalid(f"{where}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def render_config(config: Config) -> str:
    """Return the TOML text of a configuration, every key explained."""
    lines = ["# An ATLAS node.  Relative paths start at this file's folder.", ""]
    for name in _SECTIONS:
        section = getattr(config, name)
        lines.append(f"[{name}]")
        for key in get_type_hints(_SECTIONS[name]):
            lines.append(f"{key} = {_toml(getattr(section, key))}{_EXPLAINED.get((name, key), '')}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return "[" + "".join(f"\n    {_toml(item)}," for item in items) + ("\n]" if items else "]")
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes texts as JSON does


_EXPLAINED = {
    ("node", "data"): "  # ledger, vote log and keystore",
    ("node", "genesis"): "  # its hash is the chain id",
    (
        "node",
        "role",
    ): "  # validator (its key is or will be in the set), observer, or auditor (takes no events)",
    ("node", "key"): "  # name of the node's key in the keystore",
    ("p2p", "host"): "  # address to listen on",
    ("p2p", "peers"): "",
    ("p2p", "bootstrap"): "",
    ("p2p", "outbound"): "  # links to dial at least, from the book of addresses; 0: to none but `peers`",
    ("p2p", "advertise"): "  # host:port where others can dial this node, if not where it listens",
    ("p2p", "upgrades"): "",
    ("api", "port"): "  # 0 takes any free port",
    ("consensus", "view_timeout_ms"): "  # without progress for this long, replicas choose another primary",
    ("consensus", "view_timeout_ms_max"): "  # the timeout doubles for each failed view up to this",
    ("consensus", "batch_events_max"): "  # events in one block at most",
    ("consensus", "batch_wait_ms"): "  # how long the primary gathers events under load; never when idle",
    ("sync", "start"): "  # far behind: snapshot, replay of every event, or auto: snapshot for validators only",
    ("sync", "snapshot_events_min"): "  # a snapshot that skips fewer events is not taken",
    ("sync", "checkpoint"): "  # HEIGHT:blk1… that you know from elsewhere: a chain with another block is refused",
    ("log", "format"): "  # text for people, json for programs",
    (
        "archive",
        "url",
    ): "  # where cold epochs lie: a folder, file:///… or s3://bucket/…; empty: archive in data",
    ("archive", "write"): "  # write each epoch there once it is over, while the node runs",
    ("archive", "keep_epochs"): "  # drop what the archive has, but for so many of the newest epochs; 0 keeps all",
}
