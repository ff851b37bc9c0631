"""Commands for archives of cold epochs: write, prune, list, show, verify, erase."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger.archive.collection import Archive, ArchivedEvent, ArchiveView
from ledger.archive.erasure import erase_payloads, find_held
from ledger.archive.layout import Summary
from ledger.block import compute_header_hash, encode_header
from ledger.chain import compute_genesis_block
from ledger.events import Event
from ledger.genesis import compute_chain_id
from ledger.payloads import decode_payload
from ledger.primitives.ids import IdKind, decode_id, encode_id
from ledger.primitives.records import decode_record
from ledger.proofs import make_event_proof
from ledger.pruning import prune
from ledger.service import Validators
from ledger.store import Store
from node.archive_store import ArchiveStore
from node.archive_writer import EPOCHS_MAX, ArchiveDiffers, Source, Written, find_prunable, write_archive
from node.certificates import make_certificate_verifier
from node.cli.home import UsageError
from node.cli.output import Output, outcome, plain
from node.cli.verify import find_ledger, read_genesis
from node.config import load_config
from node.modules import make_registry
from node.replay import Replayed, replay_archive


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = "Keep cold epochs outside the node: one file per range of epochs, in a folder or an S3-compatible store."
    archive = commands.add_parser("archive", help=text, description=text)
    actions: Any = archive.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, help: str, run: Any) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help, parents=[shared])
        command.set_defaults(run=run)
        return command

    def add_url(command: argparse.ArgumentParser) -> None:
        command.add_argument("url", help="the archive: a folder, file:///… or s3://bucket/…")

    command = add("write", "Write the whole epochs of a stopped node that the archive lacks.", run_write)
    command.add_argument(
        "--data", "--home", type=Path, required=True, help="the node's folder: the one with node.toml, or its data"
    )
    command.add_argument("--to", help="the archive (default: [archive] url in node.toml)")
    command.add_argument("--epochs", type=int, default=1, help="epochs in one file (default: 1)")

    command = add(
        "prune", "Drop from a stopped node what its archive holds; proofs are then made from there.", run_prune
    )
    command.add_argument(
        "--data", "--home", type=Path, required=True, help="the node's folder: the one with node.toml, or its data"
    )
    command.add_argument("--to", help="the archive (default: [archive] url in node.toml)")
    command.add_argument("--keep-epochs", type=int, default=2, help="the newest whole epochs to keep (default: 2)")

    command = add("list", "List the segments of an archive.", run_list)
    add_url(command)

    command = add("show", "Show one event out of an archive, and write its proof.", run_show)
    add_url(command)
    command.add_argument("event", help="evt1…, or the event's place in the log")
    command.add_argument("--proof", type=Path, help="write a proof here that `atlas verify` checks offline")

    command = add("verify", "Check every byte of an archive, all certificates, and replay it from genesis.", run_verify)
    add_url(command)
    command.add_argument("--genesis", type=Path, help="the genesis to trust (default: the home's)")
    command.add_argument("--home", help="folder with the genesis (default: build/devnet or ~/.atlas)")
    command.add_argument("--no-replay", action="store_true", help="leave out the execution of the events")

    command = add("erase", "Erase payloads from all segments; roots and proofs stay valid.", run_erase)
    add_url(command)
    command.add_argument("content", nargs="+", help="content hashes as 64 hex digits; `archive show` prints them")


def run_write(given: argparse.Namespace, output: Output) -> int:
    if not 1 <= given.epochs <= EPOCHS_MAX:
        raise UsageError(f"--epochs: expected 1 to {EPOCHS_MAX}, got {given.epochs}")
    ledger = find_ledger(given.data)
    store = ArchiveStore(_find_target(given))
    written: list[Written] = []
    opened = Store(ledger)
    try:
        with opened.snapshot() as snapshot, _bar(output, "archiving") as bar:
            source = Source(str(ledger), snapshot)
            written.extend(write_archive(source, store, given.epochs, make_certificate_verifier, bar.show))
            height = source.height
    finally:
        opened.close()
    archived = store.open_archive().height
    found = {
        "archive": store.url,
        "height": archived,
        "head": height,
        "written": [{"file": each.name, "bytes": each.bytes, **_to_facts(each.summary)} for each in written],
    }
    if not output.document(found):
        for each in written:
            output.line(f"[green]written[/green] {each.name} ({each.bytes} bytes), {each.summary.receipts} receipts")
        if not written:
            output.line(f"nothing to write: no {given.epochs} whole and certified epochs above height {archived}")
        output.line(f"[dim]archived up to height {archived} of {height}; check it with[/dim]")
        output.line(f"[dim]`atlas archive verify {store.url} --genesis …`[/dim]")
    return 0


def run_prune(given: argparse.Namespace, output: Output) -> int:
    if given.keep_epochs < 1:
        raise UsageError(f"--keep-epochs: expected at least 1, got {given.keep_epochs}")
    ledger = find_ledger(given.data)
    archive = _open(_find_target(given))
    opened = Store(ledger)
    try:
        with opened.snapshot() as snapshot:
            try:
                height = find_prunable(Source(str(ledger), snapshot), archive, given.keep_epochs)
            except ArchiveDiffers as error:
                raise UsageError(str(error)) from error
        before = _count_bytes(ledger)
        dropped = prune(opened, height) if height else 0
        if dropped:
            opened.compact()
    finally:
        opened.close()
    found = {"pruned_to": height, "keys": dropped, "bytes_before": before, "bytes_after": _count_bytes(ledger)}
    if not output.document(found):
        if not height:
            output.line("nothing to prune: the archive holds no epoch that is older than those to keep")
        else:
            output.line(f"[green]pruned[/green] up to height {height}: {dropped} keys")
            output.line(f"[dim]{before} bytes before, {found['bytes_after']} now; headers and state stay,[/dim]")
            output.line("[dim]and the node takes old events and their proofs from the archive[/dim]")
    return 0


def _count_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def run_list(given: argparse.Namespace, output: Output) -> int:
    archive = _open(given.url)
    segments = [
        {"file": segment.name, "bytes": segment.bytes, **_to_facts(segment.summary)} for segment in archive.segments
    ]
    if not output.document({"archive": given.url, "height": archive.height, "segments": segments}):
        columns = ("file", "heights", "receipts", "bytes", "root")
        rows = [
            (
                segment.name,
                f"{segment.summary.first_height}-{segment.summary.last_height}",
                segment.summary.receipts,
                segment.bytes,
                segment.summary.root.hex()[:8] + "…",
            )
            for segment in archive.segments
        ]
        output.table(plain(given.url), columns, rows)
    return 0


def run_show(given: argparse.Namespace, output: Output) -> int:
    archive = _open(given.url)
    log_index = _find(archive, given.event)
    found = archive.read_event(log_index)
    receipt, content = found.receipt, None if found.stored is None else found.stored.content
    facts = {
        "event_id": encode_id(IdKind.EVENT, receipt.event_id),
        "event_type": receipt.event_type,
        "author": _read_author(found),
        "height": receipt.height,
        "log_index": log_index,
        "outcome": receipt.outcome,
        "explanation": receipt.explanation,
        "content": None if content is None else content.hex(),
        "text": None if found.payload is None else decode_payload(found.payload).text,
    }
    if given.proof is not None:
        given.proof.write_bytes(make_event_proof(ArchiveView(archive), archive.height, receipt.event_id))
        facts["proof"] = str(given.proof)
    if not output.document(facts):
        shown = facts | {"text": "(not held)"} if content is not None and found.payload is None else facts
        rows = [(name.replace("_", " "), plain(value)) for name, value in shown.items() if value is not None]
        output.facts([(name, outcome(value) if name == "outcome" else value) for name, value in rows])
        if given.proof is not None:
            output.line(f"[green]written[/green] {given.proof}; check it with `atlas verify {given.proof}`")
    return 0


def run_verify(given: argparse.Namespace, output: Output) -> int:
    genesis = read_genesis(given, None)
    archive = _open(given.url)
    registry = make_registry()
    first = archive.segments[0].summary
    if first.chain_id != compute_chain_id(genesis):
        raise UsageError(f"{given.url}: it is of another chain than the genesis; name the right one with --genesis")
    genesis_hash = compute_header_hash(encode_header(compute_genesis_block(genesis, registry)[0]))
    if first.header_hash_before != genesis_hash:
        raise UsageError(
            f"{given.url}: the chain began under other rules than this software has; use the release that the chain "
            "began with, or another archive"
        )
    verify = make_certificate_verifier(first.chain_id)
    with _bar(output, "checking files") as bar:
        archive.verify(genesis_hash, Validators(genesis.validators), verify, lambda at: bar.show(at, archive.height))
    replayed: Replayed | None = None
    if not given.no_replay:
        with _bar(output, "replaying") as bar:
            replayed = replay_archive(archive, genesis, registry, bar.show)
    last = archive.segments[-1].summary
    found: dict[str, object] = {
        "valid": True,
        "segments": len(archive.segments),
        "bytes": sum(segment.bytes for segment in archive.segments),
        "height": archive.height,
        "events": archive.log_size,
        "header_hash": last.header_hash.hex(),
        "state_digest": last.state_digest.hex(),
        "replayed": replayed is not None,
    }
    if replayed is not None:
        found |= {"payloads_missing": replayed.payloads_missing, "state_keys": replayed.state_keys}
    if not output.document(found):
        said = "every root is equal" if replayed is not None else "every byte and certificate is right"
        output.line(f"[bold green]{said}[/bold green]")
        output.facts([(name.replace("_", " "), value) for name, value in found.items() if name != "valid"])
    return 0


def run_erase(given: argparse.Namespace, output: Output) -> int:
    contents = [_read_hash(text) for text in given.content]
    store = ArchiveStore(given.url)
    store.remove_partials()
    changed: list[str] = []
    erased: list[bytes] = []
    for segment in store.open_archive().segments:
        held = find_held(segment, contents)
        if held:
            segment.verify_bytes()
            store.write(segment.name, erase_payloads(segment, held))
            changed.append(segment.name)
            erased += held
    if not output.document({"erased": [content.hex() for content in erased], "segments": changed}):
        if changed:
            output.line(f"[green]erased[/green] {len(erased)} payloads from {', '.join(changed)}")
        else:
            output.line("nothing to erase: no segment holds any of these")
    return 0


def _open(url: str) -> Archive:
    archive = ArchiveStore(url).open_archive()
    if not archive.segments:
        raise UsageError(f"{url}: no segments here; write some with `atlas archive write --data FOLDER --to {url}`")
    return archive


def _find(archive: Archive, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 20:
        log_index = int(text)
        if log_index >= archive.log_size:
            raise UsageError(f"{text}: the archive holds the places 0 to {archive.log_size - 1}; newer ones are hot")
        return log_index
    found = archive.find_event(decode_id(IdKind.EVENT, text))
    if found is None:
        raise UsageError(f"{text}: not in this archive, which ends at height {archive.height}; ask a node for it")
    return found


def _find_target(given: argparse.Namespace) -> str:
    if given.to is not None:
        return str(given.to)
    path = given.data / "node.toml"
    if not path.exists():
        raise UsageError(f"{path}: no such file, so no archive is configured; name one with --to")
    return load_config(path).archive_url


def _read_author(found: ArchivedEvent) -> str | None:
    if found.stored is None or not any(found.receipt.author):
        return None
    return encode_id(IdKind.ACCOUNT, decode_record(Event, found.stored.event).author)


def _read_hash(text: str) -> bytes:
    try:
        content = bytes.fromhex(text)
    except ValueError:
        content = b""
    if len(content) != 32:
        raise UsageError(f"{text}: expected a content hash of 64 hex digits, as `atlas archive show` prints it")
    return content


def _to_facts(summary: Summary) -> dict[str, object]:
    return {
        "first_epoch": summary.first_epoch,
        "last_epoch": summary.last_epoch,
        "first_height": summary.first_height,
        "last_height": summary.last_height,
        "receipts": summary.receipts,
        "root": summary.root.hex(),
        "state_digest": summary.state_digest.hex(),
        "header_hash": summary.header_hash.hex(),
    }


class _Bar(Protocol):
    def show(self, at: int, of: int) -> None: ...


class _RichBar:
    """A progress bar of blocks."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None)

    def show(self, at: int, of: int) -> None:
        self._bar.update(self._task, completed=at, total=of)


@contextmanager
def _bar(output: Output, what: str) -> Generator[_Bar]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"), TimeRemainingColumn())
    with Progress(*columns, console=output.errors, disable=output.as_json, transient=True) as bar:
        yield _RichBar(bar, what)
