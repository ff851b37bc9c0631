"""Pictures: the perceptual hash keeps to what a picture shows, and the policy's lists are kept."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.image_model import GRID, NO_HASH, compute_image_hash, hamming, judge_image

MAX = 10_000_000


def draw(seed: int) -> list[int]:
    """A picture of 7 x 7 grey blocks; of 8, every frequency 8 would be exactly 0."""
    shades = hashlib.sha512(seed.to_bytes(4, "big")).digest()
    return [shades[y * 7 // GRID * 7 + x * 7 // GRID] for y in range(GRID) for x in range(GRID)]


@given(st.integers(0, 10_000), st.integers(-20, 20))
@settings(max_examples=40)
def test_brightness_does_not_count(seed: int, shift: int) -> None:
    picture = [min(235, max(20, value)) for value in draw(seed)]

    shifted = bytes(value + shift for value in picture)

    assert hamming(compute_image_hash(bytes(picture)), compute_image_hash(shifted)) == 0


def test_slight_noise_moves_few_bits() -> None:
    moved: list[int] = []
    for seed in range(100):
        picture = draw(seed)
        noise = hashlib.shake_256(seed.to_bytes(4, "big")).digest(len(picture))
        noisy = bytes(min(255, max(0, value + grain % 5 - 2)) for value, grain in zip(picture, noise, strict=True))
        moved.append(hamming(compute_image_hash(bytes(picture)), compute_image_hash(noisy)))

    assert sorted(moved)[95] <= 6


def test_other_pictures_are_far_apart() -> None:
    hashes = [compute_image_hash(bytes(draw(seed))) for seed in range(40)]

    assert min(hamming(one, two) for at, one in enumerate(hashes) for two in hashes[:at]) > 6


def test_a_flat_picture_has_no_hash_and_is_like_nothing() -> None:
    assert compute_image_hash(bytes([128] * GRID * GRID)) == NO_HASH
    verdict = judge_image(100, "image/png", NO_HASH, bytes_max=MAX, known=(NO_HASH,), distance_max=6)
    assert verdict.allowed


@pytest.mark.parametrize(
    ("size", "kind", "image_hash", "code"),
    [
        (10, "text/html", 1, "SAFETY_MEDIA_TYPE_REFUSED"),
        (0, "image/png", 1, "SAFETY_MEDIA_EMPTY"),
        (MAX + 1, "image/png", 1, "SAFETY_MEDIA_TOO_LARGE"),
        (10, "image/png", None, "SAFETY_IMAGE_HASH_MISSING"),
        (10, "image/png", 0xFF ^ 0b111111, "SAFETY_IMAGE_KNOWN"),
        (10, "image/png", 0xFF ^ 0b1111111, "SAFETY_MEDIA_ALLOWED"),
        (10, "video/mp4", None, "SAFETY_MEDIA_ALLOWED"),
    ],
)
def test_an_attachment_is_judged_by_type_size_and_lists(
    size: int, kind: str, image_hash: int | None, code: str
) -> None:
    verdict = judge_image(size, kind, image_hash, bytes_max=MAX, known=(0xFF, 0xFF << 40), distance_max=6)

    assert verdict.code == code
    assert verdict.allowed == (code == "SAFETY_MEDIA_ALLOWED")
    assert verdict.because
