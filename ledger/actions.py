"""Actions: what an event measures, what energy it costs, and what the epoch remembers of it.

energy charged = base cost * multiplier * weight * (1 + action cost), floored: dissonance costs more.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from ledger import hsmf, keyspace
from ledger.coherence import Assessment, CoherenceWeights, compute_coherence, compute_overlap
from ledger.draft import Draft
from ledger.endorsements import write_endorsement
from ledger.events import Endorsement, Entry, EventType, View
from ledger.items import LABELS, VISIBLE, Item, compute_label
from ledger.policies import EnergyPolicy, Policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import encode_record
from ledger.standing import (
    ECHO_BYTES,
    ECHOES_KEPT,
    ENERGY_UNIT,
    METRIC_UNIT,
    Standing,
    compute_sybil_multiplier,
    write_standing,
)
from ledger.state import encode_number, read_number
from ledger.tokens import ATR, FLX, burn, compute_bond_account, read_balance
from ledger.verdict import Fact

MULTIPLIER_MAX = 10 * SCALE
WEIGHTS_CACHED = 16
"""So many versions of the weights stay made; nothing but speed depends on it."""


class Action(NamedTuple):
    """What one event measures before it is judged; raw numbers."""

    charge: int  # ATR, in atoms
    metrics: hsmf.Metrics
    multiplier: int
    weight: int
    y: int  # sybil multiplier of the author
    assessment: Assessment | None
    overlap: int  # with the author's last items, 0..100
    coherence: int  # of the item that it publishes; 0 for others
    label: str
    endorsement: Endorsement | None

    def evidence(self, policies: Policies) -> dict[str, Fact]:
        """Return the record that the receipt keeps: all that is needed to compute the charge and the item again."""
        metrics = self.metrics
        record: dict[str, Fact] = {
            "c_holo": metrics.c_holo, "charge_micro_atr": self.charge // ENERGY_UNIT, "cost": metrics.cost,
            "f_atr": metrics.f_atr,
            "multiplier": self.multiplier, "policies": f"{policies.cite['coherence']} {policies.cite['energy']}",
            "s_chr": metrics.s_chr, "s_flx": metrics.s_flx, "s_psi": metrics.s_psi, "s_res": metrics.s_res,
            "weight": self.weight, "y": self.y,
        }  # fmt: skip
        if self.assessment is not None:
            record |= {"coherence": self.coherence, "label": self.label, "overlap": self.overlap}
        return record


def measure_action(
    view: View, entry: Entry[Any], kind: EventType[Any], standing: Standing, policies: Policies
) -> Action:
    """Return what an event measures and costs; its author's standing is up to date."""
    multiplier = compute_multiplier(standing, entry.beat, policies.energy)
    coherence_policy = policies.coherence
    metrics = hsmf.measure(
        standing.s_chr,
        shift_windows(standing, entry.beat).windows,
        beat=entry.beat,
        reference_beat=entry.reference_beat,
        multiplier=multiplier,
        weight=kind.weight,
        beta=coherence_policy.beta,
        lambda_flx=coherence_policy.lambda_flx,
        lambda_psi=coherence_policy.lambda_psi,
    )
    bond = read_balance(view, FLX, compute_bond_account(entry.author))
    assessment, overlap, coherence, label = None, 0, 0, VISIBLE
    if kind.assessment is not None:
        assessment = kind.assessment(entry.body)
        overlap = compute_overlap(assessment.echo, split_echoes(standing.echoes))
        coherence = compute_coherence(assessment, overlap, metrics.c_holo, coherence_weights(policies))
        label = compute_label(assessment.hate, assessment.offensive, policies.safety)
    return Action(
        charge=compute_charge(metrics.cost, multiplier, kind.weight, policies.energy),
        metrics=metrics,
        multiplier=multiplier,
        weight=kind.weight,
        y=compute_sybil_multiplier(standing, bond, entry.epoch, policies),
        assessment=assessment,
        overlap=overlap,
        coherence=coherence,
        label=label,
        endorsement=None if kind.endorses is None else kind.endorses(view, entry),
    )


