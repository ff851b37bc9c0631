"""The committed description of the API is what the code gives, and is valid."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from client_api.errors import ClientError
from client_api.openapi import encode_openapi, make_openapi
from client_api.routes import ENDPOINTS
from openapi_spec_validator import validate

COMMITTED = Path(__file__).parent.parent.parent / "client-api" / "openapi.json"
COMMAND = "python -m client_api.openapi > client-api/openapi.json"


def operations() -> list[dict[str, Any]]:
    paths = make_openapi(ENDPOINTS)["paths"]
    return [operation for path in paths.values() for operation in path.values()]


def test_the_committed_contract_is_what_the_code_gives() -> None:
    made = encode_openapi(make_openapi(ENDPOINTS))

    assert COMMITTED.read_bytes() == made, f"the API changed; look at the difference, then: {COMMAND}"


def test_the_contract_is_valid_openapi() -> None:
    validate(orjson.loads(COMMITTED.read_bytes()))


def test_every_operation_has_its_own_id() -> None:
    ids = [operation["operationId"] for operation in operations()]

    assert len(ids) == len(set(ids))


def test_every_status_is_declared_by_number() -> None:
    assert all(status.isdigit() for operation in operations() for status in operation["responses"])


def test_every_operation_may_answer_that_the_fault_is_ours() -> None:
    assert all({"400", "421", "500"} <= operation["responses"].keys() for operation in operations())


def test_an_optional_parameter_is_absent_and_never_null() -> None:
    schemas = [parameter["schema"] for operation in operations() for parameter in operation.get("parameters", ())]

    assert all(schema.get("type") != "null" and "anyOf" not in schema for schema in schemas)


def every_error(kind: type[ClientError] = ClientError) -> list[type[ClientError]]:
    return [found for each in kind.__subclasses__() for found in (each, *every_error(each))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_problem_says_what_to_do(kind: type[ClientError]) -> None:
    problem = kind("what happened").to_problem()

    assert problem["remedy"].endswith(".")
    assert 400 <= problem["status"] < 600


def test_no_two_problems_share_a_type() -> None:
    codes = [kind.code for kind in every_error()]

    assert len(codes) == len(set(codes))
