"""`atlas verify FILE`: checks one file of any kind offline, and says what it showed and what it left open."""

from pathlib import Path
from typing import Any, NamedTuple

from ledger.archive.layout import MAGIC
from ledger.archive.segment import Segment
from ledger.bundle_tables import verify_table
from ledger.bundles import BUNDLE_KIND, encode_csv, verify_bundle
from ledger.certified import PROOF_BYTES_MAX, ProofInvalid, VerifyCertificate, decode_kind
from ledger.genesis import Genesis, compute_chain_id
from ledger.primitives.fixed_point import format_decimal_short
from ledger.primitives.ids import IdKind, encode_id
from ledger.proofs import verify_event_proof
from ledger.service import Validators
from ledger.state_proofs import KIND, find_balance, verify_state_proof
from node.certificates import make_certificate_verifier
from node.cli.home import UsageError
from node.cli.output import Output, outcome, plain

GENESIS_OPEN = "that the genesis is the one you want: get it from somebody you trust"


class Shown(NamedTuple):
    """What a valid file showed: facts for programs, lines for people, and what it proved and left open."""

    facts: dict[str, Any]
    lines: tuple[str, ...]
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]


def verify_file(path: Path, csv: Path | None, genesis: Genesis, output: Output) -> int:
    """Check a file and print; returns the exit code.

    csv: a bundle's twin.  A path that ends in .csv is taken for one, of the bundle of the same name beside it.  Raises
    UsageError, ProofInvalid and SegmentDamaged.
    """
    if path.suffix == ".csv":
        path, csv = path.with_suffix(".json"), path
        if not path.exists():
            raise UsageError(f"{path}: no such file; a CSV file is checked against the bundle that it came with")
    verify_certificate = make_certificate_verifier(compute_chain_id(genesis))
    with path.open("rb") as file:
        is_segment = file.read(len(MAGIC)) == MAGIC
    if is_segment and csv is None:
        shown = _show_segment(path, genesis, verify_certificate)
    else:
        data = _read(path)
        kind = decode_kind(data)
        twin = None if csv is None else _read(csv)
        if twin is not None and kind != BUNDLE_KIND:
            raise ProofInvalid(f"csv: only bundles come with a CSV file, and {path.name} is of kind {kind}")
        if kind == BUNDLE_KIND:
            shown = _show_bundle(data, twin, genesis, verify_certificate)
        elif kind == KIND:
            shown = _show_state(data, genesis, verify_certificate)
        else:
            shown = _show_event(data, genesis, verify_certificate)
    not_proven = (*shown.not_proven, GENESIS_OPEN)
    if not output.document({"valid": True, **shown.facts, "proven": shown.proven, "not_proven": not_proven}):
        for line in shown.lines:
            output.line(line)
        for sentence in shown.proven:
            output.line(f"  [green]proven[/green]      {plain(sentence)}")
        for sentence in not_proven:
            output.line(f"  [yellow]not proven[/yellow]  {plain(sentence)}")
    return 0


def _read(path: Path) -> bytes:
    if not path.exists():
        raise UsageError(f"{path}: no such file; check its name")
    with path.open("rb") as file:
        data = file.read(PROOF_BYTES_MAX + 1)
    if len(data) > PROOF_BYTES_MAX:
        raise ProofInvalid(f"{path}: expected a proof file of at most {PROOF_BYTES_MAX} bytes, or an archive segment")
    return data


def _show_event(data: bytes, genesis: Genesis, verify_certificate: VerifyCertificate) -> Shown:
    proven = verify_event_proof(data, genesis, verify_certificate)
    receipt = proven.receipt
    event_id = encode_id(IdKind.EVENT, proven.event_id)
    facts = {
        "event_id": event_id,
        "event_type": receipt.event_type,
        "outcome": receipt.outcome,
        "explanation": receipt.explanation,
        "height": receipt.height,
        "certified_height": proven.header.height,
    }
    said = f"{plain(receipt.event_type)} at height {receipt.height}: {outcome(receipt.outcome)}. "
    signed = "a key signed exactly this event" if proven.event is not None else "nobody signed it: the ledger made it"
    return Shown(
        facts,
        (
            f"[bold green]valid[/bold green] {event_id}",
            said + plain(receipt.explanation),
            _tell_certified(proven.header.height, proven.validators),
        ),
        (f"{signed}, and the ledger answered it with this receipt, at place {receipt.log_index} of the log",),
        ("who is behind the key; the text of a post, of which the event has the salted hash",),
    )


