"""Every code that a guard lists is given by it, with a reason, under a policy that the state has; and no other is.

What correct rules never do is done here by event types with faulty transitions, or by numbers that settlement would
never compute.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guards.economics import EMISSION_CODES
from ledger import judgement, keyspace, settlement
from ledger.actions import MULTIPLIER_MAX, measure_action
from ledger.conduct import Circuit, Conduct
from ledger.draft import Draft
from ledger.emission import (
    ADDRESS_REWARD_MAX,
    CHR_EPOCH_MAX,
    CHR_SUPPLY_MAX,
    NOD_EPOCH_MAX,
    PSI_MAX,
    SUPPLY_CHANGE_FROM,
    Emission,
    judge_emission,
    judge_nod_votes,
)
from ledger.endorsements import LIKE
from ledger.events import Endorsement, Entry, View, Write
from ledger.judgement import GuardStack, Judged
from ledger.payloads import Payload
from ledger.policies import PROTOCOL, Policies, read_version
from ledger.primitives.encoding import encode
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import encode_record
from ledger.roles import PLATFORM, HeldRole, HeldRoles
from ledger.sanctions import Sanction, suspension_key
from ledger.settlement import Plan
from ledger.state import encode_number
from ledger.tokens import ATR, ATR_STORE, CHR, FLX, FLX_BALANCE_ATOMS_MAX, NOD, RES, TOKENS, issue, move, read_balance
from ledger.transfers import TokensTransferred
from ledger.verdict import CRITICAL, ERROR, WARNING, Verdict, allow, graded
from social.reactions import ContentLiked
from tests.economy.town import Town, by_type, payments
from tests.guards.court import GUARDS, STACK, Court, Probed, changed, make_probe, of_guard
from tests.ledger.world import KINDS, id_of

Case = Callable[[Court], Iterable[Verdict]]
TRANSFER = KINDS[TokensTransferred]
SPACE, OTHER_SPACE = b"s" * 32, b"o" * 32


# The constitution: faulty transitions, and roles.


def drafted(write: Callable[[Draft, Court], None], **changes: Any) -> Case:
    """A transition that writes this."""

    def case(court: Court) -> Iterable[Verdict]:
        def apply(view: View, entry: Entry[Any]) -> Iterator[Write]:
            draft = Draft(view)
            write(draft, court)
            return draft.writes()

        return court.judge(make_probe(apply), Probed(), **changes).verdicts

    return case


def moving(token: str) -> Case:
    def write(draft: Draft, court: Court) -> None:
        move(draft, token, court.people[1], court.people[2], 1)

    def case(court: Court) -> Iterable[Verdict]:
        court.draft.put(keyspace.balance(token, court.people[1]), encode_number(5))
        return drafted(write)(court)

    return case


def putting(key: Callable[[Court], bytes], value: bytes, **changes: Any) -> Case:
    return drafted(lambda draft, court: draft.put(key(court), value), **changes)


def as_holder(role: HeldRole, name: str, space: bytes = bytes(32), beat: int = 0) -> Case:
    def case(court: Court) -> Iterable[Verdict]:
        court.draft.put(keyspace.roles_of(court.people[0]), encode_record(HeldRoles((role,))))
        court.draft.put(keyspace.beat(), encode_number(beat))
        return court.judge(make_probe(name=name), Probed(space), beat=beat).verdicts

    return case


def mint_at_once(draft: Draft, court: Court) -> None:
    issue(draft, FLX, court.people[1], SCALE)


def unissue(draft: Draft, court: Court) -> None:
    draft.put(keyspace.issued(FLX), encode_number(1))


SECRET = "a text of some length that nobody may keep"
CONSTITUTION: dict[str, Case] = {
    "CONSTITUTION_HELD": lambda court: court.judge(make_probe(), Probed()).verdicts,
    "INVARIANT_VIOLATION_NOD_TRANSFER": moving(NOD),
    "K1_MINTED": drafted(mint_at_once),
    "K1_NOT_CONSERVED": putting(lambda court: keyspace.balance(FLX, court.people[2]), encode_number(2_000 * SCALE)),
    "K2_OVERFLOW": putting(lambda court: keyspace.balance(FLX, court.people[2]), encode(-1)),
    "K3_NOT_TRANSFERABLE": moving(CHR),
    "K6_TIME_GOES_BACK": drafted(unissue),
    "K10_POLICY_WITHOUT_PROCEDURE": putting(lambda court: keyspace.policy_count("energy"), encode_number(2)),
    "K11_TEXT_ON_LEDGER": putting(
        lambda court: b"sp" + court.people[0], b"kept: " + SECRET.encode(), payload=Payload(bytes(16), SECRET)
    ),
    "ROLE_EXPIRED": as_holder(HeldRole(5, "MODERATOR", SPACE), "moderation.Probed", SPACE, beat=6),
    "ROLE_NOT_GRANTED": lambda court: court.judge(make_probe(name="moderation.Probed"), Probed()).verdicts,
    "ROLE_SCOPE_MISSING": as_holder(HeldRole(None, "AUDITOR", bytes(32)), "content.Probed"),
    "ROLE_SPACE_MISMATCH": as_holder(HeldRole(None, "MODERATOR", OTHER_SPACE), "moderation.Probed", SPACE),
}


# Economics: what acting costs, then what an epoch may pay.


def as_rich(atoms: int) -> Case:
    def case(court: Court) -> Iterable[Verdict]:
        court.draft.put(keyspace.balance(ATR, court.people[0]), encode_number(atoms))
        return court.judge_post().verdicts

    return case


def measured(**changes: Any) -> Case:
    """What the rules of an action would never measure."""

    def case(court: Court) -> Iterable[Verdict]:
        def measure_otherwise(*arguments: Any) -> Any:
            return changed(measure_action(*arguments), **changes)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judgement, "measure_action", measure_otherwise)
            return court.judge_post().verdicts

    return case


def burst(court: Court) -> Iterable[Verdict]:
    court.set_standing(court.people[0], actions=100, multiplier=MULTIPLIER_MAX, action_beat=1, past_actions=(10,))
    return court.judge_post(beat=2, reference_beat=2).verdicts


MUCH = CHR_EPOCH_MAX
GOOD = Emission(
    chr_pool=MUCH, flx_pool=MUCH // 10, chr_issued=MUCH // 2, flx_issued=MUCH // 20, chr_supply=10**8 * SCALE,
    flx_supply=10**7 * SCALE, chr_per_account_max=MUCH // 20, flx_per_account_max=MUCH // 200,
    flx_balance_max=FLX_BALANCE_ATOMS_MAX, psi_delta_max=SCALE // 10, psi_delta_min=0, psi_balance_max=PSI_MAX,
    atr_balance_max=ATR_STORE, reserve_issued=5, reserve_withheld=5, nod_pool=100, nod_pool_max=100, nod_issued=100,
    nod_share_max=30, nod_nodes=4,
)  # fmt: skip
"""An epoch that goes to every limit and not over it."""
BROKEN: dict[str, dict[str, int]] = {
    "ECON_ADDRESS_REWARD_EXCEEDED": {"flx_per_account_max": ADDRESS_REWARD_MAX + 1},
    "ECON_ATR_ACCUMULATION_EXCEEDED": {"atr_balance_max": ATR_STORE + 1},
    "ECON_CHR_EMISSION_CAP_EXCEEDED": {"chr_issued": CHR_EPOCH_MAX + 1},
    "ECON_CHR_REWARD_ABOVE_MAX": {"chr_pool": MUCH // 2 - 1},
    "ECON_CHR_REWARD_BELOW_MIN": {"chr_issued": -1},
    "ECON_CHR_SATURATION_EXCEEDED": {"chr_supply": CHR_SUPPLY_MAX - MUCH // 2 + 1},
    "ECON_FLX_FRACTION_ABOVE_MAX": {"flx_issued": CHR_EPOCH_MAX // 5 + 1},
    "ECON_FLX_PER_USER_EXCEEDED": {"flx_balance_max": FLX_BALANCE_ATOMS_MAX + 1},
    "ECON_NOD_ALLOCATION_ABOVE_MAX": {"nod_pool": 101},
    "ECON_NOD_EPOCH_ISSUANCE_EXCEEDED": {"nod_issued": NOD_EPOCH_MAX + 1},
    "ECON_NOD_INSUFFICIENT_ACTIVE_NODES": {"nod_nodes": 3},
    "ECON_NOD_REWARD_SHARE_EXCEEDED": {"nod_share_max": 31},
    "ECON_PSI_DELTA_ABOVE_MAX": {"psi_delta_max": SCALE // 10 + 1},
    "ECON_PSI_DELTA_BELOW_MIN": {"psi_delta_min": -1},
    "ECON_PSI_SATURATION_EXCEEDED": {"psi_balance_max": PSI_MAX + 1},
    "ECON_RES_REWARD_EXCEEDED": {"reserve_issued": 6},
    "ECON_SINGLE_EVENT_IMPACT_EXCEEDED": {"chr_per_account_max": MUCH // 20 + 1},
    "ECON_SUPPLY_RATIO_CHANGE_EXCEEDED": {"flx_supply": SUPPLY_CHANGE_FROM, "flx_issued": SUPPLY_CHANGE_FROM // 50 + 1},
}
"""For each code, the smallest change of GOOD that is over the limit."""


def emitted(code: str) -> Case:
    return lambda court: judge_emission(replace(GOOD, **BROKEN[code]), court.policies)


def emitted_under(name: str, **changes: Any) -> Case:
    """A limit of the policy itself: its legal range lies inside, so only other software has such a policy."""

    def case(court: Court) -> Iterable[Verdict]:
        policies = court.policies
        return judge_emission(GOOD, replace(policies, **{name: replace(getattr(policies, name), **changes)}))

    return case


ECONOMICS: dict[str, Case] = {
    "ECON_ATR_BURST": burst,
    "ECON_ATR_COST_MULTIPLIER_EXCEEDED": measured(multiplier=MULTIPLIER_MAX + 1),
    "ECON_ATR_EXHAUSTED": as_rich(0),
    "ECON_FLX_FRACTION_BELOW_MIN": emitted_under("rewards", flx_fraction=SCALE // 100 - 1),
    "ECON_NOD_ALLOCATION_BELOW_MIN": emitted_under("nod", fraction=SCALE // 100 - 1),
    "ECON_NOD_VOTING_POWER_EXCEEDED": lambda court: judge_nod_votes([31, 30, 30, 30], court.policies),
    "ECON_WITHIN_LIMITS": as_rich(ATR_STORE),
    **{code: emitted(code) for code in BROKEN},
}


# Safety and sybil: posts, transfers and endorsements.


def assessed(**scores: int) -> Case:
    return lambda court: court.judge_post(assessment=scores).verdicts


def blocked(court: Court) -> Iterable[Verdict]:
    policies = court.policies
    strict = replace(policies, safety=replace(policies.safety, blocked_hate=95))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judgement, "read_policies", lambda view: strict)
        return court.judge_post(assessment={"hate": 95}).verdicts


SAFETY: dict[str, Case] = {
    "SAFETY_BLOCKED": blocked,
    "SAFETY_HIDDEN": assessed(hate=90),
    "SAFETY_MODEL_OUTDATED": assessed(model=99),
    "SAFETY_NOTHING_TO_JUDGE": lambda court: court.judge(make_probe(), Probed()).verdicts,
    "SAFETY_VISIBLE": assessed(hate=59, offensive=79),
    "SAFETY_WARNED": assessed(offensive=80),
}


def as_someone(judge: Callable[[Court], Judged], **changes: Any) -> Case:
    def case(court: Court) -> Iterable[Verdict]:
        court.set_standing(court.people[0], **changes)
        return judge(court).verdicts

    return case


def endorsing(court: Court) -> Judged:
    probe = make_probe(
        name="graph.Probed", weight=SCALE // 10, endorses=lambda view, entry: Endorsement(LIKE, b"i" * 32, b"a" * 32)
    )  # fmt: skip
    return court.judge(probe, Probed())


def transferring(court: Court) -> Judged:
    return court.judge(TRANSFER, TokensTransferred(atoms=SCALE, to=court.people[1], token=FLX))


SYBIL: dict[str, Case] = {
    "SYBIL_BELOW_SURVIVAL": as_someone(Court.judge_post, s_chr=SCALE // 10),
    "SYBIL_CLEAR": lambda court: court.judge_post().verdicts,
    "SYBIL_NEAR_LIMIT": as_someone(endorsing, endorsements=99),
    "SYBIL_POST_RATE": as_someone(Court.judge_post, posts=10),
    "SYBIL_STANDING_TOO_LOW": lambda court: transferring(court).verdicts,
    "SYBIL_VOTE_RATE": as_someone(endorsing, endorsements=100),
}


# Sanctions: suspensions, and what a decision holds.


def suspended(court: Court) -> Iterable[Verdict]:
    key = suspension_key(PLATFORM, court.people[0])
    court.draft.put(key, encode_record(Sanction(bytes(32), False, 64)))
    return court.judge_post(beat=63).verdicts


def spending_what_is_held(court: Court) -> Iterable[Verdict]:
    court.draft.put(keyspace.moderation("f", court.people[1]), encode_number(5))
    return moving(FLX)(court)


SANCTIONS: dict[str, Case] = {
    "SANCTION_FLX_HELD": spending_what_is_held,
    "SANCTION_SUSPENDED": suspended,
}


# AEGIS: what the others let pass.


def let_pass(*severities: str) -> Case:
    """The guards let findings of these severities pass."""

    def case(court: Court) -> Iterable[Verdict]:
        found = [graded(allow(f"FOUND_{number}", "Found."), each) for number, each in enumerate(severities)]
        guard = replace(GUARDS["safety"], judge=lambda case: found)
        stack = GuardStack((guard,), STACK.meta, STACK.decide)
        return court.judge(make_probe(), Probed(), stack=stack).verdicts

    return case


def quarantined(court: Court) -> Iterable[Verdict]:
    court.draft.put(keyspace.conduct(court.people[0]), encode_record(Conduct(0, 0, 64, 1)))
    return court.judge_post(beat=63).verdicts


def frozen(court: Court) -> Iterable[Verdict]:
    court.draft.put(keyspace.circuit("content"), encode_record(Circuit(1, "CIR-511", 1)))
    return court.judge_post().verdicts


AEGIS: dict[str, Case] = {
    "AEGIS_ACTOR_QUARANTINED": quarantined,
    "AEGIS_CLEAR": let_pass(ERROR, WARNING, WARNING),
    "AEGIS_CRITICAL": let_pass(CRITICAL),
    "AEGIS_ERRORS_TOGETHER": let_pass(ERROR, WARNING, WARNING, WARNING),
    "AEGIS_MODULE_FROZEN": frozen,
}

CASES = {
    "aegis": AEGIS, "constitution": CONSTITUTION, "economics": ECONOMICS, "safety": SAFETY, "sanctions": SANCTIONS,
    "sybil": SYBIL,
}  # fmt: skip
TABLE = [(guard, code) for guard, cases in sorted(CASES.items()) for code in sorted(cases)]


@pytest.mark.parametrize(("guard", "code"), TABLE, ids=[code for _, code in TABLE])
def test_a_code_is_reached_with_a_reason_and_a_policy_of_the_state(guard: str, code: str, court: Court) -> None:
    verdicts = [verdict for verdict in CASES[guard][code](court) if verdict.guard == GUARDS[guard].cite]

    found = [verdict for verdict in verdicts if verdict.code == code]
    assert found, [verdict.code for verdict in verdicts]
    assert {verdict.code for verdict in verdicts} <= set(GUARDS[guard].codes)
    for verdict in found:
        assert verdict.because.endswith(".")
        assert "allowed" in GUARDS[guard].codes[code] or verdict.allowed == (code in PLAIN)
        assert verdict.policy == PROTOCOL or is_known(court, verdict.policy)
        assert verdict.policy == expected_policy(court, guard, code)


PLAIN = {
    "AEGIS_CLEAR", "CONSTITUTION_HELD", "ECON_WITHIN_LIMITS", "SAFETY_NOTHING_TO_JUDGE", "SAFETY_VISIBLE", "SYBIL_CLEAR"
}  # fmt: skip
"""Codes that allow and find nothing."""


def is_known(court: Court, policy: str) -> bool:
    name, _, version = policy.partition("@")
    return read_version(court.draft, name, int(version)) is not None


def expected_policy(court: Court, guard: str, code: str) -> str:
    """The policy that holds the limit: the guard's, unless an emission code says otherwise."""
    if code in EMISSION_CODES:
        name = {"ECON_FLX_FRACTION_BELOW_MIN": "rewards", "ECON_PSI_DELTA_ABOVE_MAX": "rewards",
                "ECON_NOD_ALLOCATION_ABOVE_MAX": "nod", "ECON_NOD_ALLOCATION_BELOW_MIN": "nod"}.get(code)  # fmt: skip
        return PROTOCOL if name is None else court.policies.cite[name]
    return court.policies.cite.get(GUARDS[guard].policy, PROTOCOL)


