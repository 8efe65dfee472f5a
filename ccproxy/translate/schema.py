"""JSON schemas between the two vendors' rules for constrained output.

Anthropic: https://docs.claude.com/en/docs/build-with-claude/structured-outputs (what its SDKs do to a schema before they send it).
OpenAI: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import jsontext

Json = dict[str, Any]

EMPTY_OBJECT: Json = {"type": "object", "properties": {}}

_ANTHROPIC_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_COMBINERS = ("anyOf", "oneOf", "allOf")
_DEFINITIONS = ("$defs", "definitions")
_SAID = frozenset(("type", "title", "description", "enum", "const", "$ref", *_COMBINERS, *_DEFINITIONS))


def for_anthropic(schema: object) -> Json:
    """The schema as Anthropic's constrained output takes it: closed objects, few keywords; what else it asked for goes into the description."""
    if not isinstance(schema, dict):
        return {}
    result: Json = {}
    for key in _DEFINITIONS:
        if isinstance(schema.get(key), dict):
            result[key] = {name: for_anthropic(part) for name, part in schema[key].items()}
    if isinstance(schema.get("$ref"), str):
        result["$ref"] = schema["$ref"]
        return result
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union_of_types(schema, kind)
    _combine(schema, result)
    _literals(schema, result)
    if not any(key in result for key in ("enum", "const", "anyOf", "allOf")):
        kind = kind or ("object" if "properties" in schema else "array" if "items" in schema else None)
        if kind is not None:
            result["type"] = kind
    for key in ("title", "description"):
        if schema.get(key) is not None:
            result[key] = schema[key]
    said = _SAID | _keywords_of(kind, schema, result)
    _describe(result, {key: value for key, value in schema.items() if key not in said})
    return result


def _keywords_of(kind: object, schema: Json, result: Json) -> set[str]:
    """Write the keywords that belong to a type; the names of those that are said."""
    if kind == "object" or "properties" in schema:
        return _object(schema, result)
    if kind == "array":
        return _array(schema, result)
    if kind == "string" and isinstance(schema.get("format"), str) and schema["format"] in _ANTHROPIC_FORMATS:
        result["format"] = schema["format"]
        return {"format"}
    return set()


def _union_of_types(schema: Json, kinds: list[Any]) -> Json:
    """`"type": ["string", "null"]`: one variant each."""
    rest = {key: value for key, value in schema.items() if key not in ("type", "description", "title", *_DEFINITIONS)}
    if len(kinds) == 1:
        return for_anthropic({**schema, "type": kinds[0]})
    variants = [for_anthropic({"type": "null"} if kind == "null" else {**rest, "type": kind}) for kind in kinds]
    result: Json = {"anyOf": variants}
    for key in ("title", "description"):
        if schema.get(key) is not None:
            result[key] = schema[key]
    return result


def _combine(schema: Json, result: Json) -> None:
    for key in _COMBINERS:
        variants = schema.get(key)
        if isinstance(variants, list):
            result["allOf" if key == "allOf" else "anyOf"] = [for_anthropic(variant) for variant in variants]
            return


def _literals(schema: Json, result: Json) -> None:
    enum = schema.get("enum")
    if isinstance(enum, list) and enum and all(_primitive(value) for value in enum):
        result["enum"] = list(enum)
    if "const" in schema and _primitive(schema["const"]):
        result["const"] = schema["const"]


def _primitive(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _object(schema: Json, result: Json) -> set[str]:
    properties = schema.get("properties")
    result["properties"] = (
        {name: for_anthropic(part) for name, part in properties.items()} if isinstance(properties, dict) else {}
    )
    result["additionalProperties"] = False
    if isinstance(schema.get("required"), list):
        result["required"] = list(schema["required"])
    return {"properties", "additionalProperties", "required"}


def _array(schema: Json, result: Json) -> set[str]:
    said = {"items"}
    if isinstance(schema.get("items"), dict):
        result["items"] = for_anthropic(schema["items"])
    if schema.get("minItems") in (0, 1):
        result["minItems"] = schema["minItems"]
        said.add("minItems")
    return said


def _describe(result: Json, leftover: Json) -> None:
    """Keywords that the grammar cannot hold: the model may still follow them when it reads them."""
    if leftover:
        text = (
            "{"
            + ", ".join(
                f"{key}: {value if isinstance(value, str) else jsontext.dump(value)}" for key, value in leftover.items()
            )
            + "}"
        )
        description = result.get("description")
        result["description"] = f"{description}\n\n{text}" if description else text


def tool_input(schema: Json | None) -> Json:
    """An input schema that Anthropic takes: an object at the top, without combiners beside it."""
    if not schema:
        return EMPTY_OBJECT
    if not any(key in schema for key in _COMBINERS):
        return schema if "type" in schema else {"type": "object", **schema}
    result = {key: value for key, value in schema.items() if key not in _COMBINERS}
    result["type"] = "object"
    properties: Json = dict(_members(schema, "properties"))
    required: set[str] | None = None
    for key in _COMBINERS:
        for variant in _variants(schema, key):
            for name, part in _members(variant, "properties").items():
                properties.setdefault(name, part)
            needed = _required(variant)
            required = needed if required is None else required | needed if key == "allOf" else required & needed
    result["properties"] = properties
    if required:
        result["required"] = sorted(_required(schema) | required)
    _describe(result, {key: schema[key] for key in _COMBINERS if key in schema})
    return result


def _members(schema: Json, key: str) -> Json:
    found = schema.get(key)
    return found if isinstance(found, dict) else {}


def _variants(schema: Json, key: str) -> list[Json]:
    found = schema.get(key)
    return [variant for variant in found if isinstance(variant, dict)] if isinstance(found, list) else []


def _required(schema: Json) -> set[str]:
    found = schema.get("required")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


_OPENAI_UNSUPPORTED = frozenset(
    (
        "allOf",
        "not",
        "dependentRequired",
        "dependentSchemas",
        "if",
        "then",
        "else",
        "oneOf",
        "patternProperties",
        "default",
        "unevaluatedProperties",
    )
)


def is_openai_strict(schema: object, *, top: bool = True) -> bool:
    """Does OpenAI accept this schema with `strict: true`? Closed objects whose every property is required, an object at the top."""
    if not isinstance(schema, dict):
        return False
    if schema.keys() & _OPENAI_UNSUPPORTED:
        return False
    if top and (schema.get("type") != "object" or "anyOf" in schema):
        return False
    nested: list[object] = []
    if schema.get("type") == "object" or "properties" in schema:
        properties = _members(schema, "properties")
        if schema.get("additionalProperties") is not False or _required(schema) != set(properties):
            return False
        nested.extend(properties.values())
    for key in _DEFINITIONS:
        nested.extend(_members(schema, key).values())
    if "items" in schema:
        nested.append(schema["items"])
    nested.extend(_variants(schema, "anyOf"))
    return all(is_openai_strict(part, top=False) for part in nested)
