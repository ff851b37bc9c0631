"""Keys: what each kind may sign, when it dies, and that an account has exactly one root key."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import account_keys, keyspace, recovery
from ledger.account_keys import (
    APP,
    APP_SCOPES,
    DEVICE,
    KEYS_MAX,
    ROTATE_AFTER_EVENTS,
    AppKeyGranted,
    AppKeyRevoked,
    DeviceKeyAdded,
    DeviceKeyRevoked,
    KeyRotated,
    advise_rotation,
    is_rotation_due,
    read_key,
    read_live_keys,
    rotation_message,
)
from ledger.admission import judge_author
from ledger.events import CheckedEvent, SignedEvent
from ledger.identity import IdentityCreated, read_account, read_nonce
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import APPLIED, SKIPPED, Receipt
from ledger.recovery import RecoveryAgentsSet, RecoveryCancelled, RecoveryCompleted, RecoveryRequested
from ledger.roles import RoleGranted, RoleRevoked
from ledger.scopes import MODERATOR
from ledger.verdict import WARNING, Verdict
from social.follows import AccountFollowed, AccountUnfollowed
from social.profiles import HandleClaimed
from tests.ledger.world import Person, World

PHONE, LAPTOP, APP_KEY, NEW_ROOT = (SigningKey(bytes([number]) * 32) for number in range(1, 5))


class KeyWorld(World):
    """A world in which people sign with any key."""

    def signed_by(self, owner: Person, key: SigningKey, body: type[Any], /, **fields: Any) -> SignedEvent:
        """Return an event of an account, signed by a key; it takes the account's next nonce."""
        return self.sign(Person(key, owner.account, read_nonce(self.state(), owner.account)), body, **fields)

    def act(self, owner: Person, key: SigningKey, body: type[Any], /, **fields: Any) -> Receipt:
        """Have an event of an account executed alone, signed by a key."""
        return self.execute(self.signed_by(owner, key, body, **fields)).receipts[0]

    def admit(self, owner: Person, key: SigningKey, body: type[Any], /, **fields: Any) -> Verdict:
        """Return whether an event would be admitted."""
        checked = self.check(self.signed_by(owner, key, body, **fields))[0]
        assert isinstance(checked, CheckedEvent)
        return judge_author(self.state(), checked)

    def rotate(self, owner: Person, old: SigningKey, new: SigningKey, **changes: Any) -> Receipt:
        """Replace the root key; changes: what the proof is over instead."""
        nonce = read_nonce(self.state(), owner.account) + 1
        message = rotation_message(changes.get("account", owner.account), changes.get("nonce", nonce))
        chain_id = changes.get("chain_id", self.chain.chain_id)
        proof = changes.get("signer", new).sign(chain_id, changes.get("purpose", Purpose.KEY_ROTATION), message)
        return self.act(owner, old, KeyRotated, key=new.public, proof=proof)

    def follow(self, key: SigningKey) -> str:
        """Return the code with which Ada's following somebody is admitted, signed by a key."""
        return self.admit(self.ada, key, AccountFollowed, target=self.ben.account).code


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KeyWorld]:
    world = KeyWorld(tmp_path / "ledger")
    yield world
    world.close()


def denials(receipt: Receipt) -> list[str]:
    return [verdict.code for verdict in receipt.verdicts if not verdict.allowed]


def grant_app(world: KeyWorld, key: SigningKey = APP_KEY, events: int = 10, **changes: Any) -> Receipt:
    nonce = read_nonce(world.state(), world.ada.account) + 1
    fields = {"expires_nonce": nonce + events, "key": key.public, "scopes": ("graph",)} | changes
    return world.act(world.ada, world.ada.key, AppKeyGranted, **fields)


# What keys may sign.


def test_a_device_key_signs_for_its_account(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)

    receipt = world.act(world.ada, PHONE, AccountFollowed, target=world.ben.account)

    assert (receipt.outcome, receipt.author) == (APPLIED, world.ada.account)
    assert world.admit(world.ada, PHONE, AccountFollowed, target=world.ben.account).facts == {"kind": DEVICE}


def test_a_key_that_was_never_added_signs_nothing(world: KeyWorld) -> None:
    receipt = world.act(world.ada, PHONE, AccountFollowed, target=world.ben.account)

    assert (receipt.outcome, denials(receipt)) == (SKIPPED, ["event.key_not_of_author"])


