"""What all replicas of a world share: the chain's genesis, its keys, and pure work that is done once for all of them.

Shared: the state of genesis, and the checking of an event's form and signature (`check_once`), by equal bytes;
consensus shares verified signatures by itself.  Execution is never shared, or no checker could find that it differs.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

from consensus.messages import Sign
from consensus.parameters import Parameters
from ledger.chain import Chain
from ledger.events import CheckedEvent, EventRefused, EventTypes, SignedEvent, check_event
from ledger.genesis import Allocation, Genesis, compute_chain_id, make_policy_values
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import Purpose, SigningKey
from ledger.registry import Registry
from ledger.service import Validators
from node.eras import WINDOW
from node.modules import make_registry
from simulations.disk import MemoryStore
from simulations.votes import NO_VOTES, Votes

TIME_MS = 1_700_000_000_000
FUNDS = 1_000 * SCALE
FUNDS_OF_OPERATOR = 10_000 * SCALE
EVENTS_CHECKED_MAX = 100_000
POLICIES = {"energy": {"base_cost": 100 * SCALE}, "sybil": {"bond": 0, "posts_max": 1_000, "votes_max": 1_000}}
"""Room to act: what the rules deny is the subject of other tests."""


def make_key(name: str) -> SigningKey:
    """Return the key of somebody in every world."""
    return SigningKey(name.encode().ljust(32, b".")[:32])


def make_replica_key(replica: int) -> SigningKey:
    return make_key(f"replica {replica}")


def make_account_key(number: int) -> SigningKey:
    return make_key(f"account {number}")


def get_account_id(chain_id: bytes, number: int) -> bytes:
    """Return the account of a client: 0 is the careless one, those above are diligent."""
    return compute_account_id(chain_id, make_account_key(number).public)


@lru_cache
def make_shared_registry() -> Registry:
    return make_registry()


@dataclass(frozen=True, slots=True)
class Timing:
    """A chain's beats and a node's own timeouts, in milliseconds of that node's clock."""

    beat_ms: int = 1_000
    epoch_beats: int = 8
    view_timeout_ms: int = 1_000
    view_timeout_ms_max: int = 8_000
    retransmit_ms: int = 250
    batch_wait_ms: int = 10
    batch_events_max: int = 16
    rewrite_after_bytes: int = 64 * 1024


@dataclass(slots=True)
class Setting:
    """One chain."""

    genesis: Genesis
    chain_id: bytes
    parameters: Parameters
    timing: Timing
    registry: Registry
    initial: dict[bytes, bytes]  # a store that holds genesis
    machines: int  # those of genesis come first; others may join the validator set
    _checked: dict[tuple[SignedEvent, bool, bool], CheckedEvent | EventRefused] = field(
        default_factory=dict[tuple[SignedEvent, bool, bool], CheckedEvent | EventRefused]
    )

    def check_once(
        self,
        registry: EventTypes,
        chain_id: bytes,
        signed: SignedEvent,
        *,
        payload_required: bool,
        certified: bool = False,
    ) -> CheckedEvent:
        """As `check_event`; equal bytes are checked once."""
        key = (signed, payload_required, certified)
        known = self._checked.get(key)
        if known is None:
            try:
                known = check_event(
                    registry, chain_id, signed, payload_required=payload_required, certified=certified
                )  # fmt: skip
            except EventRefused as refused:
                known = refused
            if len(self._checked) >= EVENTS_CHECKED_MAX:
                self._checked.clear()
            self._checked[key] = known
        if isinstance(known, EventRefused):
            raise known
        return known

    def sign_as(self, key: SigningKey, parameters: Parameters) -> Sign:
        """Return what signs for an era of this chain."""

        def sign(purpose: Purpose, message: bytes) -> bytes:
            return key.sign(parameters.domain(purpose), purpose, message)

        return sign

    def make_parameters(self, validators: Validators) -> Parameters:
        """Return the parameters of an era."""
        return replace(
            self.parameters, replicas=validators.keys, era=validators.era, base=validators.since - 1
        )  # fmt: skip

    def machine_of(self, key: bytes) -> int:
        """Return whose key it is."""
        return next(number for number in range(self.machines) if make_replica_key(number).public == key)


@lru_cache
def _make_initial(genesis: Genesis, registry: Registry) -> dict[bytes, bytes]:
    store = MemoryStore("genesis")
    Chain(store, genesis, registry)
    return store.copy_contents()


def make_setting(n: int, accounts: int, timing: Timing, votes: Votes = NO_VOTES) -> Setting:
    """Return a chain with n validators and as many funded accounts as asked.

    votes: what operators decide about the validator set; with some, the operator of each machine has an account, under
    the machine's own key.
    """
    machines = max([n, *(number + 1 for number in votes.machines)])
    registry = make_shared_registry() if not votes.machines else votes.make_registry(make_replica_key)
    operators = [Allocation(FUNDS_OF_OPERATOR, make_replica_key(number).public) for number in range(machines)]
    genesis = Genesis(
        allocations=(
            *(Allocation(FUNDS, make_account_key(number).public) for number in range(accounts)),
            *(operators if votes.machines else ()),
        ),
        beat_ms=timing.beat_ms,
        epoch_beats=timing.epoch_beats,
        name="simulation",
        policies=make_policy_values(POLICIES),
        time_ms=TIME_MS,
        validators=tuple(make_replica_key(number).public for number in range(n)),
    )
    chain_id = compute_chain_id(genesis)
    parameters = Parameters(
        chain_id=chain_id,
        replicas=genesis.validators,
        window=WINDOW,
        view_timeout_ms=timing.view_timeout_ms,
        view_timeout_ms_max=timing.view_timeout_ms_max,
        retransmit_ms=timing.retransmit_ms,
    )
    initial = _make_initial(genesis, registry)
    return Setting(genesis, chain_id, parameters, timing, registry, initial, machines)
