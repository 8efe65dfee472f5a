"""Schemas of any size and shape: the work is linear in what the client sent, and bounded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.translate import schema
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format

Json = dict[str, Any]
A, C, R = Format

TOO_MANY = f"at most {schema.MAX_NODES} parts"
KINDS = ["object", "array", "string", "number", "integer", "boolean", "null"]


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    inner: Any = {"type": "string"}
    for _ in range(depth):
        inner = wrap(inner)
    return inner


WRAPPERS: dict[str, Callable[[Any], Json]] = {
    "types": lambda inner: {"type": ["object", "string"], "properties": {"a": inner}},
    "all types": lambda inner: {"type": KINDS, "properties": {"a": inner}, "items": inner},
    "the same type again and again": lambda inner: {"type": ["object"] * 50, "properties": {"a": inner}},
    "types of combinations": lambda inner: {"type": ["object", "array"], "anyOf": [inner]},
    "types of definitions": lambda inner: {"type": ["object", "array"], "$defs": {"a": inner}},
    "types and items": lambda inner: {"type": ["array", "object"], "items": inner},
    "properties": lambda inner: {"type": "object", "properties": {"a": inner}},
    "properties and items": lambda inner: {"properties": {"a": inner}, "items": {"type": "string"}},
    "anyOf": lambda inner: {"anyOf": [inner, {"type": "null"}]},
    "oneOf": lambda inner: {"oneOf": [inner, {"type": "null"}]},
    "allOf": lambda inner: {"allOf": [inner, {"type": "object"}]},
    "every combination": lambda inner: {"anyOf": [inner], "oneOf": [{}], "allOf": [{}]},
    "not": lambda inner: {"type": ["object", "string"], "not": inner},
    "if": lambda inner: {"type": ["object", "string"], "if": inner, "then": {}, "else": {}},
    "patternProperties": lambda inner: {"type": ["object", "string"], "patternProperties": {"^a": inner}},
    "additionalProperties": lambda inner: {"type": ["object", "string"], "additionalProperties": inner},
    "prefixItems": lambda inner: {"type": ["array", "string"], "prefixItems": [inner, {}]},
    "tuples": lambda inner: {"type": ["array", "string"], "items": [inner, {}]},
    "$defs": lambda inner: {"$ref": "#/$defs/a", "$defs": {"a": inner}},
    "definitions": lambda inner: {"type": "object", "definitions": {"a": inner}},
    "dependentSchemas": lambda inner: {"type": ["object", "null"], "dependentSchemas": {"a": inner}},
    "an unknown keyword": lambda inner: {"type": ["object", "null"], "x-more": inner},
}


def bodies(client: Format, parameters: Any) -> Iterator[Json]:
    """Requests of a client with the schema in a strict tool, a loose one, and as the output's format."""
    match client:
        case Format.ANTHROPIC:
            asking: Json = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
            for strict in (True, False):
                yield {**asking, "tools": [{"name": "t", "input_schema": parameters, "strict": strict}]}
            yield {**asking, "output_config": {"format": {"type": "json_schema", "schema": parameters}}}
        case Format.OPENAI_CHAT:
            asking = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            for strict in (True, False):
                function = {"name": "t", "parameters": parameters, "strict": strict}
                yield {**asking, "tools": [{"type": "function", "function": function}]}
            output = {"type": "json_schema", "json_schema": {"name": "n", "schema": parameters}}
            yield {**asking, "response_format": output}
        case Format.OPENAI_RESPONSES:
            asking = {"model": "m", "input": "hi"}
            for strict in (True, False):
                function = {"type": "function", "name": "t", "parameters": parameters, "strict": strict}
                yield {**asking, "tools": [function]}
            yield {**asking, "text": {"format": {"type": "json_schema", "name": "n", "schema": parameters}}}


DIRECTIONS = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
directions = pytest.mark.parametrize(("client", "upstream"), DIRECTIONS)


