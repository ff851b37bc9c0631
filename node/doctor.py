"""`atlas doctor`: what is wrong with a node, and what to do about it.  It reads, and changes nothing.

Each check gives findings, and no check stops another.  The ledger of a stopped node is opened as a shadow
(`node.ledger_files`); while the node runs, its API is asked instead.
"""

import resource
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ledger.chain import Chain
from ledger.genesis import Genesis, GenesisInvalid, compute_chain_id, decode_genesis_file
from ledger.history import read_history
from ledger.migrations import FORMAT, find_obstacle, read_format
from ledger.policies import read_policies
from ledger.primitives.encoding import EncodingError
from ledger.staging import Staging
from ledger.storage import StoreDamaged, StoreLocked
from ledger.store import Store
from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.clock import now_ms
from node.config import VALIDATOR, Config, ConfigInvalid, load_config
from node.eras import choose_validators, find_replica
from node.keystore import Keystore, KeystoreError
from node.ledger_files import hold_ledger, list_ledger, shadow_ledger
from node.modules import make_registry, verify_safety_model
from node.restored import get_mark_path, is_marked
from node.vote_log import VoteLog, VoteLogCorrupt

OK, WARNING, PROBLEM = "ok", "warning", "problem"
FREE_BYTES_MIN = 1024 * 1024 * 1024
"""Less free space than this is a problem: LevelDB needs room to compact, and a full disk stops the node."""
FREE_LEDGERS_WARNING = 2
"""Less free space than so many times the ledger is a warning: a backup and growth need it."""
OPEN_FILES_MIN = 1_024
"""LevelDB keeps up to 1,000 tables open, and each peer and client takes a descriptor."""
OPEN_FILES_PLENTY = 4_096
CLOCK_AHEAD_MS_MAX = 5_000
"""A head that is further in the future than this means that the clock is wrong."""
HEAD_AGE_MS_MAX = 24 * 3_600 * 1_000
"""An older head says nothing against the clock, and nothing for it."""
API_TIMEOUT_S = 5.0
DISTRIBUTION = "atlas-node"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.  `remedy` is empty when all is well."""

    check: str
    level: str
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The node that is looked at."""

    config: Config
    genesis: Genesis | None


def examine(folder: Path) -> Iterator[Finding]:
    """Yield the findings about the node in `folder`, in an order in which an operator mends them."""
    yield from _check_software()
    try:
        config = load_config(folder / "node.toml")
    except ConfigInvalid as error:
        yield Finding("config", PROBLEM, str(error), "correct what is named; configs/node.example.toml has every key")
        return
    yield Finding("config", OK, f"{config.node.name}, {config.node.role}")
    genesis: Genesis | None = None
    try:
        genesis = decode_genesis_file(config.genesis_file.read_bytes())
        yield Finding("genesis", OK, f"{genesis.name}, chain id {compute_chain_id(genesis).hex()}")
    except (OSError, GenesisInvalid) as error:
        yield Finding("genesis", PROBLEM, str(error), "copy the network's genesis.json there; compare the chain id")
    subject = Subject(config, genesis)
    checks: list[Callable[[Subject], Iterator[Finding]]] = [
        _check_key, _check_disk, _check_files_limit, _check_restored, _check_ledger,
    ]  # fmt: skip
    for check in checks:
        try:
            yield from check(subject)
        except OSError as error:
            name = check.__name__.removeprefix("_check_").replace("_", " ")
            yield Finding(name, PROBLEM, f"not readable: {error}", "run it as the user that runs the node")


# Machine and files.


def _check_software() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] == (3, 11):
        yield Finding("python", OK, version)
    else:
        yield Finding("python", PROBLEM, f"expected 3.11, got {version}", "run the node in the .venv that make builds")
    missing: list[str] = []
    found: list[str] = []
    for requirement in metadata.requires(DISTRIBUTION) or []:
        name, _, pinned = requirement.partition("==")
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(f"{name} is missing")
            continue
        found.append(name)
        if pinned and installed != pinned:
            missing.append(f"{name}: expected {pinned}, got {installed}")
    if missing:
        yield Finding("libraries", PROBLEM, "; ".join(missing), "remove .venv and run `make .venv/.ready` again")
    else:
        yield Finding("libraries", OK, f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)} with {len(found)} libraries")


