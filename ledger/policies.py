"""Policies: the numbers under which guards judge and settlement pays.  Versioned, typed, constant within an epoch.

A policy is a record whose fields carry their legal ranges; a version is named by the hash of its content, and stays
readable for ever.  What only new software may change is in the policy "protocol", which has no fields to vote on.
Changing a policy is in `social.governance`; here is what they are, and how they are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, cast, get_args, get_origin, get_type_hints

from ledger import hsmf, keyspace
from ledger.events import Put, View, Write
from ledger.primitives.encoding import EncodingError
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, Between, Bytes32, Length, decode_record, encode_record
from ledger.state import encode_number, read_number

VALUES_BYTES_MAX = 1_536
SOCIAL, INFRA = "social", "infra"
"""The two voting tracks: by standing, and by NOD."""

Share = Annotated[int, Between(0, SCALE)]
PROTOCOL = "protocol@1"
"""What verdicts cite whose rule is a constant of the software."""


@dataclass(frozen=True, slots=True)
class EnergyPolicy:
    """What acting costs in ATR."""

    base_cost: Annotated[int, Between(100 * SCALE, 10_000 * SCALE)] = 1_000 * SCALE
    burst_actions_min: Annotated[int, Between(1, 1_000)] = 10  # the mean of eight epochs counts as at least this
    burst_factor: Annotated[int, Between(SCALE, 10 * SCALE)] = 2 * SCALE  # over the mean, from which the price climbs
    cooldown_beats: Annotated[int, Between(1, 5_082)] = 120  # without action, after which the price is plain again
    escalation: Annotated[int, Between(SCALE, 2 * SCALE)] = 3 * SCALE // 2  # by each further action
    recovery: Annotated[int, Between(SCALE // 2, 99 * SCALE // 100)] = 95 * SCALE // 100  # of what is missing, kept


@dataclass(frozen=True, slots=True)
class CoherencePolicy:
    """How dissonance and content are weighed."""

    alpha: Annotated[int, Between(SCALE // 100, 3 * SCALE // 10)] = SCALE // 10  # of an epoch in standing
    beta: Annotated[int, Between(0, 100)] = 1
    c_crit: Annotated[int, Between(SCALE // 10, 6 * SCALE // 10)] = hsmf.PHI_INVERSE_SQUARED
    decay_step_beats: Annotated[int, Between(64, 2_048)] = 256
    lambda_flx: Annotated[int, Between(0, 10 * SCALE)] = hsmf.PHI
    lambda_psi: Annotated[int, Between(0, 10 * SCALE)] = hsmf.PHI_INVERSE
    tau_max: Share = 95 * SCALE // 100
    tau_min: Share = 40 * SCALE // 100
    weight_clarity: Share = 8 * SCALE // 100
    weight_hsmf: Share = 20 * SCALE // 100
    weight_logic: Share = 20 * SCALE // 100
    weight_non_contradiction: Share = 12 * SCALE // 100
    weight_signal: Share = 16 * SCALE // 100
    weight_topic: Share = 24 * SCALE // 100


@dataclass(frozen=True, slots=True)
class RewardsPolicy:
    """What an epoch pays for content."""

    chr_pool: Annotated[int, Between(0, 1_007_477 * SCALE)] = 1_007_477 * SCALE
    endorser_share: Annotated[int, Between(0, 3 * SCALE // 10)] = SCALE // 5
    flx_fraction: Annotated[int, Between(SCALE // 100, SCALE // 5)] = SCALE // 10  # of the CHR pool
    growth_slope: Annotated[int, Between(0, 2 * SCALE)] = SCALE
    growth_target: Share = 70 * SCALE // 100
    mass_full: Annotated[int, Between(0, 10**6 * SCALE)] = (
        10 * SCALE
    )  # of all mass held, from which the pools are whole
    psi_delta: Annotated[int, Between(0, SCALE // 10)] = SCALE // 10
    reserve_share: Annotated[int, Between(SCALE // 20, 3 * SCALE // 10)] = SCALE // 10
    reserve_target: Annotated[int, Between(0, SCALE // 2)] = SCALE // 5  # of the FLX supply


Decay = Annotated[int, Between(9 * SCALE // 10, SCALE)]


@dataclass(frozen=True, slots=True)
class DecayPolicy:
    """What is left of a balance after each epoch."""

    chr_kept: Decay = 995 * SCALE // 1_000
    flx_floor: Annotated[int, Between(0, 10_000 * SCALE)] = 100 * SCALE  # only what is above it decays
    flx_kept: Decay = 99 * SCALE // 100
    nod_kept: Annotated[int, Between(98 * SCALE // 100, SCALE)] = 99 * SCALE // 100
    psi_kept: Decay = 997 * SCALE // 1_000


@dataclass(frozen=True, slots=True)
class SybilPolicy:
    """What an identity must cost before it counts."""

    age_epochs: Annotated[int, Between(2, 50)] = 10
    bond: Annotated[int, Between(0, 10_000 * SCALE)] = 100 * SCALE
    newcomer_epochs: Annotated[int, Between(0, 50)] = 2  # without rewards
    posts_max: Annotated[int, Between(1, 10_000)] = 10  # in a window
    posts_window_beats: Annotated[int, Between(1, 5_082)] = 212
    votes_max: Annotated[int, Between(1, 1_000)] = 100  # in an epoch
    vouch_share: Share = SCALE // 4
    vouches_live_max: Annotated[int, Between(0, 100)] = 3  # of one voucher, in vouch_epochs
    vouch_epochs: Annotated[int, Between(1, 100)] = 10
    vouch_s_chr_min: Share = 7 * SCALE // 10


Percent = Annotated[int, Between(0, 100)]


SAFETY_MODEL = bytes.fromhex("31738ca1986886850fc6f6e06491769e71608059d8571afe942e0fc8617a62cd")
"""The digest of the text model that ships, `guards.text_model.compute_model_digest()`."""


@dataclass(frozen=True, slots=True)
class SafetyPolicy:
    """Which scores of the text model give which label."""

    blocked_hate: Annotated[int, Between(50, 101)] = 101  # 101: nothing is blocked
    hidden_hate: Percent = 90
    image_bytes_max: Annotated[int, Between(1, 100_000_000)] = 10_000_000
    image_distance_max: Annotated[int, Between(0, 16)] = 6  # of the perceptual hash, in bits
    model: U32 = 1
    model_digest: Bytes32 = SAFETY_MODEL
    warned_hate: Percent = 60
    warned_offensive: Percent = 80


@dataclass(frozen=True, slots=True)
class NodPolicy:
    """What serving the network pays."""

    fraction: Annotated[int, Between(SCALE // 100, 15 * SCALE // 100)] = SCALE // 10  # of the ATR that was spent
    health_min: Annotated[int, Between(SCALE // 2, SCALE)] = 75 * SCALE // 100
    uptime_min: Annotated[int, Between(SCALE // 2, SCALE)] = 90 * SCALE // 100
    weight_challenges: Share = SCALE // 5
    weight_proposals: Share = SCALE // 5
    weight_votes: Share = 3 * SCALE // 5


@dataclass(frozen=True, slots=True)
class GovernancePolicy:
    """How a policy is changed."""

    cooldown_beats: Annotated[int, Between(10, 5_082)] = 120
    delay_beats: Annotated[int, Between(10, 50_820)] = 512
    deposit: Annotated[int, Between(0, 10_000 * SCALE)] = 10 * SCALE  # lost when too few vote
    infra_delay_beats: Annotated[int, Between(10, 50_820)] = 240
    infra_quorum: Annotated[int, Between(51 * SCALE // 100, 90 * SCALE // 100)] = 66 * SCALE // 100
    infra_window_beats: Annotated[int, Between(20, 50_820)] = 720
    report_epochs_max: Annotated[int, Between(1, 20)] = 2  # an older dry run is void
    social_majority: Annotated[int, Between(51 * SCALE // 100, 80 * SCALE // 100)] = 66 * SCALE // 100
    social_quorum: Annotated[int, Between(SCALE // 10, 6 * SCALE // 10)] = 3 * SCALE // 10
    window_beats: Annotated[int, Between(20, 50_820)] = 5_082


@dataclass(frozen=True, slots=True)
class AegisPolicy:
    """When the meta-guard steps in."""

    anomaly_constitution: Annotated[int, Between(1, 1_000)] = 5  # denials in an epoch, from which they are an anomaly
    anomaly_economics: Annotated[int, Between(1, 1_000)] = 20
    anomaly_faults: Annotated[int, Between(1, 10)] = 2
    anomaly_safety: Annotated[int, Between(1, 1_000)] = 3
    anomaly_sybil: Annotated[int, Between(1, 1_000)] = 20
    anomaly_vetoes: Annotated[int, Between(1, 1_000)] = 3
    errors_veto: Annotated[int, Between(1, 5)] = 2  # grave verdicts, though allowed, that veto together
    faults_quarantine: Annotated[int, Between(1, 10)] = 3  # CIR-302 in an epoch
    quarantine_beats: Annotated[int, Between(1, 512)] = 64  # doubles each time
    quarantine_beats_max: Annotated[int, Between(1, 5_082)] = 512
    warnings_error: Annotated[int, Between(2, 10)] = 3  # warnings that weigh as one error


@dataclass(frozen=True, slots=True)
class ModerationPolicy:
    """How decisions about people and posts are made and contested."""

    actions_max: Annotated[int, Between(1, 10_000)] = 100  # decisions of one moderator in an epoch
    appeal_beats: Annotated[int, Between(4, 50_820)] = 15_246  # in which a decision can be appealed; then it is final
    review_beats: Annotated[int, Between(4, 50_820)] = 15_246  # that the reviewers of one stage have
    reviewer_s_chr_min: Annotated[int, Between(SCALE // 10, 9 * SCALE // 10)] = 7 * SCALE // 10
    reviewers: Annotated[int, Between(3, 9)] = 5  # drawn for one stage
    suspension_beats_max: Annotated[int, Between(1, 1_000_000)] = 152_460


PolicyValues: TypeAlias = (
    EnergyPolicy
    | CoherencePolicy
    | RewardsPolicy
    | DecayPolicy
    | SybilPolicy
    | SafetyPolicy
    | NodPolicy
    | GovernancePolicy
    | AegisPolicy
    | ModerationPolicy
)

TRACKS: dict[str, str] = {
    "aegis": SOCIAL,
    "coherence": SOCIAL,
    "decay": SOCIAL,
    "energy": SOCIAL,
    "governance": SOCIAL,
    "moderation": SOCIAL,
    "nod": INFRA,
    "rewards": SOCIAL,
    "safety": SOCIAL,
    "sybil": SOCIAL,
}
"""Which votes decide over a policy; a name that is not here can't be voted on."""


