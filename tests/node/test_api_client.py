"""The command line's client: problems as errors, and a connection that the node closed meanwhile is no problem."""

import logging
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from client_api import server

from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.logs import JsonFormatter, configure_logs
from tests.client_api.api import Api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with Api(tmp_path) as api:
        yield api


def test_it_gets_and_posts(api: Api) -> None:
    client = ApiClient(api.url)
    key = api.world.cyd.key.public.hex()

    assert client.get("/ledger/events", limit=5, type_=None)["items"] == []
    assert client.post("/events/prepare", {"type": "identity.IdentityCreated", "key": key})["would"] == "applied"


def test_a_problem_is_an_error_with_the_document(api: Api) -> None:
    with pytest.raises(ApiProblem, match="There is no such account: nobody holds the handle 'nobody'") as problem:
        ApiClient(api.url).get("/profiles/nobody")

    assert (problem.value.status, problem.value.problem["status"]) == (404, 404)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "https://127.0.0.1:8080", "http://"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(NodeUnreachable, match="expected a URL like"):
        ApiClient(url)


def test_a_node_that_does_not_run_is_named_with_what_to_do(api: Api) -> None:
    client = ApiClient(api.url)
    api.server.stop()

    with pytest.raises(NodeUnreachable, match="start one with `make devnet` or `atlas run`"):
        client.get("/node")


def test_an_idle_connection_that_was_closed_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_S", 0.05)
    with Api(tmp_path) as api:
        client = ApiClient(api.url)
        client.get("/node")
        assert client._connection.sock is not None
        client._connection.sock.settimeout(5)
        assert client._connection.sock.recv(1) == b""  # the node has closed it

        assert client.get("/health/live")["status"] == "ok"


def test_logs_for_programs_are_one_json_object_a_line() -> None:
    try:
        raise ValueError("what happened")
    except ValueError as error:
        record = logging.LogRecord("node", logging.ERROR, "file", 1, "two\n%s", ("lines",), (ValueError, error, None))

    line = JsonFormatter().format(record)

    document = orjson.loads(line)
    assert "\n" not in line
    assert (document["level"], document["logger"], document["message"]) == ("error", "node", "two\nlines")
    assert "what happened" in document["exception"]


def test_our_own_logs_take_the_level_and_libraries_keep_quiet() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("node").level
    try:
        configure_logs("debug", "json")

        assert logging.getLogger("node").isEnabledFor(logging.DEBUG)
        assert not logging.getLogger("aiohttp").isEnabledFor(logging.INFO)
        assert not logging.getLogger("libp2p").isEnabledFor(logging.ERROR)
    finally:
        root.handlers[:], level, node_level = before
        root.setLevel(level)
        logging.getLogger("node").setLevel(node_level)
