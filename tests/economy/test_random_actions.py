"""Twenty thousand random signed actions on four nodes, with rules that fail now and then: nothing breaks."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace, settlement
from ledger.block import Batch
from ledger.bonds import BondLocked, BondReleased
from ledger.chain import Chain
from ledger.conduct import FAMILIES
from ledger.events import Entry, EventType, SignedEvent, View, Write
from ledger.identity import IdentityCreated
from ledger.policies import Policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U128_MAX
from ledger.receipts import APPLIED, DENIED, SKIPPED
from ledger.registry import Registry
from ledger.store import Store
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from ledger.vouches import VouchGiven, VouchWithdrawn
from social.follows import AccountFollowed, AccountUnfollowed
from social.posts import PostPublished, ReplyPublished
from social.profiles import HandleClaimed
from social.reactions import ContentLiked, LikeWithdrawn
from social.reposts import ContentReposted, RepostWithdrawn
from tests.economy.town import EPOCH_BEATS, Town, make_town_genesis
from tests.ledger.world import REGISTRY, Person, id_of

ACTIONS, BATCH, NODES, PEOPLE = 20_000, 400, 4, 60
FAULTS = 97
"""One event in so many has rules that raise an error."""
ODD_TEXTS = (
    "", " ", "\u202eright to left\u202c", "e\u0301" * 40, "\U0001f642" * 20, "\u200b\u200b\u200b", "\ufdfa" * 9, "İıẞß",
    "a" * 9_990, "\x00\x01\x02", "ﬁne ＦＵＬＬ ｗｉｄｔｈ", "𝔉𝔯𝔞𝔨𝔱𝔲𝔯 text that looks plain",
)  # fmt: skip
POLICIES = {"energy": {"base_cost": 100 * SCALE}, "sybil": {"posts_max": 40, "age_epochs": 2}}


def make_faulty_registry() -> Registry:
    """Every transition fails for some events, after some of its writes; every guard for some others."""

    def spoil(kind: EventType[Any]) -> EventType[Any]:
        if kind.derived:
            return kind

        def apply(view: View, entry: Entry[Any]) -> Any:
            writes: list[Write] = list(kind.apply(view, entry))
            for number, write in enumerate(writes):
                if number == 1 and entry.event_id[0] * 256 + entry.event_id[1] < 65_536 // FAULTS:
                    raise OverflowError(f"planted for {entry.event_id.hex()}")
                yield write

        def guard(view: View, entry: Entry[Any]) -> Any:
            if entry.event_id[2] * 256 + entry.event_id[3] < 65_536 // FAULTS:
                raise KeyError(entry.event_id)
            return kind.guards[0](view, entry)

        return replace(kind, apply=apply, guards=(guard, *kind.guards[1:]))

    return Registry([spoil(kind) for kind in REGISTRY.all()], REGISTRY.stack)


class Actor:
    """Draws actions; a third of them is wrong on purpose."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town = town
        self.random = random.Random(seed)
        self.posts: list[bytes] = [bytes(32)]
        self.people = [*town.people, *(town.person(f"new {number}") for number in range(20))]

    def draw(self) -> SignedEvent:
        pick, town = self.random, self.town
        person, other, post = pick.choice(self.people), pick.choice(self.people), pick.choice(self.posts[-80:])
        amount = pick.choice((0, 1, SCALE, 50 * SCALE, pick.randrange(200 * SCALE), U128_MAX, U128_MAX - 1))
        match pick.randrange(14):
            case 0 | 1 | 2:
                text = pick.choice(ODD_TEXTS) if pick.random() < 0.2 else f"A thought number {pick.random()} of mine."
                event = town.sign(person, PostPublished, text=text, tags=pick.choice(((), ("a",), ("a", "a"), ("É",))))
                self.posts.append(id_of(event))
            case 3 | 4 | 5:
                event = town.sign(person, ContentLiked, target=post)
            case 6:
                event = town.sign(person, ReplyPublished, text=f"Indeed {pick.random()}.", parent=post)
            case 7:
                kind = pick.choice((AccountFollowed, AccountUnfollowed, VouchGiven, VouchWithdrawn))
                event = town.sign(person, kind, target=other.account)
            case 8:
                token = pick.choice((FLX, FLX, FLX, "CHR", "NOD", "RES", "XXX"))
                event = town.sign(person, TokensTransferred, atoms=amount, to=other.account, token=token)
            case 9:
                event = town.sign(person, pick.choice((BondLocked, BondReleased)), atoms=max(1, amount))
            case 10:
                event = town.sign(
                    person, HandleClaimed, handle=pick.choice(("ada", "É", "x" * 40, f"n{pick.random()}"))
                )
            case 11:
                event = town.sign(person, IdentityCreated)
            case 12:
                event = town.sign(person, pick.choice((LikeWithdrawn, ContentReposted, RepostWithdrawn)), target=post)
            case _:
                event = self._misplaced(person, post)
        return event

    def _misplaced(self, person: Person, post: bytes) -> SignedEvent:
        """A nonce that was used, or that leaves a gap; or bytes that are no event; or another's signature."""
        nonce = self.random.choice((0, max(0, person.nonce - 1), person.nonce, person.nonce + 5, 2**64 - 1))
        event = self.town.sign(person, ContentLiked, target=post, nonce=nonce)
        return self.random.choice(
            (event, SignedEvent(b"\xc1" + event.event[:40], None, event.signature), replace(event, signature=bytes(64)))
        )