class PolicyInvalid(ValueError):
    """A policy's values are not legal; the message names the field."""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of one policy, as the state keeps it for ever."""

    from_epoch: U64
    id: Bytes32
    name: Annotated[str, Length(1, 32)]
    values: Annotated[bytes, Length(1, VALUES_BYTES_MAX)]
    version: U32


@dataclass(frozen=True, slots=True)
class _Active:
    versions: Annotated[tuple[PolicyVersion, ...], Length(10)]


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies in force, decoded; `cite` names each as verdicts do, such as "energy@3"."""

    aegis: AegisPolicy
    coherence: CoherencePolicy
    decay: DecayPolicy
    energy: EnergyPolicy
    governance: GovernancePolicy
    moderation: ModerationPolicy
    nod: NodPolicy
    rewards: RewardsPolicy
    safety: SafetyPolicy
    sybil: SybilPolicy
    cite: dict[str, str]
    root: bytes  # hash over all versions in force


KINDS: dict[str, type[Any]] = {name: get_type_hints(Policies)[name] for name in TRACKS}  # order: the table's own


def compute_policy_id(name: str, values: bytes) -> bytes:
    """Return the content address of a policy's values."""
    return tagged_hash("atlas/policy", name.encode(), values)


def decode_values(name: str, values: bytes) -> PolicyValues:
    """Return a policy's values.  Raises PolicyInvalid naming the field and its range."""
    kind = KINDS.get(name)
    if kind is None:
        raise PolicyInvalid(f"policy: expected one of {', '.join(sorted(KINDS))}, got {name!r}")
    try:
        decoded = cast(PolicyValues, decode_record(kind, values))
    except EncodingError as error:
        raise PolicyInvalid(f"policy {name}: {error}") from error
    _verify_together(decoded)
    return decoded


