"""Commands that say why: explain."""

import argparse
from pathlib import Path
from typing import Any

from ledger import keyspace
from ledger.chain import Chain, decode_head
from ledger.explanation import NotExplained, RewardExplanation, explain_reward
from ledger.primitives.fixed_point import format_decimal_short
from ledger.primitives.ids import IdKind, decode_id, encode_id
from ledger.receipts import Receipt, decode_receipt
from ledger.undo import StateAt
from node.cli.chains import open_chain
from node.cli.home import UsageError
from node.cli.output import Output


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = "Compute a payment again from the ledger, and show the sum that it is."
    explain = commands.add_parser("explain", help=text, description=text, parents=[shared])
    explain.add_argument("what", choices=("reward",))
    explain.add_argument("event", help="evt1… of an economics.RewardPaid, or its place in the log")
    explain.add_argument("--node", type=Path, required=True, help="a stopped node's folder")
    explain.set_defaults(run=run_explain)


def run_explain(given: argparse.Namespace, output: Output) -> int:
    with open_chain(given.node) as chain:
        receipt = read_receipt(chain, given.event)
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
