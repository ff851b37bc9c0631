"""aiohttp, behind one file: its own thread with its own loop, requests checked, problems as problem+json.

What aiohttp bounds itself: the request line and each header at 8,190 bytes, idle time between two requests.  What it
does not, and is bounded here: how long the first request's head and a body may take, and how many connections are open.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from client_api.context import Context
from client_api.endpoint import Endpoint, Reply
from client_api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    ClientError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
    WrongHost,
)
from client_api.finality import Finality
from client_api.openapi import make_openapi
from client_api.routes import ENDPOINTS
from client_api.services import NodeServices
from client_api.stream import WRITE_S_MAX, Streams

logger = logging.getLogger(__name__)

BODY_BYTES_MAX = 4 * 1024 * 1024
"""100 events with the longest texts, in hex."""
BODY_S_MAX = 20.0
HEAD_S_MAX = 20.0
"""A new connection must have sent its first request's head by then; later ones fall under KEEPALIVE_S."""
CONNECTIONS_BACKLOG = 512
CONNECTIONS_MAX = 4_096
WATCH_S = 1.0
ECHO_MAX = 100
"""Characters of a client's own words that a problem repeats."""
KEEPALIVE_S = 75.0
LINGER_S = 1.0
"""How long the rest of a refused body is read, so that the client sees the answer before the connection closes."""
STOP_S = 3.0
LOCAL_NAMES = frozenset(("127.0.0.1", "localhost", "[::1]", "::1"))
PROBLEM_TYPE = "application/problem+json"


