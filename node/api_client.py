"""A client of the local HTTP API, for the command line: one connection, JSON in and out, problems as errors."""

import http.client
import urllib.parse
from typing import Any, cast

import orjson

TIMEOUT_S = 30.0


class ApiProblem(RuntimeError):
    """The node answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('title', 'problem')}: {problem.get('detail', '')}".strip(": "))
        self.status = status
        self.problem = problem


class NodeUnreachable(RuntimeError):
    """No node answers at the address."""


class ApiClient:
    """Talks to one node.  Raises ApiProblem and NodeUnreachable."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise NodeUnreachable(f"expected a URL like http://127.0.0.1:8080, got {url!r}")
        self.url = url.rstrip("/")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)

    def get(self, path: str, **query: str | int | None) -> Any:
        """GET a path under /api/v1, with the query parameters that are not None."""
        return orjson.loads(self.get_bytes(path, **query))

    def get_bytes(self, path: str, **query: str | int | None) -> bytes:
        given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        suffix = f"?{urllib.parse.urlencode(given)}" if given else ""
        return self._call("GET", path + suffix, None)

    def post(self, path: str, body: object) -> Any:
        """POST a JSON body to a path under /api/v1."""
        return orjson.loads(self._call("POST", path, orjson.dumps(body)))

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        is_kept = self._connection.sock is not None
        try:
            answer, data = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if is_kept and isinstance(error, ConnectionError):
                # The node closed a connection that was idle for long.  Sending an event twice executes it once.
                return self._call(method, path, body)
            raise NodeUnreachable(
                f"no node answers at {self.url} ({error}); start one with `make devnet` or `atlas run`"
            ) from error
        if answer.status >= 400:
            try:
                problem: object = orjson.loads(data)
            except orjson.JSONDecodeError:
                problem = None
            if not isinstance(problem, dict):
                problem = {"title": answer.reason, "detail": data[:200].decode("utf-8", "replace")}
            raise ApiProblem(answer.status, cast("dict[str, Any]", problem))
        return data

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self._connection.request(method, f"/api/v1{path}", body, headers)
        answer = self._connection.getresponse()
        return answer, answer.read()
