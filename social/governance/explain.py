"""Explain: the values that a receipt was judged by, whatever is in force now.  Receipts cite them as "energy@3"."""

import re

from ledger.events import View
from ledger.policies import PolicyValues, decode_values, read_version
from ledger.receipts import Receipt

CITED = re.compile(r"([a-z]{1,32})@([0-9]{1,10})")


def read_cited(view: View, citation: str) -> PolicyValues | None:
    """Return the values that a citation such as "energy@3" names; None for one that names no version."""
    match = CITED.fullmatch(citation)
    found = None if match is None else read_version(view, match.group(1), int(match.group(2)))
    return None if found is None else decode_values(found.name, found.values)


def list_cited(view: View, receipt: Receipt) -> dict[str, PolicyValues]:
    """Return all policies that a receipt cites, in its verdicts and its evidence, by citation."""
    texts = [verdict.policy for verdict in receipt.verdicts]
    texts += [str(facts.get("policies", "")) for facts in (receipt.evidence, receipt.inputs)]
    cited: dict[str, PolicyValues] = {}
    for citation in sorted({citation for text in texts for citation in text.split()}):
        values = read_cited(view, citation)
        if values is not None:
            cited[citation] = values
    return cited
