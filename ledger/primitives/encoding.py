"""Canonical msgpack: every value has exactly one byte string, and decoding refuses every other form.

Values are None, bool, int, str, bytes, lists, and maps with text keys.  Integers reach from -2**63 to 2**128 - 1; from
2**64 on they are the extension type 1 with a minimal big-endian body.  Map keys are sorted by their UTF-8 bytes, which
is also how Python orders text.  Floats, timestamps, other extension types, non-minimal forms, unsorted or repeated keys
and trailing bytes are refused.

The check is simple and complete: what was decoded is encoded again, and must give the bytes that came.
Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from typing import TypeAlias, cast

import msgpack  # type: ignore[import-untyped]

Value: TypeAlias = bool | int | str | bytes | list["Value"] | dict[str, "Value"] | None

INT_MIN = -(2**63)
INT_MAX = 2**128 - 1
EXT_BIG_INTEGER = 1
DEPTH_MAX = 32
"""Lists and maps nested deeper than this are refused, before and after the wire."""
ITEMS_MAX = 65_536
"""Longer lists and maps are refused: a header of a few bytes may not claim more."""

_SCALARS = frozenset({type(None), bool, int, str, bytes})


class EncodingError(ValueError):
    """A value has no canonical form, or bytes are not the canonical form of any value."""


def encode(value: object) -> bytes:
    """Return the one canonical byte string of `value`; tuples count as lists.  Raises EncodingError."""
    return encode_plain(to_plain(value))


def decode(data: bytes) -> Value:
    """Return the value whose canonical form is `data`.  The caller bounds len(data).  Raises EncodingError."""
    value = decode_plain(data)
    _check_plain(value, 0)
    return value


def decode_plain(data: bytes, list_items_max: int = ITEMS_MAX) -> Value:
    """Decode, without looking at types, order of keys and depth inside; record codecs do that.  Raises EncodingError.

    list_items_max: a longer list is refused.  The unpacker sets aside what a list's header claims before it sees the
    items, so whoever expects short lists, or none, should say so: nested headers in 10 KB cost 60 ms otherwise.
    """
    try:
        value = _unpack(data, list_items_max)
        again = _pack(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise EncodingError(f"expected canonical msgpack, got {len(data)} bytes that are not: {error}") from error
    if again != data:
        raise EncodingError(f"expected canonical msgpack, got another form of it ({len(data)} bytes)")
    return value


def to_plain(value: object, depth: int = 0) -> Value:
    """Return `value` with tuples as lists and map keys sorted.  Raises EncodingError for what cannot be encoded."""
    kind = type(value)
    if kind is int:
        number = cast(int, value)
        if not INT_MIN <= number <= INT_MAX:
            raise EncodingError(f"expected an integer from -2**63 to 2**128-1, got one of {number.bit_length()} bits")
        return number
    if kind in _SCALARS:
        return cast(Value, value)
    if depth >= DEPTH_MAX:
        raise EncodingError(f"expected at most {DEPTH_MAX} nested lists and maps, got more")
    if kind is list or kind is tuple:
        items = cast(list[object], value)
        _check_count(len(items))
        return [to_plain(item, depth + 1) for item in items]
    if kind is dict:
        mapping = cast(dict[object, object], value)
        _check_count(len(mapping))
        keys: list[str] = []
        for key in mapping:  # order: sorted below
            if type(key) is not str:
                raise EncodingError(f"expected map keys of text, got {type(key).__name__}")
            keys.append(key)
        return {key: to_plain(mapping[key], depth + 1) for key in sorted(keys)}
    raise EncodingError(f"expected None, bool, int, str, bytes, list or dict, got {kind.__name__}")


def encode_plain(plain: Value) -> bytes:
    """Encode what is plain and sorted already, as `to_plain` and record codecs give it.  Raises EncodingError."""
    try:
        return _pack(plain)
    except (ValueError, TypeError, OverflowError) as error:
        raise EncodingError(f"not encodable: {error}") from error


def _check_plain(value: Value, depth: int) -> None:
    """Refuse types that have no canonical form, maps that are not sorted, and what is nested too deep."""
    if type(value) in _SCALARS:
        return
    if depth >= DEPTH_MAX:
        raise EncodingError(f"expected at most {DEPTH_MAX} nested lists and maps, got more")
    if type(value) is dict:
        for key in value:
            if type(key) is not str:  # bytes, which the unpacker lets through
                raise EncodingError(f"expected map keys of text, got {type(key).__name__}")
        if list(value) != sorted(value):
            raise EncodingError("expected map keys in the order of their UTF-8 bytes, got another order")
        items = list(value.values())  # order: sorted, as was just checked
    elif type(value) is list:
        items = value
    else:
        raise EncodingError(f"expected None, bool, int, str, bytes, list or dict, got {type(value).__name__}")
    for item in items:
        if type(item) not in _SCALARS:
            _check_plain(item, depth + 1)


def _check_count(count: int) -> None:
    if count > ITEMS_MAX:
        raise EncodingError(f"expected at most {ITEMS_MAX} items in a list or map, got {count}")


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, strict_types=True, default=_pack_big_integer)  # pyright: ignore
    return packed


def _unpack(data: bytes, list_items_max: int) -> Value:
    value: Value = msgpack.unpackb(  # pyright: ignore
        data,
        raw=False,
        strict_map_key=True,
        ext_hook=_unpack_extension,
        max_array_len=list_items_max,
        max_map_len=ITEMS_MAX,
    )
    return value  # pyright: ignore[reportUnknownVariableType]


def _pack_big_integer(value: object) -> msgpack.ExtType:
    if type(value) is int and 2**64 <= value <= INT_MAX:
        return msgpack.ExtType(EXT_BIG_INTEGER, value.to_bytes((value.bit_length() + 7) // 8, "big"))
    raise TypeError(f"no canonical form for {type(value).__name__}")


def _unpack_extension(code: int, body: bytes) -> int:
    if code != EXT_BIG_INTEGER or not 9 <= len(body) <= 16:
        raise ValueError(f"extension type {code} of {len(body)} bytes")
    return int.from_bytes(body, "big")
