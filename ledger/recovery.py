"""Recovery: guardians give an account a new root key when its own are lost.

Events: identity.RecoveryAgentsSet, identity.RecoveryRequested, identity.RecoveryCancelled, identity.RecoveryCompleted.

    set        the account names n guardians, how many of them it takes, and how long they must wait
    requested  each guardian names a new key; the first opens the recovery, the k-th for one key starts the wait
    cancelled  the root key or any device key vetoes, at any time before the end; then guardians must pause
    completed  after the wait a guardian ends it: the new root key is in, every older key of the account is dead

A guardian may name another key until the wait has begun, so that one alone can't block the others with a wrong key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from ledger import keyspace
from ledger.account_keys import judge_new_key, read_key, replace_root
from ledger.events import Delete, Entry, EventType, Put, View, Write
from ledger.identity import read_account, read_nonce
from ledger.primitives.records import U64, Between, Bytes32, Length, encode_record
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny

AGENTS_MAX = 9
RECOVERY_DELAY_BEATS_MIN = 5_082
"""A day on a public network, in which a device can veto."""
RECOVERY_DELAY_BEATS_MAX = 30 * 5_082
RECOVERY_COOLDOWN_BEATS = 3 * 5_082
"""After a veto guardians must pause for so long."""

AgentCount = Annotated[int, Between(0, AGENTS_MAX)]


@dataclass(frozen=True, slots=True)
class RecoveryAgentsSet:
    """The author names his guardians anew; none ends recovery."""

    agents: Annotated[tuple[Bytes32, ...], Length(0, AGENTS_MAX)]
    delay_beats: U64
    threshold: AgentCount


@dataclass(frozen=True, slots=True)
class RecoveryRequested:
    """A guardian opens the recovery of an account, or approves it."""

    account: Bytes32
    key: Bytes32  # the new root key


@dataclass(frozen=True, slots=True)
class RecoveryCancelled:
    """The account vetoes its recovery.  No fields: it is the author's own."""


@dataclass(frozen=True, slots=True)
class RecoveryCompleted:
    """A guardian ends a recovery whose wait is over."""

    account: Bytes32


@dataclass(frozen=True, slots=True)
class Approval:
    """The key that a guardian wants the account to have."""

    agent: Bytes32
    key: Bytes32


@dataclass(frozen=True, slots=True)
class Recovery:
    """The recovery of an account: open while it has approvals, approved once it has a key."""

    approvals: Annotated[tuple[Approval, ...], Length(0, AGENTS_MAX)]
    key: Bytes32 | None
    paused_until_beat: U64  # before this beat no guardian may open another
    ready_beat: U64 | None  # the first beat in which it may be completed


Request: TypeAlias = Entry[RecoveryRequested] | Entry[RecoveryCompleted]
NO_RECOVERY = Recovery((), None, 0, None)


def read_agents(view: View, account_id: bytes) -> RecoveryAgentsSet | None:
    """Return the guardians of an account and their rules, or None when it has none."""
    return read_record(view, keyspace.recovery_agents(account_id), RecoveryAgentsSet)


def read_recovery(view: View, account_id: bytes) -> Recovery:
    """Return the recovery of an account; NO_RECOVERY where there never was one."""
    return read_record(view, keyspace.recovery(account_id), Recovery) or NO_RECOVERY


def threshold_fits(view: View, entry: Entry[RecoveryAgentsSet]) -> Verdict:
    count, threshold = len(entry.body.agents), entry.body.threshold
    facts: dict[str, Fact] = {"agents": count, "threshold": threshold}
    if min(count, 2) <= threshold <= count:
        return allow("recovery.threshold_fits", "So many guardians can be asked for.", **facts)
    return deny("recovery.threshold_invalid", "It takes two guardians at least, or the only one.", **facts)


