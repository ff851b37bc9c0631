"""An endpoint, declared once: route, input check, error answers and OpenAPI are made from this value.

Handlers see pydantic models and the `Context`; only `server.py` knows aiohttp.  A handler returns plain data of the
shape of `answer`; that it has this shape is checked in tests, not on the hot path.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from client_api.context import Context
from client_api.errors import ClientError


class Model(BaseModel):
    """A frozen model that refuses unknown members, and numbers or texts in each other's place."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NoQuery(Model):
    """No parameters."""


Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not plain JSON with the endpoint's own status."""

    status: int
    body: bytes
    content_type: str


Handler: TypeAlias = Callable[[Context, Any, Any], Awaitable[Json | Reply]]
"""(context, parameters from path and query, body or None) to the answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route of the API."""

    method: str
    path: str  # below /api/v1, parameters in braces
    operation: str  # OpenAPI operationId
    summary: str
    domain: str
    answer: type[Model]
    handle: Handler
    query: type[Model] = NoQuery  # path and query parameters together
    body: type[Model] | None = None
    errors: tuple[type[ClientError], ...] = ()
    status: int = 200
    content_type: str = "application/json"
