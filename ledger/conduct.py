"""Conduct: faults and quarantine of accounts, and the circuits of modules.  Events: the guards' own, all derived.

A fault is an event whose rules raised an error (CIR-302): it is denied, and several in an epoch put the account into
quarantine for some beats.  A module whose circuit is open is frozen until the epoch after, or until it is reset.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.policies import AegisPolicy, read_policies
from ledger.primitives.records import U32, U64, Bytes32, Length, encode_record
from ledger.state import read_record

Text = Annotated[str, Length(0, 96)]
SEAL_REASONS = ("CIR-302", "CIR-412", "CIR-511")


@dataclass(frozen=True, slots=True)
class Conduct:
    """What the guards remember of an account."""

    epoch: U64  # of the faults
    faults: U32
    quarantined_until: U64  # beat; quarantine ends when it begins
    times: U32  # how often it was put into quarantine


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of a module: frozen while the epoch is below `closes_epoch`."""

    closes_epoch: U64
    reason: Text
    trips: U32


def read_conduct(view: View, account_id: bytes) -> Conduct | None:
    """Return what is remembered of an account, or None."""
    return read_record(view, keyspace.conduct(account_id), Conduct)


def is_quarantined(view: View, account_id: bytes, beat: int) -> bool:
    """Whether the account is in quarantine at a beat."""
    conduct = read_conduct(view, account_id)
    return conduct is not None and beat < conduct.quarantined_until


def read_circuit(view: View, module: str) -> Circuit | None:
    """Return a module's circuit, or None when it never tripped."""
    return read_record(view, keyspace.circuit(module), Circuit)


def is_frozen(view: View, module: str, epoch: int) -> bool:
    """Whether a module is frozen in an epoch."""
    circuit = read_circuit(view, module)
    return circuit is not None and epoch < circuit.closes_epoch


@dataclass(frozen=True, slots=True)
class Cir302Raised:
    """An event's rules raised an error: the event was denied, the fault is counted."""

    account: Bytes32
    error: Text
    target: Bytes32  # event id


@dataclass(frozen=True, slots=True)
class Cir511Raised:
    """A policy alarm: a module is frozen until the next epoch."""

    code: Text
    module: Text


@dataclass(frozen=True, slots=True)
class AccountQuarantined:
    """An account may not act for some beats."""

    account: Bytes32
    until_beat: U64


@dataclass(frozen=True, slots=True)
class AegisVetoed:
    """AEGIS stopped an event that the other guards allowed."""

    code: Text
    severity: Text
    target: Bytes32


@dataclass(frozen=True, slots=True)
class AegisRollbackApplied:
    """What the event had drafted was dropped: the state is the same after as before."""

    after: Bytes32  # state digest
    before: Bytes32
    target: Bytes32


@dataclass(frozen=True, slots=True)
class AegisCircuitTripped:
    """A module was frozen."""

    closes_epoch: U64
    module: Text
    reason: Text


def apply_cir_302(view: View, entry: Entry[Cir302Raised]) -> Iterator[Write]:
    """Count the fault."""
    conduct = read_conduct(view, entry.body.account) or Conduct(entry.epoch, 0, 0, 0)
    faults = conduct.faults + 1 if conduct.epoch == entry.epoch else 1
    yield Put(keyspace.conduct(entry.body.account), encode_record(replace(conduct, epoch=entry.epoch, faults=faults)))


def apply_account_quarantined(view: View, entry: Entry[AccountQuarantined]) -> Iterator[Write]:
    """Begin the quarantine, and forget the faults that led to it."""
    conduct = read_conduct(view, entry.body.account) or Conduct(entry.epoch, 0, 0, 0)
    after = Conduct(entry.epoch, 0, entry.body.until_beat, conduct.times + 1)
    yield Put(keyspace.conduct(entry.body.account), encode_record(after))


def compute_quarantine_end(conduct: Conduct, beat: int, policy: AegisPolicy) -> int | None:
    """Return the beat until which an account is put into quarantine for its faults, or None."""
    if conduct.faults < policy.faults_quarantine:
        return None
    beats = min(policy.quarantine_beats << min(conduct.times, 16), policy.quarantine_beats_max)
    return beat + beats