def test_a_device_of_one_account_is_none_of_another(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)

    receipt = world.act(world.ben, PHONE, AccountFollowed, target=world.ada.account)

    assert denials(receipt) == ["event.key_not_of_author"]


WITHHELD: list[tuple[type[Any], dict[str, Any]]] = [
    (DeviceKeyAdded, {"key": LAPTOP.public}),
    (DeviceKeyRevoked, {"key": PHONE.public}),
    (AppKeyGranted, {"key": LAPTOP.public, "scopes": ("graph",), "expires_nonce": 9}),
    (AppKeyRevoked, {"key": LAPTOP.public}),
    (KeyRotated, {"key": LAPTOP.public, "proof": bytes(64)}),
    (RecoveryAgentsSet, {"agents": (), "delay_beats": 9_999, "threshold": 0}),
    (RoleGranted, {"account": bytes(32), "role": MODERATOR, "space": bytes(32), "expires_beat": None}),
    (RoleRevoked, {"account": bytes(32), "role": MODERATOR, "space": bytes(32)}),
]


@pytest.mark.parametrize(("body", "fields"), WITHHELD, ids=lambda each: getattr(each, "__name__", ""))
def test_a_device_key_touches_no_keys_guardians_or_roles(
    world: KeyWorld, body: type[Any], fields: dict[str, Any]
) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    grant_app(world, scopes=("identity",))

    verdicts = [world.admit(world.ada, key, body, **fields) for key in (PHONE, APP_KEY, world.ada.key)]

    codes = ["event.key_scope_missing", "event.key_scope_missing", "event.key_of_author"]
    assert [verdict.code for verdict in verdicts] == codes


def test_an_app_key_signs_within_its_scopes_only(world: KeyWorld) -> None:
    grant_app(world, scopes=("graph", "economics"))

    inside = world.act(world.ada, APP_KEY, AccountFollowed, target=world.ben.account)
    outside = world.act(world.ada, APP_KEY, HandleClaimed, handle="ada")

    assert (inside.outcome, outside.outcome) == (APPLIED, SKIPPED)
    assert outside.verdicts[0].code == "event.key_scope_missing"
    assert outside.verdicts[0].facts == {"kind": APP, "scope": "identity"}


def test_an_app_key_neither_vetoes_nor_recovers(world: KeyWorld) -> None:
    grant_app(world, scopes=("identity",))

    for body, fields in ((RecoveryCancelled, {}), (RecoveryRequested, {"account": bytes(32), "key": bytes(32)})):
        assert world.admit(world.ada, APP_KEY, body, **fields).code == "event.key_scope_missing"
    assert world.admit(world.ada, APP_KEY, HandleClaimed, handle="ada").code == "event.key_of_author"


def test_an_app_key_expires_by_nonce(world: KeyWorld) -> None:
    grant_app(world, events=2)

    outcomes = [
        world.act(world.ada, APP_KEY, body, target=world.ben.account)
        for body in (AccountFollowed, AccountUnfollowed, AccountFollowed)
    ]

    assert [receipt.outcome for receipt in outcomes] == [APPLIED, APPLIED, SKIPPED]
    assert outcomes[2].verdicts[0].code == "event.key_expired"
    assert outcomes[2].verdicts[0].facts == {"nonce": 4, "expires_nonce": 3}


def test_an_expired_app_key_may_be_granted_anew_but_not_before(world: KeyWorld) -> None:
    grant_app(world, events=2)
    early = grant_app(world)
    world.act(world.ada, world.ada.key, AccountFollowed, target=world.ben.account)
    late = grant_app(world)

    assert (denials(early), denials(late)) == (["identity.key_exists"], [])
    assert world.follow(APP_KEY) == "event.key_of_author"


def test_a_revoked_key_signs_nothing_and_stays_dead(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    grant_app(world)

    world.act(world.ada, world.ada.key, DeviceKeyRevoked, key=PHONE.public)
    world.act(world.ada, world.ada.key, AppKeyRevoked, key=APP_KEY.public)

    assert [world.follow(key) for key in (PHONE, APP_KEY)] == ["event.key_revoked"] * 2
    for key in (PHONE, APP_KEY):
        again = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=key.public)
        assert denials(again) == ["identity.key_revoked"]
    rotated = world.rotate(world.ada, world.ada.key, PHONE)
    assert denials(rotated) == ["identity.key_revoked"]


