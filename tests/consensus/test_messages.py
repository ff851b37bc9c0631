"""Envelopes and signatures: bounds before parsing, one meaning for each signature, nothing believed unsigned."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.authentication import verify_signed
from consensus.errors import InvalidMessage
from consensus.messages import (
    AnySigned,
    Body,
    Checkpoint,
    Cited,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Signed,
    Status,
    ViewChange,
    decode_signed,
    encode_signed,
)
from consensus.parameters import MESSAGE_BYTES_MAX, Parameters
from ledger.primitives.records import encode_record
from tests.consensus.harness import (
    KEYS,
    digest_of,
    make_certificate,
    make_parameters,
    make_proof,
    sign,
)

PARAMETERS = make_parameters()
A = b"batch a"
CHANGES = [sign(ViewChange((make_proof(0, 1, A),), replica, None, 1)) for replica in (0, 1, 2)]
MESSAGES: list[tuple[AnySigned, bytes | None]] = [
    (sign(PrePrepare(digest_of(A), 0, 1, 0)), A),
    (sign(PrePrepare(digest_of(b""), 0, 1, 0)), b""),
    (sign(Prepare(digest_of(A), 1, 1, 0)), None),
    (sign(Commit(digest_of(A), 1, 1, 0)), None),
    (sign(Checkpoint(bytes(32), 1, 1)), None),
    (CHANGES[0], None),
    (sign(NewView((), 1, 1, tuple(Cited(each.encoded, each.signature) for each in CHANGES))), None),
    (sign(Status(1, True, 5, (6, 7), 2, make_certificate(5, bytes(32)), (), 0, (digest_of(A),))), None),
    (sign(Body(digest_of(A), 2)), A),
]


def open_envelope(data: bytes) -> None:
    """Do with a frame what a node does."""
    signed, _ = decode_signed(data, PARAMETERS)
    verify_signed(PARAMETERS, signed)


@pytest.mark.parametrize(("signed", "batch"), MESSAGES)
def test_an_envelope_gives_back_what_it_holds(signed: AnySigned, batch: bytes | None) -> None:
    assert decode_signed(encode_signed(signed, batch), PARAMETERS) == (signed, batch)


@pytest.mark.parametrize(("signed", "batch"), MESSAGES)
def test_an_envelope_cut_or_prolonged_is_refused(signed: AnySigned, batch: bytes | None) -> None:
    data = encode_signed(signed, batch)

    for broken in [data[:length] for length in range(len(data))] + [data + b"\x00"]:
        with pytest.raises(InvalidMessage):
            decode_signed(broken, PARAMETERS)


@pytest.mark.parametrize(("signed", "batch"), MESSAGES)
def test_no_envelope_is_valid_as_another_kind(signed: AnySigned, batch: bytes | None) -> None:
    data = encode_signed(signed, batch)

    for kind in set(range(256)) - {data[0]}:
        with pytest.raises(InvalidMessage):
            open_envelope(bytes((kind,)) + data[1:])


@pytest.mark.parametrize(("signed", "batch"), MESSAGES)
def test_any_changed_byte_of_a_signed_part_is_refused(signed: AnySigned, batch: bytes | None) -> None:
    data = encode_signed(signed, batch)

    for offset in range(0, len(data), 1 + len(data) // 200):
        changed = data[:offset] + bytes((data[offset] ^ 1,)) + data[offset + 1 :]
        with pytest.raises(InvalidMessage):
            open_envelope(changed)


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_without_surprise(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode_signed(data, PARAMETERS)


def test_length_is_looked_at_before_anything_is_parsed() -> None:
    head = bytes((2, 0)) + bytes(64)

    for data in (head + (2**32 - 1).to_bytes(4, "big"), head + (10_000).to_bytes(4, "big") + b"\xdd\xff" * 5_000):
        with pytest.raises(InvalidMessage) as raised:
            decode_signed(data, PARAMETERS)
        assert raised.value.code == "size"


def test_a_message_larger_than_any_is_refused_by_its_size() -> None:
    with pytest.raises(InvalidMessage) as raised:
        decode_signed(bytes(MESSAGE_BYTES_MAX + PARAMETERS.batch_bytes_max + 71), PARAMETERS)
    assert raised.value.code == "size"


def test_a_batch_larger_than_allowed_is_refused() -> None:
    batch = bytes(PARAMETERS.batch_bytes_max + 1)

    with pytest.raises(InvalidMessage) as raised:
        decode_signed(encode_signed(sign(PrePrepare(digest_of(batch), 0, 1, 0)), batch), PARAMETERS)
    assert raised.value.code == "size"


def test_a_batch_that_is_not_the_one_named_is_refused() -> None:
    with pytest.raises(InvalidMessage) as raised:
        decode_signed(encode_signed(MESSAGES[0][0], b"batch b"), PARAMETERS)
    assert raised.value.code == "batch_digest"


def test_a_replica_that_does_not_exist_is_refused() -> None:
    signed = sign(Commit(digest_of(A), 4, 1, 0))

    with pytest.raises(InvalidMessage) as raised:
        decode_signed(encode_signed(signed), PARAMETERS)
    assert raised.value.code == "replica"
    with pytest.raises(InvalidMessage):
        verify_signed(PARAMETERS, signed)


@pytest.mark.parametrize(("signed", "batch"), MESSAGES)
def test_every_correct_message_verifies_but_on_no_other_chain(signed: AnySigned, batch: bytes | None) -> None:
    if not isinstance(signed.message, NewView):  # its proposals do not follow from what it cites: see test_view_change
        verify_signed(PARAMETERS, signed)

    with pytest.raises(InvalidMessage):
        verify_signed(Parameters(b"other chain", PARAMETERS.replicas), signed)


def test_a_signature_for_one_type_is_none_for_another() -> None:
    """PREPARE and COMMIT have the same fields; what is signed still differs."""
    prepare = sign(Prepare(digest_of(A), 1, 1, 0))
    claimed: Signed[Commit] = Signed(Commit(digest_of(A), 1, 1, 0), prepare.signature, prepare.encoded)

    with pytest.raises(InvalidMessage) as raised:
        verify_signed(PARAMETERS, claimed)
    assert raised.value.code == "signature"


def test_a_signature_by_another_replica_is_refused() -> None:
    mine = sign(Commit(digest_of(A), 1, 1, 0))
    theirs = replace(mine, message=replace(mine.message, replica=2))

    with pytest.raises(InvalidMessage):
        verify_signed(PARAMETERS, theirs)


def test_a_pre_prepare_of_another_than_the_primary_is_refused() -> None:
    for view, replica in ((0, 1), (1, 0), (5, 2)):
        with pytest.raises(InvalidMessage) as raised:
            verify_signed(PARAMETERS, sign(PrePrepare(digest_of(A), replica, 1, view)))
        assert raised.value.code == "not_primary"


def test_a_checkpoint_between_intervals_is_refused() -> None:
    with pytest.raises(InvalidMessage) as raised:
        verify_signed(make_parameters(checkpoint_interval=4), sign(Checkpoint(bytes(32), 1, 3)))
    assert raised.value.code == "checkpoint_seq"


def test_a_certificate_is_made_of_checkpoint_signatures_that_anyone_can_check() -> None:
    """Spelled out, for those who write another verifier."""
    certificate = make_certificate(7, bytes(range(32)))
    message = encode_record(Checkpoint(bytes(range(32)), 2, 7))

    assert message.hex() == (
        "83a6646967657374c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "a77265706c69636102a373657107"
    )
    assert len(certificate.signatures) == 3
    assert len(encode_record(certificate)) < 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": PARAMETERS.replicas[:3]},
        {"replicas": (PARAMETERS.replicas[0],) * 4},
        {"replicas": (b"short", *PARAMETERS.replicas[1:])},
        {"chain_id": b""},
        {"window": 0},
        {"window": 32, "replicas": tuple(bytes([number]) * 32 for number in range(100))},
        {"window": 3, "checkpoint_interval": 2},
        {"view_timeout_ms": 10, "view_timeout_ms_max": 5},
        {"retransmit_ms": 0},
    ],
)
def test_parameters_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"chain_id": b"chain", "replicas": tuple(key.public for key in KEYS[:4])}

    with pytest.raises(ValueError, match="expected"):
        Parameters(**{**good, **wrong})  # type: ignore[arg-type]
