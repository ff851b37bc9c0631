"""What a client may get wrong: a problem document each time, and a ledger that is as it was."""

import socket
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from client_api import server
from client_api.paging import Cursor, encode_cursor, hash_filter
from client_api.shapes import account_text, event_text

from ledger.events import SignedEvent
from ledger.primitives.signing import Purpose
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from social.posts import PostPublished
from tests.client_api.api import Answer, Api, check_problem, event_json
from tests.ledger.world import RICH, id_of, sign_edited

EVENTS, PREPARE = "/api/v1/events", "/api/v1/events/prepare"
JSON = {"Content-Type": "application/json"}
NO_EVENT = event_text(bytes(32))
Request = Callable[[Api], Answer]


def get(path: str, **headers: str) -> Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda api: api.request("GET", f"/api/v1{path}", headers=given)


def send(path: str, body: bytes | object, method: str = "POST", **headers: str) -> Request:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda api: api.request(method, path, data, given)


def prepare(**changes: Any) -> Request:
    asked = {"type": "content.PostPublished", "text": "Hello.", "body": {"tags": []}, "key": "00" * 32}
    return lambda api: send(PREPARE, {"key": api.world.ada.key.public.hex()} | asked | changes)(api)


def transfer(**members: Any) -> Request:
    body = {"atoms": "5", "to": "11" * 32, "token": "FLX"} | members
    given = {name: value for name, value in body.items() if value is not ...}
    return lambda api: prepare(type="economics.TokensTransferred", text=None, body=given)(api)


def submit(make: Callable[[Api], SignedEvent]) -> Request:
    return lambda api: send(EVENTS, {"events": [event_json(make(api))]})(api)


def post(api: Api, **changes: Any) -> SignedEvent:
    return api.world.sign(api.world.person("ada"), PostPublished, text="Hello.", tags=(), **changes)


def edited(api: Api, **changes: Any) -> SignedEvent:
    return sign_edited(api.world, api.world.ada, post(api), **changes)


def raw_event(**changes: Any) -> Request:
    members = {"event": "00", "signature": "00" * 64} | changes
    return send(EVENTS, {"events": [{name: value for name, value in members.items() if value is not ...}]})


def other_chain(api: Api) -> SignedEvent:
    signed = post(api)
    return replace(signed, signature=api.world.ada.key.sign(bytes(32), Purpose.EVENT, signed.event))


