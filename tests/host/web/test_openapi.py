"""The description of the API: complete, and readable by programs that resolve references."""

from __future__ import annotations

from instar_host import Parameter, Response, Route
from instar_host.web.openapi import describe

SHAPE = {
    "$ref": "#/$defs/Letter",
    "$defs": {
        "Letter": {"type": "object", "properties": {"to": {"$ref": "#/$defs/Person"}}},
        "Person": {"type": "string"},
    },
}


def route(**more: object) -> Route:
    """A route with something to describe."""
    told = {"method": "POST", "path": "/letters/{id}", "endpoint": lambda _request: Response()}
    return Route(**{**told, **more})  # type: ignore[arg-type]


def test_definitions_of_a_body_are_moved_to_where_references_reach() -> None:
    """A schema made by a library carries its own definitions; a document has one place for them."""
    described = describe([route(body_schema=SHAPE)], "1")
    schemas = described["components"]["schemas"]
    assert schemas["Letter"]["properties"]["to"] == {"$ref": "#/components/schemas/Person"}
    assert schemas["Person"] == {"type": "string"}
    body = described["paths"]["/letters/{id}"]["post"]["requestBody"]
    letter = {"$ref": "#/components/schemas/Letter"}
    assert body["content"]["application/json"]["schema"] == letter


def test_names_in_a_path_are_parameters_whether_declared_or_not() -> None:
    """And each operation has a name of its own."""
    declared = (Parameter(name="dry", summary="Only try"),)
    operation = describe([route(parameters=declared)], "1")["paths"]["/letters/{id}"]["post"]
    assert [(p["name"], p["in"], p["required"]) for p in operation["parameters"]] == [
        ("dry", "query", False),
        ("id", "path", True),
    ]
    assert operation["operationId"] == "post_letters_id"


def test_a_route_says_what_it_may_answer() -> None:
    """Its own codes win over the guard's; an open route has no lock."""
    operation = describe([route(answers={201: "Made", 404: "No such letter"})], "1")
    answers = operation["paths"]["/letters/{id}"]["post"]["responses"]
    assert answers["201"] == {"description": "Made"}
    assert answers["404"] == {"description": "No such letter"}
    assert {"400", "401", "403", "413", "415"} <= answers.keys()
    free = describe([route(access="open")], "1")["paths"]["/letters/{id}"]["post"]
    assert free["security"] == []
    assert "401" not in free["responses"]


def test_no_two_operations_are_called_alike() -> None:
    """A fixed word and a name are spelt alike; generators of clients refuse such a pair."""
    described = describe([route(path="/a/b"), route(path="/a/{b}"), route(path="/a-b")], "1")
    ids = {path["post"]["operationId"] for path in described["paths"].values()}
    assert len(ids) == 3


def test_definitions_that_are_none_are_left_alone() -> None:
    """A plugin's slip in a schema is its own; the document is everybody's."""
    described = describe([route(body_schema={"$defs": 3})], "1")
    assert set(described["components"]["schemas"]) == {"Error"}
