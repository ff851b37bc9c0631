"""Tables of a scenario file, read into frozen dataclasses: their fields are the keys, their defaults the defaults.

A field's type says what is expected: a whole number, true or false, text, one of several words, [lowest, highest], a
list of replicas, a list of words.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class ScenarioInvalid(ValueError):
    """A scenario file says what no world can be made of; names the file and the key."""


def read_table(kind: type[T], given: object, where: str) -> T:
    """Return `kind` with the values of a table.  where: names the table in errors.  Raises ScenarioInvalid."""
    table = expect_table(given, where)
    hints = get_type_hints(kind)
    known: dict[str, Field[Any]] = {each.name: each for each in fields(cast(Any, kind))}
    made: dict[str, object] = {}
    for key, value in table.items():
        if key not in known:
            raise ScenarioInvalid(f"{where}.{key}: expected one of {', '.join(sorted(known))}")
        made[key] = _read_value(hints[key], value, f"{where}.{key}")
    for name, each in known.items():
        if name not in made and each.default is MISSING and each.default_factory is MISSING:
            raise ScenarioInvalid(f"{where}.{name}: expected a value, got none")
    return kind(**made)


def expect_table(given: object, where: str) -> Mapping[str, object]:
    """Return a table.  Raises ScenarioInvalid."""
    if not isinstance(given, Mapping):
        raise ScenarioInvalid(f"{where}: expected a table, got {given!r}")
    return cast("Mapping[str, object]", given)


def _read_value(hint: Any, given: object, where: str) -> object:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):  # such as `int | None`: None is what a key that is left out stands for
        (hint,) = [part for part in parts if part is not type(None)]
        origin, parts = get_origin(hint), get_args(hint)
    if hint in (int, bool, str):
        if type(given) is not hint:
            raise ScenarioInvalid(f"{where}: expected {_NAMES[hint]}, got {given!r}")
        return given
    if origin is Literal:
        if given not in parts:
            raise ScenarioInvalid(f"{where}: expected one of {', '.join(parts)}, got {given!r}")
        return given
    assert origin is tuple, f"{where}: no table says what {hint} is"
    if parts == (int, int):
        match given:
            case [int(low), int(high)] if 0 <= low <= high:
                return low, high
            case _:
                raise ScenarioInvalid(f"{where}: expected [lowest, highest], got {given!r}")
    if not isinstance(given, list):
        raise ScenarioInvalid(f"{where}: expected a list, got {given!r}")
    items = cast("list[object]", given)
    return tuple(_read_value(parts[0], item, f"{where}[{number}]") for number, item in enumerate(items))


_NAMES: dict[object, str] = {int: "a whole number", bool: "true or false", str: "text"}