CATALOGUE: dict[str, tuple[Request, int]] = {
    # Paths and methods.
    "unknown path": (get("/nothing"), 404),
    "path above the API": (lambda api: api.request("GET", "/"), 404),
    "trailing slash": (get("/feed/"), 404),
    "double slash": (get("//feed"), 404),
    "wrong method": (send("/api/v1/feed", {}), 405),
    "patch": (send("/api/v1/feed", {}, "PATCH"), 405),
    "delete": (send(EVENTS, {}, "DELETE"), 405),
    "options": (send("/api/v1/feed", b"", "OPTIONS"), 405),
    "very long path": (get("/" + "x" * 5_000), 404),
    # Hosts.
    "wrong host": (get("/feed", Host="evil.example"), 421),
    "wrong host with port": (get("/feed", Host="evil.example:8080"), 421),
    "host that ends like ours": (get("/feed", Host="evil-127.0.0.1"), 421),
    "empty host": (get("/feed", Host=""), 421),
    # Queries.
    "unknown parameter": (get("/feed?more=1"), 400),
    "parameter given twice": (get("/feed?limit=1&limit=2"), 400),
    "path parameter given twice": (get(f"/posts/{NO_EVENT}?post_id={NO_EVENT}"), 400),
    "parameter without value": (get("/feed?limit="), 400),
    "limit of zero": (get("/feed?limit=0"), 400),
    "limit too high": (get("/feed?limit=101"), 400),
    "limit that is no number": (get("/feed?limit=ten"), 400),
    "limit as a float": (get("/feed?limit=1.5"), 400),
    "negative height": (get("/feed?at=-1"), 400),
    "huge height": (get("/feed?at=" + "9" * 40), 400),
    "endless digits": (get("/feed?at=" + "9" * 5_000), 400),
    "height above the head": (get("/feed?at=1000"), 410),
    "unknown ranking": (get("/feed?rank=best"), 400),
    "unknown outcome": (get("/ledger/events?outcome=lost"), 400),
    "unknown probe": (get("/health/dead"), 400),
    "query that is no UTF-8": (get("/feed?rank=%ff%fe"), 400),
    "cursor that is no hex": (get("/feed?cursor=xyz"), 400),
    "cursor of another listing": (
        get("/feed?cursor=" + encode_cursor(Cursor(None, 1, hash_filter("events"), 0))),
        400,
    ),
    "cursor too long": (get("/feed?cursor=" + "00" * 300), 400),
    # Ids.
    "event id that is none": (get("/events/evt1xyz/receipt"), 400),
    "event id with a slip": (get(f"/ledger/events/{NO_EVENT[:-1]}x"), 400),
    "event that is unknown": (get(f"/ledger/events/{NO_EVENT}"), 404),
    "receipt that is unknown": (get(f"/events/{NO_EVENT}/receipt"), 404),
    "proof of nothing": (get(f"/ledger/events/{NO_EVENT}/proof"), 404),
    "post that is unknown": (get(f"/posts/{NO_EVENT}"), 404),
    "replies to nothing": (get(f"/posts/{NO_EVENT}/replies"), 404),
    "block that is unknown": (get("/ledger/blocks/1000"), 404),
    "block below zero": (get("/ledger/blocks/-1"), 400),
    "block that is no number": (get("/ledger/blocks/one"), 400),
    "account that does not exist": (get(f"/wallets/{account_text(bytes(32))}/balances"), 404),
    "posts of nobody": (get(f"/profiles/{account_text(bytes(32))}/posts"), 404),
    "handle that nobody holds": (get("/profiles/nobody"), 404),
    "account id with a slip": (get(f"/profiles/{account_text(bytes(32))[:-1]}x"), 400),
    "author that is a handle": (get("/ledger/events?author=ada"), 400),
    # Bodies.
    "no content type": (lambda api: api.request("POST", EVENTS, b"{}", {"Content-Type": ""}), 415),
    "text": (send(EVENTS, b"{}", Content_Type="text/plain"), 415),
    "form": (send(EVENTS, b"a=b", Content_Type="application/x-www-form-urlencoded"), 415),
    "no body": (send(EVENTS, b""), 400),
    "malformed JSON": (send(EVENTS, b'{"events": ['), 400),
    "JSON and more": (send(EVENTS, b'{"events": []} x'), 400),
    "JSON that is no UTF-8": (send(EVENTS, b'{"events": "\xff"}'), 400),
    "a list": (send(EVENTS, []), 400),
    "null": (send(EVENTS, None), 400),
    "deep nesting": (send(PREPARE, b'{"body":' + b"[" * 50_000), 400),
    "unknown member": (send(EVENTS, {"events": [], "more": 1}), 400),
    "many unknown members": (send(EVENTS, {f"{'m' * 300}{number}": 1 for number in range(500)}), 400),
    "no events": (send(EVENTS, {"events": []}), 400),
    "101 events": (send(EVENTS, {"events": [{"event": "00", "signature": "00" * 64}] * 101}), 400),
    "body too large": (send(EVENTS, bytes(server.BODY_BYTES_MAX + 1)), 413),
    "compressed body": (send(EVENTS, zlib.compress(b"{}"), Content_Encoding="deflate"), 415),
    "body that claims to be compressed": (send(EVENTS, b"not gzip", Content_Encoding="gzip"), 415),
    "unknown wait": (send(f"{EVENTS}?wait=forever", {"events": []}), 400),
    # Signed events.
    "event that is no hex": (raw_event(event="xy"), 400),
    "event in capitals": (raw_event(event="AB"), 400),
    "event of half a byte": (raw_event(event="abc"), 400),
    "event that is a number": (raw_event(event=5), 400),
    "event that is empty": (raw_event(event=""), 400),
    "event above the limit": (raw_event(event="00" * 4_097), 400),
    "signature too short": (raw_event(signature="00"), 400),
    "no signature": (raw_event(signature=...), 400),
    "payload above the limit": (raw_event(payload="00" * 20_000), 400),
    "event with a lone surrogate": (send(EVENTS, b'{"events":[{"event":"\\ud800","signature":"00"}]}'), 400),
    "event that is junk": (raw_event(), 422),
    "event of unknown type": (submit(lambda api: edited(api, type="content.PostDreamed")), 422),
    "event of an unknown version": (submit(lambda api: edited(api, version=9)), 422),
    "body of another type": (submit(lambda api: edited(api, body=b"\x80")), 422),
    "signature of another chain": (submit(other_chain), 422),
    "signature of nobody": (submit(lambda api: replace(post(api), signature=bytes(64))), 422),
    "event of another chain": (submit(lambda api: edited(api, reference_hash=bytes(32))), 422),
    "reference above the head": (submit(lambda api: edited(api, reference_height=1_000)), 422),
    "key of another account": (
        submit(lambda api: sign_edited(api.world, api.world.ben, post(api), key=api.world.ben.key.public)), 422,
    ),
    "author without account": (
        submit(lambda api: api.world.sign(api.world.person("x"), PostPublished, text="x", tags=())), 422,
    ),
    "payload that was not signed": (submit(lambda api: replace(post(api), payload=b"\x80")), 422),
    "payload left out": (submit(lambda api: replace(post(api), payload=None)), 422),
    "nonce of zero": (submit(lambda api: post(api, nonce=0)), 409),
    "nonce too far ahead": (submit(lambda api: post(api, nonce=1_000)), 409),
    "expired": (submit(lambda api: post(api, expiry_beats=0)), 409),
    "expiry too far": (submit(lambda api: post(api, expiry_beats=100_000)), 422),
    # Prepare.
    "unknown type": (prepare(type="content.PostDreamed"), 400),
    "derived type": (prepare(type="infra.BeatStarted", text=None, body={"beat": 5}), 400),
    "key that is no hex": (prepare(key="xy" * 32), 400),
    "nonce of the wrong form": (prepare(nonce="1"), 400),
    "nonce as a float": (prepare(nonce=1.0), 400),
    "nonce that is true": (prepare(nonce=True), 400),
    "nonce beyond 64 bits": (send(PREPARE, b'{"type":"x","key":"","nonce":18446744073709551616}'), 400),
    "nonce as a huge number": (send(PREPARE, b'{"type":"x","key":"","nonce":' + b"9" * 5_000 + b"}"), 400),
    "no text": (prepare(text=None), 400),
    "text where none belongs": (prepare(type="identity.IdentityCreated", body={}), 400),
    "text too long": (prepare(text="ä" * 6_000), 400),
    "text with a lone surrogate": (send(PREPARE, b'{"type":"content.PostPublished","text":"\\ud800","key":""}'), 400),
    "salt too short": (prepare(salt="00"), 400),
    "author that is none": (prepare(author="acct1xyz"), 400),
    "author that is unknown": (prepare(author=account_text(bytes(32))), 404),
    "body with an unknown member": (prepare(body={"tags": [], "mood": "good"}), 400),
    "body without a member": (prepare(body={}), 400),
    "body with a list of numbers": (prepare(body={"tags": [1]}), 400),
    "body with too many tags": (prepare(body={"tags": ["a"] * 6}), 400),
    "body with a made-up payload": (prepare(body={"tags": [], "content": {"bytes": 1, "hash": "00"}}), 400),
    "body that is a list": (prepare(body=[]), 400),
    "amount as a float": (transfer(atoms=1.5), 400),
    "amount as not a number": (send(PREPARE, b'{"type":"economics.TokensTransferred","body":{"atoms":NaN}}'), 400),
    "amount below zero": (transfer(atoms=-1), 400),
    "amount below zero as text": (transfer(atoms="-1"), 400),
    "amount with decimals": (transfer(atoms="1.5"), 400),
    "amount above the range": (transfer(atoms=str(2**128)), 400),
    "amount in other digits": (transfer(atoms="٣"), 400),
    "amount that is true": (transfer(atoms=True), 400),
    "amount of endless digits": (transfer(atoms="9" * 10_000), 400),
    "receiver that is no id": (transfer(to="somebody"), 400),
    "receiver with a slip": (transfer(to=account_text(bytes(32))[:-1] + "x"), 400),
    "receiver that is a number": (transfer(to=5), 400),
    "receiver too short": (transfer(to="11"), 400),
    "token left out": (transfer(token=...), 400),
    "token that is a number": (transfer(token=5), 400),
}  # fmt: skip


