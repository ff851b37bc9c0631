"""The address book: claims are bounded by whoever makes them, and never push out what a dial has proved."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.address_book import AddressBook
from p2p.address_ranges import range_of
from p2p.book_file import BookDamaged, read_book, write_book
from p2p.host import PeerAddress
from p2p.parameters import NetworkLimits

OWN = bytes(32)
LIMITS = NetworkLimits(
    book_max=12,
    book_per_range_max=4,
    book_claims_per_source_max=3,
    book_claims_per_source_range_max=5,
    book_claim_failures_max=2,
    book_failures_max=3,
    book_retry_s=10,
    outbound_per_range_max=2,
    addresses_told_max=4,
)
TELLER, TELLER_HOST = b"T" * 32, "5.9.0.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000

    def __call__(self) -> int:
        return self.now


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def at(number: int, host: str | None = None, port: int = 4_001) -> PeerAddress:
    return PeerAddress(key(number), host or f"8.{number}.0.1", port)


def make_book(
    clock: Clock | None = None,
    limits: NetworkLimits = LIMITS,
    is_registered: Callable[[bytes], bool] = lambda public_key: False,
    bootstrap: tuple[PeerAddress, ...] = (),
) -> AddressBook:
    return AddressBook(
        OWN, limits, clock or Clock(), is_registered=is_registered, bootstrap=bootstrap, draw=random.Random(7)
    )


def claim_own(book: AddressBook, address: PeerAddress) -> str | None:
    """Claim as most do: each peer its own address."""
    return book.claim(address, address.public_key, address.host)


def fill_verified(book: AddressBook, numbers: range) -> None:
    for number in numbers:
        assert claim_own(book, at(number)) is None
        book.succeeded(at(number))


def test_a_claim_is_believed_only_when_a_dial_met_the_key() -> None:
    book = make_book()
    assert claim_own(book, at(1)) is None
    assert (len(book), book.verified) == (1, 0)

    book.succeeded(at(1))

    assert book.verified == 1


@pytest.mark.parametrize(
    ("address", "source_host", "why"),
    [
        (PeerAddress(OWN, "8.8.8.8", 1), TELLER_HOST, "another node"),
        (PeerAddress(key(1), "node.example", 1), TELLER_HOST, "an IP address"),
        (PeerAddress(key(1), "", 1), TELLER_HOST, "an IP address"),
        (PeerAddress(key(1), "8.8.8.8", 0), TELLER_HOST, "a port"),
        (PeerAddress(key(1), "127.0.0.1", 1), TELLER_HOST, "a public address"),
        (PeerAddress(key(1), "10.0.0.1", 1), TELLER_HOST, "a public address"),
        (PeerAddress(key(1), "169.254.169.254", 80), TELLER_HOST, "a public address"),
        (PeerAddress(key(1), "192.168.0.1", 1), "127.0.0.1", "a public address"),
        (PeerAddress(key(1), "0.0.0.0", 1), TELLER_HOST, "a public address"),
    ],
)
def test_a_claim_that_no_node_should_dial_is_refused(address: PeerAddress, source_host: str, why: str) -> None:
    book = make_book()

    refusal = book.claim(address, TELLER, source_host)

    assert refusal is not None
    assert why in refusal
    assert len(book) == 0


@pytest.mark.parametrize(
    ("host", "source_host"), [("127.0.0.2", "127.0.0.1"), ("10.1.2.3", "10.1.9.9"), ("::1", "::1")]
)
def test_neighbours_may_name_addresses_of_the_neighbourhood(host: str, source_host: str) -> None:
    assert make_book().claim(at(1, host), TELLER, source_host) is None


def test_one_peer_tells_few_addresses_and_gets_room_when_they_are_verified() -> None:
    book = make_book()

    refusals = [book.claim(at(number), TELLER, TELLER_HOST) for number in range(1, 6)]

    assert refusals == [None, None, None, "this peer has told enough for now", "this peer has told enough for now"]
    book.succeeded(at(1))
    assert book.claim(at(4), TELLER, TELLER_HOST) is None


def test_many_peers_of_one_range_tell_few_addresses_together() -> None:
    book = make_book()

    refusals = [book.claim(at(number), key(900 + number), f"5.9.{number}.1") for number in range(1, 8)]

    assert refusals == [None] * 5 + ["peers in 5.9.0.0/16 have told enough for now"] * 2
    assert book.claim(at(8), key(999), "5.10.0.1") is None


def test_one_range_does_not_fill_the_book() -> None:
    book = make_book()

    refusals = [claim_own(book, at(number, f"8.8.{number}.1")) for number in range(1, 7)]

    assert refusals == [None] * 4 + ["enough addresses in 8.8.0.0/16 are known"] * 2
    assert claim_own(book, at(9, "9.9.9.9")) is None


def test_claims_never_push_out_what_is_verified() -> None:
    book = make_book()
    fill_verified(book, range(1, 13))

    assert claim_own(book, at(50)) == "the book is full"

    assert {entry.public_key for entry in book.entries()} == {key(number) for number in range(1, 13)}


def test_what_failed_makes_room_and_so_does_a_stranger_for_a_registered_key() -> None:
    book = make_book(is_registered=lambda public_key: public_key == key(60))
    fill_verified(book, range(1, 11))
    assert claim_own(book, at(20)) is None
    assert claim_own(book, at(21)) is None
    assert claim_own(book, at(50)) == "the book is full"

    book.failed(at(21))
    assert claim_own(book, at(51)) is None
    assert claim_own(book, at(60)) is None

    known = {entry.public_key for entry in book.entries()}
    assert key(60) in known
    assert key(21) not in known
    assert len(book) == 12


def test_a_stranger_cannot_move_an_address_but_its_owner_can() -> None:
    book = make_book()
    fill_verified(book, range(1, 2))
    moved = at(1, "9.9.9.9")

    assert book.claim(moved, TELLER, TELLER_HOST) == "another address of this key is known"
    assert book.entries()[0].is_verified
    assert claim_own(book, moved) is None

    assert (book.entries()[0].host, book.entries()[0].is_verified) == ("9.9.9.9", False)


def test_a_dial_proves_the_address_that_was_dialed_and_no_other() -> None:
    book = make_book()
    claim_own(book, at(1))

    book.succeeded(at(1, "9.9.9.9"))
    for _ in range(5):
        book.failed(at(1, port=5))

    assert [(entry.is_verified, entry.failures) for entry in book.entries()] == [(False, 0)]


@pytest.mark.parametrize(("verified", "failures"), [(False, 2), (True, 3)])
def test_the_dead_are_forgotten(verified: bool, failures: int) -> None:
    book = make_book()
    claim_own(book, at(1))
    if verified:
        book.succeeded(at(1))

    lengths: list[int] = []
    for _ in range(failures):
        book.failed(at(1))
        lengths.append(len(book))

    assert lengths == [1] * (failures - 1) + [0]


def test_a_success_forgives_failures() -> None:
    book = make_book()
    fill_verified(book, range(1, 2))
    for _ in range(5):
        book.failed(at(1))
        book.failed(at(1))
        book.succeeded(at(1))

    assert len(book) == 1


def test_who_failed_waits_longer_each_time() -> None:
    clock = Clock()
    book = make_book(clock)
    fill_verified(book, range(1, 2))
    waits: list[int] = []
    for _ in range(2):
        book.failed(at(1))
        began = clock.now
        while book.choose((), {}) is None:
            clock.now += 1
        waits.append(clock.now - began)

    assert waits == [20, 40]


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    clock = Clock()
    book = make_book(clock)
    fill_verified(book, range(1, 2))
    book.failed(at(1))
    clock.now -= 1_000_000

    assert book.choose((), {}) == at(1)


def test_links_are_spread_over_ranges() -> None:
    book = make_book()
    for number, host in enumerate(["8.8.0.1", "8.8.0.2", "8.8.0.3", "9.9.0.1", "7.7.0.1"], start=1):
        claim_own(book, at(number, host))
        book.succeeded(at(number, host))
    linked: Counter[str] = Counter()
    chosen: list[bytes] = []
    while (address := book.choose(chosen, linked)) is not None:
        chosen.append(address.public_key)
        linked[range_of(address.host)] += 1

    assert linked == {"8.8.0.0/16": 2, "9.9.0.0/16": 1, "7.7.0.0/16": 1}
    assert {key(4), key(5)} <= set(chosen[:3])


def test_registered_keys_come_before_verified_strangers() -> None:
    book = make_book(is_registered=lambda public_key: public_key == key(3))
    fill_verified(book, range(1, 3))
    claim_own(book, at(3))

    assert book.choose((), {}) == at(3)
    assert book.choose([key(3)], {}) in (at(1), at(2))


def test_bootstrap_peers_are_dialed_and_never_forgotten() -> None:
    clock = Clock()
    seed = PeerAddress(key(1), "seed.example", 4_001)
    book = make_book(clock, bootstrap=(seed,))
    for _ in range(10):
        assert book.choose((), {}) == seed
        book.failed(seed)
        assert book.choose((), {}) is None
        clock.now += 3_600

    assert book.choose((), {}) == seed


def test_claims_are_verified_first_and_old_proofs_again() -> None:
    clock = Clock()
    book = make_book(clock)
    fill_verified(book, range(1, 2))
    claim_own(book, at(2))
    assert book.choose_to_verify() == at(2)
    book.succeeded(at(2))
    assert book.choose_to_verify() is None

    clock.now += LIMITS.book_verify_again_s

    assert book.choose_to_verify() in (at(1), at(2))


def test_only_verified_addresses_are_told_and_of_many_ranges() -> None:
    book = make_book()
    for number, host in enumerate(["8.8.0.1", "8.8.0.2", "8.8.0.3", "8.8.0.4", "9.9.0.1", "7.7.0.1"], start=1):
        claim_own(book, at(number, host))
        if number != 6:
            book.succeeded(at(number, host))
    claim_own(book, at(7, "127.0.0.1"))
    book.succeeded(at(7, "127.0.0.1"))

    told = [address.host for address in book.sample(TELLER_HOST)]

    assert len(told) == 4
    assert Counter(map(range_of, told)) == {"8.8.0.0/16": 3, "9.9.0.0/16": 1}
    assert "127.0.0.1" in [address.host for address in book.sample("127.0.0.1")]


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "own", "succeeded", "failed"]),
        st.integers(1, 30),  # key
        st.integers(0, 3),  # the range that the address is in
        st.integers(0, 4),  # teller
        st.integers(0, 2),  # the range that the teller is in
    ),
    max_size=120,
)


@settings(max_examples=60)
@given(steps)
def test_whatever_is_claimed_all_bounds_hold(taken: list[tuple[str, int, int, int, int]]) -> None:
    book = make_book(is_registered=lambda public_key: public_key[-1] % 3 == 0)
    for what, number, place, teller, teller_place in taken:
        host = f"8.{place}.0.{number}"
        before = {entry.public_key for entry in book.entries() if entry.is_verified}
        if what == "claim":
            book.claim(at(number, host), key(900 + teller), f"5.{teller_place}.0.1")
        elif what == "own":
            claim_own(book, at(number, host))
        elif what == "succeeded":
            book.succeeded(at(number, host))
        else:
            book.failed(at(number, host))

        entries = book.entries()
        claims = [entry for entry in entries if not entry.is_verified]
        assert len(entries) <= LIMITS.book_max
        assert max(Counter(range_of(e.host) for e in entries).values(), default=0) <= LIMITS.book_per_range_max
        assert max(Counter(e.source for e in claims).values(), default=0) <= LIMITS.book_claims_per_source_max
        told = Counter(e.source_range for e in claims)
        assert max(told.values(), default=0) <= LIMITS.book_claims_per_source_range_max
        if what == "claim":
            assert before == {entry.public_key for entry in entries if entry.is_verified}


def test_a_saved_book_is_read_back_and_fits_the_bounds_again(tmp_path: Path) -> None:
    path = tmp_path / "peers.book"
    book = make_book()
    fill_verified(book, range(1, 6))
    claim_own(book, at(6))
    write_book(path, book.entries())

    again = make_book()
    assert again.restore(read_book(path)) == 6
    smaller = make_book(limits=replace(LIMITS, book_max=5))
    smaller.restore(read_book(path))

    assert again.entries() == book.entries()
    assert (len(smaller), smaller.verified) == (5, 5)


def test_without_a_file_the_book_is_empty(tmp_path: Path) -> None:
    assert read_book(tmp_path / "peers.book") == ()


@settings(max_examples=50)
@given(data=st.data())
def test_a_damaged_file_is_noticed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("book") / "peers.book"
    book = make_book()
    fill_verified(book, range(1, 4))
    write_book(path, book.entries())
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    damaged = data.draw(
        st.sampled_from(
            [
                good[:place],
                good + b"\0",
                good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :],
                b"",
                bytes(3_000_000),
            ]
        )
    )
    path.write_bytes(damaged)

    with pytest.raises(BookDamaged, match=r"peers\.book"):
        read_book(path)


def test_a_crash_while_saving_leaves_the_old_book(tmp_path: Path) -> None:
    path = tmp_path / "peers.book"
    book = make_book()
    fill_verified(book, range(1, 4))
    write_book(path, book.entries())
    path.with_suffix(".new").write_bytes(b"half a bo")
    assert read_book(path) == book.entries()

    before = path.read_bytes()
    with path.open("rb") as still_open:
        fill_verified(book, range(4, 5))
        write_book(path, book.entries())
        # The old file is untouched: at every moment one of the two is there whole.
        assert still_open.read() == before
    assert read_book(path) == book.entries()
