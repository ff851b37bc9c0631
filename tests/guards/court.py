"""A court without a chain: the state of a genesis as a dict, and events that are judged on top of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from guards.stack import make_guard_stack
from ledger.coherence import Assessment
from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.judgement import Guard, GuardStack, Judged, judge_event
from ledger.payloads import Payload, compute_content_ref
from ledger.policies import Policies, decode_values, encode_values, read_policies
from ledger.primitives.records import Bytes32
from ledger.standing import Standing, read_standing, write_standing
from ledger.verdict import Verdict
from social.posts import PostPublished
from tests.economy.town import Town
from tests.ledger.world import KINDS

STACK = make_guard_stack()
GUARDS = {guard.name: guard for guard in STACK.all()}
SALT = b"a salt, 16 bytes"
POST = KINDS[PostPublished]
CALM = Assessment(clarity=90, echo=b"abc", hate=0, logic=100, model=1, offensive=0, signal=100, topic=50)
"""The assessment of a text that nobody minds."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The body of an event that exists only here; `space` is where it happens."""

    space: Bytes32 = bytes(32)


class State:
    """A view of a dict."""

    def __init__(self, found: dict[bytes, bytes]) -> None:
        self._found = found

    def get(self, key: bytes) -> bytes | None:
        return self._found.get(key)


def changed(record: Any, **changes: Any) -> Any:
    """Return a record with other values, whichever kind of record it is."""
    return record._replace(**changes) if hasattr(record, "_replace") else replace(record, **changes)


def apply_nothing(view: View, entry: Entry[Any]) -> Iterator[Write]:
    return iter(())


def make_probe(
    apply: Callable[[View, Entry[Any]], Iterable[Write]] = apply_nothing,
    *,
    name: str = "content.Probed",
    weight: int = 0,
    **fields: Any,
) -> EventType[Any]:
    """Return an event type with no guards of its own, and this transition."""

    def run(view: View, entry: Entry[Any]) -> Iterator[Write]:
        yield from apply(view, entry)

    return EventType(
        name=name, version=1, body=Probed, guards=(), apply=run, summary="A probe.", example=Probed(), weight=weight,
        **fields,
    )  # fmt: skip


@dataclass
class Court:
    """A state, and who is in it: "p0", "p1" and "p2" from genesis."""

    state: dict[bytes, bytes]
    chain_id: bytes
    people: tuple[bytes, ...]
    draft: Draft = field(init=False)

    def __post_init__(self) -> None:
        self.draft = Draft(State(self.state))

    @property
    def policies(self) -> Policies:
        return read_policies(self.draft)

    def standing(self, account: bytes) -> Standing:
        found = read_standing(self.draft, account)
        assert found is not None
        return found

    def set_standing(self, account: bytes, **changes: Any) -> None:
        write_standing(self.draft, account, changed(self.standing(account), **changes))

    def entry(self, body: Any, **changes: Any) -> Entry[Any]:
        """Return an event of "p0" in the first beat."""
        base: Entry[Any] = Entry(
            b"e" * 32, self.people[0], b"k" * 32, 1, body, None, 1, 0, 0, 1_700_000_000_000, self.chain_id
        )  # fmt: skip
        found: Entry[Any] = changed(base, **changes)
        return found

    def judge(self, kind: EventType[Any], body: Any, *, stack: GuardStack = STACK, **changes: Any) -> Judged:
        return judge_event(stack, self.draft, self.entry(body, **changes), kind)

    def judge_post(self, *, text: str = "Good morning, everybody.", assessment: Any = None, **changes: Any) -> Judged:
        """Judge a post with an assessment of the caller's choice: the court reads no text."""
        payload = Payload(SALT, text)
        scores = {"model": self.policies.safety.model, **(assessment or {})}
        body = PostPublished(changed(CALM, **scores), compute_content_ref(payload), ())
        return self.judge(POST, body, payload=payload, **changes)


def make_court(folder: Path, policies: dict[str, dict[str, int]] | None = None) -> Court:
    """Return a court over the genesis of a town of three."""
    town = Town(folder, 3, policies)
    try:
        state = dict(town.store.iterate(b"s", b"t"))
        return Court(state, town.chain.chain_id, tuple(person.account for person in town.people))
    finally:
        town.store.close()


def of_guard(judged: Judged, guard: Guard) -> list[Verdict]:
    """Return what one guard said."""
    return [verdict for verdict in judged.verdicts if verdict.guard == guard.cite]


def change_policy(policies: Policies, name: str, **changes: Any) -> Policies:
    """Return the policies with legal values of one changed."""
    current = getattr(policies, name)
    values = {field: getattr(current, field) for field in current.__slots__} | changes
    found: Policies = changed(policies, **{name: decode_values(name, encode_values(name, values))})
    return found


def codes(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.code for verdict in verdicts]