def test_only_a_live_key_of_the_kind_is_revoked(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)

    unknown = world.act(world.ada, world.ada.key, DeviceKeyRevoked, key=LAPTOP.public)
    other_kind = world.act(world.ada, world.ada.key, AppKeyRevoked, key=PHONE.public)
    once = world.act(world.ada, world.ada.key, DeviceKeyRevoked, key=PHONE.public)
    twice = world.act(world.ada, world.ada.key, DeviceKeyRevoked, key=PHONE.public)

    codes = [denials(receipt) for receipt in (unknown, other_kind, once, twice)]
    assert codes == [["identity.key_not_live"], ["identity.key_not_live"], [], ["identity.key_not_live"]]


# What keys may be added.


def test_a_key_is_added_once_and_is_not_a_root_key(world: KeyWorld) -> None:
    root = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=world.ada.key.public)
    first = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    again = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    other = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=world.ben.key.public)

    codes = [denials(receipt) for receipt in (root, first, again, other)]
    assert codes == [["identity.key_is_root"], [], ["identity.key_exists"], ["identity.key_of_other_account"]]


def test_a_root_key_that_another_account_rotated_to_is_its_own(world: KeyWorld) -> None:
    world.rotate(world.ben, world.ben.key, NEW_ROOT)

    for key in (NEW_ROOT, world.ben.key):
        added = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=key.public)
        assert denials(added) == ["identity.key_of_other_account"]


def test_an_account_has_so_many_keys_and_expired_ones_make_room(world: KeyWorld) -> None:
    keys = [SigningKey(bytes([50 + number]) * 32) for number in range(KEYS_MAX)]
    for number, key in enumerate(keys):
        assert denials(grant_app(world, key, events=KEYS_MAX + 1 if number == 0 else 100)) == []

    full = [grant_app(world), world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)]
    later = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)

    assert [denials(receipt) for receipt in (*full, later)] == [["identity.keys_full"], ["identity.keys_full"], []]
    account = read_account(world.state(), world.ada.account)
    assert account is not None
    live = read_live_keys(world.state(), world.ada.account, account, read_nonce(world.state(), world.ada.account))
    assert [each.key for each in live] == [key.public for key in (*keys[1:], PHONE)]


def test_a_revoked_key_makes_room(world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_keys, "KEYS_MAX", 1)
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    full = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=LAPTOP.public)
    world.act(world.ada, world.ada.key, DeviceKeyRevoked, key=PHONE.public)

    later = world.act(world.ada, world.ada.key, DeviceKeyAdded, key=LAPTOP.public)

    assert (denials(full), denials(later)) == (["identity.keys_full"], [])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scopes": ("graph", "keys")}, "identity.scope_unknown"),
        ({"scopes": ("roles:grant",)}, "identity.scope_unknown"),
        ({"scopes": ("veto",)}, "identity.scope_unknown"),
        ({"scopes": ("graph", "graph")}, "identity.scope_repeated"),
        ({"events": 0}, "identity.expiry_past"),
        ({"events": ROTATE_AFTER_EVENTS + 1}, "identity.expiry_too_far"),
        ({"events": ROTATE_AFTER_EVENTS}, None),
        ({"scopes": APP_SCOPES[:8]}, None),
    ],
)
def test_an_app_key_has_known_scopes_and_an_end(world: KeyWorld, changes: dict[str, Any], code: str | None) -> None:
    assert denials(grant_app(world, **changes)) == ([] if code is None else [code])


# Rotation.


def test_rotation_keeps_the_account_and_kills_the_old_key(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)

    rotated = world.rotate(world.ada, world.ada.key, NEW_ROOT)
    by_new = world.act(world.ada, NEW_ROOT, AccountFollowed, target=world.ben.account)

    assert (rotated.outcome, by_new.outcome, by_new.author) == (APPLIED, APPLIED, world.ada.account)
    account = read_account(world.state(), world.ada.account)
    assert account is not None
    assert (account.key, account.rotated_nonce, account.created_height) == (NEW_ROOT.public, 2, 0)
    assert world.follow(world.ada.key) == "event.key_revoked"
    assert world.follow(PHONE) == "event.key_of_author"
    assert world.state().get(keyspace.root_of(NEW_ROOT.public)) == world.ada.account


