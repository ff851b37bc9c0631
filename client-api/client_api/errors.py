"""Errors of clients, answered as problem+json (RFC 9457): a stable type, a plain sentence, and the remedy."""

from typing import Any, ClassVar

PROBLEM_BASE = "https://atlas.invalid/problems/"


class ClientError(Exception):
    """A request that can't be served as it was made."""

    code: ClassVar[str] = "invalid"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request is not valid"
    remedy: ClassVar[str] = "Compare the request with /api/v1/openapi.json."

    def __init__(self, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members

    def to_problem(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            "type": PROBLEM_BASE + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
            **self.members,
        }


class InvalidRequest(ClientError):
    """A parameter or member that is missing, unknown, repeated, or of the wrong form."""


class BodyTooLarge(ClientError):
    code, status, title = "too-large", 413, "The body is too large"
    remedy = "Send at most 100 events and 4 MiB in one request."


class UnsupportedMediaType(ClientError):
    code, status, title = "media-type", 415, "The body is not JSON"
    remedy = "Send Content-Type: application/json, uncompressed."


class WrongHost(ClientError):
    code, status, title = "wrong-host", 421, "The Host header names another server"
    remedy = "Use the address that the node printed at its start; names are refused against DNS rebinding."


class NotFound(ClientError):
    code, status, title = "not-found", 404, "There is nothing here"
    remedy = "See /api/v1/openapi.json for the paths."


class MethodNotAllowed(ClientError):
    code, status, title = "method-not-allowed", 405, "The path does not take this method"
    remedy = "Use a method that the Allow header names."


class BodyTooSlow(ClientError):
    code, status, title = "body-too-slow", 408, "The body did not arrive in time"
    remedy = "Send the body at once, with the Content-Length that it has."


class InternalError(ClientError):
    code, status, title = "internal", 500, "The node failed to answer"
    remedy = "The fault is the node's: its log says what happened.  Nothing was changed by a request that only reads."


class EventUnknown(ClientError):
    code, status, title = "event-unknown", 404, "The event is not known here"
    remedy = "If it was just submitted, wait a moment, or submit it again: the same event is never executed twice."


class ProofNotReady(ClientError):
    code, status, title = "proof-not-ready", 409, "The proof is not ready"
    remedy = "Ask again in a moment: the block's certificate is being collected."


class PostUnknown(ClientError):
    code, status, title = "post-unknown", 404, "There is no such post"
    remedy = "Take a post's id from /api/v1/feed."


class AccountUnknown(ClientError):
    code, status, title = "account-unknown", 404, "There is no such account"
    remedy = "Create it with an identity.IdentityCreated event (`atlas join`)."


class PolicyUnknown(ClientError):
    code, status, title = "policy-unknown", 404, "There is no such policy"
    remedy = "Take a name from /api/v1/policies; versions count from 1, as in energy@1."


class GuardUnknown(ClientError):
    code, status, title = "guard-unknown", 404, "There is no such guard"
    remedy = "Take a name from /api/v1/guards."


class ProposalUnknown(ClientError):
    code, status, title = "proposal-unknown", 404, "There is no such proposal"
    remedy = "Take an id from /api/v1/proposals; it is that of the event that proposed."


class CommunityUnknown(ClientError):
    code, status, title = "community-unknown", 404, "There is no such community"
    remedy = "Take an id or a name from /api/v1/communities."


class DecisionUnknown(ClientError):
    code, status, title = "decision-unknown", 404, "There is no such decision"
    remedy = "Take an id from /api/v1/decisions; it is that of the event that decided."


class AppealUnknown(ClientError):
    code, status, title = "appeal-unknown", 404, "There is no such appeal"
    remedy = "Take an id from /api/v1/appeals; it is that of the event that submitted it."


class NodeUnknown(ClientError):
    code, status, title = "node-unknown", 404, "There is no such node in the registry"
    remedy = "Take a key from /api/v1/nodes; a node is registered with `atlas node register`."


class BlockUnknown(ClientError):
    code, status, title = "block-unknown", 404, "There is no block of this height"
    remedy = "Take the newest height from /api/v1/ledger/head."


class HistoryMissing(ClientError):
    code, status, title = "history-missing", 409, "What an old block holds is not here"
    remedy = "A node that began from a snapshot fetches older blocks: ask again later.  Of what is pruned, ask another."


class StaleHeight(ClientError):
    code, status, title = "stale-height", 410, "The height can't be read here any more, or not yet"
    remedy = "Leave `at` out, or take a height inside the range that this answer names."


class CursorInvalid(ClientError):
    code, status, title = "cursor-invalid", 400, "The cursor is not one of this listing"
    remedy = "Start without a cursor, and pass on `next` or `prev` unchanged."


class AnswerTooLarge(ClientError):
    code, status, title = "answer-too-large", 413, "The answer would be larger than a proof file may be"
    remedy = "Ask for fewer events with `limit`, and go on with the cursor that `next` gives."


class EventRejected(ClientError):
    code, status, title = "event-rejected", 422, "The event was refused"
    remedy = "Read `verdict`, mend the event, and prepare and sign it again."


class EventConflict(ClientError):
    code, status, title = "event-conflict", 409, "The event does not follow the account's last one"
    remedy = "Prepare it again: the node tells the next nonce."


class NotReady(ClientError):
    code, status, title = "not-ready", 503, "The node is not ready"
    remedy = "Wait until the height advances again; /api/v1/node/status says what is missing."


class IntegrityLost(ClientError):
    code, status, title = "CIR-412", 503, "This node's own ledger or software can't be trusted"
    remedy = "Ask another node.  Its operator finds what to do in the log and in /api/v1/node/status."


class AuditorReadOnly(ClientError):
    code, status, title = "auditor", 403, "This node only checks: it takes no events"
    remedy = "Send the event to a validator, or to a node whose role is observer."


class Busy(ClientError):
    code, status, title = "busy", 503, "The node has as much to do as it takes"
    remedy = "Try again shortly."


class FinalityTimeout(ClientError):
    code, status, title = "not-final-yet", 504, "The event was accepted and is not final yet"
    remedy = "It stays in the queue: ask for its receipt, and do not sign another in its place."