def apply_cir_511(view: View, entry: Entry[Cir511Raised]) -> Iterator[Write]:
    """Freeze the module until the next epoch."""
    trips = (read_circuit(view, entry.body.module) or Circuit(0, "", 0)).trips + 1
    circuit = Circuit(entry.epoch + 1, entry.body.code, trips)
    yield Put(keyspace.circuit(entry.body.module), encode_record(circuit))


def apply_circuit_tripped(view: View, entry: Entry[AegisCircuitTripped]) -> Iterator[Write]:
    """Freeze the module."""
    trips = (read_circuit(view, entry.body.module) or Circuit(0, "", 0)).trips + 1
    circuit = Circuit(entry.body.closes_epoch, entry.body.reason, trips)
    yield Put(keyspace.circuit(entry.body.module), encode_record(circuit))


def apply_nothing(view: View, entry: Entry[AegisVetoed] | Entry[AegisRollbackApplied]) -> Iterator[Write]:
    """Leave the receipt; the state stays."""
    return iter(())


def list_fault_events(
    view: View, account: bytes, beat: int
) -> Iterator[tuple[EventType[AccountQuarantined], AccountQuarantined]]:
    """Yield what follows from an account's faults, after they were counted."""
    conduct = read_conduct(view, account)
    until = None if conduct is None else compute_quarantine_end(conduct, beat, read_policies(view).aegis)
    if until is not None:
        yield ACCOUNT_QUARANTINED, AccountQuarantined(account, until)


CIR_302 = EventType(
    name="guards.Cir302Raised",
    version=1,
    body=Cir302Raised,
    guards=(),
    apply=apply_cir_302,
    summary="The rules of an event raised an error; it was denied, and the fault counted.",
    example=Cir302Raised(bytes(32), "OverflowError", bytes(32)),
    inputs=lambda body: {"account": body.account.hex(), "error": body.error, "target": body.target.hex()},
    derived=True,
)
CIR_511 = EventType(
    name="guards.Cir511Raised",
    version=1,
    body=Cir511Raised,
    guards=(),
    apply=apply_cir_511,
    summary="A settlement failed its checks: the epoch pays nothing, and the module is frozen until the next.",
    example=Cir511Raised("ECON_CHR_EMISSION_CAP_EXCEEDED", "rewards"),
    inputs=lambda body: {"code": body.code, "module": body.module},
    derived=True,
)
ACCOUNT_QUARANTINED = EventType(
    name="guards.AccountQuarantined",
    version=1,
    body=AccountQuarantined,
    guards=(),
    apply=apply_account_quarantined,
    summary="An account was put into quarantine for its faults.",
    example=AccountQuarantined(bytes(32), 64),
    inputs=lambda body: {"account": body.account.hex(), "until_beat": body.until_beat},
    derived=True,
)
AEGIS_VETOED = EventType(
    name="guards.AegisVetoed",
    version=1,
    body=AegisVetoed,
    guards=(),
    apply=apply_nothing,
    summary="AEGIS stopped an event that the other guards allowed.",
    example=AegisVetoed("AEGIS_ACTOR_QUARANTINED", "critical", bytes(32)),
    inputs=lambda body: {"code": body.code, "severity": body.severity, "target": body.target.hex()},
    derived=True,
)
AEGIS_ROLLED_BACK = EventType(
    name="guards.AegisRollbackApplied",
    version=1,
    body=AegisRollbackApplied,
    guards=(),
    apply=apply_nothing,
    summary="What a vetoed event had drafted was dropped; the state digest is the same after as before.",
    example=AegisRollbackApplied(bytes(32), bytes(32), bytes(32)),
    inputs=lambda body: {"after": body.after.hex(), "before": body.before.hex(), "target": body.target.hex()},
    derived=True,
)
CIRCUIT_TRIPPED = EventType(
    name="guards.AegisCircuitTripped",
    version=1,
    body=AegisCircuitTripped,
    guards=(),
    apply=apply_circuit_tripped,
    summary="A module was frozen.",
    example=AegisCircuitTripped(2, "rewards", "CIR-511"),
    inputs=lambda body: {"closes_epoch": body.closes_epoch, "module": body.module, "reason": body.reason},
    derived=True,
)

EVENTS = (CIR_302, CIR_511, ACCOUNT_QUARANTINED, AEGIS_VETOED, AEGIS_ROLLED_BACK, CIRCUIT_TRIPPED)
