"""Pictures and videos: a perceptual hash of a small grey picture, and what the policy says of an attachment.

The hash is after pHash: the low frequencies of a discrete cosine transform, each above or below their median.
Scaling, brightness and slight changes leave most bits alone; a mirror image has others.  Decoding files is not done
here: who has the picture hands in its luminance, scaled to GRID x GRID.
"""

from collections.abc import Sequence

from ledger.verdict import Fact, Verdict, allow, deny

GRID = 32
FREQUENCIES = 8
NO_HASH = 0
"""The hash of a picture without any structure, such as one grey; it is like no other."""
KNOWN_HASHES_MAX = 10_000
PICTURE_TYPES = ("image/gif", "image/jpeg", "image/png")
MEDIA_TYPES = (*PICTURE_TYPES, "video/mp4")

_QUARTER = (
    16384, 16364, 16305, 16207, 16069, 15893, 15679, 15426, 15137, 14811, 14449, 14053, 13623, 13160, 12665, 12140,
    11585, 11003, 10394, 9760, 9102, 8423, 7723, 7005, 6270, 5520, 4756, 3981, 3196, 2404, 1606, 804, 0,
)  # fmt: skip
"""cos(k * pi / 64) * 2**14 for k = 0..32, rounded."""


def compute_image_hash(luminance: bytes) -> int:
    """Return the 64-bit perceptual hash of GRID x GRID grey values, row by row.

    Bit 8 * v + u, from the highest, says whether frequency u + 1 across and v + 1 down is above the median.  The mean
    is no part of it, so brightness does not count.
    """
    assert len(luminance) == GRID * GRID, f"expected {GRID * GRID} grey values, got {len(luminance)}"
    rows = [_transform(luminance[at : at + GRID]) for at in range(0, GRID * GRID, GRID)]
    columns = [_transform([row[across] for row in rows]) for across in range(FREQUENCIES)]
    values = [columns[across][down] for down in range(FREQUENCIES) for across in range(FREQUENCIES)]
    if not any(values):
        return NO_HASH
    middle = sorted(values)[len(values) // 2]
    found = 0
    for value in values:
        found = found << 1 | (value > middle)
    return found


def hamming(a: int, b: int) -> int:
    """Return in how many bits two hashes differ."""
    return (a ^ b).bit_count()


def judge_image(
    bytes_count: int,
    media_type: str,
    image_hash: int | None,
    *,
    bytes_max: int,
    known: Sequence[int],
    distance_max: int,
) -> Verdict:
    """Say whether an attachment may be published.

    image_hash: None for a video, which is not looked into.  known: hashes that the policy lists.
    """
    facts: dict[str, Fact] = {"bytes": bytes_count, "bytes_max": bytes_max, "media_type": media_type}
    if media_type not in MEDIA_TYPES:
        return deny("SAFETY_MEDIA_TYPE_REFUSED", f"Only {', '.join(MEDIA_TYPES)} may be attached.", **facts)
    if bytes_count == 0:
        return deny("SAFETY_MEDIA_EMPTY", "The attachment is empty.", **facts)
    if bytes_count > bytes_max:
        return deny("SAFETY_MEDIA_TOO_LARGE", "The attachment is larger than the policy allows.", **facts)
    if image_hash is None and media_type in PICTURE_TYPES:
        return deny("SAFETY_IMAGE_HASH_MISSING", "A picture needs its perceptual hash.", **facts)
    if image_hash is not None and image_hash != NO_HASH:
        assert len(known) <= KNOWN_HASHES_MAX, f"expected at most {KNOWN_HASHES_MAX} known hashes, got {len(known)}"
        distance = min((hamming(image_hash, each) for each in known), default=FREQUENCIES * FREQUENCIES)
        facts |= {"distance": distance, "distance_max": distance_max}
        if distance <= distance_max:
            return deny("SAFETY_IMAGE_KNOWN", "The picture is like one that the policy lists.", **facts)
    return allow("SAFETY_MEDIA_ALLOWED", "The attachment keeps to the policy.", **facts)


def _transform(values: Sequence[int]) -> list[int]:
    """Return frequencies 1..FREQUENCIES of the cosine transform of GRID values, times 2**14."""
    return [
        sum(value * _cosine((2 * place + 1) * frequency) for place, value in enumerate(values))
        for frequency in range(1, FREQUENCIES + 1)
    ]


def _cosine(steps: int) -> int:
    """cos(steps * pi / 64) * 2**14."""
    steps %= 128
    steps = min(steps, 128 - steps)
    return _QUARTER[steps] if steps <= 32 else -_QUARTER[64 - steps]
