"""Store formats, and how a store of an earlier one becomes one of today's when it is opened.

To change the format: raise FORMAT, and add to MIGRATIONS what turns the format before into it.  A migration works in
parts.  Each part is one synced write that also says where the next begins, so a node that is stopped goes on there,
and no part is applied twice.  META_FORMAT says all of it: u64(format), or while a migration runs u64(from), u64(to)
and the place.  Software of either format refuses the latter, except to go on with it.

Formats 1 and 2 can't be migrated: what their chains signed are headers of another version.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ledger import keyspace
from ledger.storage import Storage, StoreDamaged

FORMAT = 3
FIRST_MIGRATABLE = 3
"""The chains of earlier formats have headers of an earlier version."""
NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Part:
    """What one write changes, and where the next part begins: None after the last."""

    puts: list[tuple[bytes, bytes]]
    deletes: list[bytes]
    following: bytes | None


@dataclass(frozen=True, slots=True)
class Migration:
    """From one format to the next.

    compute_part: (store, place) to a part; the first place is b"".  It reads only what parts before it have left, and
    keeps each part small, a few thousand keys, since it is one write.  State keys may not change: headers commit to
    them.
    """

    summary: str
    compute_part: Callable[[Storage, bytes], Part]


Migrations = Mapping[int, Migration]
"""By the format from which they lead to the next."""
MIGRATIONS: Migrations = {}


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """What a store says of its format."""

    number: int
    place: bytes | None
    """Where the migration to the next format goes on; None when none has begun."""


def read_format(store: Storage) -> StoreFormat | None:
    """Return the format of a store; None for a record that no release wrote."""
    data = store.get(keyspace.META_FORMAT)
    if data is None or len(data) < NUMBER_BYTES:
        return None
    number, rest = int.from_bytes(data[:NUMBER_BYTES], "big"), data[NUMBER_BYTES:]
    if not rest:
        return StoreFormat(number, None)
    if rest[:NUMBER_BYTES] != keyspace.u64(number + 1):
        return None
    return StoreFormat(number, rest[NUMBER_BYTES:])


def find_obstacle(found: StoreFormat | None, *, migrations: Migrations = MIGRATIONS, to: int = FORMAT) -> str | None:
    """Return why a store can't be used by this software, and what to do; None when it can, if need be migrated."""
    if found is None:
        return f"expected store format {to}, got a damaged record; remove the ledger and let the node fetch it again"
    if found.number > to or (found.number == to and found.place is not None):
        return f"expected store format {to}, got {_name(found)}: install the release that wrote it, or a later one"
    if found.number < FIRST_MIGRATABLE:
        return (
            f"expected store format {to}, got {_name(found)}, whose chain has headers of an earlier version and "
            "can't be migrated: run the release that wrote it, or begin a new network with this one"
        )
    missing = [number for number in range(found.number, to) if number not in migrations]
    if missing:
        return f"expected store format {to}, got {_name(found)}: this release knows no way on from format {missing[0]}"
    return None


def migrate(
    store: Storage, report: Callable[[str], None], *, migrations: Migrations = MIGRATIONS, to: int = FORMAT
) -> None:
    """Bring a store to the format `to`, going on where it was cut off.  Raises StoreDamaged, and changes nothing then.

    report: told what is being done, once at the begin of each migration and once at its end.
    """
    found = read_format(store)
    obstacle = find_obstacle(found, migrations=migrations, to=to)
    if obstacle is not None or found is None:
        raise StoreDamaged(f"{store.path}: {obstacle}")
    while found.number < to:
        _migrate_once(store, found, migrations[found.number], report)
        found = StoreFormat(found.number + 1, None)


def _migrate_once(store: Storage, found: StoreFormat, migration: Migration, report: Callable[[str], None]) -> None:
    what = f"{store.path}: store format {found.number} to {found.number + 1}: {migration.summary}"
    report(f"{what}: {'begun' if found.place is None else 'going on where it was cut off'}")
    head = keyspace.u64(found.number) + keyspace.u64(found.number + 1)
    place: bytes | None = found.place or b""
    while place is not None:
        part = migration.compute_part(store, place)
        place = part.following
        mark = keyspace.u64(found.number + 1) if place is None else head + place
        store.write([*part.puts, (keyspace.META_FORMAT, mark)], part.deletes)
    report(f"{what}: done")


def _name(found: StoreFormat) -> str:
    return str(found.number) if found.place is None else f"{found.number} on its way to {found.number + 1}"
