"""Canonical msgpack: every value has exactly one byte string, and decoding refuses every other form.

Values are None, bool, int, str, bytes, lists, and maps with text keys.  Integers reach from -2**63 to 2**128 - 1; from
2**64 on they are the extension type 1 with a minimal big-endian body.  Map keys are sorted by their UTF-8 bytes.  Floats,
timestamps, other extension types, non-minimal forms, unsorted or repeated keys and trailing bytes are refused.

The check is simple and complete: what was decoded is encoded again, and must give the bytes that came.
Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from typing import TypeAlias, Union

import msgpack

Value: TypeAlias = Union[None, bool, int, str, bytes, list["Value"], dict[str, "Value"]]

INT_MIN = -(2**63)
INT_MAX = 2**128 - 1
EXT_BIG_INTEGER = 1
DEPTH_MAX = 32
"""Lists and maps nested deeper than this are refused, before and after the wire."""


class EncodingError(ValueError):
    """A value has no canonical form, or bytes are not the canonical form of any value."""


def encode(value: object) -> bytes:
    """Return the one canonical byte string of `value`; tuples count as lists.  Raises EncodingError."""
    return encode_plain(to_plain(value))


def decode(data: bytes) -> Value:
    """Return the value whose canonical form is `data`.  The caller bounds len(data).  Raises EncodingError."""
    value = decode_plain(data)
    to_plain(value)
    return value


def to_plain(value: object, depth: int = 0) -> Value:
    """Return `value` with tuples as lists and map keys sorted.  Raises EncodingError for what cannot be encoded."""
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
            raise EncodingError(f"expected an integer from -2**63 to 2**128-1, got {value}")
        return value  # type: ignore[return-value]
    if value is None or kind is str or kind is bytes or kind is bool:
        return value  # type: ignore[return-value]
    if depth >= DEPTH_MAX:
        raise EncodingError(f"expected at most {DEPTH_MAX} nested lists and maps, got more")
    if kind is list or kind is tuple:
        return [to_plain(item, depth + 1) for item in value]  # type: ignore[attr-defined]
    if kind is dict:
        for key in value:  # type: ignore[attr-defined]
            if type(key) is not str:
                raise EncodingError(f"expected map keys of text, got {type(key).__name__}")
        keys = sorted(value, key=_utf8)  # type: ignore[call-overload]
        return {key: to_plain(value[key], depth + 1) for key in keys}  # type: ignore[index]
    raise EncodingError(f"expected None, bool, int, str, bytes, list or dict, got {kind.__name__}")


def encode_plain(plain: Value) -> bytes:
    """Encode what is plain and sorted already, as `to_plain` and record codecs give it.  Raises EncodingError."""
    try:
        packed: bytes = msgpack.packb(plain, strict_types=True, default=_pack_big_integer)
    except (ValueError, TypeError, OverflowError) as error:
        raise EncodingError(f"not encodable: {error}") from error
    return packed


def decode_plain(data: bytes) -> Value:
    """Decode canonical bytes without looking at the types inside; record codecs do that.  Raises EncodingError."""
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_unpack_extension)
        again = msgpack.packb(_sorted_maps(value), strict_types=True, default=_pack_big_integer)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise EncodingError(f"expected canonical msgpack, got {len(data)} bytes that are not: {error}") from error
    if again != data:
        raise EncodingError(f"expected canonical msgpack, got another form of it ({len(data)} bytes)")
    return value


def _sorted_maps(value: Value, depth: int = 0) -> Value:
    if depth > DEPTH_MAX:
        raise ValueError(f"more than {DEPTH_MAX} nested lists and maps")
    if type(value) is dict:
        return {key: _sorted_maps(value[key], depth + 1) for key in sorted(value, key=_utf8)}
    if type(value) is list:
        return [_sorted_maps(item, depth + 1) if type(item) in (list, dict) else item for item in value]
    return value


def _utf8(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError as error:
        raise EncodingError("expected map keys that are valid Unicode, got a lone surrogate") from error


def _pack_big_integer(value: object) -> msgpack.ExtType:
    if type(value) is int and 2**64 <= value <= INT_MAX:
        return msgpack.ExtType(EXT_BIG_INTEGER, value.to_bytes((value.bit_length() + 7) // 8, "big"))
    raise TypeError(f"no canonical form for {type(value).__name__}")


def _unpack_extension(code: int, body: bytes) -> int:
    if code != EXT_BIG_INTEGER or not 9 <= len(body) <= 16:
        raise ValueError(f"extension type {code} of {len(body)} bytes")
    return int.from_bytes(body, "big")