def _verify_together(values: PolicyValues) -> None:
    """Check what the range of one field can't say."""
    if isinstance(values, CoherencePolicy):
        weights = [getattr(values, field.name) for field in fields(values) if field.name.startswith("weight_")]
        if sum(weights) != SCALE:
            raise PolicyInvalid(f"policy coherence: expected weights that sum to {SCALE}, got {sum(weights)}")
        if not values.tau_min < values.tau_max:
            raise PolicyInvalid(f"policy coherence: expected tau_min below tau_max, got {values.tau_min}")
    if isinstance(values, NodPolicy):
        total = values.weight_challenges + values.weight_proposals + values.weight_votes
        if total != SCALE:
            raise PolicyInvalid(f"policy nod: expected weights that sum to {SCALE}, got {total}")
    if isinstance(values, SafetyPolicy) and not values.warned_hate <= values.hidden_hate <= values.blocked_hate:
        raise PolicyInvalid("policy safety: expected warned_hate <= hidden_hate <= blocked_hate")


def read_policies(view: View) -> Policies:
    """Return the policies in force."""
    data = view.get(keyspace.policies())
    assert data is not None, "the state has policies since genesis"
    return _decode_active(data)


@lru_cache(64)
def _decode_active(data: bytes) -> Policies:
    active = decode_record(_Active, data)
    values: dict[str, Any] = {each.name: decode_values(each.name, each.values) for each in active.versions}
    cite = {each.name: f"{each.name}@{each.version}" for each in active.versions}
    return Policies(**values, cite=cite, root=compute_policy_root(data))


