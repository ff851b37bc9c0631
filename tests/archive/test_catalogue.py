"""The catalogue: what peers say of their segments, as far as it can be true, and the API's list of it."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.archive.catalogue import SegmentEntry, list_entries
from ledger.archive.collection import Archive
from ledger.primitives.records import decode_record, encode_record
from node import catalogue
from node.block_fetch import SourceFault
from node.catalogue import Catalogue, CatalogueRequest, Catalogues, answer_catalogue
from p2p.errors import PeerUnreachable
from tests.archive.chains import EPOCHS, ArchivedWorld, open_archive
from tests.client_api.api import Api

PEERS = tuple(bytes([number]) * 32 for number in (1, 2, 3))
Answer = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture
def archive(files: list[bytes]) -> Archive:
    return open_archive(files)


class Asking:
    """A node that has the chain's headers, and asks these peers."""

    def __init__(self, chain: ArchivedWorld, answers: dict[bytes, Answer]) -> None:
        self.blamed: list[bytes] = []
        self.asked = 0
        self.answers = answers
        self.catalogues = Catalogues(
            chain.chain,
            request=self._request,
            peers=lambda: list(self.answers),
            blame=lambda peer, fault: self.blamed.append(peer),
        )

    async def _request(self, peer: bytes, body: bytes) -> bytes:
        self.asked += 1
        assert self.asked < 100, "the same is asked for over and over"
        return await self.answers[peer](body)


def honest(chain: ArchivedWorld, archive: Archive) -> Answer:
    async def answer(body: bytes) -> bytes:
        return answer_catalogue(chain.chain, body, lambda: archive)

    return answer


def saying(*entries: SegmentEntry) -> Answer:
    async def answer(body: bytes) -> bytes:
        first = decode_record(CatalogueRequest, body).first_epoch
        return encode_record(Catalogue(tuple(each for each in entries if each.first_epoch >= first)))

    return answer


async def silent(body: bytes) -> bytes:
    raise PeerUnreachable("gone")


async def test_what_peers_have_is_known_and_only_what_is_new_is_asked_for(
    chain: ArchivedWorld, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "ENTRIES_MAX", 3)
    asking = Asking(chain, {PEERS[0]: honest(chain, archive), PEERS[1]: silent})

    await asking.catalogues.ask_due(0)
    first = asking.asked
    await asking.catalogues.ask_due(catalogue.ASK_EVERY_S - 1)
    assert asking.asked == first, "it is nobody's turn yet"
    await asking.catalogues.ask_due(catalogue.ASK_EVERY_S)

    assert len(archive.segments) == EPOCHS
    assert asking.catalogues.list_known() == {PEERS[0]: tuple(list_entries(archive))}
    assert asking.asked - first == 2, "one question to each"
    assert asking.blamed == []


async def test_who_leaves_is_forgotten(chain: ArchivedWorld, archive: Archive) -> None:
    asking = Asking(chain, {PEERS[0]: honest(chain, archive)})
    await asking.catalogues.ask_due(0)
    asking.answers.clear()

    await asking.catalogues.ask_due(1)

    assert asking.catalogues.list_known() == {}


LIES: dict[str, Callable[[SegmentEntry], SegmentEntry]] = {
    "another chain": lambda entry: replace(entry, header_hash=bytes(32)),
    "a gap before it": lambda entry: replace(entry, first_height=entry.first_height + 1),
    "it ends before it begins": lambda entry: replace(entry, last_height=entry.first_height - 1),
    "its epochs run backwards": lambda entry: replace(entry, last_epoch=entry.first_epoch - 1),
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_can_not_be_true_is_refused(chain: ArchivedWorld, archive: Archive, lie: str) -> None:
    first, second, *_ = list_entries(archive)
    asking = Asking(chain, {PEERS[0]: saying(first, LIES[lie](second)), PEERS[1]: honest(chain, archive)})

    await asking.catalogues.ask_due(0)

    assert asking.blamed == [PEERS[0]]
    assert list(asking.catalogues.list_known()) == [PEERS[1]]


async def test_garbage_and_repetition_are_refused(chain: ArchivedWorld, archive: Archive) -> None:
    async def garbage(body: bytes) -> bytes:
        return b"\xc1"

    async def the_same_again(body: bytes) -> bytes:
        return encode_record(Catalogue(tuple(list_entries(archive))))

    asking = Asking(chain, {PEERS[0]: garbage, PEERS[1]: the_same_again})

    await asking.catalogues.ask_due(0)

    assert asking.blamed == [PEERS[0], PEERS[1]]
    assert asking.catalogues.list_known() == {}


async def test_an_endless_catalogue_ends(
    chain: ArchivedWorld, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments of heights that nobody has yet can't be refuted; there are only so many."""
    monkeypatch.setattr(catalogue, "ENTRIES_OF_PEER_MAX", 10)
    last = list_entries(archive)[-1]

    async def endless(body: bytes) -> bytes:
        first = decode_record(CatalogueRequest, body).first_epoch
        return encode_record(
            Catalogue(
                (
                    replace(
                        last, first_epoch=first, last_epoch=first, first_height=first * 10_000 + 1 if first else 1,
                        last_height=(first + 1) * 10_000,
                    ),
                )
            )
        )  # fmt: skip

    asking = Asking(chain, {PEERS[0]: endless})

    await asking.catalogues.ask_due(0)

    assert len(asking.catalogues.list_known()[PEERS[0]]) == 10


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    api = Api(tmp_path, ArchivedWorld(tmp_path / "ledger"))
    yield api
    api.close()


def test_the_api_lists_what_is_here_and_who_else_has_it(api: Api, archive: Archive) -> None:
    own, other = list_entries(archive), replace(list_entries(archive)[0], root=b"\x01" * 32)
    api.node.archive = archive
    api.node.catalogues = {PEERS[0]: tuple(own[:1]), PEERS[1]: (other,)}

    found = api.call("listArchiveSegments")["segments"]

    assert [(each["first_height"], each["here"], each["holders"]) for each in found] == [
        (1, False, [PEERS[1].hex()]),
        (1, True, [PEERS[0].hex()]),
        *((each.first_height, True, []) for each in own[1:]),
    ]
    assert {each["root"] for each in found} == {each.root.hex() for each in (*own, other)}


def test_pages_of_the_catalogue_hold_everything_once(api: Api, archive: Archive) -> None:
    api.node.archive = archive
    whole = api.call("listArchiveSegments")
    assert whole["next"] is None

    pages, cursor = [], None
    while True:
        page = api.call("listArchiveSegments", limit=1, **({} if cursor is None else {"cursor": cursor}))
        pages += page["segments"]
        cursor = page["next"]
        if cursor is None:
            break

    assert pages == whole["segments"]
    last = whole["segments"][-1]
    assert api.call("listArchiveSegments", height=last["last_height"])["segments"] == [last]


def test_a_node_without_an_archive_says_so_with_an_empty_list(api: Api) -> None:
    assert api.call("listArchiveSegments")["segments"] == []


def test_a_source_fault_names_what_was_expected(chain: ArchivedWorld, archive: Archive) -> None:
    second = list_entries(archive)[1]
    with pytest.raises(SourceFault, match="expected a segment that begins at height 1, got"):
        catalogue.read_catalogue(chain.chain, encode_record(Catalogue((second,))), 0, 0)
