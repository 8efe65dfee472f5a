"""JSON Schemas under the two vendors' rules for constrained output.

Anthropic: https://docs.claude.com/en/docs/build-with-claude/structured-outputs (the changes that its SDKs make to a schema).
OpenAI: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas

Each schema is visited once, and each of its keywords is written once, so that the result is at most a small multiple of the input: a list of types becomes
one variant per type, and each keyword belongs to the variant that it constrains. References are not resolved, so cycles and shared definitions take no extra
work. In addition, a `Budget` limits the work for one request.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ccproxy.translate import jsontext
from ccproxy.translate.checks import bad
from ccproxy.translate.losses import child

Json = dict[str, Any]

EMPTY_OBJECT: Json = {"type": "object", "properties": {}}

MAX_DEPTH = 100
"""Levels of nested schemas. OpenAI accepts 10; schemas written by hand have fewer than 20."""
MAX_NODES = 50_000
"""Schemas, enum values and names of required properties in one request. The largest known tools have a few thousand."""
MAX_DESCRIBED = 1_000_000
"""Characters of keywords that one request may move into descriptions."""

_ANTHROPIC_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_COMBINERS = ("anyOf", "oneOf", "allOf")
_DEFINITIONS = ("$defs", "definitions")
_SHARED = ("enum", "const", "anyOf", "allOf")
"""Keywords of a rewritten schema that replace its type."""
_LABELS = frozenset(("type", "title", "description", "$ref", *_DEFINITIONS))
_TYPE_OF_KEYWORD = {
    **dict.fromkeys(
        (
            "properties",
            "additionalProperties",
            "required",
            "patternProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedProperties",
        ),
        "object",
    ),
    **dict.fromkeys(
        (
            "items",
            "prefixItems",
            "additionalItems",
            "unevaluatedItems",
            "contains",
            "minContains",
            "maxContains",
            "minItems",
            "maxItems",
            "uniqueItems",
        ),
        "array",
    ),
    **dict.fromkeys(
        ("format", "pattern", "minLength", "maxLength", "contentEncoding", "contentMediaType", "contentSchema"),
        "string",
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}
"""The type that a keyword constrains. It does not apply to values of other types."""


class _Place(NamedTuple):
    """The position of a schema in the request. Its JSON path is built only for an error."""

    parent: _Place | None
    key: str | int

    @property
    def path(self) -> str:
        keys: list[str | int] = []
        place: _Place | None = self
        while place is not None:
            keys.append(place.key)
            place = place.parent
        path = str(keys.pop())
        for key in reversed(keys):
            path = child(path, key) if isinstance(key, str) else f"{path}[{key}]"
        return path


class Budget:
    """A limit on the work for the schemas of one request."""

    nodes = MAX_NODES
    characters = MAX_DESCRIBED

    def visit(self, place: _Place, count: int = 1) -> None:
        """Count schemas or their values. Raises `BadRequest` with the path at which the limit is exceeded."""
        self.nodes -= count
        if self.nodes < 0:
            raise bad(place.path, f"the schemas of a request may have at most {MAX_NODES} parts")

    def describe(self, place: _Place, text: str) -> None:
        """Count text that is added to descriptions. Raises `BadRequest` beyond the limit."""
        self.characters -= len(text)
        if self.characters < 0:
            raise bad(
                place.path,
                f"at most {MAX_DESCRIBED} characters of unsupported keywords can be moved into descriptions",
            )


def for_anthropic(schema: object, path: str = "schema", budget: Budget | None = None) -> Json:
    """The schema for Anthropic's constrained output: closed objects and few keywords. Descriptions contain all other keywords.

    Raises `BadRequest` with a JSON path that begins with `path` if the schema is too deep or too large.
    """
    return _Rewriter(budget or Budget()).schema(schema, _Place(None, path), MAX_DEPTH)


class _Rewriter:
    """Rewrites one schema for Anthropic."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def schema(self, schema: object, place: _Place, levels: int) -> Json:
        """Rewrite one schema. `levels` more may be nested in it."""
        self._budget.visit(place)
        if not isinstance(schema, dict):
            return {}
        if levels <= 0:
            raise bad(place.path, f"a schema may be nested at most {MAX_DEPTH} levels deep")
        result: Json = {}
        for key in _DEFINITIONS:
            if isinstance(schema.get(key), dict):
                result[key] = self._members(schema[key], _Place(place, key), levels)
        if isinstance(schema.get("$ref"), str):
            result["$ref"] = schema["$ref"]
            return result
        kinds = _kinds(schema, place)
        written = self._shared(schema, result, place, levels)
        for key in ("title", "description"):
            if schema.get(key) is not None:
                result[key] = schema[key]
        if len(kinds) > 1:
            leftover = self._union(schema, result, kinds, written, place=place, levels=levels)
        else:
            kind = kinds[0] if kinds else _implied_kind(schema)
            if kind is not None and not any(key in result for key in _SHARED):
                result["type"] = kind
            written |= self._keywords(kind, schema, result, place, levels)
            leftover = {key: value for key, value in schema.items() if key not in _LABELS and key not in written}
        _describe(result, leftover, place, self._budget)
        return result

    def _members(self, schemas: Json, place: _Place, levels: int) -> Json:
        return {name: self.schema(part, _Place(place, name), levels - 1) for name, part in schemas.items()}

    def _union(
        self, schema: Json, result: Json, kinds: list[str], written: set[str], *, place: _Place, levels: int
    ) -> Json:
        """Write `"type": ["string", "null"]` as one variant per type. Return the keywords that belong to none of them."""
        literal = {key: result.pop(key) for key in _SHARED if key in result}
        variants: dict[str, Json] = {}
        if literal:  # they list the values for all types
            variants[""] = literal
            if "null" in kinds:
                variants["null"] = {"type": "null"}
        else:
            for kind in kinds:
                variants[kind] = {"type": kind}
                written |= self._keywords(kind, schema, variants[kind], place, levels)
        leftover: Json = {}
        parts: dict[str, Json] = {}
        for key, value in schema.items():
            if key not in _LABELS and key not in written:
                owner = _TYPE_OF_KEYWORD.get(key, "")
                owner = "integer" if owner == "number" and owner not in variants else owner
                (parts.setdefault(owner, {}) if owner in variants and owner else leftover)[key] = value
        for kind, part in parts.items():
            _describe(variants[kind], part, place, self._budget)
        result["anyOf"] = list(variants.values())
        return leftover

    def _shared(self, schema: Json, result: Json, place: _Place, levels: int) -> set[str]:
        """Write literals and variants. Return the keywords that are done."""
        written: set[str] = set()
        enum = schema.get("enum")
        if isinstance(enum, list) and enum and all(map(_is_primitive, enum)):
            self._budget.visit(place, len(enum))
            result["enum"] = list(enum)
            written.add("enum")
        if "const" in schema and _is_primitive(schema["const"]):
            result["const"] = schema["const"]
            written.add("const")
        for key in _COMBINERS:
            variants = schema.get(key)
            if isinstance(variants, list):
                inside = _Place(place, key)
                result["allOf" if key == "allOf" else "anyOf"] = [
                    self.schema(variant, _Place(inside, i), levels - 1) for i, variant in enumerate(variants)
                ]
                written.add(key)
                break
        return written

    def _keywords(self, kind: str | None, schema: Json, result: Json, place: _Place, levels: int) -> set[str]:
        """Write the keywords that belong to a type. Return the keywords that are done."""
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, result, place, levels)
        if kind == "array":
            return self._array(schema, result, place, levels)
        if kind == "string" and isinstance(schema.get("format"), str) and schema["format"] in _ANTHROPIC_FORMATS:
            result["format"] = schema["format"]
            return {"format"}
        return set()

    def _object(self, schema: Json, result: Json, place: _Place, levels: int) -> set[str]:
        properties = schema.get("properties")
        result["properties"] = (
            self._members(properties, _Place(place, "properties"), levels) if isinstance(properties, dict) else {}
        )
        result["additionalProperties"] = False
        if isinstance(schema.get("required"), list):
            self._budget.visit(place, len(schema["required"]))
            result["required"] = list(schema["required"])
        return {"properties", "additionalProperties", "required"}

    def _array(self, schema: Json, result: Json, place: _Place, levels: int) -> set[str]:
        written: set[str] = set()
        if isinstance(schema.get("items"), dict):
            result["items"] = self.schema(schema["items"], _Place(place, "items"), levels - 1)
            written.add("items")
        if type(schema.get("minItems")) is int and schema["minItems"] in (0, 1):
            result["minItems"] = schema["minItems"]
            written.add("minItems")
        return written


