"""Fuzzed inputs for every guard: none may raise an error, whatever it is given, and each must be quick.

    python tools/fuzz_guards.py [--count 100000] [--seed 1] [guard ...]

For each guard it draws cases of legal types and extreme values: amounts of 0 and 2**128 - 1, standings and actions at
their ends, policies at both ends of their ranges, odd Unicode, accounts that do not exist; and for audits lists of
changes of raw bytes.  "events" is the whole judgement of every event type with a random body over a small state, where
a fault (CIR-302) counts as an error.  For each guard it prints how many cases it judged, how many raised an error, and
the median and the 99th percentile of the time that one took.  Exit code 1 when any raised an error.
"""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ledger import hsmf, keyspace
from ledger.actions import Action
from ledger.chain import compute_genesis_block
from ledger.coherence import Assessment
from ledger.conduct import Circuit, Conduct
from ledger.events import Endorsement, Entry, EventType
from ledger.genesis import Genesis, make_policy_values
from ledger.identity import make_account
from ledger.items import LABELS
from ledger.judgement import Case, Guard, judge_event
from ledger.payloads import Payload
from ledger.policies import KINDS, Policies, describe, read_policies
from ledger.primitives.encoding import encode
from ledger.primitives.fixed_point import RAW_MAX, SCALE
from ledger.primitives.records import Between, Length, encode_record
from ledger.roles import HeldRole, HeldRoles
from ledger.scopes import GRANTED
from ledger.standing import ECHO_BYTES, ECHOES_KEPT, Standing, encode_standing, new_standing
from ledger.state import encode_number
from ledger.tokens import ATR, TOKENS, compute_bond_account
from ledger.verdict import SEVERITIES, Verdict
from node.modules import make_registry

T = TypeVar("T")
REGISTRY = make_registry()
GUARDS: dict[str, Guard] = {guard.name: guard for guard in REGISTRY.stack.all()}
SIGNED = tuple(kind for kind in REGISTRY.all() if not kind.derived)
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
POOL = 400
"""Drawn once and combined anew for each case: drawing costs more than judging."""
PEOPLE = tuple(bytes([number]) * 32 for number in range(4))
"""Accounts; the last does not exist."""
ODD_TEXTS = (
    "", " ", "\0", "\u202eright to left\u202c", "e\u0301" * 40, "\U0001f642" * 20, "\u200b\u200b\u200b", "\ufdfa" * 9,
    "İıẞß", "a" * 9_990, "\x01\x02\x7f", "ﬁne ＦＵＬＬ ｗｉｄｔｈ", "𝔉𝔯𝔞𝔨𝔱𝔲𝔯", "\ufeff\ufffe\uffff", "\u0600" * 30,
    "plain text of some length, as most people write it",
)  # fmt: skip
PREFIXES = (b"sb", b"si", b"sB", b"sn", b"st", b"sy", b"sY", b"sg", b"sk", b"sP", b"i", b"", b"s")


class State:
    """A view of a dict."""

    def __init__(self, found: dict[bytes, bytes]) -> None:
        self.found = found

    def get(self, key: bytes) -> bytes | None:
        return self.found.get(key)


@dataclass
class Report:
    """What the fuzzing of one guard found."""

    name: str
    count: int = 0
    errors: int = 0
    first: str = ""  # traceback of the first error
    nanoseconds: list[int] = field(default_factory=list[int])
    codes: set[str] = field(default_factory=set[str])

    def quantile(self, share: float) -> float:
        """Return the time in microseconds that this share of the cases kept to."""
        return sorted(self.nanoseconds)[int(share * (len(self.nanoseconds) - 1))] / 1_000