def test_an_old_root_key_never_comes_back(world: KeyWorld) -> None:
    world.rotate(world.ada, world.ada.key, NEW_ROOT)

    added = world.act(world.ada, NEW_ROOT, DeviceKeyAdded, key=world.ada.key.public)
    back = world.rotate(world.ada, NEW_ROOT, world.ada.key)
    created = world.act(world.ada, world.ada.key, IdentityCreated)

    assert (denials(added), denials(back)) == (["identity.key_revoked"], ["identity.key_revoked"])
    assert (created.outcome, denials(created)) == (SKIPPED, ["event.key_revoked"])


def test_a_device_key_is_not_made_the_root_key(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)

    assert denials(world.rotate(world.ada, world.ada.key, PHONE)) == ["identity.key_exists"]
    assert denials(world.rotate(world.ada, world.ada.key, world.ada.key)) == ["identity.key_is_root"]
    assert denials(world.rotate(world.ada, world.ada.key, world.ben.key)) == ["identity.key_of_other_account"]


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": 2},
        {"account": bytes(32)},
        {"chain_id": bytes(32)},
        {"purpose": Purpose.EVENT},
        {"signer": PHONE},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_new_key_must_agree(world: KeyWorld, changes: dict[str, Any]) -> None:
    receipt = world.rotate(world.ada, world.ada.key, NEW_ROOT, **changes)

    assert denials(receipt) == ["identity.proof_invalid"]


def test_rotation_is_due_by_the_count_of_events(world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_keys, "ROTATE_AFTER_EVENTS", 2)

    advice = []
    for _ in range(2):
        advice.append(is_rotation_due(world.state(), world.ada.account))
        world.act(world.ada, world.ada.key, HandleClaimed, handle="ada")
    due = advise_rotation(world.state(), world.ada.account)
    world.rotate(world.ada, world.ada.key, NEW_ROOT)
    after = advise_rotation(world.state(), world.ada.account)

    assert advice == [False, False]
    assert (due.code, due.severity, due.allowed) == ("KEY_ROTATION_DUE", WARNING, True)
    assert due.facts == {"events": 2, "due_after": 2}
    assert (after.code, after.facts["events"]) == ("KEY_ROTATION_NOT_DUE", 0)
    assert not is_rotation_due(world.state(), world.cyd.account)


def test_an_overdue_account_rotates_revokes_and_recovers_and_does_nothing_else(
    world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_keys, "ROTATE_AFTER_EVENTS", 2)
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    for _ in range(3):
        assert world.act(world.ada, world.ada.key, HandleClaimed, handle="ada").outcome != SKIPPED

    verdicts = [
        world.admit(world.ada, key, AccountFollowed, target=world.ben.account) for key in (world.ada.key, PHONE)
    ]
    allowed = [
        world.admit(world.ada, world.ada.key, DeviceKeyRevoked, key=PHONE.public),
        world.admit(world.ada, world.ada.key, AppKeyRevoked, key=PHONE.public),
        world.admit(world.ada, world.ada.key, RecoveryRequested, account=bytes(32), key=bytes(32)),
        world.admit(world.ada, PHONE, RecoveryCancelled),
    ]

    assert [verdict.code for verdict in verdicts] == ["KEY_ROTATION_OVERDUE"] * 2
    assert verdicts[0].facts == {"events": 4, "events_max": 4}
    assert all(verdict.allowed for verdict in allowed)
    assert world.admit(world.ada, world.ada.key, DeviceKeyAdded, key=LAPTOP.public).code == "KEY_ROTATION_OVERDUE"
    assert world.follow(LAPTOP) == "event.key_not_of_author"
    assert world.rotate(world.ada, world.ada.key, NEW_ROOT).outcome == APPLIED
    assert [world.follow(key) for key in (NEW_ROOT, PHONE)] == ["event.key_of_author"] * 2


def test_the_root_key_is_found_without_another_read_of_the_state(world: KeyWorld) -> None:
    world.act(world.ada, world.ada.key, DeviceKeyAdded, key=PHONE.public)
    state = world.state()
    reads: list[bytes] = []

    class Counting:
        def get(self, key: bytes) -> bytes | None:
            reads.append(key)
            return state.get(key)

    for key in (world.ada.key, PHONE):
        checked = world.check(world.signed_by(world.ada, key, AccountFollowed, target=world.ben.account))[0]
        assert isinstance(checked, CheckedEvent)
        assert judge_author(Counting(), checked).allowed

    account = keyspace.account(world.ada.account)
    assert reads == [account, account, keyspace.account_key(world.ada.account, PHONE.public)]


