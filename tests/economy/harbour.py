"""A town with a community in it: a founder who moderates, an author, people who endorse, and reviewers.

`live` plays the same days in every run; a run may also hide a post, and have the decision contested.
"""

from pathlib import Path
from typing import Any

from ledger.draft import Draft
from ledger.electorate import list_weights, read_mass
from ledger.events import SignedEvent
from ledger.items import read_item
from ledger.policies import ModerationPolicy, read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED, Receipt
from ledger.registry import Registry
from ledger.sanctions import hiding_key, read_sanction
from ledger.standing import Standing, bring_up_to_date, read_standing, write_standing
from ledger.tokens import FLX, RES, TOKENS, read_balance, read_supply, reserve_account
from ledger.transfers import TokensTransferred
from social.appeals.records import Appeal, read_appeal
from social.appeals.reviewers import ReviewerEnlisted
from social.appeals.reviewing import AppealReviewed
from social.appeals.submitting import AppealSubmitted
from social.communities.founding import CommunityCreated, RulesetChanged
from social.communities.members import CommunityMemberJoined
from social.moderation.decisions import PostHiddenInCommunity
from social.moderation.records import Decision, read_decision
from social.moderation.reports import ContentReported
from social.posts import PostAddressed
from social.reactions import ContentLiked
from tests.economy.town import TEXTS, Town, by_type
from tests.ledger.world import REGISTRY, Person, id_of

