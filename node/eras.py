"""Eras: the time of one validator set each, and which of them this node's consensus is in.

The block that closes an epoch may change the set.  It is ordered and certified by the old one; from the next height
on the new one orders, from view 0 and with votes of its own.  The new era begins at a node when it has the
certificate of that block: whoever lags can then fetch the block from anybody, and no replica has to go on voting in
two eras at once.
"""

from pathlib import Path

from consensus.errors import InvalidMessage
from consensus.messages import AnySigned, encode_signed
from consensus.parameters import Parameters
from ledger.chain import Chain
from ledger.service import Validators
from node.config import Config
from node.vote_log import LogFile, VoteLog

WINDOW = 8
"""Batches in flight.  Not a setting: it bounds what a VIEW-CHANGE may hold, so all replicas must have the same."""
ERA_BYTES = 4


def make_parameters(chain_id: bytes, validators: Validators, config: Config | None = None) -> Parameters:
    """Return the consensus parameters of a validator set; timeouts come from the node's own configuration."""
    section = (config or Config(Path("."))).consensus
    return Parameters(
        chain_id=chain_id,
        replicas=validators.keys,
        era=validators.era,
        base=validators.since - 1,
        window=WINDOW,
        view_timeout_ms=section.view_timeout_ms,
        view_timeout_ms_max=section.view_timeout_ms_max,
        retransmit_ms=section.retransmit_ms,
    )


def choose_validators(chain: Chain) -> Validators:
    """Return the set whose consensus goes on: the next height's, once the block that gave way to it is certified.

    A block above it is proof as well: it was ordered by the new set.
    """
    validators = chain.validators
    last = validators.since - 1
    if validators.era > 0 and chain.head.height == last and chain.read_certificate(last) is None:
        return chain.validators_at(last)
    return validators


def open_vote_log(file: LogFile, chain: Chain, validators: Validators) -> VoteLog:
    """Return the votes of an era; those of earlier ones are dropped, once what makes them needless is durable.

    Raises VoteLogCorrupt, and what the file raises.
    """
    if validators.era > 0:
        certificate = chain.read_certificate(validators.since - 1)
        if certificate is not None:
            chain.write_certificate(validators.since - 1, certificate, sync=True)
    return VoteLog.recover(file, chain.chain_id, validators.era)


def find_replica(validators: Validators, public_key: bytes) -> int | None:
    """Return a key's replica number; None when it is not in the set."""
    return validators.keys.index(public_key) if public_key in validators.keys else None


def encode_frame(era: int, signed: AnySigned, batch: bytes | None = None) -> bytes:
    """Return what replicas send each other: the era (4 bytes, big-endian) and the envelope."""
    return era.to_bytes(ERA_BYTES, "big") + encode_signed(signed, batch)


def split_frame(frame: bytes) -> tuple[int, bytes]:
    """Return the era and the envelope of a frame.  Raises InvalidMessage."""
    if len(frame) <= ERA_BYTES:
        raise InvalidMessage("size", f"expected an era and an envelope, got {len(frame)} bytes")
    return int.from_bytes(frame[:ERA_BYTES], "big"), frame[ERA_BYTES:]
