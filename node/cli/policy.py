"""Commands for policies: list, show, diff, dry-run.  They read a stopped node's folder, or a genesis.

A validator's operator runs `dry-run --attest`, and whoever has an account carries the printed event in.
"""

import argparse
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ledger import keyspace
from ledger.chain import Chain
from ledger.events import View
from ledger.genesis import decode_policies
from ledger.policies import (
    TRACKS,
    PolicyInvalid,
    PolicyVersion,
    compute_genesis_policies,
    compute_policy_id,
    decode_values,
    describe,
    edit_values,
    list_active,
    read_version,
)
from ledger.primitives.fixed_point import SCALE, DecimalInvalid, format_decimal, parse_decimal
from ledger.primitives.ids import IdKind, encode_id
from ledger.primitives.signing import Purpose
from ledger.state import read_number
from node.cli.chains import open_chain
from node.cli.home import UsageError, find_home
from node.cli.output import Output
from node.config import load_config
from node.dry_run import run_dry
from node.impact import Findings, ImpactReport
from node.keystore import Keystore
from social.governance.reports import REPORT_BLOCKS

ROWS_SHOWN = 12
DECIMAL_FROM = SCALE // 10_000
"""Numbers from here on are shown as decimals too: shares and amounts are stored as integers of 10**-18."""


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = "Show policies, compare values, and try them on the last blocks."
    policy = commands.add_parser("policy", help=text, description=text)
    actions: Any = policy.add_subparsers(title="actions", metavar="ACTION", required=True)
    source = argparse.ArgumentParser(add_help=False, parents=[shared])
    source.add_argument("--node", type=Path, help="a stopped node's folder (default: the home's genesis)")
    source.add_argument("--home", help="folder with the genesis (default: build/devnet or ~/.atlas)")

    def add(name: str, help: str, run: Callable[[argparse.Namespace, Output], int]) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help, parents=[source])
        command.set_defaults(run=run)
        return command

    def add_changes(command: argparse.ArgumentParser) -> None:
        command.add_argument("policy", choices=sorted(TRACKS))
        command.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE", dest="changes",
            help="a value as `atlas policy show` shows it; may be repeated",
        )  # fmt: skip

    add("list", "List the policies in force.", run_list)
    command = add("show", "Show a policy's values, with their legal ranges.", run_show)
    command.add_argument("policy", choices=sorted(TRACKS))
    command.add_argument("--version", type=int, help="an earlier version (default: the one in force)")
    command = add("diff", "Compare a version with another, or with changed values.", run_diff)
    add_changes(command)
    command.add_argument("--from", type=int, dest="first", help="version (default: the one in force)")
    command.add_argument("--to", type=int, dest="second", help="version to compare with, instead of --set")
    command = add("dry-run", "Replay the last blocks under changed values, and report what differs.", run_dry_run)
    add_changes(command)
    command.add_argument("--blocks", type=int, default=REPORT_BLOCKS, help=f"how many (default: {REPORT_BLOCKS})")
    command.add_argument("--height", type=int, help="the last block to replay (default: the newest)")
    command.add_argument("--attest", action="store_true", help="sign the report with the node's validator key")


def run_list(given: argparse.Namespace, output: Output) -> int:
    with _open_view(given) as view:
        versions = list_active(view)
    found = [
        {"policy": each.name, "version": each.version, "from_epoch": each.from_epoch, "track": TRACKS[each.name],
         "id": each.id.hex()}
        for each in versions
    ]  # fmt: skip
    if not output.document(found):
        rows = [(each["policy"], each["version"], each["from_epoch"], each["track"], each["id"]) for each in found]
        output.table("policies in force", ("policy", "version", "from epoch", "decided by", "id"), rows)
    return 0


