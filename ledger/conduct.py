"""Conduct: faults and quarantine of accounts, and the circuits of modules.  Events: the guards' own, all derived.

A fault is an event whose rules raised an error (CIR-302): it is denied, and several in an epoch put the account into
quarantine for some beats.  A module whose circuit is open is frozen until the epoch after, or until it is reset.

What guards deny an account is counted by their family, for one epoch; so are vetoes and faults.  A count that reaches
its threshold in the policy of AEGIS is an anomaly: an event says so, once in the epoch, and AEGIS weighs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.policies import AegisPolicy, read_policies
from ledger.primitives.records import U32, U64, Bytes32, Length, encode_record
from ledger.state import read_record
from ledger.verdict import Verdict

Text = Annotated[str, Length(0, 96)]
SEAL_REASONS = ("CIR-302", "CIR-412", "CIR-511")
FAMILIES = ("constitution", "economics", "safety", "sybil")
"""The guards whose denials are counted, each by its name."""
FAULTS, VETOES = "faults", "vetoes"
ANOMALIES = (*FAMILIES, FAULTS, VETOES)
"""The kinds of anomaly; each has a field `anomaly_<kind>` in the policy of AEGIS."""
COUNT_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Denials:
    """What became of an account's events in one epoch: denials by family, vetoes, and the anomalies noted of that."""

    constitution: U32 = 0
    economics: U32 = 0
    noted: Annotated[tuple[Text, ...], Length(0, len(ANOMALIES))] = ()
    safety: U32 = 0
    sybil: U32 = 0
    vetoes: U32 = 0


CLEAN = Denials()


@dataclass(frozen=True, slots=True)
class Conduct:
    """What the guards remember of an account."""

    epoch: U64  # of the faults and denials
    faults: U32
    quarantined_until: U64  # beat; quarantine ends when it begins
    times: U32  # how often it was put into quarantine
    denials: Denials = CLEAN

    def in_epoch(self, epoch: int) -> "Conduct":
        """Return the same with what counts in an epoch: a new one begins with nothing."""
        return self if self.epoch == epoch else replace(self, denials=CLEAN, epoch=epoch, faults=0)

    def count(self, kind: str) -> int:
        """Return how often a kind of anomaly was counted."""
        return self.faults if kind == FAULTS else int(getattr(self.denials, kind))


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of a module: frozen while the epoch is below `closes_epoch`."""

    closes_epoch: U64
    reason: Text
    trips: U32


def read_conduct(view: View, account_id: bytes) -> Conduct | None:
    """Return what is remembered of an account, or None."""
    return read_record(view, keyspace.conduct(account_id), Conduct)


def read_conduct_in(view: View, account_id: bytes, epoch: int) -> Conduct:
    """Return what counts of an account in an epoch; an empty record when nothing is remembered."""
    return (read_conduct(view, account_id) or Conduct(epoch, 0, 0, 0)).in_epoch(epoch)


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
class AnomalyNoted:
    """A count of an account's reached its threshold; AEGIS weighs it until the epoch ends."""

    account: Bytes32
    count: U32
    kind: Text  # one of ANOMALIES
    threshold: U32


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
    conduct = read_conduct_in(view, entry.body.account, entry.epoch)
    counted = replace(conduct, faults=min(conduct.faults + 1, COUNT_MAX))
    yield Put(keyspace.conduct(entry.body.account), encode_record(counted))


def count_denial(
    view: View, account: bytes, epoch: int, verdicts: tuple[Verdict, ...], *, vetoed: bool
) -> Iterator[Write]:
    """Yield what counts a denied event: once for each family that denied it, and a veto.

    Like its nonce it belongs to the denied event itself, whose receipt has the same verdicts.
    """
    denied = {verdict.guard.partition("@")[0] for verdict in verdicts if not verdict.allowed}
    kinds = [family for family in FAMILIES if family in denied] + ([VETOES] if vetoed else [])
    if kinds:
        conduct = read_conduct_in(view, account, epoch)
        counts: dict[str, Any] = {kind: min(conduct.count(kind) + 1, COUNT_MAX) for kind in kinds}
        counted = replace(conduct, denials=replace(conduct.denials, **counts))
        yield Put(keyspace.conduct(account), encode_record(counted))


def apply_anomaly_noted(view: View, entry: Entry[AnomalyNoted]) -> Iterator[Write]:
    """Remember the anomaly for the rest of the epoch."""
    conduct = read_conduct_in(view, entry.body.account, entry.epoch)
    noted = tuple(sorted({*conduct.denials.noted, entry.body.kind}))
    after = replace(conduct, denials=replace(conduct.denials, noted=noted))
    yield Put(keyspace.conduct(entry.body.account), encode_record(after))


def apply_account_quarantined(view: View, entry: Entry[AccountQuarantined]) -> Iterator[Write]:
    """Begin the quarantine, and forget the faults that led to it."""
    conduct = read_conduct_in(view, entry.body.account, entry.epoch)
    after = replace(conduct, faults=0, quarantined_until=entry.body.until_beat, times=conduct.times + 1)
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


Follows: TypeAlias = (
    tuple[EventType[AnomalyNoted], AnomalyNoted] | tuple[EventType[AccountQuarantined], AccountQuarantined]
)


def list_conduct_events(view: View, account: bytes, beat: int, epoch: int) -> Iterator[Follows]:
    """Yield what follows from an account's denials and faults, after they were counted."""
    conduct, policy = read_conduct_in(view, account, epoch), read_policies(view).aegis
    for kind in ANOMALIES:
        count, threshold = conduct.count(kind), read_threshold(policy, kind)
        if count >= threshold and kind not in conduct.denials.noted:
            yield ANOMALY_NOTED, AnomalyNoted(account, count, kind, threshold)
    until = compute_quarantine_end(conduct, beat, policy)
    if until is not None:
        yield ACCOUNT_QUARANTINED, AccountQuarantined(account, until)


def read_threshold(policy: AegisPolicy, kind: str) -> int:
    """Return the count from which a kind is an anomaly."""
    return int(getattr(policy, f"anomaly_{kind}"))


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
ANOMALY_NOTED = EventType(
    name="guards.AnomalyNoted",
    version=1,
    body=AnomalyNoted,
    guards=(),
    apply=apply_anomaly_noted,
    summary="An account was denied so often in an epoch that AEGIS weighs it.",
    example=AnomalyNoted(bytes(32), 20, "economics", 20),
    inputs=lambda body: {
        "account": body.account.hex(), "count": body.count, "kind": body.kind, "threshold": body.threshold,
    },
    derived=True,
)  # fmt: skip
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

EVENTS = (CIR_302, CIR_511, ANOMALY_NOTED, ACCOUNT_QUARANTINED, AEGIS_VETOED, AEGIS_ROLLED_BACK, CIRCUIT_TRIPPED)