# Whatever happens.

POOL = tuple(SigningKey(bytes([100 + number]) * 32) for number in range(5))
places = st.integers(0, len(POOL))
acts = st.tuples(st.sampled_from(("device", "app", "revoke", "revoke app", "rotate", "recover", "act")), places, places)


class KeyModel:
    """What the keys of Ada's account should be, kept beside the ledger."""

    def __init__(self, world: KeyWorld) -> None:
        self.world = world
        self.keys = (world.ada.key, *POOL)
        self.root = world.ada.key
        self.live: dict[bytes, int | None] = {}  # public key -> the last nonce, None for devices
        self.dead: set[bytes] = set()

    def run(self, what: str, signer: SigningKey, key: SigningKey) -> None:
        world, account = self.world, self.world.ada.account
        if what == "recover":
            return self.recover(key)
        if what == "rotate":
            receipt = world.rotate(world.ada, signer, key)
        elif what == "act":
            receipt = world.act(world.ada, signer, AccountFollowed, target=world.ben.account)
        elif what == "app":
            expires = read_nonce(world.state(), account) + 3
            receipt = world.act(
                world.ada, signer, AppKeyGranted, key=key.public, scopes=("graph",), expires_nonce=expires
            )
        else:
            body = {"device": DeviceKeyAdded, "revoke": DeviceKeyRevoked, "revoke app": AppKeyRevoked}[what]
            receipt = world.act(world.ada, signer, body, key=key.public)
        if receipt.outcome != APPLIED:
            return None
        assert what == "act" or signer.public == self.root.public, "only the root key changes keys"
        if what == "rotate":
            self.dead.add(self.root.public)
            self.root = key
            self.live.pop(key.public, None)
        elif what in ("revoke", "revoke app"):
            self.dead.add(key.public)
            del self.live[key.public]
        elif what != "act":
            self.live[key.public] = None if what == "device" else read_nonce(world.state(), account) + 2
        return None

    def recover(self, key: SigningKey) -> None:
        world = self.world
        for guardian in (world.ben, world.cyd):
            world.do(guardian, RecoveryRequested, account=world.ada.account, key=key.public)
        receipt = world.do(world.ben, RecoveryCompleted, account=world.ada.account)
        if receipt.outcome == APPLIED:
            self.dead |= {self.root.public, *self.live}
            self.root, self.live = key, {}

    def check(self) -> None:
        world, account_id = self.world, self.world.ada.account
        account = read_account(world.state(), account_id)
        nonce = read_nonce(world.state(), account_id) + 1
        assert account is not None
        assert account.key == self.root.public
        admitted = {key.public for key in self.keys if world.follow(key) == "event.key_of_author"}
        expected = {key for key, expires in self.live.items() if expires is None or nonce <= expires}
        assert admitted == expected | {self.root.public}
        assert not admitted & self.dead
        generations = [read_key(world.state(), account_id, key) for key in sorted(admitted - {account.key})]
        assert {record.generation for record in generations if record is not None} <= {account.generation}
        roots = [key for key in self.keys if world.admit(world.ada, key, DeviceKeyAdded, key=bytes(32)).allowed]
        assert [key.public for key in roots] == [account.key]
        assert len(read_live_keys(world.state(), account_id, account, nonce)) == len(expected)
        assert compute_account_id(world.chain.chain_id, world.ada.key.public) == account_id


@given(st.lists(acts, max_size=14))
@settings(max_examples=60, deadline=None)
def test_keys_of_two_generations_never_live_at_once_and_one_key_is_the_root(steps: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "RECOVERY_DELAY_BEATS_MIN", 0)
        world = KeyWorld(Path(folder))
        world.do(world.cyd, IdentityCreated)
        agents = (world.ben.account, world.cyd.account)
        world.act(world.ada, world.ada.key, RecoveryAgentsSet, agents=agents, delay_beats=0, threshold=2)
        model = KeyModel(world)

        for what, signer, key in steps:
            # Half of the time the root key signs, so that most steps have an effect.
            model.run(what, model.root if signer % 2 else model.keys[signer], model.keys[key])
            model.check()

        world.close()