def run_show(given: argparse.Namespace, output: Output) -> int:
    with _open_view(given) as view:
        version = _read_version(view, given.policy, given.version)
    values = _values_of(version.name, version.values)
    ranges = {field: (low, high) for field, _, low, high in describe(version.name)}
    found = {
        "policy": version.name, "version": version.version, "from_epoch": version.from_epoch, "id": version.id.hex(),
        "track": TRACKS[version.name],
        "values": [
            {"field": field, "value": value, "min": _text(ranges[field][0]), "max": _text(ranges[field][1])}
            for field, value in values.items()
        ],
    }  # fmt: skip
    if not output.document(found):
        rows = [
            (field, readable(value), readable(_text(ranges[field][0])), readable(_text(ranges[field][1])))
            for field, value in values.items()
        ]
        title = f"{version.name}@{version.version}, in force from epoch {version.from_epoch}"
        output.table(title, ("field", "value", "lowest", "highest"), rows)
    return 0


def run_diff(given: argparse.Namespace, output: Output) -> int:
    if bool(given.changes) == (given.second is not None):
        raise UsageError("policy diff: expected either --set FIELD=VALUE or --to VERSION")
    with _open_view(given) as view:
        before = _read_version(view, given.policy, given.first)
        if given.second is None:
            after = _edit(before, given.changes)
        else:
            after = _read_version(view, given.policy, given.second).values
    old, new = _values_of(before.name, before.values), _values_of(before.name, after)
    changed = [(field, old[field], new[field]) for field in old if old[field] != new[field]]
    found = {
        "policy": before.name,
        "from": f"{before.name}@{before.version}",
        "draft": compute_policy_id(before.name, after).hex(),
        "changes": [{"field": field, "before": one, "after": other} for field, one, other in changed],
    }
    if not output.document(found):
        rows = [(field, readable(one), readable(other)) for field, one, other in changed]
        output.table(f"changes of {found['from']}", ("field", "before", "after"), rows)
        output.facts([("draft", found["draft"])])
    return 0


