"""What cheap and colluding identities can get: nothing, and their share of mass."""

from pathlib import Path

import pytest

from ledger.bonds import BondLocked
from ledger.identity import IdentityCreated
from ledger.masses import MASS_SCALE
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED
from ledger.rewards import read_economy
from ledger.settlement import Member, plan_epoch
from ledger.tokens import CHR, FLX, read_balance
from social.reactions import ContentLiked
from tests.economy.town import Town, by_type, payments
from tests.ledger.world import id_of


def paid_to(receipts: dict[str, dict[str, int]], accounts: set[str], *names: str) -> int:
    return sum(int(paid[name]) for account, paid in receipts.items() if account in accounts for name in names)


def test_a_farm_of_a_thousand_fresh_accounts_earns_exactly_nothing(tmp_path: Path) -> None:
    town = Town(tmp_path / "farm", 2)
    farm = [town.person(f"farm {number}") for number in range(1_000)]
    for at in range(0, 1_000, 250):
        town.execute(*(town.sign(each, IdentityCreated) for each in farm[at : at + 250]))
    posts = [town.post(each, number) for number, each in enumerate(farm[:100])]
    town.execute(*posts)
    for at in range(0, 1_000, 250):
        likes = [
            town.sign(each, ContentLiked, target=id_of(posts[(at + number + turn) % 100]))
            for number, each in enumerate(farm[at : at + 250])
            for turn in (1, 2)
        ]
        executed = town.execute(*likes)
        assert all(receipt.outcome == APPLIED for receipt in executed.receipts)

    receipts = [receipt for _ in range(3) for receipt in town.close_epoch()]

    for each in farm:
        for token in ("CHR", "FLX", "PSI", "NOD"):
            assert read_balance(town.store, token, each.account) == 0
    assert by_type(receipts, "economics.RewardAccrued") == []
    town.assert_conserved()


def test_twenty_aged_and_bonded_attackers_earn_no_more_than_their_share_of_mass(tmp_path: Path) -> None:
    town = Town(tmp_path / "ring", 60)
    ring, honest = town.people[:20], town.people[20:]
    town.beat(*(town.sign(each, BondLocked, atoms=100 * SCALE) for each in town.people))
    posts = [town.post(each, number) for number, each in enumerate(town.people)]
    town.beat(*posts)
    town.execute(
        *(town.sign(each, ContentLiked, target=id_of(posts[(at + 1) % 20])) for at, each in enumerate(ring)),
        *(town.sign(each, ContentLiked, target=id_of(posts[20 + (at + 1) % 40])) for at, each in enumerate(honest)),
    )

    receipts = town.close_epoch()

    closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
    attackers = {each.account.hex() for each in ring}
    found = payments(receipts)
    masses = {account: int(paid["mass"]) for account, paid in found.items()}
    share = sum(masses[account] for account in attackers)
    whole = sum(masses.values())
    for pool, names in (("chr_pool", ("chr_author", "chr_endorser")), ("flx_pool", ("flx_author", "flx_endorser"))):
        earned = paid_to(found, attackers, *names)
        assert 0 < earned <= int(closed[pool]) * share // whole
        assert paid_to(found, set(found), *names) <= int(closed[pool])


def test_better_form_does_not_lift_a_ring_above_its_share_of_mass(tmp_path: Path) -> None:
    """Their texts are well formed and the others' poor: what the others miss is withheld, not given to the ring."""
    town = Town(tmp_path / "form", 40)
    ring, honest = town.people[:20], town.people[20:]
    town.beat(*(town.sign(each, BondLocked, atoms=100 * SCALE) for each in town.people))
    from social.posts import PostPublished

    good = [town.post(each, number) for number, each in enumerate(ring)]
    poor = [town.sign(each, PostPublished, text="so so so so so", tags=()) for each in honest]
    town.beat(*good, *poor)
    town.execute(
        *(town.sign(each, ContentLiked, target=id_of(good[(at + 1) % 20])) for at, each in enumerate(ring)),
        *(town.sign(each, ContentLiked, target=id_of(poor[(at + 1) % 20])) for at, each in enumerate(honest)),
    )

    receipts = town.close_epoch()

    closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
    earned = paid_to(payments(receipts), {each.account.hex() for each in ring}, "chr_author", "chr_endorser")
    assert earned <= int(closed["chr_pool"]) // 2


