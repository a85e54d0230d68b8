"""Schemas that were written to reach out, or to use up time, memory or the stack.

What these tests fear would end or stall the process: so each has a bound of time around it.
"""

from typing import Any

import pytest

from adapters.schemas.compiler import MAX_SCHEMA_BYTES, JsonSchemaCompiler
from adapters.schemas.places import MAX_PATTERNS
from domain.ports.schemas import Fault

pytestmark = pytest.mark.timeout(10)

COMPILER = JsonSchemaCompiler()
UNLOCATED = Fault(path="", message="The arguments do not match the schema.")
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
WRONG = {"a": 1, "b": [{}]}


def nested(depth: int, wrapped: str = "a") -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {wrapped: value}
    return value


def bomb(levels: int, keyword: str, last: Any) -> dict[str, Any]:
    """Each level applies the next one twice: 2 ** levels ways to the last."""
    parts = {
        f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": {**parts, f"d{levels}": last}, "$ref": "#/$defs/d0"}


def chain(length: int, last: Any) -> dict[str, Any]:
    parts = {f"d{link}": {"$ref": f"#/$defs/d{link + 1}"} for link in range(length)}
    return {"$defs": {**parts, f"d{length}": last}, "$ref": "#/$defs/d0"}


def unevaluated(levels: int) -> Any:
    schema: Any = {"type": "object"}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": {"type": "integer"}}
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "refers elsewhere"),
        ({"$ref": "file:///etc/passwd"}, "refers elsewhere"),
        ({"$ref": "other.json"}, "refers elsewhere"),
        ({"$ref": 5}, "refers elsewhere"),
        ({"properties": {"a": {"items": {"$ref": "urn:x:y"}}}}, "refers elsewhere"),
        ({"$id": "http://127.0.0.1:1/x", "$ref": "y"}, "refers elsewhere"),
        ({"$schema": "http://127.0.0.1:1/meta"}, "does not compile"),
        ({"$defs": {"a": {"$id": "http://127.0.0.1:1/x"}}}, "document of its own"),
        ({"$schema": DRAFT_4, "not": {"id": "http://127.0.0.1:1/x"}}, "document of its own"),
        ({"not": {"$schema": DRAFT_4, "id": "x"}}, "document of its own"),
        ({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}, "one name"),
        ({"$ref": "#/$defs/none"}, "does not have"),
        ({"$ref": "#none"}, "does not have"),
        ({"$dynamicAnchor": "a", "$dynamicRef": "#a"}, "depend on the way"),
        ({"$ref": "#"}, "without an end"),
        ({"anyOf": [{"not": {"$ref": "#"}}]}, "without an end"),
        (bomb(24, "allOf", {"type": "object"}), "too much work"),
        (bomb(24, "anyOf", {"type": "string"}), "too much work"),
        (bomb(24, "oneOf", {"type": "string"}), "too much work"),
        (bomb(1_000, "allOf", {"type": "object"}), "nested too deeply"),
        (chain(6_000, {"properties": {"a": {"$ref": "#/$defs/d0"}}}), "nested too deeply"),
        (unevaluated(30), "too much work"),
        ({"allOf": [{}] * 60_000}, "parts"),
        (nested(65, "not"), "deep"),
        (nested(100_000, "not"), "deep"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, "bytes"),
        ({"enum": list(range(200_000))}, "bytes"),
        ({"allOf": [{"pattern": f"^{n}$"} for n in range(MAX_PATTERNS + 1)]}, "patterns"),
        ({"patternProperties": {f"^{n}$": {} for n in range(MAX_PATTERNS + 1)}}, "patterns"),
        ({"pattern": "(?=a)b"}, "does not compile"),
        ({"pattern": r"(a)\1"}, "does not compile"),
        ({"pattern": "(((a{1,100}){1,100}){1,100}){1,100}"}, "does not compile"),
        ({"pattern": "["}, "does not compile"),
        ({"type": "no such type"}, "does not compile"),
        ({"$schema": 5}, "does not compile"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "does not compile"),
        ({"minimum": object()}, "not JSON"),
        ([], "neither"),
        (["a"], "neither"),
        (None, "neither"),
        ("{}", "neither"),
    ],
)
def test_what_cannot_be_used_passes_everything_and_says_why(schema: Any, why: str) -> None:
    check = COMPILER.compile(schema)
    assert why in check.unchecked
    assert check.first_fault(WRONG) is None
    assert check.first_fault(nested(10_000)) is None


def test_a_schema_that_holds_itself_is_unchecked() -> None:
    schema: dict[str, Any] = {}
    schema["not"] = schema
    assert "deep" in COMPILER.compile(schema).unchecked


def test_a_schema_that_shares_its_parts_is_measured_as_if_it_did_not() -> None:
    schema: dict[str, Any] = {}
    for _ in range(40):
        schema = {"allOf": [schema, schema]}
    assert "bytes" in COMPILER.compile(schema).unchecked


def test_a_pattern_that_makes_others_backtrack_is_matched_in_linear_time() -> None:
    check = COMPILER.compile({"properties": {"a": {"pattern": "^(a+)+$"}}})
    assert check.unchecked == ""
    fault = check.first_fault({"a": "a" * 100_000 + "!"})
    assert fault is not None
    assert fault.path == "/a"


def test_a_small_bomb_is_used_but_its_fault_is_not_looked_for() -> None:
    assert COMPILER.compile(bomb(16, "anyOf", {"type": "string"})).first_fault({}) == UNLOCATED
    assert COMPILER.compile(bomb(16, "allOf", {"type": "object"})).first_fault({}) is None


def test_arguments_that_would_take_too_long_pass() -> None:
    twice = {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}, "type": "object"}
    check = COMPILER.compile(twice)
    assert check.unchecked == ""
    assert check.first_fault({"a": {"a": 5}}) == Fault(
        path="/a/a", message='The value is not of type "object".'
    )
    assert check.first_fault(nested(60)) is None


def test_a_long_list_of_choices_costs_its_length() -> None:
    choices = [[number] for number in range(10_000)]
    check = COMPILER.compile({"properties": {"a": {"items": {"enum": choices}}}})
    fault = check.first_fault({"a": [[5], "other"]})
    assert fault is not None
    assert fault.path == "/a/1"
    assert check.first_fault({"a": [[9_999]] * 100_000}) is None


def test_deep_references_in_both_schema_and_arguments_leave_the_stack_alone() -> None:
    check = COMPILER.compile(
        chain(60, {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}})
    )
    assert check.unchecked == ""
    assert check.first_fault(nested(62)) is None
    assert check.first_fault({"a": {"a": 5}}) is not None


def test_nested_unevaluated_properties_are_bounded() -> None:
    check = COMPILER.compile(unevaluated(9))
    assert check.unchecked == ""
    assert check.first_fault({"a": "x"}) is not None


def test_a_long_way_around_is_counted_no_further_than_is_cheap() -> None:
    parts = {
        f"d{link}": {"properties": {"a": {"$ref": f"#/$defs/d{link + 1}"}}} for link in range(4_000)
    }
    check = COMPILER.compile(
        {"$defs": {**parts, "d4000": {}}, "$ref": "#/$defs/d0", "required": ["b"]}
    )
    assert check.unchecked == ""
    assert check.first_fault({"a": {}}) is not None
    assert check.first_fault(nested(60)) is None
