"""Roles: what each may do, who grants them, and that whoever audits or advises changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace
from ledger.access_seals import AccessLogSealed, read_seal
from ledger.draft import Draft
from ledger.events import Entry
from ledger.receipts import DENIED
from ledger.roles import (
    GOVERNANCE,
    PLATFORM,
    ROLES_MAX,
    HeldRole,
    RoleGranted,
    RoleRevoked,
    grant_role_writes,
    has_role,
    judge_grant,
    judge_role_read,
    judge_role_scope,
    may_grant,
    read_grant,
    read_roles,
    revoke_role_writes,
    space_of,
)
from ledger.scopes import AUDITOR, GRANTED, MODERATOR, OPEN_AGI, OPERATOR, ROLE_SCOPES, USER, WITHHELD, scope_of
from ledger.state import encode_number
from tests.ledger.world import KINDS, REGISTRY, Person, World

SPACE, OTHER_SPACE = b"s" * 32, b"o" * 32
POST = ("content", "content.PostPublished")
HIDE = ("moderation", "moderation.PostHiddenInCommunity")


class RoleWorld(World):
    """A world with writes on top of its state: what a vote and a space, which are not built here, would have left."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.view = Draft(self.state())
        self.beat, self.epoch = 0, 0

    def at_beat(self, beat: int) -> None:
        self.beat = beat
        self.view.put(keyspace.beat(), encode_number(beat))

    def vote(self, person: Person, role: str, space: bytes = PLATFORM, expires_beat: int | None = None) -> None:
        """Grant a role by governance."""
        writes = grant_role_writes(self.view, role, person.account, space, GOVERNANCE, 1, expires_beat)
        self.view.write(list(writes))

    def found(self, person: Person, space: bytes = SPACE) -> None:
        self.view.put(keyspace.space_founder(space), person.account)

    def judge(self, person: Person, body: type[Any], **fields: Any) -> list[str]:
        """Run an event's guards, and its transition where they allow it; return the codes of the denials."""
        kind = KINDS[body]
        entry = Entry(
            event_id=bytes(32), author=person.account, key=person.key.public, nonce=1, body=body(**fields),
            payload=None, height=7, log_index=0, beat=self.beat, time_ms=0, chain_id=self.chain.chain_id,
            epoch=self.epoch,
        )  # fmt: skip
        verdicts = [guard(self.view, entry) for guard in kind.guards]
        denials = [verdict.code for verdict in verdicts if not verdict.allowed]
        if not denials:
            self.view.write(kind.apply(self.view, entry))
        return denials

    def grant(
        self, granter: Person, receiver: Person, role: str = MODERATOR, space: bytes = SPACE,
        expires_beat: int | None = None,
    ) -> list[str]:  # fmt: skip
        return self.judge(
            granter, RoleGranted, account=receiver.account, role=role, space=space, expires_beat=expires_beat
        )

    def revoke(self, revoker: Person, holder: Person, role: str = MODERATOR, space: bytes = SPACE) -> list[str]:
        return self.judge(revoker, RoleRevoked, account=holder.account, role=role, space=space)

    def write(self, person: Person, module: str, name: str, space: bytes = PLATFORM) -> str:
        """Return USER or the role by which somebody may write, or why not."""
        verdict = judge_role_scope(self.view, person.account, module, name, space)
        assert verdict.allowed == (verdict.code == "ROLE_HELD")
        return str(verdict.facts["role"]) if verdict.allowed else verdict.code


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RoleWorld]:
    world = RoleWorld(tmp_path / "ledger")
    yield world
    world.close()


# What roles allow.


def test_every_account_is_a_user_and_acts_for_itself(world: RoleWorld) -> None:
    assert has_role(world.view, world.ada.account, USER)
    for module in ("content", "graph", "identity", "economics", "appeals", "governance"):
        assert world.write(world.ada, module, f"{module}.SomethingHappened") == USER


@pytest.mark.parametrize("module", ["moderation", "infra", "audit", "agi"])
def test_what_needs_a_role_is_denied_without_it(world: RoleWorld, module: str) -> None:
    assert world.write(world.ada, module, f"{module}.SomethingHappened") == "ROLE_NOT_GRANTED"


