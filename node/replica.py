"""A node's replica: the parameters that a chain and a configuration give it, and how it comes back from disk."""

from collections.abc import Sequence
from pathlib import Path

from consensus.messages import Certificate, Sign
from consensus.parameters import Parameters
from consensus.replica import Replica
from ledger.chain import Chain
from ledger.genesis import Genesis
from ledger.primitives.records import decode_record
from node.config import Config

WINDOW = 8
"""Batches in flight.  Not a setting: it bounds what a VIEW-CHANGE may hold, so all replicas must have the same."""
HEADERS_UNCERTIFIED_MAX = 64
"""Blocks without a certificate whose checkpoints are signed again after a restart; a window holds fewer."""


def make_parameters(genesis: Genesis, chain_id: bytes, config: Config | None = None) -> Parameters:
    """Return the consensus parameters of a chain; timeouts come from the node's own configuration."""
    section = (config or Config(Path("."))).consensus
    return Parameters(
        chain_id=chain_id,
        replicas=genesis.validators,
        window=WINDOW,
        view_timeout_ms=section.view_timeout_ms,
        view_timeout_ms_max=section.view_timeout_ms_max,
        retransmit_ms=section.retransmit_ms,
    )


def find_certificate(chain: Chain) -> Certificate | None:
    """Return the highest certificate in the store, or None."""
    for height in range(chain.head.height, 0, -1):
        data = chain.read_certificate(height)
        if data is not None:
            return decode_record(Certificate, data)
    return None


def recover_replica(parameters: Parameters, me: int, sign: Sign, chain: Chain, records: Sequence[bytes]) -> Replica:
    """Return the replica as it was, from the chain and the records of the vote log.  Raises ValueError, see `Replica`.

    Its `stable_certificate` is the highest in the store.
    """
    certificate = find_certificate(chain)
    certified = 0 if certificate is None else certificate.seq
    head = chain.head
    uncertified = [
        (height, reference[0])
        for height in range(max(certified + 1, head.height - HEADERS_UNCERTIFIED_MAX), head.height + 1)
        if (reference := chain.references(height)) is not None
    ]
    return Replica.recover(parameters, me, sign, head.height, head.hash, certificate, records, uncertified)
