"""No changed byte of a proof file proves anything, to either verifier."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verify.conftest import Proofs


@settings(max_examples=400, deadline=None)
@given(era=st.integers(0, 3), place=st.integers(0, 2**32), flip=st.integers(1, 255))
def test_a_changed_byte_of_any_proof_is_found_by_both(proofs: Proofs, era: int, place: int, flip: int) -> None:
    changed = bytearray(proofs.of_posts[era])
    changed[place % len(changed)] ^= flip

    assert proofs.both.list_believers(bytes(changed)) == []


def test_each_changed_bit_of_a_small_proof_is_found_by_both(proofs: Proofs) -> None:
    survivors: list[tuple[int, int, list[str]]] = []
    for place in range(len(proofs.of_a_beat)):
        for bit in range(8):
            changed = bytearray(proofs.of_a_beat)
            changed[place] ^= 1 << bit
            believers = proofs.both.list_believers(bytes(changed))
            if believers:
                survivors.append((place, bit, believers))

    assert survivors == []