def _check_key(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    folder = config.data_folder / "keys"
    key = _read_public_key(config)
    if isinstance(key, str):
        yield Finding("key", PROBLEM, key, "restore the keystore from a backup; a new key is another node")
        return
    yield Finding("key", OK, f"{config.node.key}, public key {key.hex()}")
    open_to_others = [
        f"{path} has mode {mode:04o}"
        for path, most in ((folder, 0o700), *((path, 0o600) for path in sorted(folder.glob("*.json"))))
        if (mode := stat.S_IMODE(path.stat().st_mode)) & ~most
    ]
    if open_to_others:
        remedy = f"chmod 700 {folder}; chmod 600 {folder}/*.json"
        yield Finding("key files", PROBLEM, "; ".join(open_to_others), remedy)
    else:
        yield Finding("key files", OK, "readable by their owner only")


def _read_public_key(config: Config) -> bytes | str:
    """Return the public key of the node, or why there is none."""
    folder = config.data_folder / "keys"
    try:
        for key in Keystore(folder).list():
            if key.name == config.node.key:
                return key.public
    except KeystoreError as error:
        return str(error)
    return f"{folder}: no key named {config.node.key}"


def _check_disk(subject: Subject) -> Iterator[Finding]:
    data = subject.config.data_folder
    at = next(path for path in (data, *data.parents) if path.exists())
    free = shutil.disk_usage(at).free
    ledger = sum(path.stat().st_size for path in list_ledger(data / "ledger"))
    found = f"{free / 1e9:.1f} GB free, the ledger has {ledger / 1e9:.3f} GB"
    if free < FREE_BYTES_MIN:
        yield Finding(
            "disk", PROBLEM, found, f"free at least {FREE_BYTES_MIN / 1e9:.1f} GB: a full disk stops the node"
        )
    elif free < FREE_LEDGERS_WARNING * ledger:
        remedy = f"keep {FREE_LEDGERS_WARNING} times the ledger free: it compacts, grows, and is backed up"
        yield Finding("disk", WARNING, found, remedy)
    else:
        yield Finding("disk", OK, found)


def _check_files_limit(subject: Subject) -> Iterator[Finding]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= OPEN_FILES_PLENTY:
        yield Finding("open files", OK, "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} allowed")
        return
    remedy = f"ulimit -n {OPEN_FILES_PLENTY}, or LimitNOFILE={OPEN_FILES_PLENTY} in the service"
    level = PROBLEM if limit < OPEN_FILES_MIN else WARNING
    yield Finding("open files", level, f"{limit} allowed in this shell", remedy)


def _check_restored(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    if is_marked(config.data_folder) and config.node.role == VALIDATOR:
        found = f"{get_mark_path(config.data_folder)}: restored from a backup, and votes for nothing yet"
        yield Finding("restored", WARNING, found, "start it and wait; it votes when what it may have said is over")


def _check_ports(config: Config, *, runs: bool) -> Iterator[Finding]:
    ports = [("p2p", config.p2p.host, config.p2p.port)]
    if config.api.enabled and config.api.port:
        ports.append(("api", config.api.host, config.api.port))
    for name, host, port in ports:
        error = _find_port_error(host, port)
        where = f"{name} {host}:{port}"
        if runs and error is not None:
            yield Finding("ports", OK, f"{where} is in use while this node runs")
        elif runs:
            yield Finding("ports", WARNING, f"{where} is free, though the node runs", "read its log: does it listen?")
        elif error is None:
            yield Finding("ports", OK, f"{where} is free")
        else:
            remedy = f"stop what uses it, or set {name}.port in node.toml"
            yield Finding("ports", PROBLEM, f"{where} can't be had: {error}", remedy)


def _find_port_error(host: str, port: int) -> str | None:
    """Return why a port can't be listened on.  It is bound for a moment, and never listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
    except OSError as error:
        return str(error)
    return None


# Ledger and votes.


def _check_ledger(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    folder = config.data_folder / "ledger"
    try:
        with hold_ledger(folder):
            yield from _check_ports(config, runs=False)
            if not (folder / "CURRENT").exists():
                remedy = "start the node: it fetches the chain from its peers"
                yield Finding("ledger", WARNING, f"{folder}: no ledger yet", remedy)
            elif subject.genesis is not None:
                with shadow_ledger(folder) as shadow:
                    yield from _check_store(config, subject.genesis, shadow)
    except StoreLocked:
        yield from _check_ports(config, runs=True)
        yield Finding("ledger", OK, "in use by the running node: what the store and votes.log hold was not looked at")
        yield from _ask_node(config)


def _check_store(config: Config, genesis: Genesis, shadow: Path) -> Iterator[Finding]:
    ledger = config.data_folder / "ledger"
    again = f"move {ledger} away and start the node: it fetches the chain again"
    if config.node.role == VALIDATOR:  # its votes may be of a later era than a chain that begins anew, and are refused
        again = f"restore the node from a backup; in era 0: {again}; never remove votes.log"

    def name(error: object) -> str:
        return str(error).replace(str(shadow), str(ledger))

    try:
        store = Store(shadow)
    except StoreDamaged as error:
        yield Finding("ledger", PROBLEM, name(error), again)
        return
    try:
        found = read_format(store)
        obstacle = find_obstacle(found)
        if obstacle is not None or found is None:
            yield Finding("format", PROBLEM, f"{ledger}: {obstacle}", "make a backup before you change anything")
            return
        if found.number != FORMAT or found.place is not None:
            what = f"{found.number}, and is migrated to {FORMAT} when the node starts"
            yield Finding("format", WARNING, what, "make a backup, then start the node")
            return
        yield Finding("format", OK, str(found.number))
        faults: list[str] = []
        chain = Chain(store, genesis, make_registry(), on_fault=lambda what, why: faults.append(why))
        yield from _check_chain(config, chain, [name(fault) for fault in faults], again)
    except (StoreDamaged, EncodingError) as error:
        yield Finding("ledger", PROBLEM, name(error), again)
    finally:
        store.close()


def _check_chain(config: Config, chain: Chain, faults: list[str], again: str) -> Iterator[Finding]:
    header = chain.head.header
    if faults:
        yield Finding("ledger", PROBLEM, "; ".join(faults), f"for a damaged state {again}; for rules see the release")
    else:
        found = f"height {header.height}, header {chain.head.hash.hex()}, state {header.state_digest.hex()}"
        yield Finding("ledger", OK, found)
    yield from _check_rules(chain)
    missing = read_history(chain.store)
    if missing.gaps:
        found = f"{missing.blocks} blocks in {len(missing.gaps)} ranges have only their headers here"
        yield Finding("history", WARNING, found, "let it run: the node fetches them from its peers, beside its work")
    else:
        yield Finding("history", OK, "complete")
    plan = Staging(chain.store).plan
    if plan is not None:
        found = f"a snapshot of height {plan.height} is half fetched"
        yield Finding("snapshot", WARNING, found, "let it run: the node goes on with it, or drops it")
    yield from _check_clock(header.time_ms)
    yield from _check_membership(config, chain)


def _check_rules(chain: Chain) -> Iterator[Finding]:
    try:
        verify_safety_model(read_policies(chain.store))
        yield Finding("safety model", OK, "the one that the network's policy names")
    except ConfigInvalid as other:
        yield Finding("safety model", PROBLEM, str(other), "install the release that the network runs")


def _check_clock(head_ms: int) -> Iterator[Finding]:
    """Compare with the newest block.  Offline a clock that is slow looks like one that is right."""
    age_ms = now_ms() - head_ms
    if age_ms < -CLOCK_AHEAD_MS_MAX:
        found = f"{-age_ms / 1000:.0f} s behind the newest block here"
        yield Finding("clock", PROBLEM, found, "set it by NTP: a block's time comes from validators' clocks")
    elif age_ms > HEAD_AGE_MS_MAX:
        found = f"unknown: the newest block here is {age_ms / 3_600_000:.0f} h old"
        yield Finding("clock", WARNING, found, "compare it with NTP, for example `timedatectl`")
    else:
        yield Finding("clock", OK, f"{age_ms / 1000:.0f} s after the newest block here; more can't be known offline")


def _check_membership(config: Config, chain: Chain) -> Iterator[Finding]:
    key = _read_public_key(config)
    if config.node.role != VALIDATOR or isinstance(key, str):
        return
    validators = choose_validators(chain)
    me = find_replica(validators, key)
    if me is None:
        found = f"role is validator, but era {validators.era}'s set does not have the key"
        remedy = 'register it with `atlas node register` and be voted in, or set role = "observer"'
        yield Finding("validator", WARNING, found, remedy)
        return
    yield Finding("validator", OK, f"replica {me} of {len(validators.keys)} in era {validators.era}")
    yield from _check_votes(config.data_folder / "votes.log", chain.chain_id, validators.era)


class _ReadOnly:
    """A vote log's file of which nothing is written: what would be cut off or begun anew stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes: list[str] = []

    def read(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def append(self, data: bytes) -> None:
        raise AssertionError("nothing is appended here")

    def sync(self) -> None:
        raise AssertionError("nothing is appended here")

    def truncate(self, size_bytes: int) -> None:
        self.changes.append("its torn end is cut off at the next start, as after any crash")

    def replace(self, data: bytes) -> None:
        self.changes.append("the votes of an earlier era are dropped at the next start")

    def close(self) -> None:
        pass


def _check_votes(path: Path, chain_id: bytes, era: int) -> Iterator[Finding]:
    if not path.exists():
        found = f"{path}: none, so the node asks its peers what it voted"
        remedy = "right for a node that never voted; else restore a backup, which makes it wait"
        yield Finding("votes", WARNING, found, remedy)
        return
    file = _ReadOnly(path)
    try:
        log = VoteLog.recover(file, chain_id, era)
    except VoteLogCorrupt as error:
        remedy = "restore the node from a backup (it then waits until its votes are over); never delete only votes.log"
        yield Finding("votes", PROBLEM, str(error), remedy)
        return
    yield Finding("votes", OK, "; ".join([f"{len(log.records)} records of era {era}", *file.changes]))


# A node that runs.


def _ask_node(config: Config) -> Iterator[Finding]:
    if not config.api.enabled or not config.api.port:
        yield Finding("api", WARNING, "the node runs, and can't be asked", "stop it, or give it a fixed api.port")
        return
    host = "127.0.0.1" if config.api.host in ("0.0.0.0", "::") else config.api.host
    client = ApiClient(f"http://{host}:{config.api.port}", API_TIMEOUT_S)
    try:
        status: dict[str, Any] = client.get("/node/status")
    except (NodeUnreachable, ApiProblem) as error:
        yield Finding("api", PROBLEM, str(error), "read the node's log; when it hangs, stop it and run doctor again")
        return
    key = _read_public_key(config)
    if isinstance(key, bytes) and status["public_key"] != key.hex():
        found = f"another node answers at {client.url}: {status['name']}"
        yield Finding("api", PROBLEM, found, "give each node an api.port of its own")
        return
    found = f"height {status['height']}, certified {status['certified_height']}, {len(status['peers'])} peers"
    yield Finding("running node", OK, found)
    if status["alert"] is not None:
        alert = status["alert"]
        yield Finding("alert", PROBLEM, f"{alert['code']}: {alert['why']}", str(alert["remedy"]))
    elif status["halted"] is not None:
        yield Finding("alert", PROBLEM, str(status["halted"]), "read the node's log")
    if status["history_missing"]:
        found = f"{status['history_missing']} blocks have only their headers here"
        yield Finding("history", WARNING, found, "let it run: the node fetches them from its peers")
    try:
        client.get("/health/ready")
        yield Finding("health", OK, f"ready; the height advanced {status['height_age_ms']} ms ago")
    except ApiProblem as problem:
        remedy = str(problem.problem.get("remedy") or "read the node's log")
        yield Finding("health", PROBLEM, str(problem), remedy)
    except NodeUnreachable as error:
        yield Finding("health", PROBLEM, str(error), "read the node's log")
