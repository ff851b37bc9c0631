"""Discovery: in which order communities are shown to somebody who knows none.

    score = mean coherence of the last posts that are shown * posts / (posts + 5)

so a place with one good post does not come before one with many.  Nothing else enters: no size, no payment.
"""

from collections.abc import Sequence

POSTS_JUDGED = 20
"""Of each community, the newest."""
POSTS_HALF = 5
"""Of so many posts, half of what they are worth is believed."""


def compute_score(coherences: Sequence[int]) -> int:
    """Return a community's score, raw in 0..1, floored once.  coherences: raw, of at most POSTS_JUDGED posts."""
    assert len(coherences) <= POSTS_JUDGED, f"expected at most {POSTS_JUDGED} posts, got {len(coherences)}"
    return sum(coherences) // (len(coherences) + POSTS_HALF)


def order_communities(found: Sequence[tuple[bytes, int, int]]) -> list[bytes]:
    """Return communities in order, from (id, score, members): best score, then most members, then lowest id."""
    return [space for space, _, _ in sorted(found, key=lambda each: (-each[1], -each[2], each[0]))]
