"""Headers and snapshots from peers: what is asked, what is answered, and what is believed of it.  No waiting here.

A header is believed when a certified one above it names it, through the hashes between; whose certificate counts, the
headers themselves say.  A snapshot is believed page by page, from the root in such a header.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger import keyspace
from ledger.block import Header, compute_header_hash, decode_header
from ledger.chain import Chain
from ledger.genesis import compute_validators_hash
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U32, U64, Bytes32, Length, decode_record, encode_record
from ledger.reading import Snapshot
from ledger.service import Validators, read_validators_at
from ledger.snapshots import (
    PAGES,
    Manifest,
    Page,
    ProvenPage,
    SnapshotInvalid,
    find_version,
    make_manifest,
    read_pages,
    verify_page,
)
from ledger.staging import SEGMENT_PAGES
from ledger.state_tree import Subtree
from node.block_fetch import SourceFault
from node.eras import make_parameters

HEADERS_REQUEST = "headers"
MANIFEST_REQUEST = "snapshot_manifest"
PAGES_REQUEST = "snapshot_pages"
HEADERS_MAX = 1_024
CERTIFICATES_MAX = 64
PAGES_BYTES_MAX = 1024 * 1024
HEADER_BYTES_MAX = 2_048
CERTIFICATE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class HeaderRange:
    """A request for the headers first..last."""

    first: U64
    last: U64


@dataclass(frozen=True, slots=True)
class Headers:
    """The answer: headers of one validator set from `first` on, perhaps none.

    certificates: of the last header, and of those in which an epoch begins.  validators: the set that the last header
    names for the next height, where that is another.
    """

    certificates: Annotated[tuple[Annotated[bytes, Length(1, CERTIFICATE_BYTES_MAX)], ...], Length(0, CERTIFICATES_MAX)]
    headers: Annotated[tuple[Annotated[bytes, Length(1, HEADER_BYTES_MAX)], ...], Length(0, HEADERS_MAX)]
    validators: Validators | None


@dataclass(frozen=True, slots=True)
class ManifestRequest:
    """A request for the manifest of the state after a height."""

    height: U64


@dataclass(frozen=True, slots=True)
class ManifestAnswer:
    """The manifest; None where the state of that height is not kept."""

    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class PagesRequest:
    """A request for the pages first..last of the state after a height."""

    first: U32
    height: U64
    last: U32


@dataclass(frozen=True, slots=True)
class PagesAnswer:
    """All pages from the first that was asked for up to `following`, which comes next; None where they are not kept."""

    following: U32
    pages: Annotated[tuple[Page, ...], Length(0, PAGES)] | None


# Serving: reads the disk, so call it in a thread.


def answer_headers(chain: Chain, request: bytes) -> bytes:
    """Return the headers that a peer asked for, as far as they can be proven.  Raises EncodingError."""
    wanted = decode_record(HeaderRange, request)
    with chain.store.snapshot() as snapshot:
        return encode_record(_list_headers(snapshot, wanted, chain.head.height))


def _list_headers(snapshot: Snapshot, wanted: HeaderRange, head: int) -> Headers:
    headers: list[bytes] = []
    certificates: list[tuple[int, bytes]] = []
    proven = 0
    below = _read_header(snapshot, wanted.first - 1) if wanted.first else None
    for height in range(wanted.first, min(wanted.last, wanted.first + HEADERS_MAX - 1, head) + 1):
        data = snapshot.get(keyspace.header(height))
        if data is None or below is None or len(certificates) >= CERTIFICATES_MAX - 1:
            break
        header = decode_header(data)
        headers.append(data)
        certificate = snapshot.get(keyspace.certificate(height))
        if certificate is not None:
            proven = len(headers)
            if header.epoch != below.epoch:
                certificates.append((height, certificate))
        if header.validators_hash != below.validators_hash:
            break
        below = header
    del headers[proven:]
    last = wanted.first + proven - 1
    certificates = [each for each in certificates if each[0] < last]
    validators = None
    if proven:
        certificate = snapshot.get(keyspace.certificate(last))
        assert certificate is not None, "the last header that is answered is proven"
        certificates.append((last, certificate))
        before = _read_header(snapshot, last - 1)
        if before is not None and before.validators_hash != decode_header(headers[-1]).validators_hash:
            validators = read_validators_at(snapshot, last + 1)
    return Headers(tuple(certificate for _, certificate in certificates), tuple(headers), validators)


def _read_header(snapshot: Snapshot, height: int) -> Header | None:
    data = snapshot.get(keyspace.header(height))
    return None if data is None else decode_header(data)


class ManifestAnswers:
    """Answers requests for manifests; the last one is kept, since making one reads all rows of the tree."""

    def __init__(self) -> None:
        self._last: tuple[int, bytes] = (-1, b"")

    def __call__(self, chain: Chain, request: bytes) -> bytes:
        """Return the manifest that a peer asked for.  Raises EncodingError."""
        height = decode_record(ManifestRequest, request).height
        known, answer = self._last
        if height == known:
            return answer
        with chain.store.snapshot() as snapshot:
            version = find_version(snapshot, height)
            if version is None:
                return encode_record(ManifestAnswer(None))
            answer = encode_record(ManifestAnswer(make_manifest(snapshot, version)))
        self._last = (height, answer)
        return answer


def answer_pages(chain: Chain, request: bytes) -> bytes:
    """Return the pages that a peer asked for, as many as fit.  Raises EncodingError."""
    wanted = decode_record(PagesRequest, request)
    last = min(wanted.last, wanted.first + SEGMENT_PAGES - 1, PAGES - 1)
    with chain.store.snapshot() as snapshot:
        version = find_version(snapshot, wanted.height)
        if version is None:
            return encode_record(PagesAnswer(wanted.first, None))
        pages, following = read_pages(snapshot, version, wanted.first, last, PAGES_BYTES_MAX)
        return encode_record(PagesAnswer(following, tuple(pages)))


# Believing.


@dataclass(frozen=True, slots=True)
class Proven:
    """Headers that are proven, from the one above `Place` on."""

    headers: tuple[bytes, ...]
    certificates: tuple[tuple[int, bytes], ...]  # by height
    validators: Validators | None  # where the last names another set

    @property
    def is_cut(self) -> bool:
        """Whether an honest source has to stop here: where another set begins, or with so many certificates."""
        return self.validators is not None or len(self.certificates) >= CERTIFICATES_MAX - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where proven headers end: what the next must follow from, and who certifies it."""

    height: int
    hash: Bytes32
    validators_hash: Bytes32
    validators: Validators


