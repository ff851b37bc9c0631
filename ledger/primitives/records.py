"""Typed records: frozen dataclasses to canonical bytes and back, with every field checked.

A record is a map from field name to value.  Decoding refuses a missing field, an unknown field, a wrong type, and what
the field's annotation does not allow:

    @dataclass(frozen=True, slots=True)
    class Transfer:
        to: Bytes32                              # Annotated[bytes, Length(32)]
        atoms: Annotated[int, Between(1, U128_MAX)]
        memo: Annotated[str, Length(0, 200)]     # bounds in UTF-8 bytes
        parts: tuple[Part, ...]                  # records nest

Field types: int, bool, str, bytes, another record, tuple[T, ...], and T | None.  A codec is built once per class.
"""

import dataclasses
import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ledger.primitives.encoding import INT_MAX, INT_MIN, EncodingError, Value, decode_plain, encode_plain

R = TypeVar("R")

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
U128_MAX = 2**128 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """The closed range of an integer field."""

    low: int
    high: int


@dataclasses.dataclass(frozen=True, slots=True)
class Length:
    """The length of a bytes field, of a text field in UTF-8 bytes, or of a tuple: exact, or from `low` to `high`."""

    low: int
    high: int | None = None

    def allows(self, length: int) -> bool:
        return self.low <= length <= (self.low if self.high is None else self.high)


Bytes32 = Annotated[bytes, Length(32)]
Bytes64 = Annotated[bytes, Length(64)]
U32 = Annotated[int, Between(0, U32_MAX)]
U64 = Annotated[int, Between(0, U64_MAX)]
U128 = Annotated[int, Between(0, U128_MAX)]

_ToPlain = Callable[[Any], Value]
_FromPlain = Callable[[Any, str], Any]


def encode_record(record: object) -> bytes:
    """Return the canonical bytes of a record.  Raises EncodingError when a field holds what its type does not allow."""
    return encode_plain(record_to_plain(record))


def decode_record(kind: type[R], data: bytes) -> R:
    """Return the record of class `kind` whose canonical bytes are `data`.  Raises EncodingError naming the field."""
    return record_from_plain(kind, decode_plain(data))


def record_to_plain(record: object) -> Value:
    """Return a record as a map of plain values, keys sorted."""
    return _codec(type(record))[0](record)


def record_from_plain(kind: type[R], plain: object) -> R:
    """Return the record that `plain` describes, every field checked.  Raises EncodingError naming the field."""
    result: R = _codec(kind)[1](plain, kind.__name__)
    return result


@cache
def _codec(kind: type[Any]) -> tuple[_ToPlain, _FromPlain]:
    if not dataclasses.is_dataclass(kind):
        raise EncodingError(f"expected a record class, got {kind.__name__}")
    hints = get_type_hints(kind, include_extras=True)
    fields = tuple((field.name, *_field_codec(hints[field.name])) for field in dataclasses.fields(kind))
    by_key = tuple(sorted(fields, key=lambda field: field[0].encode()))
    names = frozenset(field[0] for field in fields)

    def to_plain(record: Any) -> Value:
        return {name: to(getattr(record, name)) for name, to, _ in by_key}

    def from_plain(plain: Any, where: str) -> Any:
        if type(plain) is not dict:
            raise EncodingError(f"{where}: expected a map, got {type(plain).__name__}")
        if len(plain) != len(fields) or plain.keys() != names:
            unknown = sorted(set(plain) - names)[:3]
            missing = sorted(names - set(plain))[:3]
            raise EncodingError(f"{where}: expected the fields {sorted(names)}; unknown {unknown}, missing {missing}")
        return kind(**{name: of(plain[name], name) for name, _, of in fields})

    return to_plain, from_plain


def _field_codec(hint: Any) -> tuple[_ToPlain, _FromPlain]:
    rules: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
        rules = tuple(extra)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _optional_codec(hint)
    if origin is tuple:
        return _tuple_codec(hint, rules)
    if hint in (int, str, bytes, bool):
        check = _scalar_check(hint, rules)
        return (lambda value: check(value, hint.__name__)), check
    if dataclasses.is_dataclass(hint):
        return (lambda value: _codec(hint)[0](value)), (lambda plain, where: _codec(hint)[1](plain, where))
    raise EncodingError(f"no record codec for a field of type {hint}")


def _optional_codec(hint: Any) -> tuple[_ToPlain, _FromPlain]:
    inner = [arg for arg in get_args(hint) if arg is not type(None)]
    if len(inner) != 1:
        raise EncodingError(f"no record codec for the union {hint}; only T | None")
    to, of = _field_codec(inner[0])
    return (
        lambda value: None if value is None else to(value),
        lambda plain, where: None if plain is None else of(plain, where),
    )


def _tuple_codec(hint: Any, rules: tuple[Any, ...]) -> tuple[_ToPlain, _FromPlain]:
    item, ellipsis = get_args(hint)
    assert ellipsis is Ellipsis, "records hold tuple[T, ...] only"
    to, of = _field_codec(item)
    lengths = [rule for rule in rules if isinstance(rule, Length)]

    def check(value: Any, where: str) -> None:
        for rule in lengths:
            if not rule.allows(len(value)):
                raise EncodingError(f"{where}: expected {_span(rule)} items, got {len(value)}")

    def to_plain(value: Any) -> Value:
        check(value, "tuple")
        return [to(part) for part in value]

    def from_plain(plain: Any, where: str) -> Any:
        if type(plain) is not list:
            raise EncodingError(f"{where}: expected a list, got {type(plain).__name__}")
        check(plain, where)
        return tuple([of(part, where) for part in plain])

    return to_plain, from_plain


def _scalar_check(kind: type[Any], rules: tuple[Any, ...]) -> _FromPlain:
    low, high = INT_MIN, INT_MAX
    length: Length | None = None
    for rule in rules:
        if isinstance(rule, Between):
            low, high = rule.low, rule.high
        elif isinstance(rule, Length):
            length = rule

    def check_int(value: Any, where: str) -> Any:
        if type(value) is not int:
            raise EncodingError(f"{where}: expected an integer, got {type(value).__name__}")
        if not low <= value <= high:
            raise EncodingError(f"{where}: expected {low}..{high}, got {value}")
        return value

    def check_sized(value: Any, where: str) -> Any:
        if type(value) is not kind:
            raise EncodingError(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
        if length is not None:
            size = len(value.encode("utf-8", "surrogatepass")) if kind is str else len(value)
            if not length.allows(size):
                raise EncodingError(f"{where}: expected {_span(length)} bytes, got {size}")
        return value

    return check_int if kind is int else check_sized


def _span(rule: Length) -> str:
    return str(rule.low) if rule.high is None else f"{rule.low} to {rule.high}"
