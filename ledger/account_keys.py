"""The keys of an account: one root key, and device and app keys under it.

Events: identity.DeviceKeyAdded, identity.DeviceKeyRevoked, identity.AppKeyGranted, identity.AppKeyRevoked,
identity.KeyRotated.

The root key may do everything and can stay offline.  A device key may not touch keys, guardians and roles; an app key
only what its scopes name, up to a nonce.  Keys carry the account's generation: where it goes up, all of them die at
once.  Rotation is due by the number of events, never by time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from ledger import keyspace
from ledger.events import Delete, Entry, Event, EventType, Put, View, Write
from ledger.identity import Account, read_account, read_nonce
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import U32, U64, Bytes32, Bytes64, Length, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.scopes import GRANT, GUARDIANS, KEYS, RECOVERY, REVOKE, ROLE_SCOPES, VETO
from ledger.state import read_record
from ledger.verdict import WARNING, Fact, Verdict, allow, deny, graded

ROTATE_AFTER_EVENTS = 10_000
"""After so many events since the last rotation a new root key is due; after twice as many it must come first."""
KEYS_MAX = 16
SCOPES_MAX = 8
DEVICE, APP, ROOT = "device", "app", "root"

DEVICE_WITHHELD = (KEYS, GUARDIANS, GRANT, REVOKE)
APP_WITHHELD = (*DEVICE_WITHHELD, VETO, RECOVERY)
APP_SCOPES = tuple(sorted({scope for role in ROLE_SCOPES for scope in ROLE_SCOPES[role].write} - {*APP_WITHHELD}))
OVERDUE_EVENTS = (
    "identity.AppKeyRevoked",
    "identity.DeviceKeyRevoked",
    "identity.KeyRotated",
    "identity.RecoveryAgentsSet",
    "identity.RecoveryCancelled",
    "identity.RecoveryCompleted",
    "identity.RecoveryRequested",
    "infra.CheckpointCertified",
    "infra.ServiceAttested",
)
"""What an account may still do when its rotation is overdue; a node's own reports never end its service."""

Scope = Annotated[str, Length(1, 32)]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key beside the root key.  A former root key is kept too, revoked."""

    added_height: U64
    expires_nonce: U64 | None  # the last nonce that it may sign
    generation: U32
    kind: Annotated[str, Length(3, 6)]
    revoked: bool
    scopes: Annotated[tuple[Scope, ...], Length(0, SCOPES_MAX)]


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key in the list of an account."""

    expires_nonce: U64 | None
    key: Bytes32


@dataclass(frozen=True, slots=True)
class LiveKeys:
    """The device and app keys of one generation; those that expired leave when the next is added."""

    generation: U32
    keys: Annotated[tuple[LiveKey, ...], Length(0, KEYS_MAX)]


@dataclass(frozen=True, slots=True)
class DeviceKeyAdded:
    """A key of one of the account's devices."""

    key: Bytes32


@dataclass(frozen=True, slots=True)
class DeviceKeyRevoked:
    """The device is lost, or no longer used."""

    key: Bytes32


@dataclass(frozen=True, slots=True)
class AppKeyGranted:
    """A key that an app may sign with, for some scopes and up to a nonce."""

    expires_nonce: U64
    key: Bytes32
    scopes: Annotated[tuple[Scope, ...], Length(1, SCOPES_MAX)]


@dataclass(frozen=True, slots=True)
class AppKeyRevoked:
    """The app may no longer sign."""

    key: Bytes32


@dataclass(frozen=True, slots=True)
class KeyRotated:
    """A new root key; the old one, which signs this, dies."""

    key: Bytes32
    proof: Bytes64  # by the new key, over what `rotation_message` gives


def rotation_message(account_id: bytes, nonce: int) -> bytes:
    """Return what the new key signs, under Purpose.KEY_ROTATION: it is held, and wants this account at this nonce."""
    return account_id + keyspace.u64(nonce)


def read_key(view: View, account_id: bytes, key: bytes) -> KeyRecord | None:
    """Return what is known of a device or app key, or of a former root key; None for others."""
    return read_record(view, keyspace.account_key(account_id, key), KeyRecord)


