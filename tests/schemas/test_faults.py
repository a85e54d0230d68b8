"""Where arguments break a schema, and how that is said."""

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.schemas.compiler import MAX_MESSAGE_CHARS, JsonSchemaCompiler
from adapters.schemas.extent import MAX_DEPTH
from domain.ports.schemas import ArgumentCheck, Fault, SchemaCompiler

COMPILER: SchemaCompiler = JsonSchemaCompiler()
SECRET = "hunter2-hunter2"


def checked(schema: Any) -> ArgumentCheck:
    check = COMPILER.compile(schema)
    assert check.unchecked == ""
    return check


def of(name: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: schema}, **more}


def nested(depth: int, leaf: Any = None) -> Any:
    value = {} if leaf is None else leaf
    for _ in range(depth):
        value = {"a": value}
    return value


LINKED = of("a", {"$ref": "#"})
JSON = {
    "$defs": {
        "json": {
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"$ref": "#/$defs/json"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/json"}},
            ]
        }
    },
    "properties": {"a": {"$ref": "#/$defs/json"}},
}
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "arguments", "path", "says"),
    [
        (of("a", True, required=["a"]), {}, "", '"a" is a required'),
        (of("a", of("b", True, required=["b"])), {"a": {}}, "/a", '"b" is a required'),
        (of("a", {}, additionalProperties=False), {"typo": 1}, "", "typo"),
        (of("a", {}, unevaluatedProperties=False), {"typo": 1}, "", "typo"),
        ({"propertyNames": {"pattern": "^a"}}, {"typo": 1}, "", "typo"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "", '"b"'),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1}, "", '"b"'),
        (of("a", {"type": "integer"}), {"a": SECRET}, "/a", "integer"),
        (of("a", {"type": ["integer", "null"]}), {"a": SECRET}, "/a", "integer"),
        (of("a/b~c", {"type": "integer"}), {"a/b~c": SECRET}, "/a~1b~0c", "integer"),
        (of("a", {"items": {"const": 3}}), {"a": [3, SECRET]}, "/a/1", "3"),
        (of("a", {"enum": ["x", "y"]}), {"a": SECRET}, "/a", '"x"'),
        (of("a", {"pattern": r"^\d+$"}), {"a": SECRET}, "/a", "match"),
        (of("a", {"maxLength": 2}), {"a": SECRET}, "/a", "2"),
        (of("a", {"minimum": 2}), {"a": 1}, "/a", "2"),
        (of("a", {"not": {"type": "string"}}), {"a": SECRET}, "/a", "not allowed"),
        (of("a", {"uniqueItems": True}), {"a": [SECRET, SECRET]}, "/a", "unique"),
        (of("a", {"contains": {"type": "null"}}), {"a": [SECRET]}, "/a", ""),
        (of("a", {"anyOf": [{"type": "null"}, {"minLength": 99}]}), {"a": SECRET}, "/a", "any"),
        (of("a", {"oneOf": [{"type": "string"}, {"minLength": 1}]}), {"a": SECRET}, "/a", "one"),
        (of("a", False), {"a": SECRET}, "/a", ""),
        ({"$defs": {"n": {"type": "integer"}}, **of("a", {"$ref": "#/$defs/n"})},
         {"a": SECRET}, "/a", "integer"),
        ({"$defs": {"n": {"$anchor": "n", "type": "integer"}}, **of("a", {"$ref": "#n"})},
         {"a": SECRET}, "/a", "integer"),
        (of("a", {"$ref": "#/properties/b%7E1c"}) | {"properties": {
            "a": {"$ref": "#/properties/b~1c"}, "b/c": {"type": "integer"}}},
         {"a": SECRET}, "/a", "integer"),
        (LINKED, nested(MAX_DEPTH - 1, leaf=3), "/a" * (MAX_DEPTH - 1), "object"),
        (JSON, {"a": {"b": [object]}}, "", "not JSON"),
        ({"$schema": DRAFT_4, **of("a", {"minimum": 2, "exclusiveMinimum": True})},
         {"a": 2}, "/a", "2"),
        ({"$schema": DRAFT_7, **of("a", {"items": [{"type": "null"}]})},
         {"a": [SECRET]}, "/a/0", "null"),
        (True, nested(MAX_DEPTH + 1), "", "64 deep"),
        (False, {}, "", ""),
        ({}, nested(10_000), "", "64 deep"),
        (LINKED, nested(10_000), "", "64 deep"),
    ],
)  # fmt: skip
def test_the_first_fault_is_pointed_at(schema: Any, arguments: Any, path: str, says: str) -> None:
    fault = checked(schema).first_fault(arguments)
    assert fault is not None
    assert fault.path == path
    assert says in fault.message
    assert fault.message.endswith(".")
    assert SECRET not in fault.message


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({}, {"a": 1}),
        (True, {}),
        (of("a", {"type": "integer"}, required=["a"]), {"a": 1, "b": SECRET}),
        (of("a", {"format": "email"}), {"a": "no address"}),
        ({"$schema": DRAFT_7, **of("a", {"format": "email"})}, {"a": "no address"}),
        (of("a", {"type": "array"}), {"a": (1, 2)}),
        (LINKED, nested(MAX_DEPTH - 2)),
        (JSON, {"a": [1, {"b": [None, True, "x"]}]}),
        (of("a", {"maximum": 10**30}), {"a": 10**29}),
    ],
)
def test_what_matches_has_no_fault(schema: Any, arguments: Any) -> None:
    assert checked(schema).first_fault(arguments) is None