@pytest.mark.timeout(600)
def test_twenty_thousand_random_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = make_faulty_registry()
    town = Town(tmp_path / "0", PEOPLE, POLICIES, registry)
    stores = [town.store, *(Store(tmp_path / str(number)) for number in range(1, NODES))]
    others = [Chain(store, make_town_genesis(PEOPLE, POLICIES), registry) for store in stores[1:]]
    actor = Actor(town, seed=20_261_124)
    # The second epoch's settlement fails too: it must pay nothing, and the chain goes on.
    plan_epoch = settlement.plan_epoch

    def fail_in_the_second_epoch(view: View, closed: int, policies: Policies, *, pay: bool) -> settlement.Plan:
        if closed == 1 and pay:
            raise ZeroDivisionError("planted")
        return plan_epoch(view, closed, policies, pay=pay)

    monkeypatch.setattr(settlement, "plan_epoch", fail_in_the_second_epoch)
    outcomes: dict[str, int] = {APPLIED: 0, DENIED: 0, SKIPPED: 0}
    codes: set[str] = set()
    types: set[str] = set()
    people = {person.account: person for person in actor.people}
    for _ in range(ACTIONS // BATCH):
        events = tuple(actor.draw() for _ in range(BATCH))
        batch = Batch(True, town.chain.head.height + 1, events, 0, 1_700_000_000_000, 0)
        checked = town.check(*events)

        executed = town.chain.execute(batch, checked)

        for other in others:
            assert other.execute(batch, checked).hash == executed.hash
        town.assert_conserved()
        for receipt in executed.receipts:
            outcomes[receipt.outcome] += 1
            types.add(receipt.event_type)
            codes.update(verdict.code for verdict in receipt.verdicts if not verdict.allowed)
        for account, nonce in _nonces(town, people).items():
            people[account].nonce = nonce  # what was skipped has not used its nonce

    assert outcomes[APPLIED] > ACTIONS // 4
    assert outcomes[DENIED] + outcomes[SKIPPED] > ACTIONS // 3
    assert town.chain.head.header.epoch >= ACTIONS // BATCH // EPOCH_BEATS >= 4
    assert {"CIR-302", "tokens.overdraft", "event.nonce_used", "event.nonce_gap", "content.text_empty"} <= codes
    assert {"guards.Cir302Raised", "guards.Cir511Raised", "economics.RewardPaid", "guards.AegisVetoed"} <= types
    for store in stores[1:]:
        assert list(store.iterate(b"s", b"t")) == list(town.store.iterate(b"s", b"t"))
        store.close()


def _nonces(town: Town, people: dict[bytes, Person]) -> dict[bytes, int]:
    from ledger.identity import read_nonce

    return {account: read_nonce(town.store, account) for account in people}


def test_a_failed_action_changes_nothing_but_its_receipt_and_nonce_and_what_conduct_counts(tmp_path: Path) -> None:
    town = Town(tmp_path / "one", 6, POLICIES, make_faulty_registry())
    actor = Actor(town, seed=7)
    faults = 0
    for _ in range(1_500):
        event = actor.draw()
        executed = town.chain.compute(town.batch(event), town.check(event))

        first = executed.receipts[0]
        changed = {key for key, _, _ in executed.changes if key[:1] == keyspace.STATE}
        if first.outcome == SKIPPED:
            assert changed == set()
        if first.outcome == DENIED:
            fault = any(verdict.code == "CIR-302" for verdict in first.verdicts)
            faults += fault
            judges = {verdict.guard.partition("@")[0] for verdict in first.verdicts if not verdict.allowed}
            vetoed = any(receipt.event_type == "guards.AegisVetoed" for receipt in executed.receipts)
            counted = fault or vetoed or not judges.isdisjoint(FAMILIES)
            assert changed == {keyspace.nonce(first.author)} | ({keyspace.conduct(first.author)} if counted else set())
        town.chain.commit(executed)
        for account, nonce in _nonces(town, {each.account: each for each in actor.people}).items():
            next(each for each in actor.people if each.account == account).nonce = nonce
    assert faults > 5
