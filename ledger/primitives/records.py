"""Typed records: frozen dataclasses to canonical bytes and back, with every field checked.

A record is a map from field name to value.  Decoding refuses a missing field, an unknown field, a wrong type, and what
the field's annotation does not allow:

    @dataclass(frozen=True, slots=True)
    class Transfer:
        to: Bytes32                              # Annotated[bytes, Length(32)]
        atoms: Annotated[int, Between(1, U128_MAX)]
        memo: Annotated[str, Length(0, 200)]     # bounds in UTF-8 bytes
        parts: tuple[Part, ...]                  # records nest

Field types: int, bool, str, bytes, another record, tuple[T, ...], and T | None.  A record cannot contain itself, so its
depth is fixed.  A codec is built once per class.
"""

import dataclasses
import types
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ledger.primitives.encoding import (
    INT_MAX,
    INT_MIN,
    ITEMS_MAX,
    EncodingError,
    Value,
    decode_plain,
    encode_plain,
    to_plain,
)

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

_Convert: TypeAlias = Callable[[Any, str], Any]
"""Takes a value and the name of its field, for messages; gives the value in the other form."""


class _Codec(NamedTuple):
    to_plain: _Convert
    from_plain: _Convert
    list_items_max: int  # of the longest list inside


def encode_record(record: object) -> bytes:
    """Return the canonical bytes of a record.  Raises EncodingError when a field holds what its type does not allow."""
    return encode_plain(record_to_plain(record))


def decode_record(kind: type[R], data: bytes) -> R:
    """Return the record of class `kind` whose canonical bytes are `data`.  Raises EncodingError naming the field."""
    codec = _CODECS[kind]
    return cast(R, codec.from_plain(decode_plain(data, codec.list_items_max), kind.__name__))


def record_to_plain(record: object) -> Value:
    """Return a record as a map of plain values, keys sorted.  Raises EncodingError naming the field."""
    kind = type(record)
    return cast(Value, _CODECS[kind].to_plain(record, kind.__name__))


def record_from_plain(kind: type[R], plain: object) -> R:
    """Return the record that `plain` describes, every field checked.  Raises EncodingError naming the field."""
    return cast(R, _CODECS[kind].from_plain(to_plain(plain), kind.__name__))


def _record_codec(kind: Any, inside: tuple[Any, ...]) -> _Codec:
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise EncodingError(f"expected a record class, got {kind!r}")
    if kind in inside:
        raise EncodingError(f"{kind.__name__}: a record cannot contain itself")
    hints = get_type_hints(kind, include_extras=True)
    codecs = {field.name: _field_codec(hints[field.name], (), (*inside, kind)) for field in dataclasses.fields(kind)}
    names = sorted(codecs)
    reads = [(name, codecs[name].from_plain) for name in names]
    writes = [(name, codecs[name].to_plain) for name in names]

    def write_record(record: Any, where: str) -> Any:
        if type(record) is not kind:
            raise EncodingError(f"{where}: expected a {kind.__name__}, got {type(record).__name__}")
        return {name: write(getattr(record, name), name) for name, write in writes}

    def read_record(plain: Any, where: str) -> Any:
        if type(plain) is not dict:
            raise EncodingError(f"{where}: expected a map, got {type(plain).__name__}")
        given = cast(dict[str, Any], plain)
        if list(given) != names:
            unknown = [key for key in given if key not in codecs][:3]
            missing = [name for name in names if name not in given][:3]
            fault = f"unknown {unknown}, missing {missing}" if unknown or missing else "not sorted"
            raise EncodingError(f"{where}: expected the fields {names}, got others: {fault}")
        return kind(**{name: read(given[name], name) for name, read in reads})

    return _Codec(write_record, read_record, max((codec.list_items_max for codec in codecs.values()), default=0))


class _Codecs(dict[type[Any], _Codec]):
    """The codec of each record class, built when first asked for."""

    def __missing__(self, kind: type[Any]) -> _Codec:
        codec = self[kind] = _record_codec(kind, ())
        return codec


_CODECS = _Codecs()


