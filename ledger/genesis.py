"""Genesis: what a chain starts from.  Its hash is the chain id, to which every key, id and signature is bound.

The file is JSON with sorted members, so that the same genesis always has the same bytes; `atlas init` and
`atlas devnet` write it.
"""

import re
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, cast

import orjson

from ledger.policies import PolicyInvalid, compute_genesis_policies
from ledger.primitives.encoding import EncodingError, encode
from ledger.primitives.fixed_point import RAW_MAX, DecimalInvalid, format_decimal, parse_decimal
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, U128, Between, Bytes32, Length, encode_record

GENESIS_VERSION = 2
VALIDATORS_MIN, VALIDATORS_MAX = 4, 100
ALLOCATIONS_MAX = 10_000
POLICY_VALUES_MAX = 100


@dataclass(frozen=True, slots=True)
class Allocation:
    """FLX that an account holds from the start; the account exists from genesis under this key."""

    atoms: U128
    key: Bytes32


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """A policy's field that starts with another value than its default."""

    field: Annotated[str, Length(1, 64)]
    policy: Annotated[str, Length(1, 32)]
    value: U128


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
    policies: Annotated[tuple[PolicyValue, ...], Length(0, POLICY_VALUES_MAX)] = ()


class GenesisInvalid(ValueError):
    """A genesis file says something that no chain can start from."""


def compute_chain_id(genesis: Genesis) -> bytes:
    """Return the 32 bytes that name the chain."""
    return tagged_hash("atlas/genesis", encode_record(genesis))


@lru_cache(maxsize=16)
def compute_validators_hash(validators: tuple[bytes, ...]) -> bytes:
    """Return the hash of a validator set, in replica order.  Headers name the set that orders the next height."""
    return tagged_hash("atlas/validators", encode(list(validators)))