def read_live_keys(view: View, account_id: bytes, account: Account, nonce: int) -> tuple[LiveKey, ...]:
    """Return the device and app keys that may sign the event with this nonce."""
    listed = read_record(view, keyspace.live_keys(account_id), LiveKeys)
    if listed is None or listed.generation != account.generation:
        return ()
    return tuple([each for each in listed.keys if each.expires_nonce is None or nonce <= each.expires_nonce])


def judge_key(view: View, account: Account, event: Event, scope: str) -> Verdict:
    """Say whether a key that is not the root key may sign this event.  Reads one record."""
    record = read_key(view, event.author, event.key)
    if record is None:
        return deny("event.key_not_of_author", "The key is not one of the author's account.")
    if record.revoked or record.generation != account.generation:
        return deny("event.key_revoked", "The key was revoked, or replaced by another.", kind=record.kind)
    if record.expires_nonce is not None and event.nonce > record.expires_nonce:
        return deny(
            "event.key_expired", "The key has expired; the account may grant it anew.",
            nonce=event.nonce, expires_nonce=record.expires_nonce,
        )  # fmt: skip
    may = scope in record.scopes if record.kind == APP else scope not in DEVICE_WITHHELD
    if not may:
        return deny(
            "event.key_scope_missing", "The key may not sign events of this kind.", kind=record.kind, scope=scope
        )
    return allow("event.key_of_author", "The key is one of the author's.", kind=record.kind)


def find_overdue(account: Account, nonce: int, name: str) -> Verdict | None:
    """Return why an account may not sign an event of this type before its root key is replaced; None when it may."""
    count = nonce - account.rotated_nonce
    if count <= 2 * ROTATE_AFTER_EVENTS or name in OVERDUE_EVENTS:
        return None
    return deny(
        "KEY_ROTATION_OVERDUE", "The account must get a new root key first: KeyRotated.",
        events=count - 1, events_max=2 * ROTATE_AFTER_EVENTS,
    )  # fmt: skip


def advise_rotation(view: View, account_id: bytes) -> Verdict:
    """Return a warning when an account should get a new root key; it never denies anything."""
    account = read_account(view, account_id)
    count = 0 if account is None else read_nonce(view, account_id) - account.rotated_nonce
    facts: dict[str, Fact] = {"events": count, "due_after": ROTATE_AFTER_EVENTS}
    if count < ROTATE_AFTER_EVENTS:
        return allow("KEY_ROTATION_NOT_DUE", "The root key need not be replaced yet.", **facts)
    return graded(allow("KEY_ROTATION_DUE", "The root key should be replaced soon: KeyRotated.", **facts), WARNING)


def is_rotation_due(view: View, account_id: bytes) -> bool:
    """Whether an account should get a new root key."""
    return advise_rotation(view, account_id).code == "KEY_ROTATION_DUE"


def judge_new_key(view: View, chain_id: bytes, account_id: bytes, key: bytes, nonce: int | None) -> Verdict:
    """Say whether a key is new to an account: neither in use, nor revoked, nor another account's root key.

    nonce: of the event that adds it; an expired app key may be granted anew.  None: no expired key either.
    """
    account = read_account(view, account_id)
    assert account is not None, "the account was looked up before"
    if key == account.key:
        return deny("identity.key_is_root", "The key is the account's root key.")
    record = read_key(view, account_id, key)
    if record is not None:
        if record.revoked or record.generation != account.generation:
            return deny("identity.key_revoked", "The key was revoked or replaced; a dead key stays dead.")
        if nonce is None or record.expires_nonce is None or nonce <= record.expires_nonce:
            return deny("identity.key_exists", "The key is a device or app key of the account already.")
    opened = compute_account_id(chain_id, key)
    owner = view.get(keyspace.root_of(key))
    is_foreign = (opened != account_id and read_account(view, opened) is not None) or owner not in (None, account_id)
    if is_foreign:
        return deny("identity.key_of_other_account", "The key is or was the root key of another account.")
    return allow("identity.key_new", "The key is new to the account.")


