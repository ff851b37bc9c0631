"""What clients do: real signed events, sent to one replica or to all, and again until they are executed.

Diligent accounts send what is valid, nonce by nonce; that is what must commit in the end.  One careless account sends
repeats, rivals for one nonce, gaps, and what is expired or forged; nobody waits for those.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from guards.assessment import assess
from ledger.authoring import Reference, make_event, sign_event
from ledger.events import SignedEvent, compute_event_id
from ledger.identity import IdentityCreated
from ledger.payloads import Payload, compute_content_ref
from ledger.primitives.signing import SigningKey
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from node.mempool import Accepted
from simulations.node import Validator
from simulations.observations import Observer, Submitted
from simulations.schedule import Schedule
from simulations.setting import Setting, get_account_id, make_account_key
from social.follows import AccountFollowed
from social.posts import PostPublished
from social.reactions import ContentLiked

RESUBMIT_MS = 1_500
EXPIRY_BEATS = 1_024
SALT = b"a salt, 16 bytes"
WORDS = ("rain", "harbour", "bread", "lantern", "orchard", "violin", "gravel", "letter", "meadow", "kettle", "ferry")


class LoadSize(Protocol):
    """How much clients send, and for how long."""

    @property
    def accounts(self) -> int: ...
    @property
    def newcomers(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def careless_events(self) -> int: ...
    @property
    def over_ms(self) -> int: ...


@dataclass(slots=True)
class Account:
    """Somebody with a key, and what he sent and has not seen executed."""

    key: SigningKey
    id: bytes
    nonce: int = 0
    waiting: dict[bytes, SignedEvent] = field(default_factory=dict[bytes, SignedEvent])


class Workload:
    """All clients."""

    def __init__(
        self,
        schedule: Schedule,
        setting: Setting,
        nodes: Sequence[Validator],
        load: LoadSize,
        executed: Sequence[dict[bytes, int]],
        observe: Observer,
    ) -> None:
        self.accepted: dict[bytes, int] = {}
        """Valid events that a replica accepted, and when first."""
        self.issued = 0
        self.distrusted: set[int] = set()
        """Replicas whose blocks no event refers to: clients verify certificates, and those have none."""
        self.sent: list[SignedEvent] = []
        """Valid events, in the order in which they were made."""
        self._schedule = schedule
        self._setting = setting
        self._nodes = nodes
        self._load = load
        self._executed = executed
        self._observe = observe
        self._stream = schedule.stream("clients")
        self._asked = list(range(len(nodes)))
        self._kinds = {kind.body: kind for kind in setting.registry.all()}
        people = [self._make_account(number) for number in range(load.accounts + 1 + load.newcomers)]
        self._careless, self._diligent = people[0], people[1:]
        self._newcomers = people[1 + load.accounts :]
        self._posts: list[bytes] = []

    def start(self) -> None:
        for _ in range(self._load.events):
            self._schedule.after(self._stream.randrange(self._load.over_ms), self._send_valid)
        for _ in range(self._load.careless_events):
            self._schedule.after(self._stream.randrange(self._load.over_ms), self._send_careless)
        self._schedule.after(RESUBMIT_MS, self._resubmit)

    def heal(self, core: list[int]) -> None:
        """From now on clients ask only these."""
        self._asked = list(core)

    def is_done(self, core: list[int]) -> bool:
        """Tell whether all that was issued was accepted, and executed by every replica of the core."""
        return all(not account.waiting for account in self._diligent) and all(
            event_id in self._executed[number] for event_id in self.accepted for number in core
        )

    def describe(self, core: list[int]) -> str:
        """Return how far it is, for people."""
        missing = {number: sum(each not in self._executed[number] for each in self.accepted) for number in core}
        waiting = sum(len(account.waiting) for account in self._diligent)
        return f"{self.issued} issued, {len(self.accepted)} accepted, {waiting} waiting; not executed: {missing}"

    # Valid events.

    def _send_valid(self) -> None:
        account = self._stream.choice(self._diligent)
        signed = self._sign_next(account)
        if signed is None:
            self._schedule.after(RESUBMIT_MS, self._send_valid)  # nobody to ask for a reference block
            return
        self.issued += 1
        account.waiting[compute_event_id(signed.event)] = signed
        self.sent.append(signed)
        self._offer(signed, everywhere=self._stream.randrange(4) == 0)

    def _sign_next(self, account: Account) -> SignedEvent | None:
        reference = self._choose_reference()
        if reference is None:
            return None
        account.nonce += 1
        if account.nonce == 1 and account in self._newcomers:
            return self._sign(account, IdentityCreated(), account.nonce, reference)
        kind = self._stream.randrange(4)
        other = self._stream.choice(self._diligent)
        if kind == 1 and self._posts:
            return self._sign(account, ContentLiked(self._stream.choice(self._posts)), account.nonce, reference)
        if kind == 2:
            return self._sign(account, AccountFollowed(other.id), account.nonce, reference)
        if kind == 3:
            atoms = self._stream.randint(1, 1_000_000)
            return self._sign(account, TokensTransferred(atoms, other.id, FLX), account.nonce, reference)
        signed = self._sign_post(account, account.nonce, reference)
        self._posts.append(compute_event_id(signed.event))
        return signed

    def _resubmit(self) -> None:
        """What no replica that is asked shows as executed is sent again, lowest nonces first."""
        for account in self._diligent:
            for event_id, signed in list(account.waiting.items()):
                if any(event_id in self._executed[number] for number in self._asked):
                    del account.waiting[event_id]
                else:
                    self._offer(signed, everywhere=False)
        self._schedule.after(RESUBMIT_MS, self._resubmit)

    # Events that nobody waits for.

    def _send_careless(self) -> None:
        reference = self._choose_reference()
        if reference is None:
            return
        account, stream = self._careless, self._stream
        kind = stream.randrange(6)
        if kind == 0 and self.sent:
            signed = stream.choice(self.sent)
        elif kind == 1:
            account.nonce += 1
            self._submit(self._sign_post(account, account.nonce, reference))
            signed = self._sign_post(account, account.nonce, reference)  # a rival for the same nonce
        elif kind == 2:
            signed = self._sign_post(account, account.nonce + stream.randint(2, 100), reference)
        elif kind == 3:
            signed = self._sign_post(account, account.nonce + 1, reference, expiry_beats=stream.randrange(3))
        elif kind == 4:
            good = self._sign_post(account, account.nonce + 1, reference)
            signed = SignedEvent(good.event, good.payload, _flip(stream, good.signature))
        else:
            good = self._sign_post(account, account.nonce + 1, reference)
            assert good.payload is not None
            signed = SignedEvent(good.event, _flip(stream, good.payload), good.signature)
        self._submit(signed)

    # How they are made and sent.

    def _make_account(self, number: int) -> Account:
        key = make_account_key(number)
        return Account(key, get_account_id(self._setting.chain_id, number))

    def _choose_reference(self) -> Reference | None:
        """Return a block that a replica shows to a client."""
        asked = [number for number in self._asked if number not in self.distrusted]
        up = [node for node in self._nodes if node.number in asked and node.up]
        if not up:
            return None
        chain = self._stream.choice(up).chain
        height = self._stream.randint(max(0, chain.head.height - 3), chain.head.height)
        known = chain.references(height)
        assert known is not None
        return Reference(height, *known)

    def _sign_post(
        self, account: Account, nonce: int, reference: Reference, expiry_beats: int = EXPIRY_BEATS
    ) -> SignedEvent:
        text = " ".join(self._stream.choice(WORDS) for _ in range(self._stream.randint(3, 9)))
        payload = Payload(SALT, text)
        body = PostPublished(assess(text, ()), compute_content_ref(payload), ())
        return self._sign(account, body, nonce, reference, payload, expiry_beats)

    def _sign(
        self,
        account: Account,
        body: Any,
        nonce: int,
        reference: Reference,
        payload: Payload | None = None,
        expiry_beats: int = EXPIRY_BEATS,
    ) -> SignedEvent:
        event = make_event(
            self._kinds[type(body)],
            body,
            author=account.id,
            key=account.key.public,
            nonce=nonce,
            reference=reference,
            expiry_beats=expiry_beats,
        )
        return sign_event(account.key, self._setting.chain_id, event, payload)

    def _offer(self, signed: SignedEvent, *, everywhere: bool) -> None:
        """Submit a valid event; remember that it was accepted."""
        for accepted in self._submit(signed, everywhere=everywhere):
            if accepted:
                self.accepted.setdefault(compute_event_id(signed.event), self._schedule.now_ms)

    def _submit(self, signed: SignedEvent, *, everywhere: bool = False) -> list[bool]:
        up = [node for node in self._nodes if node.number in self._asked and node.up and node.halted is None]
        if not up:
            return []
        accepted: list[bool] = []
        for node in up if everywhere else [self._stream.choice(up)]:
            answer = node.submit(signed)
            event_id = answer.event_id or compute_event_id(signed.event)
            accepted.append(isinstance(answer, Accepted))
            self._observe(Submitted(self._schedule.now_ms, node.number, event_id, accepted[-1]))
        return accepted


def _flip(stream: random.Random, data: bytes) -> bytes:
    """Return the data with one bit turned."""
    at = stream.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << stream.randrange(8),)) + data[at + 1 :]