def encode_genesis_file(genesis: Genesis) -> bytes:
    """Return the genesis as a JSON file."""
    document = {
        "allocations": [{"atoms": format_decimal(each.atoms), "key": each.key.hex()} for each in genesis.allocations],
        "beat_ms": genesis.beat_ms,
        "epoch_beats": genesis.epoch_beats,
        "name": genesis.name,
        "policies": decode_policies_text(genesis),
        "time_ms": genesis.time_ms,
        "validators": [key.hex() for key in genesis.validators],
        "version": genesis.version,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def decode_genesis_file(data: bytes) -> Genesis:
    """Return the genesis in a JSON file.  Raises GenesisInvalid, naming the member."""
    try:
        document: object = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise GenesisInvalid(f"genesis: expected a JSON file: {error}") from error
    members = _members("genesis", document, tuple(field.name for field in fields(Genesis)))
    genesis = Genesis(
        allocations=tuple(
            _allocation(f"allocations[{number}]", each)
            for number, each in enumerate(_list("allocations", members["allocations"]))
        ),
        beat_ms=members["beat_ms"],
        epoch_beats=members["epoch_beats"],
        name=members["name"],
        policies=_policies(members["policies"]),
        time_ms=members["time_ms"],
        validators=tuple(
            _key(f"validators[{number}]", each)
            for number, each in enumerate(_list("validators", members["validators"]))
        ),
        version=members["version"],
    )
    verify_genesis(genesis)
    return genesis


def _members(where: str, document: object, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise GenesisInvalid(f"{where}: expected an object, got a {type(document).__name__}")
    members = cast("dict[str, Any]", document)
    missing = sorted(name for name in names if name not in members)
    unknown = sorted(name for name in members if name not in names)
    if missing or unknown:
        raise GenesisInvalid(f"{where}: expected the members {', '.join(names)}; missing {missing}, unknown {unknown}")
    return members


def _list(where: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise GenesisInvalid(f"genesis: {where}: expected a list, got a {type(value).__name__}")
    return cast("list[object]", value)


def _allocation(where: str, value: object) -> Allocation:
    members = _members(f"genesis: {where}", value, ("atoms", "key"))
    try:
        atoms = parse_decimal(members["atoms"]) if type(members["atoms"]) is str else None
    except DecimalInvalid as error:
        raise GenesisInvalid(f"genesis: {where}.atoms: {error}") from error
    if atoms is None:
        raise GenesisInvalid(f"genesis: {where}.atoms: expected a decimal number as text, got {members['atoms']!r}")
    return Allocation(atoms, _key(f"{where}.key", members["key"]))


def _policies(value: object) -> tuple[PolicyValue, ...]:
    if not isinstance(value, dict):
        raise GenesisInvalid(f"genesis: policies: expected an object, got a {type(value).__name__}")
    found: list[PolicyValue] = []
    policies = cast("dict[str, Any]", value)
    for policy in sorted(policies):
        if not isinstance(policies[policy], dict):
            raise GenesisInvalid(f"genesis: policies.{policy}: expected an object of fields")
        for field, number in sorted(cast("dict[str, Any]", policies[policy]).items()):
            if type(number) is not str or not re.fullmatch("[0-9]{1,39}", number):
                raise GenesisInvalid(
                    f"genesis: policies.{policy}.{field}: expected a whole number as text, got {number!r}"
                )
            found.append(PolicyValue(field, policy, int(number)))
    return tuple(found)


def make_policy_values(policies: dict[str, dict[str, int]]) -> tuple[PolicyValue, ...]:
    """Return the policy values of a genesis, in their order."""
    return tuple(
        PolicyValue(field, policy, policies[policy][field])
        for policy in sorted(policies)
        for field in sorted(policies[policy])
    )


def decode_policies(genesis: Genesis) -> dict[str, dict[str, Any]]:
    """Return what the genesis changes of the policies: policy -> field -> value."""
    policies: dict[str, dict[str, Any]] = {}
    for each in genesis.policies:
        policies.setdefault(each.policy, {})[each.field] = each.value
    return policies


def decode_policies_text(genesis: Genesis) -> dict[str, dict[str, str]]:
    """Return the same with the values as digits, as JSON has them."""
    policies = decode_policies(genesis)
    return {
        name: {field: str(value) for field, value in sorted(values.items())}
        for name, values in sorted(policies.items())
    }


def _key(where: str, value: object) -> bytes:
    if type(value) is not str or not re.fullmatch("[0-9a-f]{64}", value):
        raise GenesisInvalid(f"genesis: {where}: expected a public key as 64 lower-case hex digits, got {value!r}")
    return bytes.fromhex(value)


def verify_genesis(genesis: Genesis) -> None:
    """Raise GenesisInvalid unless a chain can start from this."""
    if genesis.version != GENESIS_VERSION:
        raise GenesisInvalid(f"genesis: version: expected {GENESIS_VERSION}, got {genesis.version!r}")
    if not VALIDATORS_MIN <= len(genesis.validators) <= VALIDATORS_MAX:
        raise GenesisInvalid(
            f"genesis: validators: expected {VALIDATORS_MIN} to {VALIDATORS_MAX}, got {len(genesis.validators)}"
        )
    try:
        encode_record(genesis)
    except EncodingError as error:
        raise GenesisInvalid(f"genesis: {error}") from error
    for what, keys in (
        ("validators", genesis.validators),
        ("allocations", tuple(each.key for each in genesis.allocations)),
    ):
        if len(frozenset(keys)) != len(keys):
            raise GenesisInvalid(f"genesis: {what}: a key is named twice")
    if genesis.policies != make_policy_values(decode_policies(genesis)):
        raise GenesisInvalid("genesis: policies: expected each field once, in order")
    try:
        compute_genesis_policies(decode_policies(genesis))
    except PolicyInvalid as error:
        raise GenesisInvalid(f"genesis: {error}") from error
    total = sum(each.atoms for each in genesis.allocations)
    if total > RAW_MAX:
        raise GenesisInvalid(f"genesis: allocations: expected at most {format_decimal(RAW_MAX)} in all, got more")
