"""The API described for machines: OpenAPI 3.1, generated from the route table.

Promises one operation a route and nothing that the table does not say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from instar_host.records import Parameter, Route
from instar_host.surface import PLACEHOLDER

_ERROR = {"$ref": "#/components/schemas/Error"}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_LOCAL = "#/$defs/"


def describe(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Error": _ERROR_SCHEMA}
    names: Counter[str] = Counter()
    for route in routes:
        operation = _lifted(_operation(route), schemas)
        name = operation["operationId"]
        names[name] += 1
        if names[name] > 1:  # /a/b and /a/{b} are spelt alike, and no two may be called alike
            operation["operationId"] = f"{name}_{names[name]}"
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "instar plugins", "version": version},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "parameters": [_parameter(one) for one in _parameters(route)],
        "responses": _answers(route),
        "security": [{"token": []}] if route.access == "token" else [],
    }
    if route.body_schema is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": dict(route.body_schema)}},
        }
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path) or ["root"]
    return "_".join([route.method.lower(), *words])


def _parameters(route: Route) -> tuple[Parameter, ...]:
    """What the route declares, and the names in its path that it did not."""
    declared = {one.name for one in route.parameters if one.place == "path"}
    named = PLACEHOLDER.findall(route.path)
    implied = (
        Parameter(name=name, summary="", place="path") for name in named if name not in declared
    )
    return (*route.parameters, *implied)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.summary,
        "schema": dict(parameter.schema),
    }


def _answers(route: Route) -> dict[str, Any]:
    errors: Mapping[int, str] = {
        400: "A parameter, header or body that cannot be understood",
        403: "The Host, the origin or the token is not accepted",
        404: "Not found",
        408: "It took too long",
        503: "Not now; try again",
    }
    if route.access == "token":
        errors = {**errors, 401: "No token"}
    if route.method not in ("GET", "DELETE"):
        errors = {**errors, 413: "The body is too large", 415: "The body is not JSON"}
    said = {str(status): {"description": words} for status, words in sorted(route.answers.items())}
    refused = {
        str(status): {"description": words, "content": {"application/json": {"schema": _ERROR}}}
        for status, words in sorted(errors.items())
        if status not in route.answers
    }
    return {**said, **refused}


def _lifted(value: Any, schemas: dict[str, Any]) -> Any:
    """`value` with every `$defs` moved to `schemas`, where references inside a document can reach.

    Two routes that define one name differently would be a defect of theirs; the first one stays.
    """
    if isinstance(value, list):
        return [_lifted(one, schemas) for one in value]
    if not isinstance(value, dict):
        return value
    definitions = value.get("$defs")
    for name, schema in definitions.items() if isinstance(definitions, dict) else ():
        schemas.setdefault(name, _lifted(schema, schemas))
    kept = {key: _lifted(one, schemas) for key, one in value.items() if key != "$defs"}
    reference = kept.get("$ref")
    if isinstance(reference, str) and reference.startswith(_LOCAL):
        kept["$ref"] = "#/components/schemas/" + reference[len(_LOCAL) :]
    return kept