@pytest.mark.parametrize("what", CATALOGUE)
def test_a_bad_request_gets_a_problem_and_changes_nothing(shared_api: Api, what: str) -> None:
    request, status = CATALOGUE[what]
    before = shared_api.world.chain.head

    answer = request(shared_api)

    problem = check_problem(answer)
    assert problem["status"] == status, problem
    assert shared_api.world.chain.head == before
    assert len(shared_api.node.mempool) == 0
    assert shared_api.node.execute_waiting() == ()
    assert shared_api.world.chain.head.header.state_digest == before.header.state_digest


def test_a_used_nonce_is_a_conflict_that_names_the_next(api: Api) -> None:
    api.submit(post(api))
    api.node.execute_waiting()
    rival = api.world.sign(api.world.ada, PostPublished, text="Other.", tags=(), nonce=1)

    problem = api.problem("submitEvents", {"events": [event_json(rival)]})

    assert (problem["status"], problem["code"]) == (409, "event.nonce_used")
    assert problem["verdict"]["facts"] == {"nonce": 1, "nonce_next": 2}


def test_a_nonce_that_waits_already_is_a_conflict(api: Api) -> None:
    api.submit(post(api))
    rival = api.world.sign(api.world.ada, PostPublished, text="Other.", tags=(), nonce=1)

    problem = api.problem("submitEvents", {"events": [event_json(rival)]})

    assert (problem["status"], problem["code"]) == (409, "event.nonce_waiting")