def _kinds(schema: Json, place: _Place) -> list[str]:
    """The types of a schema, without duplicates."""
    declared = schema.get("type")
    if declared is None:
        return []
    kinds = declared if isinstance(declared, list) else [declared]
    if not all(isinstance(kind, str) for kind in kinds):
        raise bad(f"{place.path}.type", "must be a string or an array of strings")
    return list(dict.fromkeys(kinds))


def _implied_kind(schema: Json) -> str | None:
    return "object" if "properties" in schema else "array" if "items" in schema else None


def _is_primitive(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _describe(result: Json, leftover: Json, place: _Place, budget: Budget) -> None:
    """Add unsupported keywords to the description: the model may still follow them."""
    if not leftover:
        return
    try:
        texts = (
            f"{key}: {value if isinstance(value, str) else jsontext.dump(value)}" for key, value in leftover.items()
        )
        text = "{" + ", ".join(texts) + "}"
    except RecursionError as error:
        raise bad(place.path, "is nested too deeply") from error
    budget.describe(place, text)
    description = result.get("description")
    if not isinstance(description, str | None):
        raise bad(f"{place.path}.description", "must be a string")
    result["description"] = f"{description}\n\n{text}" if description else text


# --- loose schemas for Anthropic -------------------------------------------------------------------------------------


def tool_input(schema: Json | None, path: str = "schema", budget: Budget | None = None) -> Json:
    """An input schema that Anthropic accepts: an object at the top level, without `anyOf`, `oneOf` or `allOf`.

    Raises `BadRequest` with a JSON path that begins with `path` if these are too large.
    """
    if not schema:
        return EMPTY_OBJECT
    if not any(key in schema for key in _COMBINERS):
        return schema if "type" in schema else {"type": "object", **schema}
    place, budget = _Place(None, path), budget or Budget()
    result = {key: value for key, value in schema.items() if key not in _COMBINERS}
    result["type"] = "object"
    properties: Json = dict(_members(schema, "properties"))
    required: set[str] | None = None
    for key in _COMBINERS:
        for variant in _variants(schema, key):
            members, names = _members(variant, "properties"), _required(variant)
            budget.visit(_Place(place, key), 1 + len(members) + len(names))
            for name, part in members.items():
                properties.setdefault(name, part)
            required = names if required is None else required | names if key == "allOf" else required & names
    result["properties"] = properties
    if required:
        result["required"] = sorted(_required(schema) | required)
    _describe(result, {key: schema[key] for key in _COMBINERS if key in schema}, place, budget)
    return result


def _members(schema: Json, key: str) -> Json:
    members = schema.get(key)
    return members if isinstance(members, dict) else {}


def _variants(schema: Json, key: str) -> list[Json]:
    variants = schema.get(key)
    return [variant for variant in variants if isinstance(variant, dict)] if isinstance(variants, list) else []


def _required(schema: Json) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


# --- strict schemas for OpenAI ---------------------------------------------------------------------------------------

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


def is_openai_strict(schema: object, path: str = "schema", budget: Budget | None = None) -> bool:
    """Return True if OpenAI accepts this schema with `strict: true`: an object at the top level, and only closed objects with required properties.

    Raises `BadRequest` with a JSON path that begins with `path` if the schema is too large.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object" or "anyOf" in schema:
        return False
    budget = budget or Budget()
    pending: list[tuple[object, _Place]] = [(schema, _Place(None, path))]
    while pending:
        part, place = pending.pop()
        budget.visit(place)
        if not isinstance(part, dict) or part.keys() & _OPENAI_UNSUPPORTED:
            return False
        if part.get("type") == "object" or "properties" in part:
            properties = _members(part, "properties")
            if part.get("additionalProperties") is not False or _required(part) != properties.keys():
                return False
        pending.extend(_nested(part, place))
    return True


def _nested(schema: Json, place: _Place) -> list[tuple[object, _Place]]:
    """The schemas directly inside a schema."""
    nested: list[tuple[object, _Place]] = []
    for key in ("properties", *_DEFINITIONS):
        inside = _Place(place, key)
        nested.extend((part, _Place(inside, name)) for name, part in _members(schema, key).items())
    if "items" in schema:
        nested.append((schema["items"], _Place(place, "items")))
    inside = _Place(place, "anyOf")
    nested.extend((part, _Place(inside, i)) for i, part in enumerate(_variants(schema, "anyOf")))
    return nested