def test_what_no_role_lists_is_denied_to_all(world: RoleWorld) -> None:
    for role in GRANTED:
        world.vote(world.ada, role)

    assert world.write(world.ben, "guards", "guards.GuardRegistered") == "ROLE_SCOPE_MISSING"
    assert world.write(world.ada, "guards", "guards.GuardRegistered") == "ROLE_SCOPE_MISSING"
    assert world.write(world.ben, "access", "access.RoleDefinitionChanged") == "ROLE_SCOPE_MISSING"


def test_an_auditor_s_post_is_refused(world: RoleWorld) -> None:
    world.vote(world.ada, AUDITOR)

    verdict = judge_role_scope(world.view, world.ada.account, *POST)

    assert (verdict.allowed, verdict.code) == (False, "ROLE_SCOPE_MISSING")
    assert verdict.facts == {"role": AUDITOR, "scope": "content"}


@pytest.mark.parametrize(("role", "own"), [(AUDITOR, "audit"), (OPEN_AGI, "agi")])
def test_an_exclusive_role_writes_its_own_records_and_nothing_else(world: RoleWorld, role: str, own: str) -> None:
    for each in GRANTED if role == AUDITOR else (OPERATOR, MODERATOR, OPEN_AGI):
        world.vote(world.ada, each, SPACE if each == MODERATOR else PLATFORM)
    world.found(world.ada)

    modules = sorted({kind.module for kind in REGISTRY.all()} | {"appeals", "governance", "infra", "moderation"})
    written = {module: world.write(world.ada, module, f"{module}.SomethingHappened", SPACE) for module in modules}

    assert written == dict.fromkeys(modules, "ROLE_SCOPE_MISSING")
    assert world.write(world.ada, own, f"{own}.SomethingHappened") == role
    assert world.grant(world.ada, world.ben) == ["ROLE_SCOPE_MISSING"]


def test_two_exclusive_roles_keep_both_their_records(world: RoleWorld) -> None:
    world.vote(world.ada, AUDITOR)
    world.vote(world.ada, OPEN_AGI)

    assert world.write(world.ada, "audit", "audit.OpinionFiled") == AUDITOR
    assert world.write(world.ada, "agi", "agi.AgiAdvisoryFiled") == OPEN_AGI


def test_an_auditor_keeps_his_keys_and_may_resign(world: RoleWorld) -> None:
    world.vote(world.ada, AUDITOR)

    for name in ("identity.KeyRotated", "identity.RecoveryAgentsSet", "identity.RecoveryCancelled"):
        assert world.write(world.ada, "identity", name) == USER
    assert world.write(world.ada, "identity", "identity.ProfileUpdated") == "ROLE_SCOPE_MISSING"
    assert world.write(world.ada, "identity", "identity.RecoveryRequested") == "ROLE_SCOPE_MISSING"
    assert world.write(world.ada, "access", "access.RoleRevoked") == USER
    assert world.revoke(world.ada, world.ada, AUDITOR, PLATFORM) == []
    assert world.write(world.ada, *POST) == USER


def test_machines_do_not_decide_their_own_proposals(world: RoleWorld) -> None:
    world.vote(world.ada, OPEN_AGI)

    assert world.write(world.ada, "agi", "agi.AgiProposalDecided") == "ROLE_SCOPE_MISSING"
    assert world.write(world.ben, "agi", "agi.AgiProposalDecided") == USER
    assert world.write(world.ben, "agi", "agi.AgiProposalFiled") == "ROLE_NOT_GRANTED"


def test_a_moderator_acts_in_his_space_only(world: RoleWorld) -> None:
    world.vote(world.ada, MODERATOR, SPACE)
    world.vote(world.ben, MODERATOR)

    assert world.write(world.ada, *HIDE, SPACE) == MODERATOR
    assert world.write(world.ada, *HIDE, OTHER_SPACE) == "ROLE_SPACE_MISMATCH"
    assert world.write(world.ada, *HIDE) == "ROLE_SPACE_MISMATCH"
    assert [world.write(world.ben, *HIDE, space) for space in (SPACE, OTHER_SPACE, PLATFORM)] == [MODERATOR] * 3
    assert world.write(world.ada, *POST) == USER


