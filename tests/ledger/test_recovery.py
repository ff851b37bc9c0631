"""Recovery: guardians together give an account a new root key, slowly, and any device of its owner can stop them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace, recovery
from ledger.account_keys import AppKeyGranted, DeviceKeyAdded, DeviceKeyRevoked, KeyRotated, rotation_message
from ledger.admission import judge_author
from ledger.events import CheckedEvent
from ledger.identity import IdentityCreated, read_account, read_nonce
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import APPLIED, SKIPPED, Receipt
from ledger.recovery import (
    AGENTS_MAX,
    NO_RECOVERY,
    RECOVERY_COOLDOWN_BEATS,
    RECOVERY_DELAY_BEATS_MAX,
    RECOVERY_DELAY_BEATS_MIN,
    RecoveryAgentsSet,
    RecoveryCancelled,
    RecoveryCompleted,
    RecoveryRequested,
    read_agents,
    read_recovery,
)
from social.follows import AccountFollowed
from tests.ledger.world import Person, World

PHONE, APP_KEY, NEW, OTHER, THIRD = (SigningKey(bytes([number]) * 32) for number in range(1, 6))
DELAY = 3


class GuardedWorld(World):
    """Ada has a device, and guardians: two of Ben, Cyd and Dan, who wait three beats."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.dan, self.eve = self.person("dan"), self.person("eve")
        for person in (self.cyd, self.dan, self.eve):
            self.do(person, IdentityCreated)
        self.by(self.ada.key, DeviceKeyAdded, key=PHONE.public)
        self.agents = (self.ben.account, self.cyd.account, self.dan.account)
        assert denials(self.set_agents(self.agents, 2)) == []

    def by(self, signer: SigningKey, body: type[Any], /, **fields: Any) -> Receipt:
        """Have an event of Ada's executed, signed by a key."""
        person = Person(signer, self.ada.account, read_nonce(self.state(), self.ada.account))
        return self.do(person, body, **fields)

    def set_agents(self, agents: tuple[bytes, ...], threshold: int, delay: int = DELAY) -> Receipt:
        return self.by(self.ada.key, RecoveryAgentsSet, agents=agents, delay_beats=delay, threshold=threshold)

    def request(self, guardian: Person, key: SigningKey = NEW) -> list[str]:
        return denials(self.do(guardian, RecoveryRequested, account=self.ada.account, key=key.public))

    def complete(self, guardian: Person) -> list[str]:
        return denials(self.do(guardian, RecoveryCompleted, account=self.ada.account))

    def wait(self, beats: int = DELAY) -> None:
        for _ in range(beats):
            self.execute(beat=True)

    def admits(self, signer: SigningKey) -> str:
        person = Person(signer, self.ada.account, read_nonce(self.state(), self.ada.account))
        checked = self.check(self.sign(person, AccountFollowed, target=self.ben.account))[0]
        assert isinstance(checked, CheckedEvent)
        return judge_author(self.state(), checked).code


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardedWorld]:
    monkeypatch.setattr(recovery, "RECOVERY_DELAY_BEATS_MIN", DELAY)
    monkeypatch.setattr(recovery, "RECOVERY_COOLDOWN_BEATS", DELAY)
    world = GuardedWorld(tmp_path / "ledger")
    yield world
    world.close()


def denials(receipt: Receipt) -> list[str]:
    assert receipt.outcome != SKIPPED, receipt.verdicts
    return [verdict.code for verdict in receipt.verdicts if not verdict.allowed]


# The rules that an account sets.


def test_guardians_are_kept_with_their_rules_and_can_be_dismissed(world: GuardedWorld) -> None:
    kept = read_agents(world.state(), world.ada.account)

    dismissed = world.set_agents((), 0)

    assert kept == RecoveryAgentsSet(world.agents, DELAY, 2)
    assert (dismissed.outcome, read_agents(world.state(), world.ada.account)) == (APPLIED, None)


@pytest.mark.parametrize(
    ("count", "threshold", "allowed"),
    [
        (0, 0, True),
        (0, 1, False),
        (1, 1, True),
        (1, 0, False),
        (2, 1, False),
        (2, 2, True),
        (3, 3, True),
        (3, 4, False),
    ],
)
def test_it_takes_two_guardians_or_the_only_one(world: GuardedWorld, count: int, threshold: int, allowed: bool) -> None:
    receipt = world.set_agents(world.agents[:count], threshold)

    assert denials(receipt) == ([] if allowed else ["recovery.threshold_invalid"])


def test_guardians_are_other_accounts_each_named_once(world: GuardedWorld) -> None:
    ben, cyd = world.ben.account, world.cyd.account

    codes = [
        denials(world.set_agents(agents, 2)) for agents in ((ben, world.ada.account), (ben, ben), (ben, cyd, bytes(32)))
    ]

    assert codes == [["recovery.agent_is_oneself"], ["recovery.agent_repeated"], ["recovery.agent_unknown"]]