def replace_root(
    view: View, account_id: bytes, key: bytes, *, height: int, nonce: int, generation: int
) -> Iterator[Write]:  # fmt: skip
    """Yield what gives an account another root key; with a higher generation, its device and app keys die.

    nonce: of the account's last event; the count to the next rotation begins there.
    """
    account = read_account(view, account_id)
    assert account is not None, "the account was looked up before"
    assert generation >= account.generation, "a dead generation would come back"
    dead = KeyRecord(height, None, account.generation, ROOT, True, ())
    after = replace(account, generation=generation, key=key, rotated_nonce=nonce)
    yield Put(keyspace.account_key(account_id, account.key), encode_record(dead))
    yield Put(keyspace.account(account_id), encode_record(after))
    yield Put(keyspace.root_of(key), account_id)
    if generation != account.generation:
        yield Delete(keyspace.live_keys(account_id))


def key_is_new(view: View, entry: Entry[DeviceKeyAdded] | Entry[AppKeyGranted] | Entry[KeyRotated]) -> Verdict:
    return judge_new_key(view, entry.chain_id, entry.author, entry.body.key, entry.nonce)


def keys_have_room(view: View, entry: Entry[DeviceKeyAdded] | Entry[AppKeyGranted]) -> Verdict:
    count = len(read_live_keys(view, entry.author, _read_author(view, entry), entry.nonce))
    if count < KEYS_MAX:
        return allow("identity.keys_room", "The account can have another key.", keys=count, keys_max=KEYS_MAX)
    return deny("identity.keys_full", "The account has as many keys as it may.", keys=count, keys_max=KEYS_MAX)


def scopes_are_known(view: View, entry: Entry[AppKeyGranted]) -> Verdict:
    scopes = entry.body.scopes
    unknown = [scope for scope in scopes if scope not in APP_SCOPES]
    if unknown:
        return deny("identity.scope_unknown", "An app key can not have this scope.", scope=unknown[0])
    if len(frozenset(scopes)) != len(scopes):
        return deny("identity.scope_repeated", "A scope is named twice.")
    return allow("identity.scopes_known", "An app key can have these scopes.", scopes=len(scopes))


def expiry_is_ahead(view: View, entry: Entry[AppKeyGranted]) -> Verdict:
    facts: dict[str, Fact] = {"expires_nonce": entry.body.expires_nonce, "nonce": entry.nonce}
    if entry.body.expires_nonce <= entry.nonce:
        return deny("identity.expiry_past", "The key would have expired before its first event.", **facts)
    if entry.body.expires_nonce > entry.nonce + ROTATE_AFTER_EVENTS:
        return deny("identity.expiry_too_far", "An app key outlives no rotation of the root key.", **facts)
    return allow("identity.expiry_ahead", "The key can sign events before it expires.", **facts)


def device_is_known(view: View, entry: Entry[DeviceKeyRevoked]) -> Verdict:
    return _judge_known(view, entry, DEVICE)


def app_is_known(view: View, entry: Entry[AppKeyRevoked]) -> Verdict:
    return _judge_known(view, entry, APP)


def _judge_known(view: View, entry: Entry[DeviceKeyRevoked] | Entry[AppKeyRevoked], kind: str) -> Verdict:
    record = read_key(view, entry.author, entry.body.key)
    generation = _read_author(view, entry).generation
    if record is None or record.kind != kind or record.revoked or record.generation != generation:
        return deny("identity.key_not_live", "The account has no such key to revoke.", kind=kind)
    return allow("identity.key_known", "The key can be revoked.", kind=kind)


def new_key_agrees(view: View, entry: Entry[KeyRotated]) -> Verdict:
    message = rotation_message(entry.author, entry.nonce)
    if is_valid_signature(entry.body.key, entry.chain_id, Purpose.KEY_ROTATION, message, entry.body.proof):
        return allow("identity.new_key_agrees", "The new key has signed that it takes over this account.")
    return deny(
        "identity.proof_invalid", "The proof is not the new key's, for this account and nonce.", nonce=entry.nonce
    )  # fmt: skip


def apply_device_key_added(view: View, entry: Entry[DeviceKeyAdded]) -> Iterator[Write]:
    """Remember the key, and list it."""
    yield from _add_key(view, entry, DEVICE, None, ())