def test_an_overdraft_is_accepted_and_denied_by_the_ledger(api: Api) -> None:
    event = api.world.sign(api.world.ada, TokensTransferred, atoms=RICH + 1, to=api.world.ben.account, token=FLX)

    accepted = api.submit(event)["results"][0]
    api.node.execute_waiting()
    receipt = api.call("getReceipt", event_id=event_text(id_of(event)))["receipt"]

    assert accepted["status"] == "accepted"
    assert (receipt["outcome"], receipt["verdicts"][3]["code"]) == ("denied", "tokens.overdraft")


def test_a_height_below_what_is_kept_names_the_range(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.chain.UNDO_BLOCKS", 1)
    monkeypatch.setattr("ledger.chain.Chain._oldest_tree", lambda chain: 1_000)
    for _ in range(3):
        api.node.execute([], [], beat=True)

    problem = api.problem("getFeed", at=1)

    assert (problem["status"], problem["lowest"], problem["highest"]) == (410, 2, 3)


def test_a_method_that_is_not_taken_names_those_that_are(shared_api: Api) -> None:
    answer = shared_api.request("POST", "/api/v1/feed", b"{}")

    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_head_is_answered_without_a_body(shared_api: Api) -> None:
    answer = shared_api.request("HEAD", "/api/v1/feed")

    assert (answer.status, answer.body, answer.headers["Allow"]) == (405, b"", "GET")
    assert shared_api.request("HEAD", "/api/v1/stream").status == 405


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1:1", "[::1]:8080", "localhost:9"])
def test_our_own_names_are_served(shared_api: Api, host: str) -> None:
    assert shared_api.request("GET", "/api/v1/health/live", headers={"Host": host}).status == 200


def test_a_body_that_breaks_off_does_no_harm(shared_api: Api) -> None:
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection((shared_api.host, shared_api.port)) as connection:
        connection.sendall(head + b"Content-Length: 100\r\n\r\n{")

    assert shared_api.call("getHealth", probe="live")["status"] == "ok"


def test_a_fault_of_ours_is_a_problem_without_its_insides(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise AssertionError("a secret of the insides")

    monkeypatch.setattr(api.node, "status", fail)

    answer = api.request("GET", "/api/v1/node/status")

    problem = check_problem(answer)
    assert (problem["status"], problem["type"].rpartition("/")[2]) == (500, "internal")
    assert b"secret" not in answer.body
    assert "GET /api/v1/node/status failed" in caplog.text
    assert "a secret of the insides" in caplog.text


# Connections.


def talk(api: Api, data: bytes, within_s: float = 5) -> bytes:
    """Send bytes on a connection of their own; return what comes until the node closes it."""
    with socket.create_connection((api.host, api.port), timeout=within_s) as connection:
        connection.sendall(data)
        received = b""
        while more := connection.recv(65_536):
            received += more
        return received


def test_a_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_S_MAX", 0.1)
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"

    received = talk(api, head + b"Connection: close\r\n\r\n{")

    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in received


def test_a_connection_that_asks_nothing_is_closed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S_MAX", 0.1)
    monkeypatch.setattr(server, "WATCH_S", 0.05)
    with Api(tmp_path) as api:
        api.call("getHealth", probe="live")

        assert talk(api, b"") == b""
        assert talk(api, b"GET /api/v1/feed HTTP/1.1\r\nHost: loc") == b""
        assert api.call("getHealth", probe="live")["status"] == "ok"


def test_there_are_only_so_many_connections(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(server, "WATCH_S", 0.05)
    with Api(tmp_path) as api:
        api.call("getHealth", probe="live")
        more = [socket.create_connection((api.host, api.port), timeout=5) for _ in range(5)]
        time.sleep(0.2)

        closed = [connection.recv(1) == b"" for connection in more[2:]]

        assert closed == [True] * 3
        assert api.call("getHealth", probe="live")["status"] == "ok"
        for connection in more:
            connection.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /api/v1/feed HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/feed HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/feed HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % number for number in range(500)) + b"\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
        b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_request_is_refused_by_the_parser(shared_api: Api, data: bytes) -> None:
    received = talk(shared_api, data)

    assert received.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert shared_api.call("getHealth", probe="live")["status"] == "ok"