def test_a_check_may_be_used_again_and_takes_any_mapping() -> None:
    check = checked(of("a", {"type": "integer"}))
    for _ in range(2):
        assert check.first_fault(MappingProxyType({"a": 1})) is None
        assert check.first_fault(MappingProxyType({"a": "x"})) == Fault(
            path="/a", message='The value is not of type "integer".'
        )


def test_a_message_is_short() -> None:
    fault = checked({"additionalProperties": False}).first_fault({"x" * 5_000: 1})
    assert fault is not None
    assert len(fault.message) <= MAX_MESSAGE_CHARS + 1


RULES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "object", "array", "null"]),
        "enum": st.lists(st.integers(), min_size=1, unique=True),
        "const": st.integers(),
        "pattern": st.sampled_from(["^a+$", "^[0-9]{4}$"]),
        "maxLength": st.integers(0, 3),
        "minLength": st.integers(90, 99),
        "format": st.sampled_from(["email", "date", "uri"]),
        "not": st.sampled_from([{}, {"type": "string"}]),
        "maxProperties": st.just(0),
        "uniqueItems": st.just(True),
        "contains": st.just({"type": "null"}),
        "items": st.sampled_from([False, {"type": "integer"}, {"maxLength": 2}]),
        "anyOf": st.just([{"type": "null"}, {"maxLength": 1}]),
        "oneOf": st.just([{}, {"maxLength": 100}]),
    },
)


@given(RULES, st.sampled_from([SECRET, [SECRET], [SECRET, SECRET], {"a": SECRET}]))
def test_no_message_repeats_a_value(rules: dict[str, Any], value: Any) -> None:
    fault = checked(of("a", rules)).first_fault({"a": value})
    if fault is not None:
        assert SECRET not in fault.message
        assert fault.path.startswith("/a")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
KEYWORDS = st.sampled_from(
    ["type", "properties", "items", "$ref", "allOf", "anyOf", "not", "$defs", "$id", "$schema",
     "enum", "pattern", "patternProperties", "required", "$anchor", "$dynamicRef", "if"]
)  # fmt: skip
SCHEMAS = st.recursive(
    VALUES | st.sampled_from(["#", "#/$defs/a", "#a", "string", "http://x/y"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYWORDS | st.sampled_from(["a", "b"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b"]), VALUES))
def test_any_schema_and_any_arguments_end_in_an_answer(schema: Any, arguments: Any) -> None:
    check = COMPILER.compile(schema)
    fault = check.first_fault(arguments)
    if check.unchecked:
        assert fault is None
    if fault is not None:
        json.dumps(fault.path)