def agents_are_other_accounts(view: View, entry: Entry[RecoveryAgentsSet]) -> Verdict:
    agents = entry.body.agents
    if entry.author in agents:
        return deny("recovery.agent_is_oneself", "An account can not be its own guardian.")
    if len(frozenset(agents)) != len(agents):
        return deny("recovery.agent_repeated", "A guardian is named twice.")
    unknown = [agent for agent in agents if read_account(view, agent) is None]
    if unknown:
        return deny("recovery.agent_unknown", "A guardian's account does not exist.", agent=unknown[0].hex())
    return allow("recovery.agents_exist", "The guardians' accounts exist.", agents=len(agents))


def delay_is_in_range(view: View, entry: Entry[RecoveryAgentsSet]) -> Verdict:
    facts: dict[str, Fact] = {
        "delay_beats": entry.body.delay_beats,
        "delay_beats_min": RECOVERY_DELAY_BEATS_MIN,
        "delay_beats_max": RECOVERY_DELAY_BEATS_MAX,
    }
    if RECOVERY_DELAY_BEATS_MIN <= entry.body.delay_beats <= RECOVERY_DELAY_BEATS_MAX:
        return allow("recovery.delay_fits", "The wait is neither too short to veto nor too long.", **facts)
    return deny("recovery.delay_out_of_range", "The wait must lie between the two bounds.", **facts)


def no_recovery_is_open(view: View, entry: Entry[RecoveryAgentsSet]) -> Verdict:
    if read_recovery(view, entry.author).approvals:
        return deny("recovery.is_open", "A recovery is open under the present rules; cancel it first.")
    return allow("recovery.is_not_open", "No recovery is open.")


def author_is_agent(view: View, entry: Request) -> Verdict:
    agents = read_agents(view, entry.body.account)
    if agents is None:
        return deny("recovery.not_set_up", "The account does not exist, or has no guardians.")
    if entry.author not in agents.agents:
        return deny("recovery.not_agent", "The author is not one of the account's guardians.")
    return allow("recovery.is_agent", "The author is one of the account's guardians.", threshold=agents.threshold)


def recovery_is_undecided(view: View, entry: Entry[RecoveryRequested]) -> Verdict:
    recovery = read_recovery(view, entry.body.account)
    if recovery.key is not None:
        return deny("recovery.approved", "Enough guardians have approved; the wait has begun.")
    if entry.beat < recovery.paused_until_beat:
        return deny(
            "recovery.paused", "The account vetoed its recovery; guardians must pause.",
            beat=entry.beat, paused_until_beat=recovery.paused_until_beat,
        )  # fmt: skip
    if Approval(entry.author, entry.body.key) in recovery.approvals:
        return deny("recovery.approved_already", "The guardian has named this key already.")
    return allow("recovery.undecided", "Guardians may still name the new key.")


def new_key_is_new(view: View, entry: Entry[RecoveryRequested]) -> Verdict:
    if read_account(view, entry.body.account) is None:
        return deny("recovery.account_unknown", "The account to recover does not exist.")
    return judge_new_key(view, entry.chain_id, entry.body.account, entry.body.key, None)


def recovery_is_open(view: View, entry: Entry[RecoveryCancelled]) -> Verdict:
    recovery = read_recovery(view, entry.author)
    if recovery.approvals:
        return allow("recovery.can_be_vetoed", "The recovery is open.", approvals=len(recovery.approvals))
    return deny("recovery.not_open", "No recovery of this account is open.")


def wait_is_over(view: View, entry: Entry[RecoveryCompleted]) -> Verdict:
    recovery = read_recovery(view, entry.body.account)
    if not recovery.approvals:
        return deny("recovery.not_open", "No recovery of this account is open.")
    if recovery.ready_beat is None:
        return deny("recovery.not_approved", "Too few guardians have named the same key.")
    facts: dict[str, Fact] = {"beat": entry.beat, "ready_beat": recovery.ready_beat}
    if entry.beat < recovery.ready_beat:
        return deny("recovery.too_early", "The account can still veto.", **facts)
    return allow("recovery.wait_over", "The wait is over.", **facts)


def new_key_is_not_dead(view: View, entry: Entry[RecoveryCompleted]) -> Verdict:
    key, account = read_recovery(view, entry.body.account).key, read_account(view, entry.body.account)
    if key is None or account is None:
        return allow("recovery.no_key", "There is no new key yet.")  # the other guards deny
    record = read_key(view, entry.body.account, key)
    if key == account.key or (record is not None and record.revoked):
        # Only the root key's holder can have done this: he is there, and can veto.
        return deny("recovery.key_used", "The account has used or revoked the new key meanwhile.")
    return allow("recovery.key_unused", "The new key is still unused.")


