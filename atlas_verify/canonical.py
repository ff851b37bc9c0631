"""Canonical msgpack, canonical JSON, and records of checked members: each value has exactly one form in bytes.

What was decoded is encoded again and must give the bytes that came: simple, and complete.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

DEPTH_MAX, ITEMS_MAX = 32, 65_536
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
_HEX_DIGITS = set("0123456789abcdef")
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_SHORT: dict[type[Any], tuple[int, int]] = {dict: (0x80, 16), list: (0x90, 16), str: (0xA0, 32), bytes: (0, 0)}
_LONG: dict[type[Any], dict[int, int]] = {  # how many bytes the size takes, and the code for that
    bytes: {1: 0xC4, 2: 0xC5, 4: 0xC6},
    str: {1: 0xD9, 2: 0xDA, 4: 0xDB},
    list: {2: 0xDC, 4: 0xDD},
    dict: {2: 0xDE, 4: 0xDF},
}
_CODES = {code: (kind, width) for kind, codes in _LONG.items() for width, code in codes.items()}


class Invalid(ValueError):
    """Something does not prove what it claims; the message names the member that fails, then why."""


class Field(NamedTuple):
    """A member's type and bounds: of the number, of the bytes (of text as UTF-8), or of how many items."""

    kind: type[Any]
    low: int = 0
    high: int = U64_MAX
    optional: bool = False


def check_members(where: str, value: object, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return a map that has exactly these members.  Raises Invalid."""
    if type(value) is not dict or set(cast("dict[object, object]", value)) != set(fields):
        raise Invalid(f"{where}: expected exactly the members {', '.join(sorted(fields))}")
    members = cast("dict[str, Any]", value)
    for name, field in fields.items():
        _check_member(f"{where}: {name}", members[name], field)
    return members


def _check_member(where: str, value: Any, field: Field) -> None:
    kind, low, high, optional = field
    if optional and value is None:
        return
    if type(value) is not kind:
        raise Invalid(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    size = value if kind is int else len(value.encode() if kind is str else value)
    if not low <= size <= high:
        bounds = str(low) if low == high else f"{low} to {high}"
        raise Invalid(f"{where}: expected {'' if kind is int else 'a length of '}{bounds}, got {size}")


def read_record(where: str, data: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the record in canonical msgpack.  Raises Invalid."""
    try:
        value = decode(data)
    except ValueError as error:
        raise Invalid(f"{where}: expected canonical msgpack: {error}") from error
    return check_members(where, value, fields)


def read_json(where: str, data: bytes) -> dict[str, Any]:
    """Return the object in a file of canonical JSON (RFC 8785) and one newline.  Raises Invalid."""
    try:
        value = json.loads(data.decode())
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where}: expected canonical JSON: {error}") from error
    if again != data or type(value) is not dict:
        raise Invalid(f"{where}: expected an object in canonical JSON and one newline, got another form")
    return cast("dict[str, Any]", value)


def read_hex(where: str, text: object, size: int | None = None) -> bytes:
    """Return the bytes of lower-case hex, of one size if that is given.  Raises Invalid."""
    if type(text) is not str or len(text) % 2 or set(text) - _HEX_DIGITS or size not in (None, len(text) // 2):
        raise Invalid(f"{where}: expected {'' if size is None else f'{size} bytes of '}lower-case hex")
    return bytes.fromhex(text)


def encode(value: Any) -> bytes:
    """Return the canonical msgpack of a value."""
    kind = value.__class__
    if value is None or kind is bool:
        return b"\xc0" if value is None else b"\xc3" if value else b"\xc2"
    if kind is int:
        return _encode_int(value)
    body: bytes = value if kind is bytes else value.encode() if kind is str else b""
    if kind is list:
        body = b"".join(map(encode, value))
    elif kind is dict:  # Python orders text as its UTF-8 bytes
        body = b"".join(encode(part) for member in sorted(value.items()) for part in member)
    size = len(value if kind in (list, dict) else body)
    short, short_end = _SHORT[kind]
    if size < short_end:
        return bytes([short | size]) + body
    width, code = next((width, code) for width, code in _LONG[kind].items() if size < 256**width)
    return bytes([code]) + size.to_bytes(width, "big") + body


def _encode_int(value: int) -> bytes:
    if -32 <= value < 128:
        return value.to_bytes(1, "big", signed=True)
    for width, unsigned, signed in ((1, 0xCC, 0xD0), (2, 0xCD, 0xD1), (4, 0xCE, 0xD2), (8, 0xCF, 0xD3)):
        if 0 <= value < 256**width:
            return bytes([unsigned]) + value.to_bytes(width, "big")
        if -(256**width) // 2 <= value < 0:
            return bytes([signed]) + value.to_bytes(width, "big", signed=True)
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")  # 9 to 16 bytes, as extension type 1
    return (b"\xd8\x01" if len(body) == 16 else bytes([0xC7, len(body), 1])) + body


def decode(data: bytes) -> Any:
    """Return the value whose canonical msgpack is `data`.  Raises ValueError."""
    value, end = _decode(data, 0, 0)
    if end != len(data) or encode(value) != data:
        raise ValueError("another form of the value than the canonical one")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a place, and where it ends.  Forms that are too long are left to `decode`."""

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        if at > len(data):
            raise ValueError("it ends too early")
        return data[at - size : at]

    def number(size: int, signed: bool = False) -> int:
        return int.from_bytes(take(size), "big", signed=signed)

    kind: type[Any]
    code = number(1)
    if code < 0x80 or code >= 0xE0:
        return code - (code >> 7 << 8), at
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if 0xCC <= code <= 0xD3:
        return number(1 << (code & 3), code >= 0xD0), at
    if code in (0xC7, 0xD8):
        size = number(1) if code == 0xC7 else 16
        if number(1) != 1 or not 9 <= size <= 16:
            raise ValueError("an extension other than large numbers")
        return number(size), at
    if code <= 0xBF:
        kind, size = (dict, list, str, str)[(code >> 4) - 8], code & (31 if code >= 0xA0 else 15)
    elif code in _CODES:
        kind, width = _CODES[code]
        size = number(width)
    else:
        raise ValueError(f"the type {code:#04x}, which has no canonical form")
    if kind is bytes or kind is str:
        return take(size) if kind is bytes else take(size).decode(), at
    if depth >= DEPTH_MAX or size > ITEMS_MAX:
        raise ValueError(f"more than {DEPTH_MAX} levels or {ITEMS_MAX} items")
    items: list[Any] = []
    for _ in range(size if kind is list else 2 * size):
        item, at = _decode(data, at, depth + 1)
        items.append(item)
    if kind is list:
        return items, at
    if any(type(key) is not str for key in items[::2]):
        raise ValueError("map keys other than text")
    return dict(zip(items[::2], items[1::2], strict=True)), at
