"""Ed25519 under ZIP 215: the library is pinned on raw messages, our binding to chain and purpose on top of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import ed25519_zebra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as NaclSigningKey
from nacl.signing import VerifyKey

from ledger.primitives.hashing import tagged_hash
from ledger.primitives.signing import (
    Purpose,
    SignatureInvalid,
    SigningKey,
    is_valid_signature,
    signed_digest,
    verify_signature,
)

VECTORS = Path(__file__).parents[1] / "vectors"
RFC8032 = json.loads((VECTORS / "ed25519_rfc8032.json").read_text())["vectors"]
SMALL: dict[str, Any] = json.loads((VECTORS / "ed25519_small_order.json").read_text())
CANONICAL = [bytes.fromhex(text) for text in SMALL["canonical"]]
NON_CANONICAL = [bytes.fromhex(text) for text in SMALL["non_canonical"]]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

CHAIN = bytes(range(32))
SEEDS = st.binary(min_size=32, max_size=32)
KEY = SigningKey(bytes(32))
MESSAGE = b"a message"
SIGNATURE = KEY.sign(CHAIN, Purpose.EVENT, MESSAGE)


def verify_raw(signature: bytes, message: bytes, public: bytes) -> bool:
    return bool(ed25519_zebra.ed_verify(signature, message, public))


# The curve -x^2 + y^2 = 1 + d x^2 y^2, in plain integers, for the small-order points only.


def sqrt(square: int) -> int | None:
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root if root * root % P == square % P else None


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def lenient_decode(encoded: bytes) -> tuple[int, int] | None:
    """Decode as ZIP 215 does: y is reduced modulo p, and x = 0 may have either sign."""
    number = int.from_bytes(encoded, "little")
    y, sign = (number & (2**255 - 1)) % P, number >> 255
    x = sqrt((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
    if x is None:
        return None
    return (-x % P if x & 1 != sign else x), y


def encode(point: tuple[int, int]) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def eight_times(point: tuple[int, int]) -> tuple[int, int]:
    for _ in range(3):
        point = add(point, point)
    return point


@pytest.mark.parametrize("vector", RFC8032)
def test_the_library_signs_and_verifies_as_rfc_8032_says(vector: dict[str, str]) -> None:
    message, signature = bytes.fromhex(vector["message"]), bytes.fromhex(vector["signature"])
    secret, public = ed25519_zebra.ed_from_seed(bytes.fromhex(vector["secret"]))

    assert bytes(public).hex() == vector["public"] == SigningKey(bytes.fromhex(vector["secret"])).public.hex()
    assert bytes(ed25519_zebra.ed_sign(secret, message)) == signature
    assert verify_raw(signature, message, bytes(public))


def test_the_fourteen_small_order_encodings_are_those_of_the_curve() -> None:
    # y of order 1 and 2 is 1 and -1, of order 4 it is 0; of order 8 it solves d y^4 + 2 y^2 - 1 = 0.
    ys = {0, 1, P - 1}
    root = sqrt(1 + D)
    assert root is not None
    for square in ((-1 + root) * pow(D, -1, P) % P, (-1 - root) * pow(D, -1, P) % P):
        y = sqrt(square)
        if y is not None:
            ys |= {y, P - y}
    forms = {
        (number | sign << 255).to_bytes(32, "little")
        for y in ys
        for number in (y, y + P)
        if number < 2**255
        for sign in (0, 1)
    }
    points = {form: lenient_decode(form) for form in forms}
    canonical = {form for form, point in points.items() if point is not None and encode(point) == form}

    assert all(point is not None and eight_times(point) == (0, 1) for point in points.values())
    assert canonical == set(CANONICAL)
    assert forms - canonical == set(NON_CANONICAL)
    assert (len(CANONICAL), len(NON_CANONICAL)) == (8, 6)


@pytest.mark.parametrize("public", CANONICAL + NON_CANONICAL, ids=bytes.hex)
def test_all_196_small_order_signatures_verify_as_zip_215_asks(public: bytes) -> None:
    for first_half in CANONICAL + NON_CANONICAL:
        signature = first_half + bytes(32)

        assert verify_raw(signature, bytes.fromhex(SMALL["message"]), public)
        # With S = 0 and both points of small order the cofactored equation holds for every message.
        assert is_valid_signature(public, CHAIN, Purpose.EVENT, MESSAGE, signature)


def test_a_stricter_library_refuses_some_of_them_so_the_choice_of_library_is_a_rule() -> None:
    refused = 0
    for first_half in CANONICAL + NON_CANONICAL:
        try:
            VerifyKey(CANONICAL[0]).verify(bytes.fromhex(SMALL["message"]), first_half + bytes(32))
        except (BadSignatureError, ValueError):
            refused += 1

    assert refused > 0


def test_the_cofactored_equation_is_used() -> None:
    # R moved by a small-order point T: [8]R is the same, R is not; k is computed over the moved R.
    seed = bytes(range(32))
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
    public = SigningKey(seed).public
    nonce_key = SigningKey(bytes(31) + b"\x07")
    nonce_digest = hashlib.sha512(bytes(31) + b"\x07").digest()
    nonce = int.from_bytes(nonce_digest[:32], "little") & (2**254 - 8) | 2**254
    point = lenient_decode(nonce_key.public)
    for torsion in CANONICAL:
        small = lenient_decode(torsion)
        assert point is not None
        assert small is not None
        moved = encode(add(point, small))
        k = int.from_bytes(hashlib.sha512(moved + public + MESSAGE).digest(), "little") % L
        signature = moved + ((nonce + k * scalar) % L).to_bytes(32, "little")

        assert verify_raw(signature, MESSAGE, public)


@pytest.mark.parametrize("times", [1, 2, 7])
def test_a_second_half_of_the_group_order_or_more_is_refused(times: int) -> None:
    digest = signed_digest(CHAIN, Purpose.EVENT, MESSAGE)
    s = int.from_bytes(SIGNATURE[32:], "little")
    assert s < L
    moved = SIGNATURE[:32] + (s + times * L).to_bytes(32, "little")

    assert verify_raw(SIGNATURE, digest, KEY.public)
    assert not verify_raw(moved, digest, KEY.public)
    assert not is_valid_signature(KEY.public, CHAIN, Purpose.EVENT, MESSAGE, moved)


def test_zero_plus_the_group_order_is_refused_even_for_small_order_points() -> None:
    assert not verify_raw(CANONICAL[0] + L.to_bytes(32, "little"), b"Zcash", CANONICAL[0])


@given(SEEDS, st.binary(max_size=80), st.sampled_from(Purpose))
@settings(max_examples=40)
def test_what_was_signed_verifies_and_another_library_agrees(seed: bytes, message: bytes, purpose: Purpose) -> None:
    key = SigningKey(seed)
    signature = key.sign(CHAIN, purpose, message)
    other = NaclSigningKey(seed)

    verify_signature(key.public, CHAIN, purpose, message, signature)

    assert bytes(other.verify_key) == key.public
    assert other.sign(signed_digest(CHAIN, purpose, message)).signature == signature


def test_what_is_signed_is_the_tagged_digest_of_chain_and_message() -> None:
    digest = signed_digest(CHAIN, Purpose.PRE_PREPARE, MESSAGE)

    assert digest == tagged_hash("atlas/sign/pre-prepare", CHAIN, MESSAGE)
    assert not verify_raw(KEY.sign(CHAIN, Purpose.PRE_PREPARE, MESSAGE), MESSAGE, KEY.public)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_signature_for_one_purpose_verifies_for_no_other(purpose: Purpose) -> None:
    valid = [other for other in Purpose if is_valid_signature(KEY.public, CHAIN, other, MESSAGE, SIGNATURE)]

    assert valid == [Purpose.EVENT]
    assert purpose is Purpose.EVENT or KEY.sign(CHAIN, purpose, MESSAGE) != SIGNATURE


def test_a_signature_for_one_chain_verifies_for_no_other() -> None:
    with pytest.raises(SignatureInvalid, match="event signature of key"):
        verify_signature(KEY.public, bytes(32), Purpose.EVENT, MESSAGE, SIGNATURE)


@given(st.integers(0, 8 * 64 - 1))
def test_a_signature_with_any_bit_changed_is_refused(bit: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8

    assert not is_valid_signature(KEY.public, CHAIN, Purpose.EVENT, MESSAGE, bytes(changed))


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), b"\x02" + bytes(31), b"\xff" * 31 + b"\x7f"])
def test_a_malformed_key_gives_false_and_no_error(public: bytes) -> None:
    assert not is_valid_signature(public, CHAIN, Purpose.EVENT, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65), bytes(64), b"\xff" * 64, b"\x02" + bytes(63)])
def test_a_malformed_signature_gives_false_and_no_error(signature: bytes) -> None:
    assert not is_valid_signature(KEY.public, CHAIN, Purpose.EVENT, MESSAGE, signature)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_seed_of_another_length_is_refused(seed: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(seed)


def test_a_key_does_not_show_its_secret() -> None:
    seed = bytes(range(32))
    key = SigningKey(seed)

    assert seed.hex() not in repr(key)
    assert key.public.hex() in repr(key)


def test_equal_seeds_sign_alike() -> None:
    assert SigningKey(bytes(32)).sign(CHAIN, Purpose.EVENT, MESSAGE) == SIGNATURE
