"""Tools as a table: what a tool shows of itself, what it takes, and what runs when it is called."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Report = Callable[[float, float, str], None]


class ToolMistake(Exception):
    """What the caller got wrong or the tool could not do, in words for the model that called."""


class Run(msgspec.Struct, frozen=True):
    """One call as its tool sees it: `report(progress, total, message)`, and whether to stop."""

    report: Report
    cancelled: threading.Event


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that reads only.

    `run` gives text, or a Struct that becomes structured content. A `slow` one runs beside the
    others and honours its run's `cancelled`. Where `repeatable` is False nothing is said about a
    second call, and callers must take it for harmful.
    """

    name: str
    title: str
    description: str
    arguments: type[msgspec.Struct]
    run: Callable[[Any, Run], msgspec.Struct | str]
    gives: type[msgspec.Struct] | None = None
    slow: bool = False
    repeatable: bool = True

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as `tools/list` shows it."""
        hints = {"title": self.title, "destructiveHint": False, "openWorldHint": False}
        if self.repeatable:
            hints |= {"readOnlyHint": True, "idempotentHint": True}
        shown = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": object_schema(self.arguments),
            "annotations": hints,
        }
        return shown if self.gives is None else shown | {"outputSchema": object_schema(self.gives)}

    def call(self, arguments: Mapping[str, Any], run: Run) -> dict[str, Any]:
        """The result of `tools/call`; mistakes are results too, so that a model can mend them."""
        try:
            given = msgspec.convert(arguments, self.arguments)
            outcome = self.run(given, run)
        except msgspec.ValidationError as fault:
            return mistake(f"Invalid arguments: {fault}")
        except ToolMistake as fault:
            return mistake(str(fault))
        if isinstance(outcome, str):
            return {"content": [{"type": "text", "text": outcome}], "isError": False}
        text = msgspec.json.encode(outcome).decode()
        return {
            "content": [{"type": "text", "text": text}],
            "structuredContent": outcome,
            "isError": False,
        }


def mistake(text: str) -> dict[str, Any]:
    """A result that says what went wrong."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def object_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a Struct, whole in itself, as clients of every era can read it."""
    (_,), parts = msgspec.json.schema_components([kind])
    schema: dict[str, Any] = _inlined(parts[kind.__name__], parts)
    # The tool's own description says it better.
    return {key: value for key, value in schema.items() if key != "description"}


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, parts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        return _inlined(parts[reference.rpartition("/")[2]], parts)
    # A Struct's own name is no title for people.
    named = schema.get("type") == "object" and isinstance(schema.get("title"), str)
    return {
        key: _inlined(value, parts)
        for key, value in schema.items()
        if not (named and key == "title")
    }
