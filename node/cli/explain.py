"""Commands that say why: explain."""

import argparse
from pathlib import Path
from typing import Any

from ledger import keyspace
from ledger.chain import Chain
from ledger.explanation import NotExplained, RewardExplanation, explain_reward
from ledger.head import decode_head
from ledger.nod import Explanation, explain_node
from ledger.primitives.fixed_point import format_decimal_short
from ledger.primitives.hashing import HASH_BYTES
from ledger.primitives.ids import IdKind, decode_id, encode_id
from ledger.reading import Snapshot
from ledger.receipts import Receipt, decode_receipt
from ledger.rewards import EPOCH_CLOSED
from ledger.undo import StateAt
from node.cli.chains import open_chain
from node.cli.home import UsageError
from node.cli.output import Output

EXAMPLES = """\
examples:
  atlas explain reward evt1… --node FOLDER          each item's part of a payment
  atlas explain nod KEY --node FOLDER               what a node served, earned or lacked in the last epoch
  atlas explain nod KEY --epoch 12 --node FOLDER
"""


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = "Say why: compute a payment again from the ledger, or show what a node served and earned."
    explain = commands.add_parser(
        "explain", help=text, description=text, epilog=EXAMPLES, parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    explain.add_argument("what", choices=("reward", "nod"))
    explain.add_argument(
        "subject", help="reward: evt1… of an economics.RewardPaid, or its place in the log; nod: a node's public key"
    )
    explain.add_argument("--epoch", type=int, help="nod: the epoch that was settled (default: the last)")
    explain.add_argument("--node", type=Path, required=True, help="a stopped node's folder")
    explain.set_defaults(run=run_explain)


def run_explain(given: argparse.Namespace, output: Output) -> int:
    if given.what == "nod":
        return run_explain_nod(given, output)
    if given.epoch is not None:
        raise UsageError("explain reward: the event names its epoch; leave --epoch out")
    return run_explain_reward(given, output)


def run_explain_nod(given: argparse.Namespace, output: Output) -> int:
    try:
        key = bytes.fromhex(given.subject)
    except ValueError:
        key = b""
    if len(key) != HASH_BYTES:
        raise UsageError(f"{given.subject}: expected a node's public key, 64 hex digits")
    with open_chain(given.node) as chain:
        found = explain_service(chain, key, given.epoch)
    if not output.document(_nod_document(found)):
        _print_nod(found, output)
    return 0


def explain_service(chain: Chain, key: bytes, epoch: int | None) -> Explanation:
    """Explain what a node earned in an epoch, the last that was settled by default.  Raises NotExplained."""
    with chain.store.snapshot() as snapshot:
        head = snapshot.get(keyspace.META_HEAD)
        assert head is not None, "a chain has a head"
        height = decode_head(head)[0]
        at = height if epoch is None else _find_close(snapshot, epoch)
        floor = int.from_bytes(snapshot.get(keyspace.META_UNDO_FLOOR) or b"", "big")
        if at < floor:
            raise NotExplained(
                f"the state of height {at} is no longer kept here, only from {floor} on; the receipts of that height, "
                f"infra.NodAllocated and infra.NodeRejected, say the same"
            )
        found = explain_node(StateAt(snapshot, at, height), key)
    if found is None:
        raise UsageError(f"{key.hex()}: no node was registered under this key up to height {at}")
    if epoch is not None and (found.outcome is None or found.outcome.epoch != epoch):
        raise NotExplained(f"epoch {epoch}: this node was not judged when that epoch was settled")
    return found


def _find_close(snapshot: Snapshot, epoch: int) -> int:
    """Return the height at which an epoch was settled.  Raises NotExplained."""
    for key, _ in snapshot.iterate(keyspace.by_type(EPOCH_CLOSED.name, 0), keyspace.by_type(EPOCH_CLOSED.name, 2**63)):
        data = snapshot.get(keyspace.receipt(int.from_bytes(key[-8:], "big")))
        assert data is not None, "what is indexed has a receipt"
        receipt = decode_receipt(data)
        if receipt.inputs["epoch"] == epoch:
            return receipt.height
    raise NotExplained(f"epoch {epoch} was not settled on this ledger yet")


def _print_nod(found: Explanation, output: Output) -> None:
    show, node, outcome = format_decimal_short, found.node, found.outcome
    output.facts(
        [
            ("node", node.key.hex()),
            ("operator", encode_id(IdKind.ACCOUNT, node.account)),
            ("kind", f"{node.kind}, serves from epoch {node.active_from} on"),
        ]
    )
    if outcome is None:
        output.line(f"[yellow]{found.because}[/yellow]")
        return
    measures = outcome.measures
    cut = ", cut to its share" if outcome.is_capped else ""
    output.facts(
        [
            ("epoch", f"{outcome.epoch}, judged by {outcome.policy}"),
            ("uptime", f"{show(measures.uptime)}: {measures.votes} votes of {measures.certified} certified beats"),
            ("health", f"{show(measures.health)}, attested by {measures.attesters} validators"),
            ("proposals", f"{measures.proposals} of {measures.led}"),
            ("contribution", show(measures.contribution)),
            ("earned", f"{show(outcome.atoms)} NOD{cut}"),
            ("because", f"{outcome.code}: {found.because}"),
        ]
    )


def _nod_document(found: Explanation) -> dict[str, Any]:
    node, outcome = found.node, found.outcome
    judged: dict[str, Any] | None = None
    if outcome is not None:
        measures = {name: getattr(outcome.measures, name) for name in outcome.measures.__slots__}
        rates = ("contribution", "health", "uptime")
        judged = {
            "epoch": outcome.epoch, "code": outcome.code, "nod": str(outcome.atoms), "capped": outcome.is_capped,
            "policy": outcome.policy,
            "measures": {name: str(value) if name in rates else value for name, value in measures.items()},
        }  # fmt: skip
    return {
        "node": node.key.hex(), "operator": encode_id(IdKind.ACCOUNT, node.account), "kind": node.kind,
        "active_from": node.active_from, "retired_epoch": node.retired_epoch, "revoked": node.revoked,
        "because": found.because, "outcome": judged,
    }  # fmt: skip


def run_explain_reward(given: argparse.Namespace, output: Output) -> int:
    with open_chain(given.node) as chain:
        receipt = read_receipt(chain, given.subject)
        found = explain_payment(chain, receipt)
    if not output.document(_document(receipt, found)):
        _print(receipt, found, output)
    return 0 if found.agrees else 1


def read_receipt(chain: Chain, event: str) -> Receipt:
    """Return the receipt of an event, by its id or its place in the log.  Raises NotExplained and IdInvalid."""
    if event.isdigit():
        place: bytes | None = keyspace.u64(int(event)) if int(event) < 2**64 else None
    else:
        place = chain.store.get(keyspace.event_id(decode_id(IdKind.EVENT, event)))
    data = None if place is None else chain.store.get(keyspace.receipt(int.from_bytes(place, "big")))
    if data is None:
        raise UsageError(f"{event}: this ledger has no such event; it is at height {chain.head.height}")
    return decode_receipt(data)


def explain_payment(chain: Chain, receipt: Receipt) -> RewardExplanation:
    """Explain a payment from the state below its block.  Raises NotExplained."""
    with chain.store.snapshot() as snapshot:
        floor = int.from_bytes(snapshot.get(keyspace.META_UNDO_FLOOR) or b"", "big")
        head = snapshot.get(keyspace.META_HEAD)
        assert head is not None, "a chain has a head"
        if receipt.height - 1 < floor:
            raise NotExplained(
                f"the state of height {receipt.height - 1} is no longer kept here, only from {floor} on: replay the "
                f"chain with `atlas verify FOLDER`, which computes every payment again"
            )
        return explain_reward(StateAt(snapshot, receipt.height - 1, decode_head(head)[0]), receipt)


def _print(receipt: Receipt, found: RewardExplanation, output: Output) -> None:
    show, paid, closed = format_decimal_short, found.paid, found.closed
    chr_paid, flx_paid = paid.chr_author + paid.chr_endorser, paid.flx_author + paid.flx_endorser
    output.facts(
        [
            ("event", encode_id(IdKind.EVENT, receipt.event_id)),
            ("account", encode_id(IdKind.ACCOUNT, paid.account)),
            ("epoch", f"{paid.epoch}, settled at height {receipt.height}"),
            ("policies", closed.policies),
            ("pools", f"{show(closed.chr_pool)} CHR, {show(closed.flx_pool)} FLX (growth {show(closed.growth)})"),
            ("y, own mass", f"{show(paid.y)}, {show(paid.mass)}"),
        ]
    )
    rows = [
        (encode_id(IdKind.EVENT, share.item)[:20] + "…", share.role, show(share.coherence), show(share.eligibility),
         show(share.c_holo), show(share.mass), show(share.own_mass) if share.own_mass else "",
         show(share.chr), show(share.flx))
        for share in found.shares
    ]  # fmt: skip
    columns = ("item", "as", "coherence", "eligibility", "c_holo", "mass", "of it own", "CHR", "FLX")
    output.table("each item's part: pool × eligibility × coherence × c_holo × mass / all", columns, rows)
    output.facts(
        [
            ("sum", f"{show(found.chr_before_caps)} CHR, {show(found.flx_before_caps)} FLX"),
            ("cap of one payment", f"{show(found.chr_cap)} CHR, {show(found.flx_cap)} FLX"),
            ("paid", f"{show(chr_paid)} CHR, {show(flx_paid)} FLX, {show(paid.psi)} PSI"),
            ("standing after", show(paid.s_chr)),
        ]
    )  # fmt: skip
    output.line(
        "[green]the receipt says the same[/green]"
        if found.agrees
        else "[bold red]the receipt says something else: this ledger was not made by these rules[/bold red]"
    )


def _document(receipt: Receipt, found: RewardExplanation) -> dict[str, Any]:
    paid, closed = found.paid, found.closed
    return {
        "event": encode_id(IdKind.EVENT, receipt.event_id),
        "account": encode_id(IdKind.ACCOUNT, paid.account),
        "epoch": paid.epoch,
        "height": receipt.height,
        "policies": closed.policies.split(),
        "agrees": found.agrees,
        "pools": {"chr": str(closed.chr_pool), "flx": str(closed.flx_pool)},
        "caps": {"chr": str(found.chr_cap), "flx": str(found.flx_cap)},
        "shares": [
            {
                "item": encode_id(IdKind.EVENT, share.item), "as": share.role, "coherence": str(share.coherence),
                "eligibility": str(share.eligibility), "c_holo": str(share.c_holo), "mass": str(share.mass),
                "own_mass": str(share.own_mass), "chr": str(share.chr), "flx": str(share.flx),
            }
            for share in found.shares
        ],
        "paid": {
            "chr": str(paid.chr_author + paid.chr_endorser), "flx": str(paid.flx_author + paid.flx_endorser),
            "psi": str(paid.psi),
        },
        "s_chr": str(paid.s_chr),
    }  # fmt: skip
