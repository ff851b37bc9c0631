"""The constitution: rules that no vote changes.  It judges who acts, and audits what was written.

    K1 conservation of every token          K5 constants are immutable             K9  every denial has a code
    K2 no underflow, no overflow            K6 height, sequence, beat only grow    K10 policies only by the procedure
    K3 only FLX moves between accounts      K7 one event for each state change     K11 no message text on the ledger
    K4 the NOD firewall                     K8 auditors and OPEN_AGI change nothing  K12 moderators only in their space

K7 and K9 hold by construction: only an event's own draft is kept, and every verdict carries a code.  K3 is judged by
what grows: signed events mint no token but energy, which recovers, and the reserve, which takes what decays.
"""

from collections.abc import Iterator

from ledger.conservation import BALANCE, BURNED, ISSUED, find_unconserved, read_amount
from ledger.draft import Change
from ledger.judgement import Case, Guard
from ledger.roles import judge_role_scope, space_of
from ledger.tokens import RESERVE
from ledger.verdict import CRITICAL, Verdict, allow, deny, graded

EARNED = (b"CHR", b"NOD", b"PSI")
"""Tokens that are only earned, at an epoch's close: no signed event gives them to anybody."""
WATCHED = frozenset({BALANCE, ISSUED, BURNED, b"sn", b"st", b"sy", b"sY"})
"""What the audit looks at: balances, running totals, nonces, the beat, policies."""
SETTLED = (*EARNED, b"FLX")
"""Tokens that only the close of an epoch mints."""
BREACHES = {
    "INVARIANT_VIOLATION_NOD_TRANSFER": "Only the allocation of an epoch gives NOD.",
    "K1_MINTED": "Only the close of an epoch issues this token.",
    "K1_NOT_CONSERVED": "The balances would not sum to what was issued less what was burned.",
    "K2_OVERFLOW": "A balance leaves the range of amounts.",
    "K3_NOT_TRANSFERABLE": "Only FLX moves between accounts.",
    "K6_TIME_GOES_BACK": "What was ever issued or burned would go down.",
}


def judge_constitution(case: Case) -> Iterator[Verdict]:
    """Judge who acts and whether the event keeps the order of things."""
    entry = case.entry
    space = space_of(entry.body)
    verdict = judge_role_scope(case.view, entry.author, case.kind.module, case.kind.name, space)
    if not verdict.allowed:
        yield verdict
    if entry.reference_beat > entry.beat:
        yield _breach("K6_TIME_GOES_BACK", "The event names a block of a later beat.", beat=entry.beat)
    if verdict.allowed:
        yield allow("CONSTITUTION_HELD", "No constitutional rule speaks against it.")


def audit_constitution(case: Case, changes: list[Change]) -> Iterator[Verdict]:
    """Audit what an event would write; silent when every rule holds."""
    watched = [change for change in changes if change[0][:2] in WATCHED]
    broken = find_unconserved(watched)
    if broken is not None:
        yield _breach(broken, BREACHES[broken])
    name = case.kind.name
    energy_gained = energy_issued = 0
    for key, before, after in watched:
        kind, token = key[:2], key[2:5]
        grown = (read_amount(after) or 0) - (read_amount(before) or 0)
        if kind == BALANCE and grown > 0 and (token in EARNED or (token == b"RES" and key[6:] != RESERVE)):
            code = "INVARIANT_VIOLATION_NOD_TRANSFER" if token == b"NOD" else "K3_NOT_TRANSFERABLE"
            yield _breach(code, BREACHES[code], type=name)
        elif kind == ISSUED and grown > 0 and token in SETTLED:
            yield _breach("K1_MINTED", BREACHES["K1_MINTED"], type=name)
        elif token == b"ATR" and kind in (BALANCE, ISSUED):
            energy_gained += max(0, grown) if kind == BALANCE else 0
            energy_issued += grown if kind == ISSUED else 0
        elif kind == b"sn" and grown < 0:
            yield _breach("K6_TIME_GOES_BACK", "A nonce went back.", nonce=read_amount(before) or 0)
        elif kind in (b"sy", b"sY"):
            yield _breach("K10_POLICY_WITHOUT_PROCEDURE", "Only the governance procedure changes a policy.", type=name)
        elif kind == b"st":
            yield _breach("K6_TIME_GOES_BACK", "Only the state machine moves the beat.", type=name)
    if energy_gained > energy_issued:
        yield _breach("K3_NOT_TRANSFERABLE", BREACHES["K3_NOT_TRANSFERABLE"], type=name)
    payload = case.entry.payload
    if payload is not None and len(payload.text) >= TEXT_SOUGHT_MIN:
        text = payload.text.encode()
        if any(after is not None and text in after for _, _, after in changes):
            yield _breach("K11_TEXT_ON_LEDGER", "The text itself must not enter the ledger.")


TEXT_SOUGHT_MIN = 8
"""Shorter texts are found by chance in any bytes."""


def _breach(code: str, because: str, **facts: int | str | bool) -> Verdict:
    return graded(deny(code, because, **facts), CRITICAL)


GUARD = Guard(
    name="constitution",
    version=1,
    purpose="Keeps what no vote may change: conservation, roles, the NOD firewall, the policy procedure.",
    inputs=("the author's roles", "the event's type and reference", "every key that the event would write"),
    risk="Without it a faulty rule could mint, move standing or change the rules themselves.",
    policy="protocol",
    codes={
        "CONSTITUTION_HELD": "nothing speaks against the event",
        "INVARIANT_VIOLATION_NOD_TRANSFER": "an event other than the allocation would give NOD",
        "K1_MINTED": "an event other than the close of an epoch would issue CHR, FLX, PSI or NOD",
        "K1_NOT_CONSERVED": "balances would not sum to issued less burned",
        "K2_OVERFLOW": "a balance would leave the range of amounts",
        "K3_NOT_TRANSFERABLE": "a token other than FLX would move",
        "K6_TIME_GOES_BACK": "a nonce, beat or running total would go back",
        "K10_POLICY_WITHOUT_PROCEDURE": "a policy would change outside the procedure",
        "K11_TEXT_ON_LEDGER": "the text itself would enter the ledger",
        "ROLE_EXPIRED": "the author's role that allows this type of event has expired",
        "ROLE_NOT_GRANTED": "the author holds no role that allows this type of event",
        "ROLE_SCOPE_MISSING": "no role allows this type of event, or one keeps the author from it (K8)",
        "ROLE_SPACE_MISMATCH": "the author's role is for another space (K12)",
    },
    judge=judge_constitution,
    audit=audit_constitution,
)