def test_the_table_has_every_listed_code_and_no_other() -> None:
    assert {name: sorted(cases) for name, cases in CASES.items()} == {
        guard.name: sorted(guard.codes) for guard in STACK.all()
    }


def test_an_epoch_at_every_limit_breaks_none(court: Court) -> None:
    assert judge_emission(GOOD, court.policies) == []


@pytest.mark.parametrize("code", sorted(BROKEN))
def test_the_numbers_of_an_emission_verdict_show_the_excess(code: str, court: Court) -> None:
    verdict = next(each for each in judge_emission(replace(GOOD, **BROKEN[code]), court.policies) if each.code == code)

    assert set(verdict.facts) == {"found", "limit"}
    below = ("BELOW_MIN", "INSUFFICIENT")
    found, limit = int(verdict.facts["found"]), int(verdict.facts["limit"])
    assert found < limit if any(word in code for word in below) else found > limit


def test_the_lower_limits_of_energy_are_judged_at_the_action_too(court: Court) -> None:
    verdicts = as_rich(ATR_STORE + 1)(court)

    assert "ECON_ATR_ACCUMULATION_EXCEEDED" in {verdict.code for verdict in verdicts if not verdict.allowed}


@pytest.mark.parametrize("token", TOKENS)
def test_of_the_tokens_only_flx_moves(token: str, court: Court) -> None:
    verdicts = list(moving(token)(court))

    assert all(verdict.allowed for verdict in verdicts) == (token == FLX)
    assert read_balance(court.draft, RES, court.people[1]) in (0, 5)


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda draft, court: draft.put(keyspace.nonce(court.people[0]), encode_number(2)), "K6_TIME_GOES_BACK"),
        (lambda draft, court: draft.put(keyspace.beat(), encode_number(9)), "K6_TIME_GOES_BACK"),
        (lambda draft, court: draft.put(keyspace.policies(), b"\x80"), "K10_POLICY_WITHOUT_PROCEDURE"),
        (lambda draft, court: draft.put(keyspace.policy_version("nod", 1), b"\x80"), "K10_POLICY_WITHOUT_PROCEDURE"),
        (lambda draft, court: issue(draft, CHR, court.people[0], 1), "K1_MINTED"),
        (lambda draft, court: draft.put(keyspace.balance("XXX", court.people[0]), encode_number(1)), "K2_OVERFLOW"),
        (lambda draft, court: draft.put(keyspace.issued(FLX), b"\xc3"), "K2_OVERFLOW"),
    ],
)
def test_a_faulty_rule_is_caught_by_what_it_writes(
    write: Callable[[Draft, Court], None], code: str, court: Court
) -> None:
    court.draft.put(keyspace.nonce(court.people[0]), encode_number(3))

    judged = court.judge(make_probe(lambda view, entry: drafted_writes(view, court, write)), Probed())

    assert not judged.allowed
    assert code in {verdict.code for verdict in of_guard(judged, GUARDS["constitution"])}
    assert all(verdict.severity == CRITICAL for verdict in judged.verdicts if verdict.code == code)


