"""Who runs the machines: registers them, says what they are ready for, takes them out, and gives them other keys.

Each operator's account has its machine's own key.  What is said is said again until the ledger has it; a machine that
was admitted says that it is ready by itself, as `node.reporter` does, from what its own chain shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from consensus.messages import get_purpose
from ledger import keyspace
from ledger.authoring import Reference, make_event, sign_event
from ledger.chain import Chain
from ledger.evidence import KINDS, EquivocationProven, SignedVote
from ledger.identity import read_nonce
from ledger.membership import ADMIT, LEAVE, ROTATE, find_change
from ledger.nodes import NO_GROUP, RELAY, VALIDATOR, NodeRegistered, read_node, registration_message
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import Purpose
from ledger.validators import ValidatorKeyRotated, ValidatorReady, ValidatorResigned, readiness_message
from simulations.node import Validator
from simulations.observations import Accused, Observation
from simulations.schedule import Schedule
from simulations.setting import Setting, make_replica_key

SAY_AGAIN_MS = 400
PQC_KEY = tagged_hash("simulation/pqc", b"a key of 1,952 bytes")


@dataclass(frozen=True, slots=True)
class Statement:
    """What an operator wants on the ledger: made anew each time that it is said, until `is_done`."""

    machine: int  # whose operator says it
    make: Callable[[Chain], Any]
    is_done: Callable[[Chain], bool]


class Operators:
    """All operators; `plan` what they will say, then `start`."""

    def __init__(self, schedule: Schedule, setting: Setting, nodes: Sequence[Validator]) -> None:
        self._schedule = schedule
        self._setting = setting
        self._nodes = nodes
        self._kinds = {kind.body: kind for kind in setting.registry.all()}
        self._statements: list[Statement] = []
        self._accused: set[int] = set()

    def start(self, registered: Sequence[int]) -> None:
        """Register these machines, and go on from there."""
        for machine in registered:
            self._say(machine, partial(self._make_registration, machine), partial(_is_registered, machine))
        self._schedule.after(SAY_AGAIN_MS, self._say_all)

    def resign(self, machine: int) -> None:
        """Take a validator out of the set."""
        key = make_replica_key(machine).public

        def is_done(chain: Chain) -> bool:
            change = find_change(chain.store, key)
            return key not in chain.validators.keys or (change is not None and change.kind == LEAVE)

        self._say(machine, lambda chain: ValidatorResigned(key), is_done)

    def rotate(self, machine: int, successor: int) -> None:
        """Let another machine go on in a validator's place."""
        old, new = make_replica_key(machine), make_replica_key(successor)

        def make(chain: Chain) -> ValidatorKeyRotated:
            account = compute_account_id(chain.chain_id, old.public)
            proof = new.sign(
                chain.chain_id, Purpose.NODE_REGISTRATION, registration_message(account, new.public)
            )  # fmt: skip
            return ValidatorKeyRotated(new.public, old.public, proof)

        def is_done(chain: Chain) -> bool:
            change = find_change(chain.store, old.public)
            return new.public in chain.validators.keys or (change is not None and change.kind == ROTATE)

        self._say(machine, make, is_done)

    def observe(self, observation: Observation) -> None:
        """Bring evidence to the ledger, in the name of who found it."""
        if not isinstance(observation, Accused) or observation.accused in self._accused:
            return
        kind = get_purpose(type(observation.first.message)).value
        if kind not in KINDS:
            return
        self._accused.add(observation.accused)
        key = make_replica_key(observation.accused).public
        first, second = (
            SignedVote(signed.encoded, signed.signature) for signed in (observation.first, observation.second)
        )  # fmt: skip
        body = EquivocationProven(observation.era, first, key, kind, second)
        place = keyspace.evidence(key)
        self._say(observation.replica, lambda chain: body, lambda chain: chain.store.get(place) is not None)

    def _say(self, machine: int, make: Callable[[Chain], Any], is_done: Callable[[Chain], bool]) -> None:
        self._statements.append(Statement(machine, make, is_done))

    def _say_all(self) -> None:
        """One statement of each operator at a time, since each takes the account's next nonce."""
        self._schedule.after(SAY_AGAIN_MS, self._say_all)
        up = [node for node in self._nodes if node.up and node.halted is None]
        if not up:
            return
        best = max(up, key=lambda node: (node.chain.head.height, -node.number)).chain
        self._statements = [each for each in self._statements if not each.is_done(best)]
        spoken: set[int] = set()
        for node in up:
            if self._is_admitted(node):
                spoken.add(node.number)
                self._submit(node.number, self._make_readiness(node), node.chain, [node])
        for statement in self._statements:
            if statement.machine not in spoken:
                spoken.add(statement.machine)
                self._submit(statement.machine, statement.make(best), best, up)

    def _is_admitted(self, node: Validator) -> bool:
        change = find_change(node.chain.store, make_replica_key(node.number).public)
        if change is None or change.kind != ADMIT:
            return False
        return change.ready_epoch != node.chain.head.header.epoch

    def _make_readiness(self, node: Validator) -> ValidatorReady:
        key, chain = make_replica_key(node.number), node.chain
        proof = key.sign(chain.chain_id, Purpose.NODE_READY, readiness_message(chain.head.hash))
        return ValidatorReady(key.public, proof)

    def _make_registration(self, machine: int, chain: Chain) -> NodeRegistered:
        key = make_replica_key(machine)
        account = compute_account_id(chain.chain_id, key.public)
        proof = key.sign(chain.chain_id, Purpose.NODE_REGISTRATION, registration_message(account, key.public))
        kind = VALIDATOR if key.public in self._setting.genesis.validators else RELAY
        return NodeRegistered(NO_GROUP, kind, key.public, PQC_KEY, "ML-DSA-65", proof)

    def _submit(self, machine: int, body: Any, chain: Chain, to: Sequence[Validator]) -> None:
        key, head = make_replica_key(machine), chain.head
        account = compute_account_id(chain.chain_id, key.public)
        event = make_event(
            self._kinds[type(body)],
            body,
            author=account,
            key=key.public,
            nonce=read_nonce(chain.store, account) + 1,
            reference=Reference(head.height, head.hash, head.header.beat),
        )
        signed = sign_event(key, chain.chain_id, event)
        for node in to:
            node.submit(signed)


def _is_registered(machine: int, chain: Chain) -> bool:
    return read_node(chain.store, make_replica_key(machine).public) is not None