class Drawer:
    """Draws values of a type, often at the ends of its range."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self, low: int, high: int) -> int:
        ends = [end for end in (low, low + 1, high - 1, high, 0, 1, SCALE) if low <= end <= high]
        return self.random.choice(ends) if self.random.random() < 0.6 else self.random.randint(low, high)

    def data(self, low: int, high: int) -> bytes:
        if low == high == 32 and self.random.random() < 0.7:
            return self.random.choice(PEOPLE)
        return self.random.randbytes(min(self.number(low, high), 64) if low < 64 else low)

    def text(self, low: int, high: int) -> str:
        known = (*TOKENS, *GRANTED, "ada", "energy", "content", "K", "a_tag")
        text = self.random.choice((*ODD_TEXTS, *known, *known))
        cut = text.encode()[:high].decode(errors="ignore")
        return cut if len(cut.encode()) >= low else "x" * low

    def choice(self, found: Sequence[T]) -> T:
        return self.random.choice(found)

    def value(self, hint: Any, low: int = 0, high: int = 8) -> Any:
        """Return a value that a record's field of this annotation allows."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            rule = arguments[1]
            if isinstance(rule, Between):
                return self.number(rule.low, rule.high)
            assert isinstance(rule, Length)
            return self.value(arguments[0], rule.low, rule.low if rule.high is None else rule.high)
        if origin in (Union, UnionType):
            kinds = [kind for kind in arguments if kind is not NoneType]
            return None if self.random.random() < 0.4 else self.value(self.choice(kinds), low, high)
        if origin is tuple:
            return tuple(self.value(arguments[0]) for _ in range(self.random.randint(low, min(high, low + 5))))
        if hint is bytes:
            return self.data(low, high)
        if hint is str:
            return self.text(low, high)
        if hint is bool:
            return self.random.random() < 0.5
        if hint is int:
            return self.number(0, RAW_MAX)
        assert is_dataclass(hint), f"no values are known for {hint!r}"
        return self.record(hint)

    def record(self, kind: Any) -> Any:
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{each.name: self.value(hints[each.name]) for each in fields(kind)})

    # What judges are given.

    def policies(self, base: Policies) -> Policies:
        values = {name: KINDS[name](**self._policy(name)) for name in KINDS}
        return Policies(**values, cite=base.cite, root=base.root)

    def _policy(self, name: str) -> dict[str, Any]:
        at = self.choice(("low", "high", "default", "mixed"))
        chosen: dict[str, Any] = {}
        for row in describe(name):
            each, default, low, high = row[0], row[1], row[2], row[3]
            if low is None or high is None or at == "default":
                chosen[each] = default
            else:
                chosen[each] = {"low": low, "high": high, "mixed": self.number(low, high)}[at]
        return chosen

    def standing(self) -> Standing:
        base = new_standing(0)
        numbers = {
            "action_beat": U64_MAX, "actions": U32_MAX, "atr_spent": U64_MAX, "created_epoch": U64_MAX,
            "endorsements": U32_MAX, "epoch": U64_MAX, "multiplier": 10 * SCALE, "penalties": U32_MAX, "posts": U32_MAX,
            "posts_window": U64_MAX, "s_chr": SCALE, "sum_c_holo": U64_MAX, "sum_flx": U64_MAX, "sum_psi": U64_MAX,
            "sum_res": U64_MAX, "vouches": U32_MAX, "window": U64_MAX,
        }  # fmt: skip
        drawn: dict[str, Any] = {name: self.number(0, high) for name, high in numbers.items()}
        drawn |= {
            "echoes": self.random.randbytes(ECHO_BYTES * self.random.randint(0, ECHOES_KEPT)),
            "founder": self.random.random() < 0.5,
            "last_item": self.choice((None, bytes(32))),
            "past_actions": tuple(self.number(0, U32_MAX) for _ in range(self.random.randint(0, 8))),
            "windows": tuple(self.number(0, U64_MAX) for _ in range(self.random.randint(0, hsmf.WINDOWS_KEPT))),
        }
        return type(base)(**drawn)

    def action(self) -> Action:
        metrics = hsmf.Metrics(*(self.number(0, SCALE) for _ in range(5)), self.number(0, 20 * SCALE), SCALE // 2)
        return Action(
            charge=self.number(0, RAW_MAX),
            metrics=metrics,
            multiplier=self.choice((SCALE, 10 * SCALE, self.number(0, 20 * SCALE))),
            weight=self.number(0, 20 * SCALE),
            y=self.number(0, SCALE),
            assessment=self.choice((None, self.record(Assessment), self.record(Assessment))),
            overlap=self.number(0, 100),
            coherence=self.number(0, SCALE),
            label=self.choice(LABELS),
            endorsement=self.choice((None, Endorsement(0, bytes(32), PEOPLE[1]))),
        )

    def entry(self, kind: EventType[Any]) -> Entry[Any]:
        payload = None if kind.content is None else Payload(bytes(16), self.choice(ODD_TEXTS))
        return Entry(
            event_id=self.random.randbytes(32),
            author=self.choice(PEOPLE),
            key=bytes(32),
            nonce=self.number(1, U64_MAX),
            body=self.record(kind.body),
            payload=payload,
            height=self.number(0, U64_MAX),
            log_index=self.number(0, U64_MAX),
            beat=self.number(0, U64_MAX),
            time_ms=0,
            chain_id=bytes(32),
            epoch=self.number(0, U64_MAX),
            reference_beat=self.number(0, U64_MAX),
        )

    def state(self, base: dict[bytes, bytes]) -> State:
        found = dict(base)
        for account in PEOPLE[:3]:
            found[keyspace.balance(ATR, account)] = encode_number(self.number(0, RAW_MAX))
            conduct = Conduct(self.number(0, U64_MAX), self.number(0, U32_MAX), self.number(0, U64_MAX), 1)
            found[keyspace.conduct(account)] = encode_record(conduct)
            if self.random.random() < 0.5:
                held = [HeldRole(self.choice((None, 0, U64_MAX)), role, bytes(32)) for role in GRANTED]
                found[keyspace.roles_of(account)] = encode_record(HeldRoles(tuple(self.random.sample(held, 2))))
        circuit = Circuit(self.number(0, U64_MAX), "CIR-511", self.number(0, U32_MAX))
        found[keyspace.circuit("content")] = encode_record(circuit)
        return State(found)

    def changes(self) -> list[tuple[bytes, bytes | None, bytes | None]]:
        """Return changes of which some are balances and totals, and others no state at all."""
        return [(self._key(), self._stored(), self._stored()) for _ in range(self.random.randint(0, 12))]

    def _key(self) -> bytes:
        prefix = self.choice(PREFIXES)
        token = self.choice((*(token.encode() for token in TOKENS), b"\xff\xfe\xfd", b"XXX", b""))
        return prefix + token + self.choice((b"", b"/")) + self.choice((*PEOPLE, self.random.randbytes(5), b""))

    def _stored(self) -> bytes | None:
        number = encode_number(self.number(0, RAW_MAX))
        texts = self.choice(ODD_TEXTS).encode()
        return self.choice((None, number, number, b"", b"\xc3", texts, self.random.randbytes(9), encode(True)))

    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(
            Verdict(self.random.random() < 0.8, "FOUND", "Found.", {}, self.choice(SEVERITIES))
            for _ in range(self.random.randint(0, 20))
        )


def make_base_state() -> dict[bytes, bytes]:
    """Return the state of a genesis, and three more accounts with everything in it."""
    genesis = Genesis(
        allocations=(),
        beat_ms=1_000,
        epoch_beats=32,
        name="fuzz",
        time_ms=0,
        policies=make_policy_values({}),
        validators=tuple(bytes([number]) * 32 for number in range(4)),
    )
    _, _, state = compute_genesis_block(genesis, REGISTRY)
    found = dict(state)
    for number, account in enumerate(PEOPLE[:3]):
        found[keyspace.account(account)] = encode_record(make_account(account, 0))
        found[keyspace.standing(account)] = encode_standing(new_standing(0, founder=number == 0))
        for token in TOKENS:
            found[keyspace.balance(token, account)] = encode_number(1_000 * SCALE)
        found[keyspace.balance("FLX", compute_bond_account(account))] = encode_number(100 * SCALE)
    for token in TOKENS:
        found[keyspace.issued(token)] = encode_number(10**7 * SCALE)
    return found


class Fuzzer:
    """Draws cases from pools that one seed makes."""

    def __init__(self, seed: int) -> None:
        self.draw = Drawer(seed)
        self.base = make_base_state()
        standard = read_policies(State(self.base))
        draw = self.draw
        self._policies = [standard, *(draw.policies(standard) for _ in range(POOL))]
        self._standings = [None, *(draw.standing() for _ in range(POOL))]
        self._actions = [None, *(draw.action() for _ in range(POOL))]
        self._states = [draw.state(self.base) for _ in range(POOL)]
        self._entries = [(kind, draw.entry(kind)) for kind in SIGNED for _ in range(POOL // 20)]
        self._changes = [draw.changes() for _ in range(POOL)]
        self._verdicts = [draw.verdicts() for _ in range(POOL)]

    def case(self) -> Case:
        choice = self.draw.choice
        kind, entry = choice(self._entries)
        view, policies = choice(self._states), choice(self._policies)
        return Case(entry, kind, view, policies, choice(self._standings), choice(self._actions))

    def make_run(self, name: str) -> Callable[[], Callable[[], list[Verdict]]]:
        """Return what draws a case for a guard, and gives what judges it."""
        draw = self.draw
        if name == "events":
            return self._make_event_run
        guard_name, _, part = name.partition(".")
        guard = GUARDS[guard_name]
        if part == "audit":
            audit = guard.audit
            assert audit is not None
            return lambda: _bind(lambda case, changes: list(audit(case, changes)), self.case(), draw.changes())
        if part == "decide":
            decide = REGISTRY.stack.decide
            assert decide is not None
            return lambda: _bind(lambda case, found: [decide(case, found)], self.case(), draw.choice(self._verdicts))
        return lambda: _bind(lambda case: list(guard.judge(case)), self.case())

    def _make_event_run(self) -> Callable[[], list[Verdict]]:
        kind = self.draw.choice(SIGNED)
        entry, state = self.draw.entry(kind), State(self.base)
        # A place that such a small state can have, and an author whom admission lets through.
        author = entry.author if kind.opens_account else self.draw.choice(PEOPLE[:3])
        place = {
            "author": author, "beat": 40, "epoch": 1, "height": 50, "reference_beat": 39, "log_index": 90
        }  # fmt: skip
        entry = type(entry)(**{name: getattr(entry, name) for name in Entry.__slots__} | place)

        def run() -> list[Verdict]:
            judged = judge_event(REGISTRY.stack, state, entry, kind)
            kind.inputs(entry.body)
            if judged.fault is not None:
                raise AssertionError(f"{kind.name} raised {judged.fault} for {entry.body!r}")
            return list(judged.verdicts)

        return run


def _bind(judge: Callable[..., list[Verdict]], *arguments: Any) -> Callable[[], list[Verdict]]:
    return lambda: judge(*arguments)


def list_targets() -> list[str]:
    """Return everything that is fuzzed: each guard's judge and audit, AEGIS's decision, and all events."""
    targets = [f"{guard.name}.judge" for guard in REGISTRY.stack.guards]
    targets += [f"{guard.name}.audit" for guard in REGISTRY.stack.guards if guard.audit is not None]
    return [*targets, "aegis.decide", "events"]


def fuzz(name: str, count: int, seed: int, tell: Callable[[int], None] = lambda done: None) -> Report:
    """Judge `count` cases of one target; an error is counted, never raised."""
    make_case, report = Fuzzer(seed).make_run(name), Report(name)
    for number in range(count):
        run = make_case()
        start = time.perf_counter_ns()
        try:
            found = run()
        except Exception:
            report.errors += 1
            report.first = report.first or traceback.format_exc()
            found = []
        report.nanoseconds.append(time.perf_counter_ns() - start)
        report.codes.update(verdict.code for verdict in found)
        report.count += 1
        if number % 500 == 499:
            tell(number + 1)
    return report


def show_progress(name: str, count: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        filled = 30 * done // count
        if sys.stderr.isatty():
            print(f"\r{name:24} [{'#' * filled:30}] {done}/{count}", end="", file=sys.stderr, flush=True)

    return tell


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="cases for each guard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("guards", nargs="*", help=f"among {', '.join(list_targets())}; all when none is named")
    asked = parser.parse_args(arguments)
    names = asked.guards or list_targets()
    unknown = [name for name in names if name not in list_targets()]
    if unknown:
        parser.error(f"expected guards among {', '.join(list_targets())}; got {', '.join(unknown)}")
    print(f"seed {asked.seed}\n{'guard':24} {'count':>8} {'errors':>7} {'median µs':>10} {'p99 µs':>10}")
    failed = False
    for name in names:
        report = fuzz(name, asked.count, asked.seed, show_progress(name, asked.count))
        if sys.stderr.isatty():
            print("\r" + " " * 79 + "\r", end="", file=sys.stderr, flush=True)
        figures = f"{report.quantile(0.5):10.1f} {report.quantile(0.99):10.1f}"
        print(f"{name:24} {report.count:8} {report.errors:7} {figures}")
        if report.errors:
            failed = True
            print(report.first)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
