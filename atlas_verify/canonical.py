"""Canonical msgpack, canonical JSON, and records of checked members: each value has exactly one form in bytes.

What was decoded is encoded again and must give the bytes that came: simple, and complete.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

DEPTH_MAX, ITEMS_MAX = 32, 65_536
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
INT_MIN, INT_MAX = -(2**63), 2**128 - 1


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
        raise Invalid(f"{where}: expected {'a number' if kind is int else 'a length'} from {low} to {high}, got {size}")


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
    if type(text) is not str or len(text) % 2 or not set(text) <= set("0123456789abcdef"):
        raise Invalid(f"{where}: expected lower-case hex")
    if size is not None and len(text) != 2 * size:
        raise Invalid(f"{where}: expected {size} bytes, got {len(text) // 2}")
    return bytes.fromhex(text)


def encode(value: object) -> bytes:
    """Return the canonical msgpack of a value."""
    if value is None:
        return b"\xc0"
    if type(value) is bool:
        return b"\xc3" if value else b"\xc2"
    if type(value) is int:
        return _encode_int(value)
    if type(value) is str:
        text = value.encode()
        return _encode_size(len(text), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + text
    if type(value) is bytes:
        return _encode_size(len(value), 0, 0, (0xC4, 0xC5, 0xC6)) + value
    if type(value) is list:
        items = cast("list[object]", value)
        return _encode_size(len(items), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(encode, items))
    members = sorted(cast("dict[str, object]", value).items())  # Python orders text as its UTF-8 bytes
    return _encode_size(len(members), 0x80, 16, (None, 0xDE, 0xDF)) + b"".join(
        encode(name) + encode(item) for name, item in members
    )


def _encode_size(size: int, short: int, short_end: int, codes: tuple[int | None, ...]) -> bytes:
    if size < short_end:
        return bytes([short | size])
    for width, code in zip((1, 2, 4), codes, strict=True):
        if code is not None and size < 256**width:
            return bytes([code]) + size.to_bytes(width, "big")
    raise ValueError("too long")


def _encode_int(value: int) -> bytes:
    if -32 <= value < 128:
        return value.to_bytes(1, "big", signed=True)
    for width, unsigned, signed in ((1, 0xCC, 0xD0), (2, 0xCD, 0xD1), (4, 0xCE, 0xD2), (8, 0xCF, 0xD3)):
        if 0 <= value < 256**width:
            return bytes([unsigned]) + value.to_bytes(width, "big")
        if -(256**width) // 2 <= value < 0:
            return bytes([signed]) + value.to_bytes(width, "big", signed=True)
    if not INT_MIN <= value <= INT_MAX:
        raise ValueError("a number out of range")
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

    code = number(1)
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 256), at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if 0xCC <= code <= 0xD3:
        return number(1 << (code & 3), code >= 0xD0), at
    if code in (0xC4, 0xC5, 0xC6):
        return take(number(1 << (code - 0xC4))), at
    if 0xA0 <= code <= 0xBF or 0xD9 <= code <= 0xDB:
        return take(code & 31 if code <= 0xBF else number(1 << (code - 0xD9))).decode(), at
    if code in (0xC7, 0xD8):
        size = number(1) if code == 0xC7 else 16
        if number(1) != 1 or not 9 <= size <= 16:
            raise ValueError("an extension other than large numbers")
        return number(size), at
    is_list, is_map = 0x90 <= code <= 0x9F or code in (0xDC, 0xDD), code <= 0x8F or code in (0xDE, 0xDF)
    if not (is_list or is_map):
        raise ValueError(f"the type {code:#04x}, which has no canonical form")
    count = code & 15 if code <= 0x9F else number(2 if code in (0xDC, 0xDE) else 4)
    if depth >= DEPTH_MAX or count > ITEMS_MAX:
        raise ValueError(f"more than {DEPTH_MAX} levels or {ITEMS_MAX} items")
    items: list[Any] = []
    for _ in range(count if is_list else 2 * count):
        item, at = _decode(data, at, depth + 1)
        items.append(item)
    if is_list:
        return items, at
    if any(type(key) is not str for key in items[::2]):
        raise ValueError("map keys other than text")
    return dict(zip(items[::2], items[1::2], strict=True)), at