def _field_codec(hint: Any, rules: tuple[Any, ...], inside: tuple[Any, ...]) -> _Codec:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _field_codec(arguments[0], (*rules, *arguments[1:]), inside)
    if origin in (Union, types.UnionType):
        return _optional_codec(hint, rules, inside)
    if origin is tuple:
        return _tuple_codec(hint, rules, inside)
    if hint is int:
        return _scalar_codec(_int_check(*_bounds(hint, rules, Between(INT_MIN, INT_MAX))))
    if hint is bytes:
        return _scalar_codec(_bytes_check(*_bounds(hint, rules, Length(0, INT_MAX))))
    if hint is str:
        return _scalar_codec(_text_check(*_bounds(hint, rules, Length(0, INT_MAX))))
    if rules:
        raise EncodingError(f"no rule for a field of type {hint} is known, got {rules}")
    if hint is bool:
        return _scalar_codec(_check_bool)
    return _record_codec(hint, inside)


def _bounds(hint: Any, rules: tuple[Any, ...], widest: Between | Length) -> tuple[int, int]:
    """The one range that `rules` give, of the same sort as `widest`, which is taken where they give none."""
    if len(rules) > 1 or not all(type(rule) is type(widest) for rule in rules):
        raise EncodingError(f"expected at most one {type(widest).__name__} for a field of type {hint}, got {rules}")
    rule: Between | Length = rules[0] if rules else widest
    return rule.low, rule.low if rule.high is None else rule.high


def _optional_codec(hint: Any, rules: tuple[Any, ...], inside: tuple[Any, ...]) -> _Codec:
    inner = [argument for argument in get_args(hint) if argument is not type(None)]
    if len(inner) != 1 or rules:
        raise EncodingError(f"no record codec for {hint} with rules {rules}; only Annotated[T, rule] | None")
    write, read, list_items_max = _field_codec(inner[0], (), inside)

    def write_optional(value: Any, where: str) -> Any:
        return None if value is None else write(value, where)

    def read_optional(plain: Any, where: str) -> Any:
        return None if plain is None else read(plain, where)

    return _Codec(write_optional, read_optional, list_items_max)


def _tuple_codec(hint: Any, rules: tuple[Any, ...], inside: tuple[Any, ...]) -> _Codec:
    arguments = get_args(hint)
    if len(arguments) != 2 or arguments[1] is not Ellipsis:
        raise EncodingError(f"no record codec for {hint}; only tuple[T, ...]")
    low, high = _bounds(hint, rules, Length(0, ITEMS_MAX))
    write, read, inner_items_max = _field_codec(arguments[0], (), inside)

    def check(items: Any, kind: type[Any], where: str) -> None:
        if type(items) is not kind:
            raise EncodingError(f"{where}: expected a {kind.__name__}, got {type(items).__name__}")
        if not low <= len(items) <= high:
            raise EncodingError(f"{where}: expected {_span(low, high)} items, got {len(items)}")

    def write_tuple(value: Any, where: str) -> Any:
        check(value, tuple, where)
        return [write(item, where) for item in value]

    def read_tuple(plain: Any, where: str) -> Any:
        check(plain, list, where)
        return tuple([read(item, where) for item in plain])

    return _Codec(write_tuple, read_tuple, max(high, inner_items_max))


def _scalar_codec(check: _Convert) -> _Codec:
    return _Codec(check, check, 0)  # the plain form is the value itself


def _int_check(low: int, high: int) -> _Convert:
    def check(value: Any, where: str) -> Any:
        if type(value) is not int:
            raise EncodingError(f"{where}: expected an integer, got {type(value).__name__}")
        if not low <= value <= high:
            got = value if INT_MIN <= value <= INT_MAX else f"one of {value.bit_length()} bits"
            raise EncodingError(f"{where}: expected {low}..{high}, got {got}")
        return value

    return check


def _bytes_check(low: int, high: int) -> _Convert:
    def check(value: Any, where: str) -> Any:
        if type(value) is not bytes:
            raise EncodingError(f"{where}: expected bytes, got {type(value).__name__}")
        if not low <= len(value) <= high:
            raise EncodingError(f"{where}: expected {_span(low, high)} bytes, got {len(value)}")
        return value

    return check


def _text_check(low: int, high: int) -> _Convert:
    def check(value: Any, where: str) -> Any:
        if type(value) is not str:
            raise EncodingError(f"{where}: expected text, got {type(value).__name__}")
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError as error:
            raise EncodingError(f"{where}: expected valid Unicode, got a lone surrogate") from error
        if not low <= size <= high:
            raise EncodingError(f"{where}: expected {_span(low, high)} bytes of UTF-8, got {size}")
        return value

    return check


def _check_bool(value: Any, where: str) -> Any:
    if type(value) is not bool:
        raise EncodingError(f"{where}: expected true or false, got {type(value).__name__}")
    return value


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