def run_dry_run(given: argparse.Namespace, output: Output) -> int:
    if given.node is None:
        raise UsageError("policy dry-run: expected --node FOLDER; a genesis has no blocks to replay")
    with open_chain(given.node) as chain:
        values = _edit(_read_version(chain.store, given.policy, None), given.changes)
        columns = (TextColumn("trying"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"), TimeElapsedColumn())
        with Progress(*columns, console=output.errors, disable=output.as_json, transient=True) as bar:
            task = bar.add_task("dry run", total=None)
            report = run_dry(
                chain, given.policy, values, blocks=given.blocks, height=given.height,
                progress=lambda at, of: bar.update(task, completed=at, total=of),
            )  # fmt: skip
        attestation = _attest(given.node, chain, report) if given.attest else None
    found = {"hash": report.hash.hex(), "policy": report.policy, "values": values.hex()} | _plain(asdict(report))
    if attestation is not None:
        found["attestation"] = attestation
    if not output.document(found):
        _print_report(report, output)
        if attestation is not None:
            output.line("\nany account can carry this validator's word in:")
            output.line(f"  governance.PolicySimulated {attestation['body']}")
    return 0 if all(each.held for each in report.findings.invariants) else 1


def _attest(folder: Path, chain: Chain, report: ImpactReport) -> dict[str, Any]:
    """Return the event body by which this node's validator vouches for a report."""
    config = load_config(folder / "node.toml")
    home = find_home(str(config.folder), None)
    key = Keystore(config.data_folder / "keys").open(
        config.node.key, home.read_passphrase("Passphrase of the node's key: ")
    )
    if key.public not in chain.validators.keys:
        raise UsageError(f"{folder}: this node's key is not one of the validators'; its word does not count")
    signature = key.sign(chain.chain_id, Purpose.POLICY_REPORT, report.hash)
    body = _plain(asdict(report.head)) | {"signature": signature.hex(), "validator": key.public.hex()}
    return {"type": "governance.PolicySimulated", "body": body}


def _print_report(report: ImpactReport, output: Output) -> None:
    found, head = report.findings, report.head
    output.facts(
        [
            ("report", report.hash.hex()),
            ("draft", head.draft.hex()),
            ("replayed", f"{head.blocks} blocks up to height {head.height}, in epoch {head.epoch}"),
            ("accounts", found.accounts),
            ("verdicts", f"{found.flips} flipped"),
            ("ranking", f"{found.rank_distance} of {found.rank_pairs} pairs in another order"),
        ]
    )
    tokens = [
        (
            each.token, each.accounts, format_decimal(each.before), format_decimal(each.after),
            _signed(each.after - each.before),
        )
        for each in found.tokens
    ]  # fmt: skip
    output.table("\ntokens", ("token", "balances", "before", "after", "difference"), tokens)
    _print_rows(found, output)
    for each in found.invariants:
        mark = "[green]held[/green]" if each.held else "[bold red]BROKEN[/bold red]"
        output.line(f"{mark} {each.name} [dim]({each.before} before, {each.after} after)[/dim]")


def _print_rows(found: Findings, output: Output) -> None:
    if found.account_rows:
        rows = [
            (
                encode_id(IdKind.ACCOUNT, each.account), each.token, format_decimal(each.before),
                format_decimal(each.after),
            )
            for each in found.account_rows[:ROWS_SHOWN]
        ]  # fmt: skip
        output.table("\nlargest differences", ("account", "token", "before", "after"), rows)
    if found.flip_rows:
        rows = [
            (encode_id(IdKind.EVENT, each.event), each.type, each.before, each.after)
            for each in found.flip_rows[:ROWS_SHOWN]
        ]
        output.table("\nverdicts", ("event", "type", "before", "after"), rows)


# Reading.


class _Pairs:
    """A state of a few keys."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = dict(pairs)

    def get(self, key: bytes) -> bytes | None:
        return self._pairs.get(key)


@contextmanager
def _open_view(given: argparse.Namespace) -> Generator[View]:
    """Open a node's state, or that of the home's genesis."""
    if given.node is None:
        genesis = find_home(given.home, None).read_genesis()
        yield _Pairs(compute_genesis_policies(decode_policies(genesis)))
        return
    with open_chain(given.node) as chain:
        yield chain.store


def _read_version(view: View, policy: str, version: int | None) -> PolicyVersion:
    newest = read_number(view, keyspace.policy_count(policy))
    found = read_version(view, policy, newest if version is None else version)
    if found is None:
        raise UsageError(f"policy {policy}: there are the versions 1 to {newest}, got {version}")
    return found


def _edit(version: PolicyVersion, changes: list[str]) -> bytes:
    """Return a version's values with the changes of the command line.  Raises UsageError."""
    changed = dict(read_change(version.name, change) for change in changes)
    try:
        return edit_values(version.name, version.values, changed)
    except PolicyInvalid as invalid:
        raise UsageError(str(invalid)) from invalid


def read_change(policy: str, change: str) -> tuple[str, int | bytes]:
    """Return the field and value that a FIELD=VALUE of the command line sets.  Raises UsageError."""
    field, separator, text = change.partition("=")
    known = {name: (default, highest) for name, default, _, highest in describe(policy)}
    if not separator or field not in known:
        raise UsageError(f"--set {change}: expected FIELD=VALUE with a field among {', '.join(known)}")
    try:
        default, highest = known[field]
        if type(default) is bytes:
            return field, bytes.fromhex(text)
        return field, parse_decimal(text) if (highest or 0) >= DECIMAL_FROM else int(text)
    except (DecimalInvalid, ValueError) as error:
        raise UsageError(f"--set {change}: {error}") from error


def _values_of(policy: str, values: bytes) -> dict[str, str]:
    decoded = decode_values(policy, values)
    return {field.name: _text(getattr(decoded, field.name)) for field in fields(decoded)}


def _text(value: int | bytes | None) -> str:
    """Return a value as documents have it: digits, since JSON's numbers end at 2**53; or hex."""
    return "" if value is None else value.hex() if isinstance(value, bytes) else str(value)


def readable(text: str) -> str:
    """Return a stored number as people read it."""
    if not text.isdigit() or int(text) < DECIMAL_FROM:
        return text
    decimal = format_decimal(int(text))
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal


def _signed(atoms: int) -> str:
    return ("-" if atoms < 0 else "+" if atoms else "") + format_decimal(abs(atoms))


def _plain(value: Any) -> Any:
    """Return a report as JSON can carry it: bytes in hex, large numbers as digits."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}  # pyright: ignore
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]  # pyright: ignore
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if type(value) is int and value >= 2**53 else value
