"""A node's replica: how it comes back from disk."""

from collections.abc import Sequence

from consensus.messages import Certificate, Sign
from consensus.parameters import Parameters
from consensus.replica import Replica
from ledger.chain import Chain
from ledger.primitives.records import decode_record

HEADERS_UNCERTIFIED_MAX = 64
"""Blocks without a certificate whose checkpoints are signed again after a restart; a window holds fewer."""


def find_certificate(chain: Chain, base: int) -> Certificate | None:
    """Return the highest certificate above `base` in the store, or None."""
    for height in range(chain.head.height, base, -1):
        data = chain.read_certificate(height)
        if data is not None:
            return decode_record(Certificate, data)
    return None


def recover_replica(
    parameters: Parameters,
    me: int,
    sign: Sign,
    chain: Chain,
    records: Sequence[bytes],
    *,
    asks: bool = True,
    forgot: bool = False,
) -> Replica:
    """Return the replica as it was, from the chain and the records of the vote log.  Raises ValueError, see `Replica`.

    Its `stable_certificate` is the highest of the era in the store.  asks, forgot: see `Replica.recover`.
    """
    certificate = find_certificate(chain, parameters.base)
    certified = parameters.base if certificate is None else certificate.seq
    head = chain.head
    uncertified = [
        (height, reference[0])
        for height in range(max(certified + 1, head.height - HEADERS_UNCERTIFIED_MAX), head.height + 1)
        if (reference := chain.references(height)) is not None
    ]
    return Replica.recover(
        parameters, me, sign, head.height, head.hash, certificate, records, uncertified, asks=asks, forgot=forgot
    )