def test_a_founder_moderates_his_space(world: RoleWorld) -> None:
    world.found(world.ada)

    assert world.write(world.ada, *HIDE, SPACE) == MODERATOR
    assert world.write(world.ada, *HIDE, OTHER_SPACE) == "ROLE_NOT_GRANTED"
    assert world.write(world.ben, *HIDE, SPACE) == "ROLE_NOT_GRANTED"


def test_an_operator_stays_out_of_ranking_and_moderation(world: RoleWorld) -> None:
    world.vote(world.ada, OPERATOR)
    world.vote(world.ada, MODERATOR)
    world.found(world.ada)

    assert world.write(world.ada, "infra", "infra.SnapshotPublished") == OPERATOR
    assert world.write(world.ada, "access", "access.AccessLogSealed") == OPERATOR
    assert world.write(world.ada, "ranking", "ranking.RankingChallengeFiled") == "ROLE_SCOPE_MISSING"
    assert world.write(world.ada, *HIDE, SPACE) == "ROLE_SCOPE_MISSING"
    assert world.write(world.ben, "ranking", "ranking.RankingChallengeFiled") == USER


def test_a_limited_duty_ends_after_its_last_beat(world: RoleWorld) -> None:
    world.vote(world.ada, AUDITOR, expires_beat=5)
    world.vote(world.ben, MODERATOR, SPACE, expires_beat=5)

    seen = []
    for beat in (5, 6):
        world.at_beat(beat)
        seen.append((world.write(world.ada, *POST), world.write(world.ben, *HIDE, SPACE)))

    assert seen == [("ROLE_SCOPE_MISSING", MODERATOR), (USER, "ROLE_EXPIRED")]
    assert not has_role(world.view, world.ada.account, AUDITOR)


def test_reading_follows_the_roles_too(world: RoleWorld) -> None:
    world.vote(world.ada, AUDITOR)
    world.vote(world.ben, OPERATOR)

    def read(person: Person, scope: str) -> str:
        return judge_role_read(world.view, person.account, scope).code

    assert [read(world.ada, scope) for scope in ("metadata", "guards", "roles", "export", "feed")] == ["ROLE_HELD"] * 5
    assert [read(world.ben, scope) for scope in ("health", "node")] == ["ROLE_HELD"] * 2
    assert [read(world.ben, scope) for scope in WITHHELD[OPERATOR]] == ["ROLE_SCOPE_MISSING"] * 3
    assert read(world.cyd, "export") == "ROLE_NOT_GRANTED"
    assert read(world.cyd, "secrets") == "ROLE_SCOPE_MISSING"


def test_every_event_that_accounts_may_sign_is_in_the_scopes_of_a_role() -> None:
    listed = {scope for scopes in ROLE_SCOPES.values() for scope in scopes.write}
    signed = [kind for kind in REGISTRY.all() if not kind.derived]

    assert [kind.name for kind in signed if scope_of(kind.module, kind.name) not in listed] == []


def test_the_space_of_an_event_is_its_field_space() -> None:
    assert space_of(RoleRevoked(bytes(32), MODERATOR, SPACE)) == SPACE
    assert space_of(object()) == PLATFORM


# Who grants.


def test_an_account_can_not_grant_a_role_without_authority(world: RoleWorld) -> None:
    fields = {"account": world.ben.account, "space": SPACE, "expires_beat": None}

    receipt = world.do(world.ada, RoleGranted, role=MODERATOR, **fields)

    assert receipt.outcome == DENIED
    assert {verdict.code for verdict in receipt.verdicts if not verdict.allowed} == {"ROLE_NOT_GRANTED"}
    assert world.grant(world.ada, world.ben, "EMPEROR", PLATFORM) == ["ROLE_UNKNOWN"]


