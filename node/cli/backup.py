"""Commands that keep a node's data safe: backup, restore, doctor."""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.backup import BackupFailed, Manifest, restore_backup, write_backup
from node.cli.home import UsageError
from node.cli.output import Output, plain
from node.config import VALIDATOR
from node.doctor import OK, PROBLEM, WARNING, Finding, examine

ONE_MACHINE = (
    "Never run the same key on two machines: make sure that the old node is stopped for good before you start this one."
)
ABSTAINS = (
    "This backup may be older than the node's last vote. The restored node therefore votes for nothing until "
    "everything that it may have said is over (two windows of certified blocks), then it votes again by itself. "
    "Restore at most f validators of one network so at a time: while more of them wait, no block is made."
)
TRUSTED = (
    "You said that the node never ran since this backup was made: it votes on at once. If that is not so, it may "
    "contradict its own votes, which is punished."
)
WITHOUT_KEYS = "There is no key in this backup: put the keystore into data/keys before you start the node."
HOLDS_KEYS = "It holds the node's keys, encrypted under their passphrase: keep it as you keep them."

LEVEL_STYLE = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = (
        "Write all that a stopped node needs into one file: configuration, genesis, ledger, votes, evidence and keys."
    )
    command = commands.add_parser("backup", help=text, description=text, parents=[shared])
    command.add_argument("folder", type=Path, help="the node's folder, with node.toml")
    command.add_argument("-o", "--output", type=Path, required=True, help="the file to write; it may not exist yet")
    command.add_argument("--without-keys", action="store_true", help="leave the keystore out")
    command.set_defaults(run=run_backup)
    text = "Put a backup into a new folder, after every byte of it was verified."
    command = commands.add_parser("restore", help=text, description=f"{text} {ABSTAINS}", parents=[shared])
    command.add_argument("file", type=Path, help="what `atlas backup` wrote")
    command.add_argument("folder", type=Path, help="a new or empty folder")
    command.add_argument(
        "--never-ran-since",
        action="store_true",
        help="the node has not run since the backup was made, so that none of its votes is missing in it",
    )
    command.set_defaults(run=run_restore)
    text = "Check a node: configuration, key, disk, ports, clock, software, ledger and votes; changes nothing."
    command = commands.add_parser(
        "doctor",
        help=text,
        description=f"{text} Exit code 1 when there is a problem; a warning alone gives 0.",
        parents=[shared],
    )
    command.add_argument("folder", type=Path, help="the node's folder, with node.toml")
    command.set_defaults(run=run_doctor)


def run_backup(given: argparse.Namespace, output: Output) -> int:
    target: Path = given.output
    try:
        manifest = write_backup(given.folder, target, with_keys=not given.without_keys)
    except OSError as error:
        raise BackupFailed(f"{target}: not written: {error}") from error
    found = {"file": str(target), **_describe(manifest)}
    if not output.document(found):
        output.line(f"[green]written[/green] {plain(target)}")
        output.facts([(name.replace("_", " "), plain(value)) for name, value in found.items() if name != "file"])
        if manifest.has_keys:
            output.line(f"[yellow]{HOLDS_KEYS}[/yellow]")
        output.line(f"[dim]put it back with `atlas restore {plain(target)} FOLDER`[/dim]")
    return 0


def run_restore(given: argparse.Namespace, output: Output) -> int:
    if not given.file.is_file():
        raise UsageError(f"{given.file}: no such file; expected what `atlas backup` wrote")
    try:
        manifest = restore_backup(given.file, given.folder, never_ran_since=given.never_ran_since)
    except OSError as error:
        raise BackupFailed(f"{given.folder}: not restored, nothing is in place: {error}") from error
    warnings = [ONE_MACHINE] if manifest.has_keys else [WITHOUT_KEYS, ONE_MACHINE]
    if manifest.role == VALIDATOR:
        warnings.append(TRUSTED if given.never_ran_since else ABSTAINS)
    found = {"folder": str(given.folder), **_describe(manifest)}
    if not output.document({**found, "warnings": warnings}):
        output.line(f"[green]restored[/green] {plain(given.folder)}")
        output.facts([(name.replace("_", " "), plain(value)) for name, value in found.items() if name != "folder"])
        for warning in warnings:
            output.line(f"[bold yellow]warning:[/bold yellow] {warning}")
        output.line(f"[dim]look it over with `atlas doctor {plain(given.folder)}`, then `atlas run` it[/dim]")
    return 0


def run_doctor(given: argparse.Namespace, output: Output) -> int:
    findings: list[Finding] = []
    for finding in examine(given.folder):
        findings.append(finding)
        if not output.as_json:
            style = LEVEL_STYLE[finding.level]
            output.line(f"[{style}]{finding.level:<7}[/{style}]  {finding.check:<12}  {plain(finding.found)}")
            if finding.remedy:
                output.line(f"{'':<23}[dim]remedy: {plain(finding.remedy)}[/dim]")
    problems = sum(finding.level == PROBLEM for finding in findings)
    warnings = sum(finding.level == WARNING for finding in findings)
    if not output.document({"healthy": not problems, "findings": [asdict(finding) for finding in findings]}):
        style = LEVEL_STYLE[PROBLEM if problems else WARNING if warnings else OK]
        output.line(f"[{style}]problems: {problems}, warnings: {warnings}[/{style}]")
    return 1 if problems else 0


def _describe(manifest: Manifest) -> dict[str, object]:
    return {
        "node": manifest.name,
        "role": manifest.role,
        "chain_id": manifest.chain_id,
        "made": datetime.fromtimestamp(manifest.created_ms / 1000, UTC).isoformat(timespec="seconds"),
        "files": len(manifest.files),
        "bytes": manifest.bytes,
        "keys": manifest.has_keys,
    }