def test_a_ring_gains_nothing_from_mass_that_others_hold_and_do_not_give(tmp_path: Path) -> None:
    """The honest write and support nobody: what their mass could have earned is withheld, not given to the ring."""
    town = Town(tmp_path / "idle", 60)
    ring, honest = town.people[:20], town.people[20:]
    town.beat(*(town.sign(each, BondLocked, atoms=100 * SCALE) for each in town.people))
    posts = [town.post(each, number) for number, each in enumerate(town.people)]
    town.beat(*posts)
    town.execute(*(town.sign(each, ContentLiked, target=id_of(posts[(at + 1) % 20])) for at, each in enumerate(ring)))

    receipts = town.close_epoch()

    closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
    found = payments(receipts)
    attackers = {each.account.hex() for each in ring}
    assert {each.account.hex() for each in honest} <= set(found)
    held = {account: int(paid["mass"]) for account, paid in found.items()}
    earned = paid_to(found, attackers, "chr_author", "chr_endorser")
    assert 0 < earned <= int(closed["chr_pool"]) * sum(held[each] for each in attackers) // sum(held.values())


@pytest.mark.parametrize("items", [1, 50])
def test_splitting_endorsements_over_posts_gains_no_more_than_an_atom_for_each(tmp_path: Path, items: int) -> None:
    """Sixteen endorse one author on one post, or on fifty: the author's total differs by at most one atom an item."""
    town = Town(tmp_path / "split", 18, {"sybil": {"posts_max": 1_000}})
    author, other, *fans = town.people
    town.beat(*(town.sign(each, BondLocked, atoms=100 * SCALE) for each in town.people))
    from ledger.draft import Draft
    from ledger.endorsements import LIKE, Given
    from ledger.items import Item
    from ledger.masses import Endorser, compute_support, weigh_items

    policies = read_policies(town.store)
    ids = [bytes([number]) * 32 for number in range(50)]
    item = Item(author.account, 1, SCALE - 7, 8 * SCALE // 10 + 3, 0, 0, 12_345)

    def total(count: int) -> tuple[int, int]:
        given = tuple(Given(LIKE, each, author.account) for each in ids[:count])
        endorsers = [Endorser(fan.account, 6 * SCALE // 10 - number * 997, given) for number, fan in enumerate(fans)]
        rival = Endorser(author.account, SCALE // 3, (Given(LIKE, b"r" * 32, other.account),))
        support = compute_support([*endorsers, rival], {})
        known = dict.fromkeys(ids[:count], item) | {b"r" * 32: Item(other.account, 1, SCALE, 7 * SCALE // 10, 0, 0, 0)}
        weighed = weigh_items(support, known, policies.coherence)
        from ledger.settlement import Pools, _share_out, _Shares  # pyright: ignore[reportPrivateUsage]

        draft = Draft(town.store)
        members = tuple(
            _member(draft, each.account) for each in sorted((author, other, *fans), key=lambda p: p.account)
        )
        shares = _Shares(members, policies)
        pools = Pools(1_007_477 * SCALE, 90_673 * SCALE, 0, SCALE, read_economy(town.store).growth)
        _share_out(weighed, pools, members, policies, shares)
        return shares.chr_author[author.account], shares.flx_author[author.account]

    def _member(draft: Draft, account: bytes) -> Member:
        from ledger.standing import read_standing

        standing = read_standing(draft, account)
        assert standing is not None
        return Member(account, standing, SCALE)

    for split, whole in zip(total(items), total(1), strict=True):
        assert whole > 0
        assert abs(split - whole) <= items


def test_an_auditor_computes_the_same_settlement_from_the_state_before(tmp_path: Path) -> None:
    town = Town(tmp_path / "audit", 8)
    town.beat(*(town.sign(each, BondLocked, atoms=100 * SCALE) for each in town.people))
    posts = [town.post(each, number) for number, each in enumerate(town.people)]
    town.beat(*posts)
    town.execute(
        *(town.sign(each, ContentLiked, target=id_of(posts[(at + 3) % 8])) for at, each in enumerate(town.people))
    )
    receipts = town.close_epoch()

    height = town.chain.head.height
    before = town.state(at=height - 1)
    plan = plan_epoch(before, 0, read_policies(before), pay=True)

    assert [paid.account.hex() for paid in plan.paid] == list(payments(receipts))
    found = payments(receipts)
    for paid in plan.paid:
        assert paid.chr_author == found[paid.account.hex()]["chr_author"]
        assert read_balance(town.store, CHR, paid.account) <= paid.chr_author + paid.chr_endorser
        assert read_balance(town.store, FLX, paid.account) > 0
    assert MASS_SCALE % SCALE == 0