@directions
@pytest.mark.parametrize("shape", WRAPPERS)
def test_twice_the_depth_is_at_most_about_twice_the_result(client: Format, upstream: Format, shape: str) -> None:
    """Doubling per level would be 2**40 times as much."""

    def sizes(depth: int) -> list[int]:
        parameters = nested(depth, WRAPPERS[shape])
        if shape in ("all types", "properties and items"):
            assert len(json.dumps(parameters)) < 10**6
        return [len(translate_request(client, upstream, body).encode()) for body in bodies(client, parameters)]

    depths = (5, 10) if shape == "all types" else (20, 40)
    base = sizes(0)
    for none, once, twice in zip(base, sizes(depths[0]), sizes(depths[1]), strict=True):
        growth = 40 if shape == "all types" else 2.7  # its input doubles per level: `inner` stands in it twice
        assert twice - none <= growth * (once - none) + 500


@pytest.mark.parametrize("shape", WRAPPERS)
def test_a_rewritten_schema_is_at_most_a_small_multiple_of_the_original(shape: str) -> None:
    original = nested(8, WRAPPERS[shape])
    assert len(json.dumps(schema.for_anthropic(original))) <= 4 * len(json.dumps(original)) + 200


def test_shared_definitions_and_cycles_stay_references() -> None:
    definitions: Json = {"d0": {"type": "object", "properties": {"again": {"$ref": "#/$defs/d0"}}}}
    for n in range(1, 60):
        reference = {"$ref": f"#/$defs/d{n - 1}"}
        definitions[f"d{n}"] = {"type": ["object", "null"], "properties": {"a": reference, "b": reference}}
    parameters = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d59"}}, "$defs": definitions}
    for client, upstream in DIRECTIONS:
        for body in bodies(client, parameters):
            sent = translate_request(client, upstream, body).encode()
            assert len(sent) < 3 * len(json.dumps(parameters))
            assert sent.count(b'"#/$defs/d58"') == 2


def many(count: int) -> Json:
    return {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}}


def closed(count: int) -> Json:
    return {**many(count), "required": [f"p{n}" for n in range(count)], "additionalProperties": False}


def test_a_schema_of_thousands_of_properties_passes() -> None:
    for client, upstream in DIRECTIONS:
        for body in bodies(client, closed(5000)):
            translate_request(client, upstream, body).encode()


PATHS = {
    A: "tools[0].input_schema.properties",
    C: "tools[0].function.parameters.properties",
    R: "tools[0].parameters.properties",
}


@pytest.mark.parametrize(
    ("client", "upstream"), [(client, upstream) for client, upstream in DIRECTIONS if A in (client, upstream)]
)
def test_a_schema_with_too_many_parts_is_refused_by_its_path(client: Format, upstream: Format) -> None:
    strict, _, output = bodies(client, closed(schema.MAX_NODES + 1))
    with pytest.raises(BadRequest, match=TOO_MANY) as refusal:
        translate_request(client, upstream, strict)
    assert (refusal.value.param or "").startswith(PATHS[client].removesuffix(".properties"))
    with pytest.raises(BadRequest, match=TOO_MANY):
        translate_request(client, upstream, output)


