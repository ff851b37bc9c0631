"""HELLO, scores, whose turn it is to dial, and the outgoing queue: the rules that need no socket."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.dialer import is_first_to_dial, is_old_link_kept
from p2p.errors import PeerFault
from p2p.handshake import Hello, Role, decode_hello, encode_hello, verify_hello
from p2p.host import peer_id_of, public_key_of
from p2p.outbox import Outbox
from p2p.parameters import NetworkLimits
from p2p.peers import PeerTable
from p2p.token_bucket import TokenBucket
from p2p.versions import VERSION_MAX, VERSION_MIN, Versions
from p2p.wire import FrameKind, FrameReader

KEY = bytes(range(32))
CHAIN = b"chain"
HELLO = Hello(VERSION_MIN, VERSION_MAX, CHAIN, KEY, "observer", "127.0.0.1", 4_001, 12)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def verify(hello: Hello, *, admitted: bool = True) -> Role:
    agreed = verify_hello(
        hello, chain_id=CHAIN, channel_key=KEY, admit=lambda key, role: admitted, versions=Versions(), height=1
    )
    assert agreed.version == VERSION_MAX
    return agreed.role


def test_hello_survives_the_wire() -> None:
    assert decode_hello(encode_hello(HELLO)) == HELLO


def test_an_honest_hello_gives_the_role() -> None:
    assert verify(HELLO) is Role.OBSERVER


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (replace(HELLO, chain_id=b"other"), "wrong_chain"),
        (replace(HELLO, public_key=bytes(32)), "wrong_key"),
        (replace(HELLO, version_min=VERSION_MAX + 1, version_max=VERSION_MAX + 1), "wrong_protocol_version"),
        (replace(HELLO, role="king"), "unknown_role"),
    ],
)
def test_a_hello_that_does_not_fit_is_a_fault(hello: Hello, code: str) -> None:
    with pytest.raises(PeerFault, match=code):
        verify(hello)


def test_a_peer_that_is_not_admitted_is_told_so() -> None:
    with pytest.raises(PeerFault, match="not_admitted"):
        verify(HELLO, admitted=False)


@given(st.binary(min_size=1, max_size=200))
def test_garbage_instead_of_hello_is_a_fault(frame: bytes) -> None:
    with pytest.raises(PeerFault, match="hello_"):
        decode_hello(frame)


def test_a_peer_id_holds_the_public_key() -> None:
    assert peer_id_of(KEY).startswith("12D3KooW")
    assert public_key_of(peer_id_of(KEY)) == KEY


def test_a_peer_id_of_another_kind_of_key_is_refused() -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        public_key_of("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")


def test_of_two_validators_exactly_one_dials_first() -> None:
    low, high = bytes(32), b"\1" * 32
    assert is_first_to_dial(Role.VALIDATOR, low, high)
    assert not is_first_to_dial(Role.VALIDATOR, high, low)


@pytest.mark.parametrize("low_sees_its_own_dial_first", [True, False])
@pytest.mark.parametrize("high_sees_its_own_dial_first", [True, False])
def test_of_two_links_dialed_at_once_both_ends_keep_the_same(
    low_sees_its_own_dial_first: bool, high_sees_its_own_dial_first: bool
) -> None:
    low, high = bytes(32), b"\1" * 32

    def kept_dial(own: bytes, peer: bytes, own_first: bool) -> bool:
        """Tell whether what stays is the link that `own` dialed."""
        old_kept = is_old_link_kept(own, peer, old_dialed=own_first, new_dialed=not own_first, old_silent=False)
        return own_first if old_kept else not own_first

    assert kept_dial(low, high, low_sees_its_own_dial_first)
    assert not kept_dial(high, low, high_sees_its_own_dial_first)


@pytest.mark.parametrize(("old_dialed", "new_dialed", "old_silent"), [(True, True, False), (True, False, True)])
def test_a_link_that_its_dialer_gave_up_or_that_is_silent_is_replaced(
    old_dialed: bool, new_dialed: bool, old_silent: bool
) -> None:
    low, high = bytes(32), b"\1" * 32
    assert not is_old_link_kept(low, high, old_dialed=old_dialed, new_dialed=new_dialed, old_silent=old_silent)


def test_an_observer_always_dials() -> None:
    assert is_first_to_dial(Role.OBSERVER, b"\1" * 32, bytes(32))


def test_penalties_add_up_to_a_ban_that_ends() -> None:
    clock = Clock()
    table = PeerTable(NetworkLimits(ban_score=100, ban_s=60), clock)

    banned = [table.penalize(KEY, PeerFault("x", 40, "")) for _ in range(3)]

    assert banned == [False, False, True]
    clock.now += 59
    assert table.is_banned(KEY)
    clock.now += 2
    assert not table.is_banned(KEY)


def test_penalties_fade() -> None:
    clock = Clock()
    table = PeerTable(NetworkLimits(score_decay_per_s=1.0), clock)
    table.penalize(KEY, PeerFault("x", 50, ""))
    clock.now += 20
    assert table.score(KEY) == 30
    clock.now += 100
    assert table.score(KEY) == 0


def test_the_table_is_bounded_and_keeps_the_banned() -> None:
    table = PeerTable(NetworkLimits(peers_scored_max=10), Clock())
    table.penalize(KEY, PeerFault("x", 1_000, ""))
    for number in range(100):
        table.penalize(number.to_bytes(32, "big"), PeerFault("x", 1, ""))
    assert len(table) == 10
    assert table.is_banned(KEY)


async def test_votes_leave_before_everything_else() -> None:
    outbox = Outbox(NetworkLimits())
    for kind in (FrameKind.SUBMISSION, FrameKind.RESPONSE, FrameKind.CONSENSUS):
        assert outbox.push(kind, b"body")

    data, count = outbox.take()

    kinds = [frame[0] for frame in FrameReader(100).feed(data)]
    assert (kinds, count) == ([FrameKind.CONSENSUS, FrameKind.SUBMISSION, FrameKind.RESPONSE], 3)


async def test_one_write_is_about_one_noise_record() -> None:
    outbox = Outbox(NetworkLimits())
    for _ in range(1_000):
        assert outbox.push(FrameKind.CONSENSUS, bytes(195))

    data, count = outbox.take()

    assert count == 327
    assert len(data) <= NetworkLimits().coalesce_bytes < len(data) + 200


@pytest.mark.parametrize("limits", [NetworkLimits(queue_frames_max=10), NetworkLimits(queue_bytes_max=4_500_000)])
async def test_a_full_queue_drops_with_a_definite_answer(limits: NetworkLimits) -> None:
    outbox = Outbox(limits)

    answers = [outbox.push(FrameKind.CONSENSUS, bytes(450_000)) for _ in range(12)]

    assert answers == [True] * answers.count(True) + [False] * (12 - answers.count(True))
    assert 9 <= answers.count(True) <= 10
    assert outbox.dropped_frames == answers.count(False)
    assert outbox.queued_bytes <= limits.queue_bytes_max


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 500)), max_size=50))
def test_a_token_bucket_holds_the_long_run_to_its_rate(steps: list[tuple[float, int]]) -> None:
    bucket, now, taken = TokenBucket(100, 200, 0.0), 0.0, 0
    for pause, count in steps:
        now += pause
        taken += count
        now += bucket.take(count, now)
        assert taken <= 200 + 100 * now + 1e-6
