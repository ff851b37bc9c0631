"""Event bodies between JSON and records: ids as text, big numbers as digits, payload references filled in."""

import dataclasses
from typing import Any, cast, get_type_hints

from client_api.errors import InvalidRequest
from ledger.coherence import Assessment
from ledger.events import EventType
from ledger.payloads import ContentRef, Payload, compute_content_ref
from ledger.primitives.encoding import EncodingError
from ledger.primitives.ids import IdInvalid, IdKind, decode_id
from ledger.primitives.records import encode_record

UNKNOWN_NAMED_MAX = 10
COMPUTED = (Assessment, ContentRef)
NOT_ASSESSED = Assessment(clarity=0, echo=bytes(3), hate=0, logic=0, model=0, offensive=0, signal=0, topic=0)
_ID_KINDS = (IdKind.ACCOUNT, IdKind.EVENT, IdKind.POST)


def body_from_json(kind: EventType[Any], members: dict[str, Any], payload: Payload | None) -> Any:
    """Return the body of an event type from JSON members.  Raises InvalidRequest naming the member.

    What is computed from the payload, its reference and its assessment, is filled in; members with a default may be
    left out.
    """
    computed: dict[Any, Any] = {}
    if payload is not None:
        computed = {ContentRef: compute_content_ref(payload), Assessment: NOT_ASSESSED}
    fields = {field.name for field in dataclasses.fields(kind.body)}
    given = dict(members)
    hints = get_type_hints(kind.body)
    for name, hint in hints.items():
        if hint in COMPUTED:
            if name in given:
                raise InvalidRequest(f"body.{name}: is made from `text`; leave it out")
            if payload is None:
                raise InvalidRequest(f"text: events of type {kind.name} need one")
            given[name] = computed[hint]
    required = {field.name for field in dataclasses.fields(kind.body) if field.default is dataclasses.MISSING}
    unknown, missing = sorted(set(given) - fields), sorted(required - set(given))
    if unknown or missing:
        expected = sorted(name for name in fields if hints[name] not in COMPUTED)
        raise InvalidRequest(
            f"body: expected the members {expected}; "
            f"unknown {[name[:40] for name in unknown[:UNKNOWN_NAMED_MAX]]}, missing {missing}"
        )
    body = kind.body(**{name: _value(f"body.{name}", hints[name], given[name]) for name in sorted(given)})
    try:
        encode_record(body)
        if payload is not None and kind.complete is not None:
            body = kind.complete(body, payload)
    except EncodingError as error:
        raise InvalidRequest(f"body: {error}") from error
    return body


def _value(where: str, hint: Any, value: Any) -> Any:
    if hint is bytes:
        return _bytes(where, value)
    if hint is int:
        return _integer(where, value)
    if hint is str and type(value) is not str:
        raise InvalidRequest(f"{where}: expected text, got {type(value).__name__}")
    if getattr(hint, "__origin__", None) is tuple:
        items = cast("list[object]", value) if type(value) is list else [None]
        if not all(type(item) is str for item in items):
            raise InvalidRequest(f"{where}: expected a list of texts")
        return tuple(items)
    return value


def _integer(where: str, value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 39:
        return int(value)
    raise InvalidRequest(f"{where}: expected an integer, or its decimal digits as text, got {str(value)[:80]!r}")


def _bytes(where: str, value: Any) -> bytes:
    if type(value) is not str:
        raise InvalidRequest(f"{where}: expected an id or hex digits, got {type(value).__name__}")
    if "1" in value and value.partition("1")[0] in {kind.value for kind in _ID_KINDS}:
        kind = next(kind for kind in _ID_KINDS if value.startswith(kind.value + "1"))
        try:
            return decode_id(kind, value)
        except IdInvalid as error:
            raise InvalidRequest(f"{where}: {error}") from error
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise InvalidRequest(f"{where}: expected an id or hex digits, got {value[:80]!r}") from error