def test_there_are_so_many_guardians(world: GuardedWorld) -> None:
    people = [world.person(f"guardian {number}") for number in range(AGENTS_MAX)]
    for person in people:
        world.do(person, IdentityCreated)

    assert denials(world.set_agents(tuple(person.account for person in people), AGENTS_MAX)) == []
    with pytest.raises(ValueError, match="expected 0 to 9 items, got 10"):
        world.set_agents((*(person.account for person in people), world.eve.account), 2)


def test_the_wait_is_neither_too_short_nor_too_long(world: GuardedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "RECOVERY_DELAY_BEATS_MIN", RECOVERY_DELAY_BEATS_MIN)
    low, high = RECOVERY_DELAY_BEATS_MIN, RECOVERY_DELAY_BEATS_MAX

    codes = [denials(world.set_agents(world.agents, 2, delay)) for delay in (low - 1, low, high, high + 1)]

    assert codes == [["recovery.delay_out_of_range"], [], [], ["recovery.delay_out_of_range"]]


def test_the_rules_stay_while_a_recovery_is_open(world: GuardedWorld) -> None:
    world.request(world.ben)

    assert denials(world.set_agents((), 0)) == ["recovery.is_open"]
    assert denials(world.by(PHONE, RecoveryCancelled)) == []
    assert denials(world.set_agents((), 0)) == []


# How it goes.


def test_enough_guardians_and_a_wait_give_the_account_a_new_root_key(world: GuardedWorld) -> None:
    world.by(world.ada.key, AppKeyGranted, key=APP_KEY.public, scopes=("graph",), expires_nonce=100)
    before = read_account(world.state(), world.ada.account)

    codes = [world.request(world.ben), world.request(world.dan)]
    world.wait()
    codes.append(world.complete(world.cyd))

    after = read_account(world.state(), world.ada.account)
    assert codes == [[], [], []]
    assert before is not None
    assert after is not None
    assert (after.key, after.generation, after.created_height) == (NEW.public, before.generation + 1, 0)
    assert after.rotated_nonce == read_nonce(world.state(), world.ada.account) == 3
    assert [world.admits(key) for key in (world.ada.key, PHONE, APP_KEY)] == ["event.key_revoked"] * 3
    assert world.by(NEW, AccountFollowed, target=world.ben.account).outcome == APPLIED
    assert read_recovery(world.state(), world.ada.account) == NO_RECOVERY
    assert world.state().get(keyspace.live_keys(world.ada.account)) is None


def test_the_keys_of_the_lost_generation_can_not_be_added_again(world: GuardedWorld) -> None:
    world.request(world.ben)
    world.request(world.cyd)
    world.wait()
    world.complete(world.ben)

    for key in (PHONE, world.ada.key):
        assert denials(world.by(NEW, DeviceKeyAdded, key=key.public)) == ["identity.key_revoked"]
    assert denials(world.by(NEW, DeviceKeyRevoked, key=PHONE.public)) == ["identity.key_not_live"]
    assert denials(world.by(NEW, DeviceKeyAdded, key=OTHER.public)) == []
    assert world.admits(OTHER) == "event.key_of_author"


def test_guardians_below_the_threshold_can_do_nothing(world: GuardedWorld) -> None:
    world.request(world.ben)

    again = world.request(world.ben)
    world.wait(4 * DELAY)
    completed = world.complete(world.ben)

    assert (again, completed) == (["recovery.approved_already"], ["recovery.not_approved"])
    assert world.admits(world.ada.key) == "event.key_of_author"


def test_guardians_who_name_different_keys_do_not_add_up(world: GuardedWorld) -> None:
    world.request(world.ben, NEW)
    world.request(world.cyd, OTHER)
    world.wait()

    assert world.complete(world.ben) == ["recovery.not_approved"]


def test_one_guardian_with_a_wrong_key_does_not_block_the_others(world: GuardedWorld) -> None:
    world.request(world.ben, OTHER)
    world.request(world.cyd, THIRD)
    world.request(world.dan, NEW)

    world.request(world.cyd, NEW)  # he changes his mind

    found = read_recovery(world.state(), world.ada.account)
    assert (found.key, len(found.approvals)) == (NEW.public, 3)


def test_completion_before_the_wait_is_over_is_denied(world: GuardedWorld) -> None:
    world.request(world.ben)
    world.request(world.cyd)
    world.wait(DELAY - 1)

    early = world.do(world.ben, RecoveryCompleted, account=world.ada.account)
    world.wait(1)

    assert denials(early) == ["recovery.too_early"]
    facts = next(verdict.facts for verdict in early.verdicts if not verdict.allowed)
    assert facts == {"beat": DELAY - 1, "ready_beat": DELAY}
    assert world.complete(world.ben) == []


