"""Canonical msgpack, canonical JSON, and records of checked members: each value has exactly one form in bytes.

What was decoded is encoded again and must give the bytes that came: simple, and complete.
"""
# pyright: reportConstantRedefinition=false

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

DEPTH_MAX, ITEMS_MAX = 32, 65_536
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
_HEX_DIGITS = set("0123456789abcdef")
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_SHORT: dict[type[Any], tuple[int, int]] = {dict: (0x80, 16), list: (0x90, 16), str: (0xA0, 32), bytes: (0, 0)}
_KINDS: tuple[type[Any], ...] = (dict, list, str, str)
_LONG: dict[int, tuple[type[Any], int]]  # by code: what follows, and how many bytes its size takes
_LONG = {0xC4: (bytes, 1), 0xC5: (bytes, 2), 0xC6: (bytes, 4), 0xD9: (str, 1), 0xDA: (str, 2), 0xDB: (str, 4)}
_LONG |= {0xDC: (list, 2), 0xDD: (list, 4), 0xDE: (dict, 2), 0xDF: (dict, 4)}


class Invalid(ValueError):
    """Something does not prove what it claims; the message names the member that fails, then why."""


class Field(NamedTuple):
    """A member's type and bounds: of the number, of the bytes (of text as UTF-8), or of how many items."""

    kind: type[Any]
    low: int = 0
    high: int = U64_MAX
    optional: bool = False


def many(names: str, field: Field) -> dict[str, Field]:
    """Return members that are alike."""
    return dict.fromkeys(names.split(), field)


def check_members(where: str, value: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return a map that has exactly these members.  Raises Invalid."""
    if value.__class__ is not dict or set(value) != set(fields):
        raise Invalid(f"{where}: expected exactly the members {', '.join(sorted(fields))}")
    for name, (kind, low, high, optional) in fields.items():
        member: Any = value[name]
        if optional and member is None:
            continue
        if member.__class__ is not kind:
            raise Invalid(f"{where}: {name}: expected {kind.__name__}, got {type(member).__name__}")
        size = member if kind is int else len(member.encode() if kind is str else member)
        if not low <= size <= high:
            bounds = str(low) if low == high else f"{low} to {high}"
            raise Invalid(f"{where}: {name}: expected {'' if kind is int else 'a length of '}{bounds}, got {size}")
    return value


def read_record(where: str, data: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the record in canonical msgpack.  Raises Invalid."""
    try:
        value = decode(data)
    except ValueError as error:
        raise Invalid(f"{where}: expected canonical msgpack: {error}") from error
    return check_members(where, value, fields)


def encode_json(value: Any) -> bytes:
    """Return a value as canonical JSON (RFC 8785)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def read_json(where: str, data: bytes) -> dict[str, Any]:
    """Return the object in a file of canonical JSON and one newline.  Raises Invalid."""
    try:
        value = json.loads(data.decode())
        again = encode_json(value) + b"\n"
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where}: expected canonical JSON: {error}") from error
    if again != data or value.__class__ is not dict:
        raise Invalid(f"{where}: expected an object in canonical JSON and one newline, got another form")
    return value


def read_hex(where: str, text: Any, size: int | None = None) -> bytes:
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
    code, width = next((code, width) for code, (long, width) in _LONG.items() if long is kind and size < 256**width)
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
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        if at > len(data):
            raise ValueError("it ends too early")
        return data[at - size : at]

    def number(size: int, signed: bool = False) -> int:
        return int.from_bytes(take(size), "big", signed=signed)

    def item(depth: int) -> Any:
        """Return the value that begins here.  Forms that are too long are left to the comparison below."""
        code = number(1)
        if code < 0x80 or code >= 0xE0:
            return code - (code >> 7 << 8)
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if 0xCC <= code <= 0xD3:
            return number(1 << (code & 3), code >= 0xD0)
        if code in (0xC7, 0xD8):
            size = number(1) if code == 0xC7 else 16
            if number(1) != 1 or not 9 <= size <= 16:
                raise ValueError("an extension other than large numbers")
            return number(size)
        if code <= 0xBF:
            kind, size = _KINDS[(code >> 4) - 8], code & (31 if code >= 0xA0 else 15)
        elif code in _LONG:
            kind, size = _LONG[code][0], number(_LONG[code][1])
        else:
            raise ValueError(f"the type {code:#04x}, which has no canonical form")
        if kind is bytes or kind is str:
            return take(size) if kind is bytes else take(size).decode()
        if depth >= DEPTH_MAX or size > ITEMS_MAX:
            raise ValueError(f"more than {DEPTH_MAX} levels or {ITEMS_MAX} items")
        if kind is list:
            return [item(depth + 1) for _ in range(size)]
        members = [(item(depth + 1), item(depth + 1)) for _ in range(size)]
        if any(type(name) is not str for name, _ in members):
            raise ValueError("map keys other than text")
        return dict(members)

    value = item(0)
    if at != len(data) or encode(value) != data:
        raise ValueError("another form of the value than the canonical one")
    return value