def _show_state(data: bytes, genesis: Genesis, verify_certificate: VerifyCertificate) -> Shown:
    proven = verify_state_proof(data, genesis, verify_certificate)
    value = None if proven.value is None else proven.value.hex()
    balance = find_balance(proven.key, proven.value)
    facts: dict[str, Any] = {
        "kind": KIND,
        "key": proven.key.hex(),
        "value": value,
        "state_height": proven.header.state_height,
        "certified_height": proven.header.height,
    }
    told = f"state key {facts['key']}: " + (value if value is not None else "no value")
    if balance is not None:
        account = encode_id(IdKind.ACCOUNT, balance.account)
        facts |= {"account": account, "token": balance.token, "balance": format_decimal_short(balance.atoms)}
        told = f"{account} held {facts['balance']} {balance.token}"
    return Shown(
        facts,
        (
            f"[bold green]valid[/bold green] after height {proven.header.state_height}",
            told,
            _tell_certified(proven.header.height, proven.validators),
        ),
        (f"the state had this value of this key after height {proven.header.state_height}, or none if it says so",),
        ("what it is now: later blocks may have changed it",),
    )


def _show_bundle(
    data: bytes, csv: bytes | None, genesis: Genesis, verify_certificate: VerifyCertificate
) -> Shown:  # fmt: skip
    bundle = verify_bundle(data, genesis, verify_certificate)
    finding = verify_table(bundle)
    if csv is not None and csv != encode_csv(bundle.columns, bundle.rows):
        raise ProofInvalid("csv: expected exactly the columns and rows of the bundle")
    header = bundle.certified.header
    facts = {
        "kind": BUNDLE_KIND,
        "subject": bundle.subject,
        "query": bundle.query,
        "rows": len(bundle.rows),
        "events": len(bundle.receipts),
        "next": bundle.next,
        "node": bundle.node.hex(),
        "csv": csv is not None,
        "state_height": header.state_height,
        "certified_height": header.height,
    }
    asked = ", ".join(f"{name} {bundle.query[name]}" for name in sorted(bundle.query)) or "everything"
    lines = [f"[bold green]valid[/bold green] {bundle.subject}: {plain(asked)}"]
    if bundle.subject == "ranking":
        lines += [f"  {plain(name)} {plain(text)}" for name, text in bundle.rows]
    else:
        lines.append(f"{len(bundle.rows)} rows of {len(bundle.receipts)} events")
    more = () if bundle.next is None else ("what is on the pages that follow; their cursor is in the file",)
    return Shown(
        facts,
        (*lines, _tell_certified(header.height, bundle.certified.validators)),
        (
            *finding.proven,
            f"the node with the key {bundle.node.hex()} signed all of it",
            *(("the CSV file says the same",) if csv is not None else ()),
        ),
        (*finding.not_proven, *more, "whose node that is"),
    )


def _show_segment(path: Path, genesis: Genesis, verify_certificate: VerifyCertificate) -> Shown:
    """Check an archive segment: on its own it shows where its validators come from only when it is the first."""
    with path.open("rb") as file:

        def read_at(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        segment = Segment(path.name, path.stat().st_size, read_at)
        summary = segment.summary
        if summary.chain_id != compute_chain_id(genesis):
            raise ProofInvalid(f"{path}: of another chain than the genesis")
        is_first = summary.first_height == 1
        # What its first header names as its parent is certified with it; the set is taken from where it is known.
        validators = Validators(genesis.validators) if is_first else summary.sets[0]
        segment.verify(summary.header_hash_before, validators, verify_certificate)
    facts = {
        "kind": "segment",
        "first_epoch": summary.first_epoch,
        "last_epoch": summary.last_epoch,
        "first_height": summary.first_height,
        "last_height": summary.last_height,
        "receipts": summary.receipts,
        "root": summary.root.hex(),
        "header_hash": summary.header_hash.hex(),
        "from_genesis": is_first,
    }
    told = "genesis validators" if is_first else "validators that it names for its first block"
    origin = () if is_first else ("that these validators follow from the genesis: check the whole archive for that",)
    return Shown(
        facts,
        (
            f"[bold green]valid[/bold green] archive segment, epochs {summary.first_epoch} to {summary.last_epoch}",
            f"heights {summary.first_height} to {summary.last_height}, {summary.receipts} receipts",
        ),
        (
            "every byte is as it was written, and the index says what the blocks hold",
            f"each block follows the one below and has the receipts of its header, certified from the {told} on",
        ),
        (*origin, "that executing the events gives these results: `atlas archive verify` replays an archive"),
    )


def _tell_certified(height: int, validators: Validators) -> str:
    name = f"validator set of era {validators.era}, which follows from the genesis'"
    if validators.era == 0:
        name = "genesis validators"
    return f"[dim]certified at height {height} by a quorum of the {name}[/dim]"
