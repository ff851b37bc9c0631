"""Scopes: what each of the five roles may read and write, as data.  What no role lists, nobody may do."""

from typing import NamedTuple

USER, MODERATOR, AUDITOR, OPERATOR, OPEN_AGI = "USER", "MODERATOR", "AUDITOR", "OPERATOR", "OPEN_AGI"
GRANTED = (MODERATOR, AUDITOR, OPERATOR, OPEN_AGI)
EXCLUSIVE = (AUDITOR, OPEN_AGI)
"""Whoever holds one of these writes nothing outside it (rule K8)."""

KEYS, GUARDIANS, VETO, RECOVERY = "keys", "guardians", "veto", "recovery"
GRANT, REVOKE = "roles:grant", "roles:revoke"

EVENT_SCOPES = {
    "access.AccessLogSealed": "access-log",
    "access.ApiKeyIssued": "api-keys",
    "access.ApiKeyRevoked": "api-keys",
    "access.RoleGranted": GRANT,
    "access.RoleRevoked": REVOKE,
    "agi.AgiProposalDecided": "governance",  # people decide what machines propose
    "identity.AppKeyGranted": KEYS,
    "identity.AppKeyRevoked": KEYS,
    "identity.DeviceKeyAdded": KEYS,
    "identity.DeviceKeyRevoked": KEYS,
    "identity.KeyRotated": KEYS,
    "identity.RecoveryAgentsSet": GUARDIANS,
    "identity.RecoveryCancelled": VETO,
    "identity.RecoveryCompleted": RECOVERY,
    "identity.RecoveryRequested": RECOVERY,
    "infra.CheckpointCertified": "nodes",
    "infra.EquivocationProven": "nodes",
    "infra.NodeBondReleased": "nodes",
    "infra.NodeRegistered": "nodes",
    "infra.NodeRetired": "nodes",
    "infra.ServiceAttested": "nodes",
    "infra.ValidatorKeyRotated": "nodes",
    "infra.ValidatorReady": "nodes",
    "infra.ValidatorResigned": "nodes",
}
"""Event types whose scope is not simply their module."""


class Scopes(NamedTuple):
    """What a role allows.  A write scope is a module, or one of EVENT_SCOPES."""

    read: tuple[str, ...]
    write: tuple[str, ...]


ROLE_SCOPES = {
    USER: Scopes(
        read=("feed", "governance", "ledger", "own", "ranking", "wallets"),
        write=(
            "api-keys", "appeals", "bridge", "community", "content", "economics", "governance", "graph", "identity",
            "messaging", "nodes", "ranking", "reputation", KEYS, GUARDIANS, VETO, RECOVERY, REVOKE,
        ),
    ),
    MODERATOR: Scopes(read=("moderation", "reports"), write=("moderation", GRANT)),
    AUDITOR: Scopes(
        read=(
            "access-log", "export", "governance", "guards", "health", "ledger", "metadata", "moderation", "node",
            "policies", "reports", "roles", "simulation",
        ),
        write=("audit",),
    ),
    OPERATOR: Scopes(read=("health", "ledger", "node", "peers"), write=("access-log", "infra")),
    OPEN_AGI: Scopes(read=("governance", "ledger", "metrics", "policies", "simulation"), write=("agi",)),
}  # fmt: skip

WITHHELD = {OPERATOR: ("feed", "moderation", "ranking")}
"""What a role takes away, whatever else the account holds: who runs nodes stays out of what is shown on them."""

SAFETY = (KEYS, GUARDIANS, VETO, REVOKE)
"""What even an exclusive role leaves: to keep one's own keys, and to resign; else a vote could silence an account."""


def carries(role: str, scope: str, *, writes: bool) -> bool:
    """Whether a role lists a scope."""
    scopes = ROLE_SCOPES[role]
    return scope in (scopes.write if writes else scopes.read)


def scope_of(module: str, name: str) -> str:
    """Return the scope that writing an event type needs.  name: the whole of it, such as "content.PostPublished"."""
    return EVENT_SCOPES.get(name, module)