def test_a_founder_grants_moderators_and_they_grant_more(world: RoleWorld) -> None:
    world.found(world.ada)
    world.view.put(keyspace.account(world.cyd.account), world.view.get(keyspace.account(world.ben.account)) or b"")

    by_founder = world.grant(world.ada, world.ben, expires_beat=100)
    by_moderator = world.grant(world.ben, world.cyd)

    assert (by_founder, by_moderator) == ([], [])
    grant = read_grant(world.view, world.ben.account, MODERATOR, SPACE)
    assert grant is not None
    assert (grant.granter, grant.height, grant.expires_beat) == (world.ada.account, 7, 100)
    assert read_roles(world.view, world.ben.account) == (HeldRole(100, MODERATOR, SPACE),)
    assert world.write(world.cyd, *HIDE, SPACE) == MODERATOR


def test_authority_in_one_space_is_none_in_another(world: RoleWorld) -> None:
    world.found(world.ada)
    world.vote(world.ben, MODERATOR, OTHER_SPACE)

    assert world.grant(world.ada, world.ben, space=OTHER_SPACE) == ["ROLE_NOT_GRANTED", "ROLE_EXISTS"]
    assert world.grant(world.ben, world.ada) == ["ROLE_SPACE_MISMATCH"]


def test_only_governance_grants_for_the_platform(world: RoleWorld) -> None:
    world.found(world.ada)
    world.vote(world.ada, MODERATOR)
    world.vote(world.ben, MODERATOR)

    for role in (AUDITOR, OPERATOR, OPEN_AGI):
        assert world.grant(world.ada, world.ben, role, PLATFORM) == ["ROLE_SCOPE_MISSING"]
        assert world.grant(world.ada, world.ben, role, SPACE) == ["ROLE_SCOPE_MISSING"]
    assert world.grant(world.ada, world.ben, MODERATOR, PLATFORM) == ["ROLE_SCOPE_MISSING", "ROLE_EXISTS"]
    assert may_grant(world.view, world.ben.account, MODERATOR, SPACE).code == "ROLE_SPACE_MISMATCH"


def test_nobody_grants_to_himself(world: RoleWorld) -> None:
    world.found(world.ada)

    assert world.grant(world.ada, world.ada) == ["ROLE_SELF_GRANT"]
    verdict = judge_grant(world.view, MODERATOR, world.ada.account, SPACE, world.ada.account)
    assert verdict.code == "ROLE_SELF_GRANT"


def test_a_role_is_granted_to_an_existing_account_once_and_for_the_future(world: RoleWorld) -> None:
    world.found(world.ada)
    world.at_beat(9)

    assert world.grant(world.ada, world.cyd) == ["ROLE_ACCOUNT_UNKNOWN"]
    assert world.grant(world.ada, world.ben, expires_beat=8) == ["ROLE_EXPIRED"]
    assert world.grant(world.ada, world.ben, expires_beat=9) == []
    assert world.grant(world.ada, world.ben) == ["ROLE_EXISTS"]
    world.at_beat(10)
    assert world.grant(world.ada, world.ben) == []
    assert read_roles(world.view, world.ben.account) == (HeldRole(None, MODERATOR, SPACE),)


def test_an_account_holds_so_many_roles_and_expired_ones_make_room(world: RoleWorld) -> None:
    world.found(world.ada)
    spaces = [bytes([number]) * 32 for number in range(1, ROLES_MAX + 1)]
    for number, space in enumerate(spaces):
        world.vote(world.ben, MODERATOR, space, expires_beat=3 if number == 0 else None)

    full = world.grant(world.ada, world.ben)
    voted = judge_grant(world.view, AUDITOR, world.ben.account, PLATFORM, GOVERNANCE).code
    world.at_beat(4)
    later = world.grant(world.ada, world.ben)

    assert (full, voted, later) == (["ROLE_LIST_FULL"], "ROLE_LIST_FULL", [])
    assert len(read_roles(world.view, world.ben.account)) == ROLES_MAX
    assert read_grant(world.view, world.ben.account, MODERATOR, spaces[0]) is None