def open_headers(chain_id: bytes, answer: bytes, place: Place) -> tuple[Proven, Place]:
    """Return the headers of an answer, proven, and where they end.  Raises SourceFault."""
    try:
        found = decode_record(Headers, answer)
        return _verify_headers(chain_id, found, place)
    except (EncodingError, ValueError) as error:
        raise error if isinstance(error, SourceFault) else SourceFault(f"headers: {error}") from error


def _verify_headers(chain_id: bytes, found: Headers, place: Place) -> tuple[Proven, Place]:
    if not found.headers:
        return Proven((), (), None), place
    hashes: dict[int, bytes] = {}
    height, below, names = place.height, place.hash, place.validators_hash
    for at, data in enumerate(found.headers):
        header = decode_header(data)
        height += 1
        if header.height != height or header.previous != below or header.chain_id != chain_id:
            raise SourceFault(f"expected the header above height {height - 1}, got another ({header.height})")
        below = hashes[height] = compute_header_hash(data)
        names = header.validators_hash
        if names != place.validators_hash and at + 1 < len(found.headers):
            raise SourceFault(f"height {height}: expected no headers of the validator set that follows")
    certificates = tuple(_verify_certificates(chain_id, found.certificates, hashes, place.validators))
    if not certificates or certificates[-1][0] != height:
        raise SourceFault(f"height {height}: expected a certificate of the last header")
    if names == place.validators_hash:
        return Proven(found.headers, certificates, None), Place(height, below, names, place.validators)
    following = _verify_following(found.validators, names, height, place.validators)
    return Proven(found.headers, certificates, following), Place(height, below, names, following)


def _verify_certificates(
    chain_id: bytes, certificates: Sequence[bytes], hashes: dict[int, bytes], validators: Validators
) -> Iterator[tuple[int, bytes]]:
    parameters = make_parameters(chain_id, validators)
    for data in certificates:
        certificate = decode_record(Certificate, data)
        if hashes.get(certificate.seq) != certificate.digest:
            raise SourceFault(f"height {certificate.seq}: the certificate is for none of the headers")
        verify_certificate(parameters, certificate)
        yield certificate.seq, data


def _verify_following(found: Validators | None, named: bytes, height: int, before: Validators) -> Validators:
    if found is None or compute_validators_hash(found.keys) != named:
        raise SourceFault(f"height {height}: expected the validator set that the header names")
    return Validators(found.keys, before.era + 1, height + 1)


def open_manifest(answer: bytes) -> Manifest | None:
    """Return the manifest of an answer, not yet verified; None where the peer has it not.  Raises SourceFault."""
    try:
        return decode_record(ManifestAnswer, answer).manifest
    except EncodingError as error:
        raise SourceFault(f"not a manifest: {error}") from error


@dataclass(frozen=True, slots=True)
class OpenPages:
    """Proven pages, and the first page that is not among them."""

    pages: list[ProvenPage]
    following: int


def open_pages(answer: bytes, first: int, last: int, sums: dict[int, Subtree]) -> OpenPages | None:
    """Return the pages of an answer, proven; None where the peer has them not.  Raises SourceFault.

    sums: as `verify_manifest` gave them: which pages there are, and what they must hash to.
    """
    try:
        found = decode_record(PagesAnswer, answer)
        if found.pages is None:
            return None
        if not first < found.following <= last + 1:
            raise SourceFault(f"expected pages from {first} to {last}, got some up to {found.following}")
        expected = [number for number in range(first, found.following) if number in sums]
        if [page.page for page in found.pages] != expected:
            raise SourceFault(f"expected {len(expected)} pages from {first} on, got {len(found.pages)} or others")
        proven = [verify_page(page, sums[page.page]) for page in found.pages]
    except (EncodingError, SnapshotInvalid) as error:
        raise SourceFault(f"pages: {error}") from error
    return OpenPages(proven, found.following)