def test_the_limit_holds_for_all_tools_of_a_request_together() -> None:
    function = {"name": "t", "strict": True, "parameters": many(1000)}
    tools = [{"type": "function", "function": {**function, "name": f"t{n}"}} for n in range(60)]
    with pytest.raises(BadRequest, match=TOO_MANY) as refusal:
        translate_request(C, A, {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": tools})
    assert (refusal.value.param or "").startswith("tools[49].function.parameters")


def test_a_schema_that_is_nested_too_deep_is_refused_by_its_path() -> None:
    for client in (C, R):
        strict, loose, output = bodies(client, nested(150, WRAPPERS["properties"]))
        for body in (strict, output):
            with pytest.raises(BadRequest, match=r"100 levels|at most 200 levels") as refusal:
                translate_request(client, A, body)
            assert ".properties.a.properties.a" in (refusal.value.param or "")
        with pytest.raises(BadRequest, match="at most 200 levels") as refusal:
            translate_request(client, A, loose).encode()
        assert (refusal.value.param or "").startswith(PATHS[client])


def test_keywords_that_do_not_fit_into_descriptions_are_refused_by_their_path() -> None:
    huge = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x" * schema.MAX_DESCRIBED}}}
    for client in (C, R):
        strict, loose, output = bodies(client, huge)
        for body in (strict, output):
            with pytest.raises(BadRequest, match="1000000 characters") as refusal:
                translate_request(client, A, body)
            assert (refusal.value.param or "").endswith("schema.properties.a") or body is strict
        translate_request(client, A, loose)
        _, loose, _ = bodies(client, {"anyOf": [huge]})
        with pytest.raises(BadRequest, match="1000000 characters"):
            translate_request(client, A, loose)


# --- what a list of types becomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "rewritten"),
    [
        (
            {"type": ["object", "string"], "properties": {"a": {"type": "null"}}, "required": ["a"], "minLength": 2},
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"a": {"type": "null"}},
                        "additionalProperties": False,
                        "required": ["a"],
                    },
                    {"type": "string", "description": "{minLength: 2}"},
                ]
            },
        ),
        (
            {"type": ["string", "null"], "enum": ["a", None], "description": "d"},
            {"description": "d", "anyOf": [{"enum": ["a", None]}, {"type": "null"}]},
        ),
        (
            {"type": ["integer", "array"], "minimum": 1, "items": {"type": "string"}, "default": 3},
            {
                "anyOf": [
                    {"type": "integer", "description": "{minimum: 1}"},
                    {"type": "array", "items": {"type": "string"}},
                ],
                "description": "{default: 3}",
            },
        ),
        (
            {"type": ["object", "null"], "$defs": {"d": {"type": "string"}}},
            {
                "$defs": {"d": {"type": "string"}},
                "anyOf": [{"type": "object", "properties": {}, "additionalProperties": False}, {"type": "null"}],
            },
        ),
        ({"type": ["string", "string"]}, {"type": "string"}),
        ({"type": []}, {}),
        (
            {"type": ["object", "string"], "anyOf": [{"type": "string"}], "allOf": [{}]},
            {"anyOf": [{"anyOf": [{"type": "string"}]}], "description": "{allOf: [{}]}"},
        ),
        ({"type": "string", "enum": [{}]}, {"type": "string", "description": "{enum: [{}]}"}),
        (
            {"type": "array", "items": [{"type": "string"}]},
            {"type": "array", "description": '{items: [{"type":"string"}]}'},
        ),
    ],
    ids=range(9),
)
def test_each_keyword_is_written_once_where_it_belongs(given: Json, rewritten: Json) -> None:
    assert schema.for_anthropic(given) == rewritten


@pytest.mark.parametrize("kind", [3, {}, ["string", None], [["string"]], True])
def test_a_type_that_is_not_a_name_is_refused_by_its_path(kind: Any) -> None:
    for client in (C, R):
        strict, _, _ = bodies(client, {"type": "object", "properties": {"a b": {"type": kind}}})
        with pytest.raises(BadRequest, match="must be a string or an array of strings") as refusal:
            translate_request(client, A, strict)
        assert (refusal.value.param or "").endswith('.properties["a b"].type')


def test_a_description_that_is_not_text_is_refused_where_keywords_join_it() -> None:
    with pytest.raises(BadRequest, match="description: must be a string"):
        schema.for_anthropic({"type": "string", "description": {}, "pattern": "x"})


@pytest.mark.parametrize(
    ("found", "strict"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {}}, False),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        (
            {"type": "object", "properties": {"a": {"default": 1}}, "required": ["a"], "additionalProperties": False},
            False,
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "required": ["a"],
                "additionalProperties": False,
                "$defs": {"A": {"type": "object"}},
            },
            False,
        ),
        ({"anyOf": [], "type": "object"}, False),
        ({"type": "string"}, False),
        ("x", False),
    ],
    ids=range(8),
)
def test_what_openai_takes_as_strict(found: Any, strict: bool) -> None:
    assert schema.is_openai_strict(found) is strict


def test_schemas_of_any_shape_are_survived() -> None:
    assert schema.for_anthropic(3) == {}
    assert schema.tool_input(
        {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}, 3]}
    )["required"] == ["a", "b"]
