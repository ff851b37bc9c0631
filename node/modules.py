"""The modules whose events this node knows.  Nothing registers itself: a new module is one line here."""

from guards.stack import make_guard_stack
from guards.text_model import MODEL_VERSION, compute_model_digest
from ledger import (
    access_seals,
    account_keys,
    beats,
    bonds,
    conduct,
    evidence,
    holds,
    identity,
    membership,
    nod,
    nodes,
    recovery,
    rewards,
    roles,
    telemetry,
    transfers,
    validators,
    vouches,
)
from ledger.policies import Policies
from ledger.registry import Registry
from node.config import ConfigInvalid
from social import follows, posts, profiles, reactions, reposts
from social.appeals import closing, reviewers, reviewing, submitting
from social.communities import founding, members, moderators
from social.governance import close, drafts, measures, proposals, reports, votes
from social.moderation import decisions, finality, lifting
from social.moderation import reports as post_reports

AT_CLOSE = (close.AT_CLOSE, membership.AT_CLOSE, finality.AT_CLOSE, closing.AT_CLOSE)
"""What happens after an epoch was settled, in this order."""
MODULES = (
    beats, identity, bonds, vouches, access_seals, account_keys, recovery, roles, transfers, rewards, conduct,
    nodes, telemetry, nod, validators, membership, evidence, holds,
    profiles, posts, reactions, reposts, follows,
    founding, members, moderators, post_reports, decisions, lifting, finality,
    reviewers, submitting, reviewing, closing,
    drafts, reports, proposals, measures, votes, close,
)  # fmt: skip


def make_registry() -> Registry:
    """Return the registry of all event types and guards."""
    return Registry((kind for module in MODULES for kind in module.EVENTS), make_guard_stack(), AT_CLOSE)


def verify_safety_model(policies: Policies) -> None:
    """Make sure that this software judges texts by the model that the network's policy names.  Raises ConfigInvalid."""
    policy, digest = policies.safety, compute_model_digest()
    if (policy.model, policy.model_digest) != (MODEL_VERSION, digest):
        raise ConfigInvalid(
            f"{policies.cite['safety']} names text model {policy.model} ({policy.model_digest.hex()[:16]}…), this "
            f"software has model {MODEL_VERSION} ({digest.hex()[:16]}…): install the version that the network runs"
        )
