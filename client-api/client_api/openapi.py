"""OpenAPI 3.1, made from the route table.  The committed `openapi.json` is the contract; a test makes it again.

python -m client_api.openapi > client-api/openapi.json
"""

import sys
from typing import Any

import orjson
from pydantic.json_schema import models_json_schema

from client_api.endpoint import Endpoint, Model
from client_api.errors import ClientError, InvalidRequest

NO_DEFAULT = ("default", None)
REF = "#/components/schemas/{model}"
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "remedy"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "remedy": {"type": "string", "description": "What to do about it."},
    },
}
STREAM_PATH: dict[str, Any] = {
    "get": {
        "operationId": "stream",
        "summary": "Receipts as server-sent events; `id` is the log index, resumed by Last-Event-ID.",
        "tags": ["gateway"],
        "parameters": [
            {
                "name": "types",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "Event types to send, joined by commas; all when absent.",
            },
            {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            "400": {"$ref": "#/components/responses/problem"},
            "421": {"$ref": "#/components/responses/problem"},
            "500": {"$ref": "#/components/responses/problem"},
            "503": {"$ref": "#/components/responses/problem"},
        },
    }
}


def make_openapi(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """Return the description of all endpoints."""
    models: list[tuple[type[Model], Any]] = []
    for endpoint in endpoints:
        models.append((endpoint.answer, "serialization"))
        if endpoint.body is not None:
            models.append((endpoint.body, "validation"))
    names, definitions = models_json_schema(sorted(set(models), key=lambda each: (each[0].__name__, each[1])),
                                            ref_template=REF)  # fmt: skip
    schemas = definitions.get("$defs", {}) | {"Problem": PROBLEM_SCHEMA}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, names)
        paths.setdefault(f"/api/v1{endpoint.path}", {})[endpoint.method.lower()] = operation
    paths["/api/v1/stream"] = STREAM_PATH
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ATLAS node",
            "version": "1.0.0",
            "summary": "The local API of a node: everything that wallets and apps need.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8080"}],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "responses": {
                "problem": {
                    "description": "What is wrong, and the remedy.",
                    "content": {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}},
                }
            },
        },
    }


def encode_openapi(document: dict[str, Any]) -> bytes:
    """Return the bytes of the committed contract."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _operation(endpoint: Endpoint, names: Any) -> dict[str, Any]:
    answer = {"schema": names[endpoint.answer, "serialization"]}
    responses: dict[str, Any] = {
        str(endpoint.status): {"description": "Done.", "content": {endpoint.content_type: answer}}
    }
    errors: list[type[ClientError]] = [InvalidRequest, *endpoint.errors]
    statuses = {error.status for error in errors} | {
        421,
        500,
        503,
    }  # 503: a node with an alert reads nothing of its state
    if endpoint.body is not None:
        statuses |= {408, 413, 415}
    for status in sorted(statuses):
        responses[str(status)] = {"$ref": "#/components/responses/problem"}
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "tags": [endpoint.domain],
        "parameters": _parameters(endpoint),
        "responses": responses,
    }
    if endpoint.body is not None:
        content = {"application/json": {"schema": names[endpoint.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    schema = endpoint.query.model_json_schema(ref_template=REF)
    parameters: list[dict[str, Any]] = []
    for name, member in schema.get("properties", {}).items():
        in_path = "{" + name + "}" in endpoint.path
        parameters.append(
            {
                "name": name,
                "in": "path" if in_path else "query",
                "required": in_path or name in schema.get("required", []),
                "schema": _without_null(member),
            }
        )
    return parameters


def _without_null(member: dict[str, Any]) -> dict[str, Any]:
    """An optional parameter is absent, never null."""
    kept = {key: value for key, value in member.items() if key not in ("title", "anyOf") and (key, value) != NO_DEFAULT}
    for choice in member.get("anyOf", ()):
        if choice != {"type": "null"}:
            kept |= choice
    return kept


def main() -> None:
    """Write the contract to standard output."""
    from client_api.routes import ENDPOINTS  # the routes import this module's neighbours; only this command needs them

    sys.stdout.buffer.write(encode_openapi(make_openapi(ENDPOINTS)))


if __name__ == "__main__":
    main()