def apply_agents_set(view: View, entry: Entry[RecoveryAgentsSet]) -> Iterator[Write]:
    """Replace the guardians and their rules."""
    place = keyspace.recovery_agents(entry.author)
    yield Put(place, encode_record(entry.body)) if entry.body.agents else Delete(place)


def apply_recovery_requested(view: View, entry: Entry[RecoveryRequested]) -> Iterator[Write]:
    """Take the guardian's word in place of his earlier one; begin the wait when enough name the same key."""
    account, key = entry.body.account, entry.body.key
    agents, before = read_agents(view, account), read_recovery(view, account)
    assert agents is not None, "a guard found them"
    others = [approval for approval in before.approvals if approval.agent != entry.author]
    approvals = (*others, Approval(entry.author, key))
    enough = sum([approval.key == key for approval in approvals]) >= agents.threshold
    ready_beat = entry.beat + agents.delay_beats if enough else None
    after = Recovery(approvals, key if enough else None, before.paused_until_beat, ready_beat)
    yield Put(keyspace.recovery(account), encode_record(after))


def apply_recovery_cancelled(view: View, entry: Entry[RecoveryCancelled]) -> Iterator[Write]:
    """Forget the approvals; guardians must pause."""
    vetoed = Recovery((), None, entry.beat + RECOVERY_COOLDOWN_BEATS, None)
    yield Put(keyspace.recovery(entry.author), encode_record(vetoed))


def apply_recovery_completed(view: View, entry: Entry[RecoveryCompleted]) -> Iterator[Write]:
    """Put in the new root key; the next generation begins, so every older key is dead."""
    account_id = entry.body.account
    recovery, account = read_recovery(view, account_id), read_account(view, account_id)
    assert recovery.key is not None and account is not None, "guards found both"  # noqa: PT018
    yield from replace_root(
        view, account_id, recovery.key,
        height=entry.height, nonce=read_nonce(view, account_id), generation=account.generation + 1,
    )  # fmt: skip
    yield Delete(keyspace.recovery(account_id))


EVENTS = (
    EventType(
        name="identity.RecoveryAgentsSet",
        version=1,
        body=RecoveryAgentsSet,
        guards=(threshold_fits, agents_are_other_accounts, delay_is_in_range, no_recovery_is_open),
        apply=apply_agents_set,
        summary="An account named its guardians.",
        example=RecoveryAgentsSet((bytes(32), bytes([1]) * 32), RECOVERY_DELAY_BEATS_MIN, 2),
        inputs=lambda body: {
            "agents": ", ".join(agent.hex() for agent in body.agents),
            "delay_beats": body.delay_beats,
            "threshold": body.threshold,
        },
    ),
    EventType(
        name="identity.RecoveryRequested",
        version=1,
        body=RecoveryRequested,
        guards=(author_is_agent, recovery_is_undecided, new_key_is_new),
        apply=apply_recovery_requested,
        summary="A guardian asked for the recovery of an account.",
        example=RecoveryRequested(bytes(32), bytes([1]) * 32),
        inputs=lambda body: {"account": body.account.hex(), "key": body.key.hex()},
    ),
    EventType(
        name="identity.RecoveryCancelled",
        version=1,
        body=RecoveryCancelled,
        guards=(recovery_is_open,),
        apply=apply_recovery_cancelled,
        summary="An account vetoed its recovery.",
        example=RecoveryCancelled(),
    ),
    EventType(
        name="identity.RecoveryCompleted",
        version=1,
        body=RecoveryCompleted,
        guards=(author_is_agent, wait_is_over, new_key_is_not_dead),
        apply=apply_recovery_completed,
        summary="A guardian completed the recovery of an account.",
        example=RecoveryCompleted(bytes(32)),
        inputs=lambda body: {"account": body.account.hex()},
    ),
)