PEOPLE = 11
POLICIES: dict[str, dict[str, int]] = {
    "energy": {"base_cost": 100 * SCALE},
    "moderation": {"appeal_beats": 8, "review_beats": 8, "reviewers": 3, "reviewer_s_chr_min": SCALE // 2},
    "rewards": {"mass_full": 0},
    "sybil": {"bond": 0, "posts_max": 1_000, "votes_max": 1_000},
}


class Harbour(Town):
    """The town.  Its people: the founder, the author, four who endorse, and five willing to review."""

    def __init__(
        self, folder: Path, policies: dict[str, dict[str, int]] | None = None, registry: Registry = REGISTRY
    ) -> None:
        super().__init__(folder, PEOPLE, POLICIES | (policies or {}), registry)
        self.receipts: list[Receipt] = []
        self.posts: list[bytes] = []
        self.decision = self.case = bytes(32)
        self._shown = Draft(self.store)
        self.founder, self.author, *rest = self.people
        self.fans, self.reviewers = rest[:4], rest[4:]
        created = self.sign(self.founder, CommunityCreated, text="About boats.", join="open", name="harbour")
        self.space = id_of(created)
        self.must(created)
        self.must(self.sign(self.founder, RulesetChanged, text="1. Be kind.  2. Boats.", rules=2, space=self.space))
        self.must(*(self.sign(person, CommunityMemberJoined, space=self.space) for person in self.people[1:]))
        self.must(*(self.sign(person, ReviewerEnlisted) for person in self.reviewers))

    def must(self, *events: SignedEvent) -> list[Receipt]:
        """Have events executed, which must all be applied."""
        found = list(self.execute(*events).receipts)
        assert all(receipt.outcome == APPLIED for receipt in found), [
            verdict for receipt in found for verdict in receipt.verdicts if not verdict.allowed
        ]
        return found

    def pass_epoch(self) -> list[Receipt]:
        """Let the epoch close; return what it closed with."""
        found = self.close_epoch()
        self.receipts += found
        return found

    def publish(self, person: Person, number: int) -> bytes:
        """Have somebody publish in the community; what has an odd number is of a poorer form than the rest."""
        text = f"{TEXTS[number % len(TEXTS)]} {'again ' * (number // len(TEXTS))}".strip()
        text = f"{text} @one @two @three" if number % 2 else text
        event = self.sign(person, PostAddressed, text=text, tags=(), space=self.space)
        self.must(event)
        self.posts.append(id_of(event))
        return id_of(event)

    def like(self, post: bytes, *people: Person) -> None:
        self.must(*(self.sign(person, ContentLiked, target=post) for person in people))

    def hide(self, post: bytes, **changes: Any) -> bytes:
        """Have the founder hide a post; return the decision."""
        reasons: dict[str, Any] = {
            "automated": False, "duration_beats": None, "rule": 1, "ruleset": 1, "space": self.space, "subject": post,
        }  # fmt: skip
        text = "It insults the harbour master."
        event = self.sign(self.founder, PostHiddenInCommunity, text=text, **(reasons | changes))
        self.must(event)
        return id_of(event)

    def appeal(self, decision: bytes, person: Person | None = None) -> bytes:
        """Have the author, or somebody else, contest a decision about himself; return the appeal."""
        event = self.sign(person or self.author, AppealSubmitted, text="It praises him.", decision=decision)
        self.must(event)
        return id_of(event)

    def review(self, appeal: bytes, *votes: str) -> None:
        """Have the drawn reviewers vote, in order of id; fewer votes than reviewers: the rest stay silent."""
        drawn = self.find_appeal(appeal).reviewers
        for account, vote in zip(drawn, votes, strict=False):
            person = next(each for each in self.people if each.account == account)
            self.must(self.sign(person, AppealReviewed, appeal=appeal, text="I read it.", vote=vote))

    def find_appeal(self, appeal: bytes) -> Appeal:
        found = read_appeal(self.store, appeal)
        assert found is not None
        return found

    def find_decision(self, decision: bytes) -> Decision:
        found = read_decision(self.store, decision)
        assert found is not None
        return found

    def find_author(self, post: bytes) -> Person:
        """Return who published a post."""
        item = read_item(self.store, post)
        assert item is not None
        return next(each for each in self.people if each.account == item.author)

    def is_hidden(self, post: bytes) -> bool:
        return read_sanction(self.store, hiding_key(post)) is not None

    def find_hiding(self, post: bytes) -> bytes:
        """Return the decision that hides a post."""
        hiding = read_sanction(self.store, hiding_key(post))
        assert hiding is not None
        return hiding.decision

    def report(self, post: bytes, person: Person) -> None:
        self.must(self.sign(person, ContentReported, text="It insults somebody.", rule=1, subject=post))

    def pay(self, giver: Person, receiver: Person, atoms: int) -> Receipt:
        return self.do(giver, TokensTransferred, atoms=atoms, to=receiver.account, token=FLX)

    def find_policy(self) -> ModerationPolicy:
        return read_policies(self.store).moderation

    def lower(self, person: Person, s_chr: int) -> None:
        """Give somebody another standing, in what `view` shows alone."""
        standing = read_standing(self._shown, person.account)
        assert standing is not None
        write_standing(self._shown, person.account, standing._replace(s_chr=s_chr))

    def view(self) -> Draft:
        return self._shown

    # What a run is compared by.

    def read_account(self, person: Person) -> tuple[Standing, dict[str, int]]:
        """Return an account's standing and balances as of now; ids of posts left out, which differ between runs."""
        draft = Draft(self.store)
        standing = read_standing(draft, person.account)
        assert standing is not None
        standing = bring_up_to_date(draft, person.account, standing, self.chain.head.header.epoch)
        balances = {token: read_balance(draft, token, person.account) for token in TOKENS}
        return standing._replace(last_item=None), balances

    def read_economy(self) -> dict[str, Any]:
        """Return all that the economy remembers."""
        return {
            "accounts": [self.read_account(person) for person in self.people],
            "mass": read_mass(self.store, self.chain.head.header.epoch),
            "reserve": read_balance(self.store, RES, reserve_account()),
            "supplies": {token: read_supply(self.store, token) for token in TOKENS},
            "weights": [list_weights(self.store, person.account) for person in self.people],
        }

    def rank(self) -> list[tuple[int, int]]:
        """Return (score, number of the post) of all that is shown, best first, as the rank formula has it."""
        from ledger.coherence import compute_decay, compute_rank

        found: list[tuple[int, int]] = []
        for number, post in enumerate(self.posts):
            if self.is_hidden(post):
                continue
            item, author = read_item(self.store, post), self.find_author(post)
            assert item is not None
            mass = sum(
                int(receipt.inputs["mass"])
                for receipt in by_type(self.receipts, "economics.RewardAccrued")
                if receipt.inputs["item"] == post.hex()
            )
            decay = compute_decay(self.chain.head.header.beat - item.beat, 256)
            found.append((compute_rank(item.coherence, self.read_account(author)[0].s_chr, mass, decay), number))
        return sorted(found, key=lambda each: (-each[0], each[1]))
