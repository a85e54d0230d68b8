"""Modern requests repeat in their headers what the specification wants there."""

from typing import Any

import msgspec
import pytest

from adapters.mcp.remote.mirror import Mirror, encoded


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ],
)
def test_values_are_encoded_as_the_specification_shows(value: str, header: str) -> None:
    assert encoded(value) == header


def test_the_method_and_what_it_names_are_repeated() -> None:
    mirror = Mirror()
    call = {"name": "echo", "arguments": {"region": "x"}}
    assert mirror.headers("tools/call", call) == {"Mcp-Method": "tools/call", "Mcp-Name": "echo"}
    read = mirror.headers("resources/read", {"uri": "file:///a"})
    assert read == {"Mcp-Method": "resources/read", "Mcp-Name": "file:///a"}
    assert mirror.headers("tools/list", {}) == {"Mcp-Method": "tools/list"}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties}}


def annotated(header: object, kind: object = "string") -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": header}


def test_annotated_arguments_are_repeated_and_absent_ones_are_not() -> None:
    mirror = Mirror()
    inner = {"type": "object", "properties": {"dry": annotated("Dry", "boolean")}}
    query = tool("query", region=annotated("Region"), rows=annotated("Rows", "integer"), how=inner)
    assert mirror.learn((query,)) == (query,)
    arguments: Any = {"region": "zürich", "rows": -7, "how": {"dry": True}, "sql": "select"}
    headers = mirror.headers("tools/call", {"name": "query", "arguments": arguments})
    assert headers["Mcp-Param-Region"].startswith("=?base64?")
    assert (headers["Mcp-Param-Rows"], headers["Mcp-Param-Dry"]) == ("-7", "true")
    arguments = msgspec.Raw(b'{"region": null, "how": 3}')
    headers = mirror.headers("tools/call", {"name": "query", "arguments": arguments})
    assert set(headers) == {"Mcp-Method", "Mcp-Name"}


@pytest.mark.parametrize(
    "properties",
    [
        {"a": annotated("")},
        {"a": annotated("two words")},
        {"a": annotated("x\r\ny")},
        {"a": annotated(7)},
        {"a": annotated("A", "number")},
        {"a": annotated("A", ["string"])},
        {"a": annotated("A"), "b": annotated("a")},
        {"a": {"type": "array", "items": annotated("A")}},
        {"a": {"anyOf": [{"properties": {"b": annotated("A")}}]}},
    ],
)
def test_a_tool_with_a_wrong_annotation_is_left_out(
    properties: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    good = tool("good", **{"x-mcp-header": {"type": "string"}})
    assert Mirror().learn((tool("bad", **properties), good)) == (good,)
    assert "'bad'" in caplog.text


def test_examples_are_no_annotations_and_depth_does_no_harm() -> None:
    deep: dict[str, Any] = {"default": {"x-mcp-header": 1}}
    for _ in range(10_000):
        deep = {"items": deep}
    listed = (tool("deep", a=deep),)
    assert Mirror().learn(listed) == listed
