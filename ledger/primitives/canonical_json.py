"""Canonical JSON (RFC 8785) for the values we have: what a person, a page or an export sees of our bytes.

No floats.  Integers beyond ±(2**53 - 1) are decimal strings, since JSON numbers end there; bytes are "0x" and small
hex.  So the form is canonical but not reversible without the types: what is hashed and signed is msgpack, never this.
Source: https://www.rfc-editor.org/rfc/rfc8785
"""

import json
from typing import TypeAlias, cast

from ledger.primitives.encoding import DEPTH_MAX, EncodingError
from ledger.primitives.records import record_to_plain

JsonValue: TypeAlias = bool | int | str | list["JsonValue"] | dict[str, "JsonValue"] | None

SAFE_INTEGER_MAX = 2**53 - 1


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of `value` as UTF-8; tuples count as lists.  Raises EncodingError."""
    text = json.dumps(to_json_value(value), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodingError("expected valid Unicode, got a lone surrogate") from error


def record_to_json_value(record: object) -> JsonValue:
    """Return a record as JSON-ready values, every field checked.  Raises EncodingError."""
    return to_json_value(record_to_plain(record))


def to_json_value(value: object, depth: int = 0) -> JsonValue:
    """Return `value` as JSON-ready values, keys sorted by UTF-16 code units.  Raises EncodingError."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX else str(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if depth >= DEPTH_MAX:
        raise EncodingError(f"expected at most {DEPTH_MAX} nested lists and maps, got more")
    if isinstance(value, list | tuple):
        return [to_json_value(item, depth + 1) for item in cast(list[object], value)]
    if isinstance(value, dict):
        mapping = cast(dict[object, object], value)
        keys: list[str] = []
        for key in mapping:  # order: sorted below
            if not isinstance(key, str):
                raise EncodingError(f"expected keys of text, got {type(key).__name__}")
            keys.append(key)
        return {key: to_json_value(mapping[key], depth + 1) for key in sorted(keys, key=_utf16)}
    raise EncodingError(f"expected None, bool, int, str, bytes, list or dict, got {type(value).__name__}")


def _utf16(key: str) -> bytes:
    try:
        return key.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise EncodingError("expected keys of valid Unicode, got a lone surrogate") from error