def drafted_writes(view: View, court: Court, write: Callable[[Draft, Court], None]) -> list[Write]:
    draft = Draft(view)
    write(draft, court)
    return list(draft.writes())


def test_an_event_of_a_later_block_is_denied(court: Court) -> None:
    judged = court.judge(make_probe(), Probed(), beat=3, reference_beat=4)

    assert "K6_TIME_GOES_BACK" in {verdict.code for verdict in judged.verdicts if not verdict.allowed}


def test_a_moderator_acts_in_his_own_space(court: Court) -> None:
    role = HeldRole(None, "MODERATOR", SPACE)

    verdicts = as_holder(role, "moderation.Probed", SPACE)(court)

    assert all(verdict.allowed for verdict in verdicts)


def test_a_refused_epoch_pays_nothing_and_the_next_pays_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each code: the settlement is refused, an alarm says why, balances decay, and the chain goes on."""
    town = Town(
        tmp_path / "refused", 2, {"sybil": {"posts_max": 1_000, "bond": 0}, "energy": {"base_cost": 100 * SCALE}}
    )
    author, fan = town.people
    broken: list[str] = []
    plan_epoch = settlement.plan_epoch

    def plan_otherwise(view: View, closed: int, policies: Policies, *, pay: bool) -> Plan:
        plan = plan_epoch(view, closed, policies, pay=pay)
        return replace(plan, emission=replace(GOOD, **BROKEN[broken[0]])) if broken and pay else plan

    monkeypatch.setattr(settlement, "plan_epoch", plan_otherwise)

    def live_an_epoch(number: int) -> list[Any]:
        post = town.post(author, number)
        town.beat(post)
        town.execute(town.sign(fan, ContentLiked, target=id_of(post)))
        return town.close_epoch()

    live_an_epoch(0)
    for number, code in enumerate(sorted(BROKEN)):
        before = read_balance(town.store, CHR, author.account)
        energy = read_balance(town.store, ATR, author.account)
        broken[:] = [code]

        receipts = live_an_epoch(2 * number + 1)

        alarm = by_type(receipts, "guards.Cir511Raised")[0]
        assert alarm.inputs == {"code": alarm.verdicts[0].code, "module": "rewards"}
        assert code in {verdict.code for verdict in alarm.verdicts}
        assert all(verdict.because and verdict.policy and not verdict.allowed for verdict in alarm.verdicts)
        closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
        assert [closed[name] for name in ("chr_issued", "flx_issued", "chr_pool", "flx_pool")] == [0] * 4
        assert all(paid["psi"] >= 0 and paid["chr_author"] == 0 for paid in payments(receipts).values())
        assert 0 < read_balance(town.store, CHR, author.account) == before * 995 // 1_000
        assert read_balance(town.store, ATR, author.account) > energy - 1_000 * SCALE
        town.assert_conserved()

        broken.clear()
        receipts = live_an_epoch(2 * number + 2)

        assert by_type(receipts, "guards.Cir511Raised") == []
        assert payments(receipts)[author.account.hex()]["chr_author"] > 0
        town.assert_conserved()
    town.store.close()


def test_one_payment_is_at_most_a_twentieth_of_its_pool(tmp_path: Path) -> None:
    """All support goes to one author: he is cut, the reserve takes the FLX, and the epoch is not refused."""
    town = Town(tmp_path / "popular", 4, {"sybil": {"bond": 0}, "rewards": {"mass_full": 0}})
    author, *fans = town.people
    post = town.post(author)
    town.beat(post)
    town.execute(*(town.sign(fan, ContentLiked, target=id_of(post)) for fan in fans))

    receipts = town.close_epoch()

    closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
    paid = payments(receipts)[author.account.hex()]
    for token in ("chr", "flx"):
        assert paid[f"{token}_author"] + paid[f"{token}_endorser"] == int(closed[f"{token}_pool"]) // 20 > 0
    assert by_type(receipts, "guards.Cir511Raised") == []
    assert int(closed["withheld"]) > int(closed["flx_pool"]) // 2
    town.assert_conserved()
    town.store.close()