def compute_multiplier(standing: Standing, beat: int, policy: EnergyPolicy) -> int:
    """Return what the price is multiplied by for the next action: 1 to 10."""
    calm = standing.actions == 0 and not standing.past_actions
    rested = calm or beat - standing.action_beat >= policy.cooldown_beats
    multiplier = SCALE if rested else standing.multiplier
    past = standing.past_actions
    mean = max(sum(past) * SCALE // len(past) if past else 0, policy.burst_actions_min * SCALE)
    if (standing.actions + 1) * SCALE > policy.burst_factor * mean // SCALE:
        multiplier = multiplier * policy.escalation // SCALE
    return min(MULTIPLIER_MAX, max(SCALE, multiplier))


def compute_charge(cost: int, multiplier: int, weight: int, policy: EnergyPolicy) -> int:
    """Return the energy that an action costs, in atoms: whole millionths of an ATR."""
    charge = policy.base_cost * multiplier * weight * (SCALE + cost) // SCALE**3
    return charge - charge % ENERGY_UNIT


def coherence_weights(policies: Policies) -> CoherenceWeights:
    """Return the weights of content coherence in the form that it is computed with."""
    policy = policies.coherence
    return _make_weights(
        policy.weight_clarity, policy.weight_hsmf, policy.weight_logic, policy.weight_non_contradiction,
        policy.weight_signal, policy.weight_topic,
    )  # fmt: skip


@lru_cache(WEIGHTS_CACHED)
def _make_weights(
    clarity: int, hsmf: int, logic: int, non_contradiction: int, signal: int, topic: int
) -> CoherenceWeights:
    return CoherenceWeights(
        clarity=clarity, hsmf=hsmf, logic=logic, non_contradiction=non_contradiction, signal=signal, topic=topic
    )


def split_echoes(echoes: bytes) -> list[bytes]:
    """Return the fingerprints of an account's last items."""
    return [echoes[at : at + ECHO_BYTES] for at in range(0, len(echoes), ECHO_BYTES)]


def shift_windows(standing: Standing, beat: int) -> Standing:
    """Return the standing with its day-windows moved on to the one of `beat`."""
    window = beat // hsmf.WINDOW_BEATS
    if standing.windows and window == standing.window:
        return standing
    empty = min(window - standing.window, hsmf.WINDOWS_KEPT) if standing.windows else 1
    windows = (*standing.windows, *(0,) * empty)[-hsmf.WINDOWS_KEPT :]
    return standing._replace(window=window, windows=windows)


def record_action(draft: Draft, entry: Entry[Any], standing: Standing, action: Action, policies: Policies) -> None:
    """Charge the energy and remember the action; only an event that every guard allowed gets here."""
    burn(draft, ATR, entry.author, action.charge)
    shifted = shift_windows(standing, entry.beat)
    *before, current = shifted.windows
    metrics, item = action.metrics, None
    endorsements, echoes, posts, posts_window = (
        shifted.endorsements, shifted.echoes, shifted.posts, shifted.posts_window,
    )  # fmt: skip
    if action.endorsement is not None:
        write_endorsement(draft, entry.author, endorsements, action.endorsement)
        endorsements += 1
    if action.assessment is not None:
        item = entry.event_id
        echoes = (action.assessment.echo + echoes)[: ECHOES_KEPT * ECHO_BYTES]
        window = entry.beat // policies.sybil.posts_window_beats
        posts, posts_window = (posts + 1 if window == posts_window else 1), window
        draft.put(keyspace.item(item), encode_record(_make_item(entry, action)))
    if shifted.actions == 0 and shifted.penalties == 0:  # a penalty has put it among the active already
        count = read_number(draft, keyspace.active_count())
        draft.put(keyspace.active_account(count), entry.author)
        draft.put(keyspace.active_count(), encode_number(count + 1))
    write_standing(
        draft,
        entry.author,
        Standing(
            action_beat=entry.beat,
            actions=shifted.actions + 1,
            atr_spent=shifted.atr_spent + action.charge // ENERGY_UNIT,
            created_epoch=shifted.created_epoch,
            echoes=echoes,
            endorsements=endorsements,
            epoch=shifted.epoch,
            founder=shifted.founder,
            last_item=shifted.last_item if item is None else item,
            multiplier=action.multiplier,
            past_actions=shifted.past_actions,
            penalties=shifted.penalties,
            posts=posts,
            posts_window=posts_window,
            s_chr=shifted.s_chr,
            sum_c_holo=shifted.sum_c_holo + metrics.c_holo // METRIC_UNIT,
            sum_flx=shifted.sum_flx + metrics.s_flx // METRIC_UNIT,
            sum_psi=shifted.sum_psi + metrics.s_psi // METRIC_UNIT,
            sum_res=shifted.sum_res + metrics.s_res // METRIC_UNIT,
            vouches=shifted.vouches,
            window=shifted.window,
            windows=(*before, current + action.charge // ENERGY_UNIT),
        ),
    )


def _make_item(entry: Entry[Any], action: Action) -> Item:
    return Item(
        author=entry.author,
        beat=entry.beat,
        c_holo=action.metrics.c_holo,
        coherence=action.coherence,
        epoch=entry.epoch,
        label=LABELS.index(action.label),
        s_flx=action.metrics.s_flx,
    )
