"""Bad input over HTTP, sent to the nodes of a real network: a problem that names the remedy, and nothing changes."""

import http.client
from typing import Any

import orjson
import pytest

from ledger.authoring import Reference, make_event, sign_event
from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.identity import IdentityCreated
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import SigningKey
from node.api_client import ApiClient
from node.devnet import Devnet, Member
from node.loader import to_submission
from node.modules import make_registry

pytestmark = pytest.mark.network

JSON = {"Content-Type": "application/json"}
KEY = SigningKey(b"\x07" * 32)


def call(
    member: Member, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str, Any]:
    """Return status, content type and the decoded answer."""
    connection = http.client.HTTPConnection("127.0.0.1", member.api_port, timeout=30)
    try:
        connection.request(method, f"/api/v1{path}", body, JSON if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], orjson.loads(answer.read())
    finally:
        connection.close()


def make_submissions(devnet: Devnet) -> dict[str, bytes]:
    """Return events of one new account, each wrong in one way; none of them may enter the ledger."""
    chain_id = compute_chain_id(decode_genesis_file((devnet.folder / "genesis.json").read_bytes()))
    anchor = ApiClient(devnet.gateway.url).get("/ledger/head")["ledger"]
    kind = make_registry().latest("identity.IdentityCreated")
    assert kind is not None

    def make(nonce: int = 1, height: int | None = None, beats: int = 100, signed_for: bytes = chain_id) -> bytes:
        at = anchor["height"] if height is None else height
        event = make_event(
            kind,
            IdentityCreated(),
            author=compute_account_id(chain_id, KEY.public),
            key=KEY.public,
            nonce=nonce,
            reference=Reference(at, bytes.fromhex(anchor["header_hash"]), anchor["beat"]),
            expiry_beats=beats,
        )
        return to_submission([sign_event(KEY, signed_for, event)])

    return {
        "signed for another chain": make(signed_for=bytes(32)),
        "expired": make(beats=0),
        "expiring too late": make(beats=100_000),
        "a far nonce": make(nonce=10_000),
        "on a future block": make(height=2**40),
        "on another block of that height": make(height=0),
    }


BAD_REQUESTS: tuple[tuple[str, str, bytes | None, dict[str, str]], ...] = (
    ("GET", "/nothing-here", None, JSON),
    ("DELETE", "/feed", None, JSON),
    ("GET", "/feed?limit=1000", None, JSON),
    ("GET", "/feed?limit=1&limit=2", None, JSON),
    ("GET", "/feed?unknown=1", None, JSON),
    ("GET", "/feed?at=99999999", None, JSON),
    ("GET", "/feed?cursor=abc", None, JSON),
    ("GET", "/ledger/blocks/99999999", None, JSON),
    ("GET", "/ledger/events/evt1qqq", None, JSON),
    ("GET", "/profiles/nobody_at_all", None, JSON),
    ("GET", "/feed", None, {"Host": "evil.example"}),
    ("POST", "/events", b"{", JSON),
    ("POST", "/events", b'{"events":[]}', JSON),
    ("POST", "/events", b'{"events":[{"event":"zz","signature":"00"}]}', JSON),
    ("POST", "/events", b'{"events":[]}', {"Content-Type": "text/plain"}),
    ("POST", "/events", b" " * 5_000_000, JSON),
    ("POST", "/events/prepare", b'{"type":"no.Such","key":"' + b"0" * 64 + b'"}', JSON),
)


def test_bad_requests_get_a_problem_with_its_remedy_and_change_nothing(devnet: Devnet) -> None:
    submissions = [("POST", "/events", body, JSON) for body in make_submissions(devnet).values()]

    for member in (devnet.gateway, devnet.validators[0]):
        for method, path, body, headers in (*BAD_REQUESTS, *submissions):
            status, content_type, problem = call(member, method, path, body, headers)
            assert 400 <= status < 500, (path, body and body[:80], problem)
            assert content_type.startswith("application/problem+json"), path
            assert problem["remedy"], path
            assert problem["detail"], path

    for member in devnet.members:
        ApiClient(member.url).get("/health/ready")
        items = ApiClient(member.url).get("/ledger/events", limit=100)["items"]
        assert {receipt["event_type"] for receipt in items} == {"infra.BeatStarted"}, member.name
