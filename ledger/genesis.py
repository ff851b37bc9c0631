"""Genesis: what a chain starts from.  Its hash is the chain id, to which every key, id and signature is bound.

The file is canonical JSON, so that the same genesis always has the same bytes; `atlas init` and `atlas devnet` write it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, cast

import orjson

from ledger.primitives.encoding import EncodingError, encode
from ledger.primitives.fixed_point import checked_add, format_decimal, parse_decimal
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, U128, Between, Bytes32, Length, encode_record

GENESIS_VERSION = 1
VALIDATORS_MIN, VALIDATORS_MAX = 4, 128
ALLOCATIONS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Allocation:
    """FLX that an account holds from the start; the account exists from genesis under this key."""

    atoms: U128
    key: Bytes32


@dataclass(frozen=True, slots=True)
class Genesis:
    """Everything on which the nodes of a chain agree before its first block."""

    allocations: Annotated[tuple[Allocation, ...], Length(0, ALLOCATIONS_MAX)]
    beat_ms: Annotated[int, Between(100, 3_600_000)]
    epoch_beats: Annotated[int, Between(2, 1_000_000)]
    name: Annotated[str, Length(1, 64)]
    time_ms: U64
    validators: Annotated[tuple[Bytes32, ...], Length(VALIDATORS_MIN, VALIDATORS_MAX)]  # replica 0, 1, …
    version: U32 = GENESIS_VERSION


class GenesisInvalid(ValueError):
    """A genesis file says something that no chain can start from."""


def compute_chain_id(genesis: Genesis) -> bytes:
    """Return the 32 bytes that name the chain."""
    return tagged_hash("atlas/genesis", encode_record(genesis))


def compute_validators_hash(validators: tuple[bytes, ...]) -> bytes:
    """Return the hash of a validator set, in replica order."""
    return tagged_hash("atlas/validators", encode(list(validators)))


def encode_genesis_file(genesis: Genesis) -> bytes:
    """Return the genesis as a JSON file."""
    document = {
        "allocations": [{"atoms": format_decimal(each.atoms), "key": each.key.hex()} for each in genesis.allocations],
        "beat_ms": genesis.beat_ms,
        "epoch_beats": genesis.epoch_beats,
        "name": genesis.name,
        "time_ms": genesis.time_ms,
        "validators": [key.hex() for key in genesis.validators],
        "version": genesis.version,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def decode_genesis_file(data: bytes) -> Genesis:
    """Return the genesis in a JSON file.  Raises GenesisInvalid, naming the member."""
    try:
        document = cast("dict[str, Any]", orjson.loads(data))
        genesis = Genesis(
            allocations=tuple(
                Allocation(parse_decimal(each["atoms"]), bytes.fromhex(each["key"])) for each in document["allocations"]
            ),
            beat_ms=document["beat_ms"],
            epoch_beats=document["epoch_beats"],
            name=document["name"],
            time_ms=document["time_ms"],
            validators=tuple(bytes.fromhex(key) for key in document["validators"]),
            version=document["version"],
        )
        encode_record(genesis)
    except KeyError as error:
        raise GenesisInvalid(f"genesis: expected the member {error}, which is missing") from error
    except (ValueError, TypeError, AttributeError, EncodingError) as error:
        raise GenesisInvalid(f"genesis: {error}") from error
    verify_genesis(genesis)
    return genesis


def verify_genesis(genesis: Genesis) -> None:
    """Raise GenesisInvalid unless a chain can start from this."""
    if genesis.version != GENESIS_VERSION:
        raise GenesisInvalid(f"genesis: expected version {GENESIS_VERSION}, got {genesis.version}")
    if not VALIDATORS_MIN <= len(genesis.validators) <= VALIDATORS_MAX:
        raise GenesisInvalid(f"genesis: expected 4 to 128 validators, got {len(genesis.validators)}")
    for what, keys in (
        ("validators", genesis.validators),
        ("allocations", tuple(each.key for each in genesis.allocations)),
    ):
        for key in keys:
            if len(key) != 32:
                raise GenesisInvalid(f"genesis: {what}: expected keys of 32 bytes, got {len(key)}")
        if len(frozenset(keys)) != len(keys):
            raise GenesisInvalid(f"genesis: {what}: a key is named twice")
    total = 0
    for each in genesis.allocations:
        total = checked_add(total, each.atoms)