@pytest.mark.parametrize(("role", "space"), [("EMPEROR", PLATFORM), (USER, PLATFORM), (AUDITOR, SPACE)])
def test_what_can_not_be_granted_is_not_granted_by_a_vote_either(world: RoleWorld, role: str, space: bytes) -> None:
    verdict = judge_grant(world.view, role, world.ada.account, space, GOVERNANCE)

    assert verdict.code == "ROLE_UNKNOWN"
    assert list(grant_role_writes(world.view, role, world.ada.account, space, GOVERNANCE, 1)) == []


def test_a_vote_grants_where_nothing_speaks_against_it(world: RoleWorld) -> None:
    assert judge_grant(world.view, AUDITOR, world.ada.account, PLATFORM, GOVERNANCE).code == "ROLE_GRANTABLE"
    assert judge_grant(world.view, AUDITOR, world.cyd.account, PLATFORM, GOVERNANCE).code == "ROLE_ACCOUNT_UNKNOWN"


# Who takes back.


def test_the_granter_and_the_founder_take_a_role_back_and_nobody_else(world: RoleWorld) -> None:
    world.vote(world.cyd, MODERATOR, SPACE)  # no account: nothing happens
    world.found(world.cyd)
    world.vote(world.ada, MODERATOR, SPACE)
    assert world.grant(world.ada, world.ben) == []

    assert world.revoke(world.ben, world.ada) == ["ROLE_NOT_GRANTER"]
    assert world.revoke(world.ada, world.ben) == []
    assert world.revoke(world.ada, world.ben) == ["ROLE_NOT_GRANTED", "ROLE_NOT_GRANTER"]
    assert world.revoke(world.cyd, world.ada) == []
    for person in (world.ada, world.ben):
        assert read_roles(world.view, person.account) == ()
        assert world.view.get(keyspace.roles_of(person.account)) is None


def test_who_lost_the_authority_can_not_take_back_what_he_granted(world: RoleWorld) -> None:
    world.vote(world.ada, MODERATOR, SPACE)
    world.grant(world.ada, world.ben)
    world.view.write(list(revoke_role_writes(world.view, MODERATOR, world.ada.account, SPACE)))

    assert world.revoke(world.ada, world.ben) == ["ROLE_NOT_GRANTER"]


def test_a_holder_resigns(world: RoleWorld) -> None:
    world.vote(world.ada, MODERATOR, SPACE)
    world.vote(world.ada, MODERATOR, OTHER_SPACE)

    assert world.revoke(world.ada, world.ada) == []
    assert read_roles(world.view, world.ada.account) == (HeldRole(None, MODERATOR, OTHER_SPACE),)


def test_a_vote_takes_back(world: RoleWorld) -> None:
    world.vote(world.ada, AUDITOR)

    writes = list(revoke_role_writes(world.view, AUDITOR, world.ada.account, PLATFORM))
    world.view.write(writes)

    assert world.write(world.ada, *POST) == USER
    assert list(revoke_role_writes(world.view, AUDITOR, world.ada.account, PLATFORM)) == []


# Seals of access logs.


def seal(world: RoleWorld, person: Person, epoch: int) -> list[str]:
    return world.judge(person, AccessLogSealed, count=3, epoch=epoch, node=b"n" * 32, root=b"r" * 32)


def test_an_operator_seals_each_epoch_once_and_none_that_can_still_grow(world: RoleWorld) -> None:
    world.vote(world.ada, OPERATOR)
    world.epoch = 4

    codes = [seal(world, world.ada, epoch) for epoch in (2, 2, 1, 4, 5, 3)]

    full = [[], ["ACCESS_EPOCH_SEALED"], ["ACCESS_EPOCH_SEALED"], ["ACCESS_EPOCH_NOT_OVER"], ["ACCESS_EPOCH_NOT_OVER"]]
    assert codes == [*full, []]
    assert read_seal(world.view, world.ada.account) == AccessLogSealed(3, 3, b"n" * 32, b"r" * 32)


def test_only_an_operator_seals(world: RoleWorld) -> None:
    world.epoch = 4

    assert seal(world, world.ada, 3) == ["ROLE_NOT_GRANTED"]
