"""What validators did is counted and paid right when the set changes: who joins, who leaves, who has another key."""

from typing import Any

from ledger.membership import remap
from ledger.nod import FIT
from ledger.receipts import APPLIED
from ledger.service import Service, read_service
from ledger.telemetry import Attestation, ServiceAttested
from tests.economy.council import Council
from tests.economy.node_town import ASKED, codes
from tests.economy.town import EPOCH_BEATS, by_type


def service_of(council: Council) -> Service:
    found = read_service(council.store, council.chain.head.header.epoch)
    assert found is not None
    return found


def attest(council: Council, author: int, *numbers: int) -> Any:
    entries = [Attestation(ASKED, ASKED, council.keys[number].public) for number in numbers if number != author]
    signed = council.sign(
        council.operators[author], ServiceAttested, entries=tuple(sorted(entries, key=lambda entry: entry.node)),
        epoch=council.chain.head.header.epoch - 1, node=council.keys[author].public,
    )  # fmt: skip
    return council.execute(signed).receipts[-1]


def live(council: Council, *, members: list[int], spend: bool = True) -> None:
    """Live the epoch to its last beat: its validators attest all eight, and sign every block but that of the change."""
    for author in members:
        assert attest(council, author, *range(8)).outcome == APPLIED
    for person in council.people if spend else ():
        council.execute(council.post(person, council.posted))
        council.posted += 1
    for number in range(EPOCH_BEATS):
        if number:
            council.beat()
        council.apply(council.certify(*members, author=members[0]))


def paid(council: Council, receipts: list[Any]) -> dict[int, tuple[str, int, str]]:
    """Return node number -> (code, votes, kind of outcome) of a settlement."""
    numbers = {key.public.hex(): number for number, key in enumerate(council.keys)}
    rows = by_type(receipts, "infra.NodAllocated") + by_type(receipts, "infra.NodeRejected")
    return {
        numbers[str(row.inputs["node"])]: (str(row.inputs["code"]), int(row.inputs["votes"]), row.event_type)
        for row in rows
    }


def test_a_joiner_counts_from_the_height_at_which_it_is_of_the_set(council: Council) -> None:
    council.admit(4)
    live(council, members=[0, 1, 2, 3])
    council.ready(4)
    joining = paid(council, council.end())
    begun = service_of(council)
    council.execute()  # a block of the new set, in the same beat
    live(council, members=[0, 1, 2, 3, 4])
    after = paid(council, council.end())

    assert joining[0] == (FIT, EPOCH_BEATS, "infra.NodAllocated")
    assert joining[4] == (FIT, 0, "infra.NodAllocated")  # still as the auditor that it was
    assert (begun.beats, begun.led, begun.votes) == (1, (0, 1, 0, 0, 0), (0,) * 5)
    assert after[4] == after[0] == (FIT, EPOCH_BEATS, "infra.NodAllocated")


def test_a_leaver_is_paid_as_a_validator_for_what_it_served_and_as_a_relay_after(council: Council) -> None:
    council.join(4)
    council.execute()
    live(council, members=[0, 1, 2, 3, 4])
    council.apply(council.sign_resignation(1))
    leaving = paid(council, council.end())
    begun = service_of(council)
    council.execute()
    live(council, members=[0, 2, 3, 4])
    after = paid(council, council.end())

    assert leaving[1] == (FIT, EPOCH_BEATS, "infra.NodAllocated")
    assert (council.members, len(begun.led), sum(begun.proposals)) == ([0, 2, 3, 4], 4, 0)  # its own beat left with it
    assert after[1] == (FIT, 0, "infra.NodAllocated")
    assert after[0] == (FIT, EPOCH_BEATS, "infra.NodAllocated")


def test_a_rotated_validator_is_paid_without_a_gap(council: Council) -> None:
    live(council, members=[0, 1, 2, 3])
    council.rotate(1)
    begun = service_of(council)
    council.execute()
    live(council, members=[0, 1, 2, 3])
    after = paid(council, council.end())

    assert (begun.led, begun.proposals) == ((0, 1, 0, 0), (0, 1, 0, 0))
    assert after[1] == (FIT, EPOCH_BEATS, "infra.NodAllocated")


def test_an_expelled_validator_earns_nothing_for_the_epoch_in_which_it_was_found_out(council: Council) -> None:
    council.join(4)
    council.execute()
    live(council, members=[0, 1, 2, 3, 4])
    council.apply(council.sign_evidence(council.keys[2], 2, era=1))
    settled = paid(council, council.end())

    assert settled[2][0] == "NODE_REVOKED"
    assert settled[0] == (FIT, EPOCH_BEATS, "infra.NodAllocated")
    council.assert_conserved()


def test_the_block_that_changes_the_set_is_counted_for_nobody(council: Council) -> None:
    """The old set certifies it, in its own numbers; the same numbers are others' now."""
    council.join(4)
    at = council.chain.head.height
    receipt = council.execute(council.certify(0, 1, 2, 3, at=at)).receipts[-1]
    council.execute()
    fresh = council.execute(council.certify(0, 1, 2, 3)).receipts[-1]

    assert codes(receipt) == {"TELEMETRY_ERA_OVER"}
    assert fresh.outcome == APPLIED
    assert (service_of(council).certified, service_of(council).votes) == (1, (1, 1, 1, 1, 0))


def test_only_the_present_set_attests(council: Council) -> None:
    council.join(4)
    council.apply(council.sign_resignation(1))
    by_new = attest(council, 4, 5)
    council.end()
    by_old = attest(council, 1, 5)

    assert by_new.outcome == APPLIED
    assert codes(by_old) == {"NODE_NOT_VALIDATOR"}


def test_counts_follow_their_validators_into_the_new_order() -> None:
    a, b, c, d = (bytes([number]) * 32 for number in range(4))
    service = Service(9, 5, 3, 70, (1, 2, 3), (4, 5, 6), 8, (7, 8, 9))

    moved = remap(service, (a, b, c), (c, a, d))

    assert (moved.led, moved.proposals, moved.votes) == ((3, 1, 0), (6, 4, 0), (9, 7, 0))
    assert (moved.beats, moved.certified, moved.epoch, moved.first_beat, moved.view) == (9, 5, 3, 70, 0)