class ApiServer:
    """Starts and stops the API's thread."""

    def __init__(self, services: NodeServices, host: str, port: int) -> None:
        self._services = services
        self._host = host
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._failed: BaseException | None = None
        self._url = ""

    def start(self) -> str:
        """Listen; return the URL.  Blocks until the port is open.  Raises OSError when it is taken."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="client-api", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failed is not None:
            raise self._failed
        return self._url

    def stop(self) -> None:
        """Stop listening, end the streams, and wait for the thread.  Blocks."""
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(STOP_S * 2)

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            self._failed = error
            if ready.is_set():
                logger.exception("the API's thread failed")
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        context = Context(self._services, Finality(self._services, self._loop))
        context.openapi = make_openapi(ENDPOINTS)
        application = make_application(context, self._host)
        runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,  # a few bytes could unfold to gigabytes
            shutdown_timeout=STOP_S,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, backlog=CONNECTIONS_BACKLOG)
            await site.start()
            port = runner.addresses[0][1]
            self._url = f"http://{self._host}:{port}"
            ready.set()
            watch = asyncio.create_task(_close_silent(runner, application[SPOKEN]))
            await self._stop.wait()
            watch.cancel()
        finally:
            await runner.cleanup()


SPOKEN = web.AppKey("spoken", set[object])
"""The connections that have sent a whole request."""


async def _close_silent(runner: web.AppRunner, spoken: set[object]) -> None:
    """Close connections that have not sent a first request in time, and new ones above the limit."""
    first_seen: dict[object, float] = {}
    while True:
        await asyncio.sleep(WATCH_S)
        assert runner.server is not None
        now = asyncio.get_running_loop().time()
        connections = runner.server.connections
        spoken.intersection_update(connections)
        first_seen = {each: first_seen.get(each, now) for each in connections if each not in spoken}
        for number, each in enumerate(connections):
            is_silent = each in first_seen and now - first_seen[each] > HEAD_S_MAX
            if is_silent or number >= CONNECTIONS_MAX:
                each.force_close()


def make_application(context: Context, host: str) -> web.Application:
    """Return the aiohttp application of all routes."""
    allowed = LOCAL_NAMES | {host.lower()}
    spoken: set[object] = set()

    @web.middleware
    async def guard(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        spoken.add(request.protocol)
        try:
            _check_host(request, allowed)
            response: web.StreamResponse = await handler(request)
            return response
        except ClientError as error:
            return _problem(error)
        except web.HTTPNotFound:
            return _problem(NotFound(f"no path {request.path[:ECHO_MAX]}"))
        except web.HTTPMethodNotAllowed as error:
            allow = ", ".join(sorted(error.allowed_methods))
            return _problem(MethodNotAllowed(f"{request.path[:ECHO_MAX]} takes {allow}"), {"Allow": allow})
        except web.HTTPRequestEntityTooLarge:
            return _problem(BodyTooLarge(f"expected at most {BODY_BYTES_MAX} bytes"))
        except (web.RequestPayloadError, ConnectionError) as error:
            return _problem(InvalidRequest(f"the body broke off: {str(error)[:ECHO_MAX]}"))
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return _problem(InternalError("the node could not answer this request"))

    application = web.Application(middlewares=[guard], client_max_size=BODY_BYTES_MAX)
    application[SPOKEN] = spoken
    for endpoint in ENDPOINTS:
        application.router.add_route(endpoint.method, f"/api/v1{endpoint.path}", _make_handler(context, endpoint))
    streams = Streams(context)
    application.router.add_route("GET", "/api/v1/stream", _make_stream_handler(streams))

    async def end_streams(application: web.Application) -> None:
        streams.close()

    application.on_shutdown.append(end_streams)
    return application


def _make_handler(context: Context, endpoint: Endpoint) -> Callable[[web.Request], Any]:
    has_body = endpoint.body is not None

    async def handle(request: web.Request) -> web.Response:
        parameters = _read_parameters(endpoint, request)
        body = await _read_body(endpoint, request) if has_body else None
        answer = await endpoint.handle(context, parameters, body)
        if isinstance(answer, Reply):
            return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        return web.Response(status=endpoint.status, body=orjson.dumps(answer), content_type=endpoint.content_type)

    return handle


def _make_stream_handler(streams: Streams) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if [name for name, _ in request.query.items()] not in ([], ["types"]):
            raise InvalidRequest(f"expected at most one parameter, types, got {str(list(request.query))[:ECHO_MAX]}")
        types = frozenset(filter(None, request.query.get("types", "").split(",")))
        first = streams.first_index(request.headers.get("Last-Event-ID"))
        streams.verify_room()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        followed = streams.follow(first, types)
        await response.prepare(request)
        try:
            async for messages in followed:
                async with asyncio.timeout(WRITE_S_MAX):
                    await response.write(messages)
        except ConnectionError:
            pass
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # its buffer is full: there is no way to say anything more
        finally:
            await followed.aclose()
        return response

    return handle


def _read_parameters(endpoint: Endpoint, request: web.Request) -> Any:
    given: dict[str, str] = dict(request.match_info)
    for name, value in request.query.items():
        if name in given:
            raise InvalidRequest(f"{name[:ECHO_MAX]}: given twice")
        given[name] = value
    try:
        return endpoint.query.model_validate_strings(given)
    except ValidationError as error:
        raise _invalid(error) from error


async def _read_body(endpoint: Endpoint, request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise UnsupportedMediaType(f"expected application/json, got {request.content_type[:ECHO_MAX]}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("expected a body without Content-Encoding")
    assert endpoint.body is not None
    try:
        async with asyncio.timeout(BODY_S_MAX):
            data = await request.read()
    except TimeoutError as error:
        raise BodyTooSlow(f"expected the whole body within {BODY_S_MAX:.0f} s") from error
    try:
        return endpoint.body.model_validate_json(data)
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> InvalidRequest:
    places = [
        {"where": ".".join(str(part)[:ECHO_MAX] for part in each["loc"]), "why": each["msg"]}
        for each in error.errors(include_url=False, include_context=False, include_input=False)[:10]
    ]
    first = places[0]
    return InvalidRequest(f"{first['where'] or 'body'}: {first['why']}", errors=places)


def _check_host(request: web.Request, allowed: frozenset[str]) -> None:
    """Refuse names that DNS may point here: a page elsewhere could otherwise speak to the node."""
    host = request.headers.get("Host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in allowed:
        raise WrongHost(f"expected one of {', '.join(sorted(allowed))}, got {host[:ECHO_MAX]!r}")


def _problem(error: ClientError, headers: dict[str, str] | None = None) -> web.Response:
    more = dict(headers or {})
    if error.status == 503:
        more["Retry-After"] = "1"
    body = orjson.dumps(error.to_problem())
    return web.Response(status=error.status, body=body, content_type=PROBLEM_TYPE, headers=more)