def compute_policy_root(data: bytes | None) -> bytes:
    """Return the hash that headers carry, of what is stored under `keyspace.policies()`."""
    return tagged_hash("atlas/policies", data or b"")


def list_active(view: View) -> tuple[PolicyVersion, ...]:
    """Return the version in force of every policy, by name."""
    data = view.get(keyspace.policies())
    return () if data is None else decode_record(_Active, data).versions


def read_version(view: View, name: str, version: int) -> PolicyVersion | None:
    """Return any version that was ever in force, or None."""
    data = view.get(keyspace.policy_version(name, version))
    return None if data is None else decode_record(PolicyVersion, data)


def read_version_at(view: View, name: str, epoch: int) -> PolicyVersion:
    """Return the version that was in force in an epoch."""
    version = read_number(view, keyspace.policy_count(name))
    found = read_version(view, name, version)
    while found is not None and found.from_epoch > epoch:
        version -= 1
        found = read_version(view, name, version)
    assert found is not None, f"policy {name} has a version since genesis"
    return found


def activate(
    view: View, name: str, values: bytes, from_epoch: int, *, trial_id: bytes | None = None
) -> Iterator[Write]:
    """Put a new version into force.  The caller has made sure that it may.

    trial_id: in a dry run, what the version is called instead of its address; so that no rule takes it for voted in.
    """
    decode_values(name, values)
    version = read_number(view, keyspace.policy_count(name)) + 1
    made = PolicyVersion(from_epoch, trial_id or compute_policy_id(name, values), name, values, version)
    active = tuple(made if each.name == name else each for each in list_active(view))
    yield Put(keyspace.policy_version(name, version), encode_record(made))
    yield Put(keyspace.policy_count(name), encode_number(version))
    yield Put(keyspace.policies(), encode_record(_Active(active)))


def compute_genesis_policies(overrides: dict[str, dict[str, Any]]) -> list[tuple[bytes, bytes]]:
    """Return the state of version 1 of every policy.  Raises PolicyInvalid for overrides that are not legal."""
    unknown = sorted(set(overrides) - set(KINDS))
    if unknown:
        raise PolicyInvalid(f"policies: expected some of {', '.join(sorted(KINDS))}, got {', '.join(unknown)}")
    versions: list[PolicyVersion] = []
    for name in sorted(KINDS):
        values = encode_values(name, overrides.get(name, {}))
        versions.append(PolicyVersion(0, compute_policy_id(name, values), name, values, 1))
    state = [(keyspace.policies(), encode_record(_Active(tuple(versions))))]
    for each in versions:
        state.append((keyspace.policy_version(each.name, 1), encode_record(each)))
        state.append((keyspace.policy_count(each.name), encode_number(1)))
    return state


def encode_values(name: str, changed: dict[str, Any]) -> bytes:
    """Return a policy's defaults with some fields changed.  Raises PolicyInvalid."""
    kind = KINDS[name]
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(changed) - known)
    if unknown:
        raise PolicyInvalid(f"policy {name}: expected fields among {', '.join(sorted(known))}; got {unknown}")
    try:
        values = encode_record(kind(**changed))
    except EncodingError as error:
        raise PolicyInvalid(f"policy {name}: {error}") from error
    decode_values(name, values)
    return values


def edit_values(name: str, values: bytes, changed: dict[str, Any]) -> bytes:
    """Return legal values with some fields changed.  Raises PolicyInvalid."""
    before = decode_values(name, values)
    return encode_values(name, {field.name: getattr(before, field.name) for field in fields(before)} | changed)


def describe(name: str) -> list[tuple[str, Any, int | None, int | None]]:
    """Return (field, default, lowest, highest) of a policy, for people and catalogues."""
    kind = KINDS[name]
    rows: list[tuple[str, Any, int | None, int | None]] = []
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        hint = hints[field.name]
        rule = get_args(hint)[1] if get_origin(hint) is Annotated else None
        low, high = (rule.low, rule.high) if isinstance(rule, Between) else (None, None)
        rows.append((field.name, field.default, low, high))
    return rows