def apply_app_key_granted(view: View, entry: Entry[AppKeyGranted]) -> Iterator[Write]:
    """Remember the key with its scopes, and list it."""
    yield from _add_key(view, entry, APP, entry.body.expires_nonce, entry.body.scopes)


def apply_key_revoked(view: View, entry: Entry[DeviceKeyRevoked] | Entry[AppKeyRevoked]) -> Iterator[Write]:
    """Mark the key as dead, and take it from the list."""
    account, key = _read_author(view, entry), entry.body.key
    record = read_key(view, entry.author, key)
    assert record is not None, "a guard found it"
    left = tuple([each for each in read_live_keys(view, entry.author, account, entry.nonce) if each.key != key])
    yield Put(keyspace.account_key(entry.author, key), encode_record(replace(record, revoked=True)))
    yield Put(keyspace.live_keys(entry.author), encode_record(LiveKeys(account.generation, left)))


def apply_key_rotated(view: View, entry: Entry[KeyRotated]) -> Iterator[Write]:
    """Replace the root key.  Device and app keys stay: the old root key vouched for them, and signs this."""
    generation = _read_author(view, entry).generation
    yield from replace_root(
        view, entry.author, entry.body.key, height=entry.height, nonce=entry.nonce, generation=generation
    )  # fmt: skip


def _add_key(
    view: View, entry: Entry[DeviceKeyAdded] | Entry[AppKeyGranted], kind: str, expires_nonce: int | None,
    scopes: tuple[str, ...],
) -> Iterator[Write]:  # fmt: skip
    account, key = _read_author(view, entry), entry.body.key
    record = KeyRecord(entry.height, expires_nonce, account.generation, kind, False, scopes)
    listed = (*read_live_keys(view, entry.author, account, entry.nonce), LiveKey(expires_nonce, key))
    yield Put(keyspace.account_key(entry.author, key), encode_record(record))
    yield Put(keyspace.live_keys(entry.author), encode_record(LiveKeys(account.generation, listed)))


def _read_author(view: View, entry: Entry[Any]) -> Account:
    account = read_account(view, entry.author)
    assert account is not None, "admission knows the author"
    return account


EVENTS = (
    EventType(
        name="identity.DeviceKeyAdded",
        version=1,
        body=DeviceKeyAdded,
        guards=(key_is_new, keys_have_room),
        apply=apply_device_key_added,
        summary="An account added the key of a device.",
        example=DeviceKeyAdded(bytes(32)),
        inputs=lambda body: {"key": body.key.hex()},
    ),
    EventType(
        name="identity.DeviceKeyRevoked",
        version=1,
        body=DeviceKeyRevoked,
        guards=(device_is_known,),
        apply=apply_key_revoked,
        summary="An account revoked the key of a device.",
        example=DeviceKeyRevoked(bytes(32)),
        inputs=lambda body: {"key": body.key.hex()},
    ),
    EventType(
        name="identity.AppKeyGranted",
        version=1,
        body=AppKeyGranted,
        guards=(key_is_new, keys_have_room, scopes_are_known, expiry_is_ahead),
        apply=apply_app_key_granted,
        summary="An account let an app sign some of its events.",
        example=AppKeyGranted(100, bytes(32), ("content", "graph")),
        inputs=lambda body: {
            "expires_nonce": body.expires_nonce,
            "key": body.key.hex(),
            "scopes": ", ".join(body.scopes),
        },
    ),
    EventType(
        name="identity.AppKeyRevoked",
        version=1,
        body=AppKeyRevoked,
        guards=(app_is_known,),
        apply=apply_key_revoked,
        summary="An account revoked the key of an app.",
        example=AppKeyRevoked(bytes(32)),
        inputs=lambda body: {"key": body.key.hex()},
    ),
    EventType(
        name="identity.KeyRotated",
        version=1,
        body=KeyRotated,
        guards=(key_is_new, new_key_agrees),
        apply=apply_key_rotated,
        summary="An account replaced its root key.",
        example=KeyRotated(bytes(32), bytes(64)),
        inputs=lambda body: {"key": body.key.hex()},
    ),
)
