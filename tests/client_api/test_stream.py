"""The event stream: news as they come, resumed where it broke off, and no consumer that holds the node up."""

import socket
import time

import orjson
import pytest
from client_api import stream

from social.posts import PostPublished
from tests.client_api.api import Api, Stream, check_problem


def publish(api: Api, count: int = 1) -> None:
    for number in range(count):
        api.submit(api.world.sign(api.world.ada, PostPublished, text=f"{number} " + "x" * 100, tags=()))
    api.node.execute_waiting()


def test_news_come_as_messages_with_the_log_index_as_id(api: Api) -> None:
    consumer = Stream(api)
    publish(api)

    message = consumer.read_message()

    assert (consumer.status, consumer.content_type) == (200, "text/event-stream")
    assert (message["id"], message["event"]) == ("0", "content.PostPublished")
    assert orjson.loads(message["data"])["outcome"] == "applied"
    consumer.close()


def test_a_consumer_sees_only_what_comes_after_it(api: Api) -> None:
    publish(api, 3)
    consumer = Stream(api)
    publish(api)

    assert consumer.read_ids(1) == [3]
    consumer.close()


def test_a_broken_stream_is_resumed_without_gap_or_repetition(api: Api) -> None:
    consumer = Stream(api)
    publish(api, 5)
    before = consumer.read_ids(3)
    consumer.close()
    publish(api, 4)

    resumed = Stream(api, Last_Event_ID=str(before[-1]))
    publish(api, 2)

    assert before + resumed.read_ids(8) == list(range(11))
    resumed.close()


def test_a_long_backlog_comes_in_order(api: Api) -> None:
    for _ in range(10):
        publish(api, 60)

    consumer = Stream(api, Last_Event_ID="0")

    assert consumer.read_ids(599) == list(range(1, 600))
    consumer.close()


def test_types_are_chosen(api: Api) -> None:
    consumer = Stream(api, "?types=infra.BeatStarted,content.ReplyPublished")
    publish(api, 3)
    api.node.execute([], [], beat=True)

    assert consumer.read_message()["id"] == "3"
    consumer.close()


def test_the_last_index_itself_may_be_resumed_from(api: Api) -> None:
    publish(api, 2)
    consumer = Stream(api, Last_Event_ID="1")
    publish(api)

    assert consumer.read_ids(1) == [2]
    consumer.close()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("2", "FutureCursor"),
        ("9223372036854775807", "FutureCursor"),
        ("99999999999999999999", "BadCursor"),
        ("-1", "BadCursor"),
        ("x", "BadCursor"),
        ("1.5", "BadCursor"),
    ],
)
def test_a_cursor_that_can_not_be_is_refused(api: Api, given: str, error: str) -> None:
    publish(api, 2)

    problem = check_problem(api.request("GET", "/api/v1/stream", headers={"Last-Event-ID": given}))

    assert (problem["status"], problem["error"]) == (400, error)


def test_a_consumer_too_far_behind_is_told_to_read_the_ledger(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BACKLOG_MAX", 3)
    publish(api, 6)

    problem = check_problem(api.request("GET", "/api/v1/stream", headers={"Last-Event-ID": "0"}))

    assert problem["error"] == "ConsumerTooSlow"


def test_a_consumer_that_falls_behind_is_told_and_closed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BACKLOG_MAX", 3)
    monkeypatch.setattr(stream, "READ_AT_ONCE", 1)
    consumer = Stream(api)
    publish(api, 6)

    first, told, end = consumer.read_message(), consumer.read_message(), consumer.read_message()

    assert first["id"] == "0"
    assert told == {"event": "error", "data": '{"error":"ConsumerTooSlow"}'}
    assert end == {}
    consumer.close()


def test_a_consumer_that_takes_nothing_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    flooded: list[stream.Streams] = []

    def flood(self: stream.Streams, first: int, types: frozenset[str]) -> tuple[bytes, int, int]:
        flooded.append(self)
        return b": " + b"x" * 2**20 + b"\n\n", stream.READ_AT_ONCE, 0

    monkeypatch.setattr("client_api.server.WRITE_S_MAX", 0.2)
    monkeypatch.setattr(stream.Streams, "_read", flood)

    with socket.create_connection((api.host, api.port)) as deaf:
        deaf.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        deadline = time.monotonic() + 5
        while not flooded or flooded[0]._consumers:
            assert time.monotonic() < deadline, "the node still feeds a consumer that takes nothing"
            time.sleep(0.01)

    assert api.call("getHealth", probe="live")["status"] == "ok"


def test_there_are_only_so_many_consumers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CONSUMERS_MAX", 2)
    consumers = [Stream(api), Stream(api)]
    publish(api)
    for consumer in consumers:
        consumer.read_ids(1)

    answer = api.request("GET", "/api/v1/stream")

    assert check_problem(answer)["status"] == 503
    for consumer in consumers:
        consumer.close()


def test_an_idle_stream_is_kept_alive_with_comments(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    with socket.create_connection((api.host, api.port)) as connection:
        connection.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        connection.settimeout(5)
        received = b""
        while received.count(b": still here\n\n") < 2:
            received += connection.recv(4_096)


@pytest.mark.parametrize("query", ["?more=1", "?types=a&types=b", "?types=a&more=1"])
def test_unknown_and_repeated_parameters_are_refused(api: Api, query: str) -> None:
    assert check_problem(api.request("GET", f"/api/v1/stream{query}"))["status"] == 400


def test_stopping_the_api_ends_its_streams_at_once(api: Api) -> None:
    consumer = Stream(api)
    publish(api)
    consumer.read_ids(1)
    started = time.monotonic()

    api.server.stop()

    assert consumer.read_message() == {}
    assert time.monotonic() - started < 2
    consumer.close()