def test_after_enough_approvals_no_other_key_can_be_named(world: GuardedWorld) -> None:
    world.request(world.ben)
    world.request(world.cyd)

    assert world.request(world.dan, OTHER) == ["recovery.approved"]


def test_only_guardians_ask_and_complete(world: GuardedWorld) -> None:
    assert world.request(world.eve) == ["recovery.not_agent"]
    own = world.by(world.ada.key, RecoveryRequested, account=world.ada.account, key=NEW.public)
    assert denials(own) == ["recovery.not_agent"]
    world.request(world.ben)
    world.request(world.cyd)
    world.wait()
    assert world.complete(world.eve) == ["recovery.not_agent"]


def test_without_guardians_or_an_open_recovery_there_is_nothing_to_do(world: GuardedWorld) -> None:
    nobody = {"account": bytes(32), "key": NEW.public}

    assert denials(world.do(world.ben, RecoveryRequested, account=world.eve.account, key=NEW.public)) == [
        "recovery.not_set_up"
    ]
    assert denials(world.do(world.ben, RecoveryRequested, **nobody)) == [
        "recovery.not_set_up",
        "recovery.account_unknown",
    ]
    assert world.complete(world.ben) == ["recovery.not_open"]
    assert denials(world.by(world.ada.key, RecoveryCancelled)) == ["recovery.not_open"]


def test_the_new_key_is_new(world: GuardedWorld) -> None:
    codes = [world.request(world.ben, key) for key in (world.ada.key, PHONE, world.eve.key)]
    world.by(world.ada.key, DeviceKeyRevoked, key=PHONE.public)
    codes.append(world.request(world.ben, PHONE))

    assert codes == [
        ["identity.key_is_root"],
        ["identity.key_exists"],
        ["identity.key_of_other_account"],
        ["identity.key_revoked"],
    ]


# The veto.


@pytest.mark.parametrize("signer", ["root", "device"])
def test_the_root_key_and_any_device_veto_until_the_end(world: GuardedWorld, signer: str) -> None:
    world.request(world.ben)
    world.request(world.cyd)
    world.wait()

    vetoed = world.by(world.ada.key if signer == "root" else PHONE, RecoveryCancelled)

    assert vetoed.outcome == APPLIED
    assert world.complete(world.ben) == ["recovery.not_open"]
    assert [world.admits(key) for key in (world.ada.key, PHONE, NEW)] == [
        "event.key_of_author",
        "event.key_of_author",
        "event.key_not_of_author",
    ]


def test_an_app_key_and_a_revoked_device_do_not_veto(world: GuardedWorld) -> None:
    world.by(world.ada.key, AppKeyGranted, key=APP_KEY.public, scopes=("identity",), expires_nonce=100)
    world.by(world.ada.key, DeviceKeyRevoked, key=PHONE.public)
    world.request(world.ben)

    receipts = [world.by(key, RecoveryCancelled) for key in (APP_KEY, PHONE)]

    assert [(receipt.outcome, receipt.verdicts[0].code) for receipt in receipts] == [
        (SKIPPED, "event.key_scope_missing"),
        (SKIPPED, "event.key_revoked"),
    ]


def test_after_a_veto_guardians_pause(world: GuardedWorld) -> None:
    world.request(world.ben)
    world.by(PHONE, RecoveryCancelled)

    paused = world.request(world.ben)
    world.wait(DELAY - 1)
    still = world.request(world.cyd)
    world.wait(1)

    assert (paused, still) == (["recovery.paused"], ["recovery.paused"])
    assert world.request(world.ben) == []


def test_the_pause_after_a_veto_is_longer_than_the_shortest_wait() -> None:
    assert RECOVERY_COOLDOWN_BEATS >= RECOVERY_DELAY_BEATS_MIN


def test_a_key_that_the_account_used_meanwhile_is_not_put_in(world: GuardedWorld) -> None:
    world.request(world.ben)
    world.request(world.cyd)
    proof = NEW.sign(world.chain.chain_id, Purpose.KEY_ROTATION, rotation_message(world.ada.account, 3))
    assert denials(world.by(world.ada.key, KeyRotated, key=NEW.public, proof=proof)) == []
    world.wait()

    in_use = world.complete(world.ben)
    proof = OTHER.sign(world.chain.chain_id, Purpose.KEY_ROTATION, rotation_message(world.ada.account, 4))
    assert denials(world.by(NEW, KeyRotated, key=OTHER.public, proof=proof)) == []
    dead = world.complete(world.ben)

    assert (in_use, dead) == (["recovery.key_used"], ["recovery.key_used"])
    assert world.admits(OTHER) == "event.key_of_author"
    assert denials(world.by(OTHER, RecoveryCancelled)) == []
