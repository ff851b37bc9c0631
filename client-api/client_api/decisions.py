"""Decisions of moderators, each a statement of reasons: which there are, and one with what it was about."""

from typing import Annotated, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import AccountUnknown, CommunityUnknown, CursorInvalid, DecisionUnknown, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.people import Cursor
from client_api.places import find_space, read_text, space_text
from client_api.shapes import Anchor, account_text, event_text, find_account, parse_event_id
from ledger import keyspace
from ledger.holds import list_held
from ledger.primitives.fixed_point import format_decimal
from ledger.roles import PLATFORM
from social.moderation.records import NONE, PENDING, SUSPEND, WARN, Decision, read_decision
from social.moderation.rules import PLATFORM_RULES, PLATFORM_RULESET
from social.posts import read_post

Space = Annotated[str, Field(max_length=100, description='A community\'s id or name, or "platform".')]


class DecisionShape(Model):
    """A statement of reasons."""

    decision_id: str
    kind: Literal["hide", "lock", "warn", "suspend"]
    state: Literal["OPEN", "CONTESTED", "FINAL", "REVERSED", "LIFTED"]
    space: str = Field(description='its scope: a community, or "platform"')
    subject: str = Field(description="the post, or the account")
    account: str = Field(description="whom it concerns; he may appeal it")
    decider: str
    rule: int
    ruleset: int = Field(description="the version of the rules that the rule stands in")
    rule_text: str | None = Field(description="of a rule of the platform; a community's are in its ruleset")
    facts: str | None = Field(description="null when the text was erased, or is not here yet")
    automated: bool
    beat: int
    height: int
    until_beat: int | None = Field(description="the end of a suspension; null: until it is lifted")
    contest_until: int = Field(description="an appeal must come before this beat")
    appeal: str | None
    proof: str = Field(description="where its proof is; it can be kept and shown elsewhere")


def decision_to_json(reading: Reading, decision_id: bytes, decision: Decision) -> Json:
    of_account = decision.kind in (WARN, SUSPEND)
    named = decision.space == PLATFORM and decision.ruleset == PLATFORM_RULESET
    return {
        "decision_id": event_text(decision_id),
        "kind": decision.kind,
        "state": decision.state,
        "space": space_text(decision.space),
        "subject": account_text(decision.subject) if of_account else event_text(decision.subject),
        "account": account_text(decision.account),
        "decider": account_text(decision.decider),
        "rule": decision.rule,
        "ruleset": decision.ruleset,
        "rule_text": PLATFORM_RULES[decision.rule - 1] if named else None,
        "facts": read_text(reading, decision.content),
        "automated": decision.automated,
        "beat": decision.beat,
        "height": decision.height,
        "until_beat": decision.until_beat,
        "contest_until": decision.contest_until,
        "appeal": None if decision.appeal == NONE else event_text(decision.appeal),
        "proof": f"/api/v1/ledger/events/{event_text(decision_id)}/proof",
    }


class DecisionsQuery(Model):
    space: Space | None = None
    account: Annotated[str, Field(max_length=100, description="Whom they concern: an id or handle.")] | None = None
    state: Literal["pending", "ended"] | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class DecisionsAnswer(Model):
    items: list[DecisionShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_decisions(context: Context, query: DecisionsQuery, body: None) -> Json:
    """Newest first.  pending: they can still be reversed by an appeal."""
    filter_hash = hash_filter("decisions", query.space, query.account, query.state)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        space = None if query.space is None else find_space(reading, query.space)
        account = None if query.account is None else find_account(reading.state, query.account)

        def keep(index: int, value: bytes) -> bool:
            decision = _read_listed(reading, value)
            is_pending = decision.state in PENDING
            return (
                space in (None, decision.space)
                and account in (None, decision.account)
                and (query.state is None or is_pending == (query.state == "pending"))
            )

        page = read_page(reading, keyspace.DECISIONS, filter_hash, query.limit, before, after, keep)
        return {
            "items": [decision_to_json(reading, each, _read_listed(reading, each)) for _, each in page.entries],
            "next": page.next,
            "prev": page.prev,
            "ledger": reading.anchor(),
        }


def _read_listed(reading: Reading, decision_id: bytes) -> Decision:
    decision = read_decision(reading.state, decision_id)
    assert decision is not None, f"decision {decision_id.hex()} is in an index"
    return decision


class DecisionQuery(Model):
    decision_id: Annotated[str, Field(max_length=100)]
    at: Height | None = None


class HeldShape(Model):
    account: str
    epoch: int
    chr: str
    flx: str


class DecisionAnswer(Model):
    decision: DecisionShape
    preserved: str | None = Field(description="the text of the post that it is about, hidden or not")
    held: list[HeldShape] = Field(description="what the post earned since, held until the decision is final")
    ledger: Anchor


async def get_decision(context: Context, query: DecisionQuery, body: None) -> Json:
    """One decision, the text that it was about, and what it holds."""
    decision_id = parse_event_id(query.decision_id)
    with context.read(query.at) as reading:
        decision = read_decision(reading.state, decision_id)
        if decision is None:
            raise DecisionUnknown(f"no decision of this id at height {reading.height}", decision_id=query.decision_id)
        return {
            "decision": decision_to_json(reading, decision_id, decision),
            "preserved": read_preserved(reading, decision),
            "held": [
                {
                    "account": account_text(each.account),
                    "epoch": each.epoch,
                    "chr": format_decimal(each.chr),
                    "flx": format_decimal(each.flx),
                }
                for each in list_held(reading.state, decision_id)
            ],
            "ledger": reading.anchor(),
        }


def read_preserved(reading: Reading, decision: Decision) -> str | None:
    """Return the text that a decision is about, so that whoever reviews it can read it."""
    post = read_post(reading.state, decision.subject)
    return None if post is None else read_text(reading, post.content)


ENDPOINTS = (
    Endpoint("GET", "/decisions", "listDecisions", "Decisions of moderators, newest first.", "moderation",
             DecisionsAnswer, list_decisions, query=DecisionsQuery,
             errors=(AccountUnknown, CommunityUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/decisions/{decision_id}", "getDecision", "One decision: its reasons, its subject, what it holds.",
             "moderation", DecisionAnswer, get_decision, query=DecisionQuery, errors=(DecisionUnknown, StaleHeight)),
)  # fmt: skip
