"""Upgrades of the peers' protocol, by network: from which height on which version is obligatory.

A release that knows a new version adds a line here, with a height that leaves operators time; operators of a network
that is not listed agree on the same lines in `p2p.upgrades`.
"""

from collections.abc import Mapping

from p2p.versions import Upgrade, Versions

SCHEDULE: Mapping[str, tuple[Upgrade, ...]] = {}
"""By chain id in hex.  No public network has needed one yet."""


def make_versions(chain_id: bytes, configured: tuple[tuple[int, int], ...]) -> Versions:
    """Return what this software speaks, and what the network asks for; configured: heights and versions."""
    return Versions((*SCHEDULE.get(chain_id.hex(), ()), *(Upgrade(*each) for each in configured)))
