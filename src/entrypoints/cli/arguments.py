"""How a tool and its arguments are written on the command line."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from entrypoints.cli.client import Client
from entrypoints.cli.context import WrongUsage

SEPARATOR = "__"
# Server names hold no underscore, so the first one divides a full name.


class ToolCall(NamedTuple):
    """A tool by its server and its own name, with arguments."""

    server: str
    tool: str
    arguments: dict[str, Any]


def tool_call(client: Client, words: Sequence[str]) -> ToolCall:
    """Read `SERVER__TOOL [ARGUMENTS]` or `SERVER TOOL [ARGUMENTS]`."""
    if SEPARATOR in words[0]:
        return ToolCall(*_of_full_name(client, words[0]), arguments(words[1:]))
    if len(words) == 1:
        raise WrongUsage("Name a tool as SERVER__TOOL or as SERVER TOOL.")
    return ToolCall(words[0], words[1], arguments(words[2:]))


def arguments(words: Sequence[str]) -> dict[str, Any]:
    """One JSON object, or `key=value` words; a value that is JSON is taken as such."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            value = json.loads(words[0])
        except ValueError as error:
            raise WrongUsage(f"The arguments are not JSON: {error}.") from error
        if isinstance(value, dict):
            return value
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise WrongUsage(f"{word!r} is neither key=value nor one JSON object.")
        if key in given:
            raise WrongUsage(f"{key!r} is given twice.")
        given[key] = _value(text)
    return given


def _of_full_name(client: Client, full_name: str) -> tuple[str, str]:
    """Server and name of a tool; a name that was rewritten for models is looked up."""
    server, _, tool = full_name.partition(SEPARATOR)
    for offer in client.pages("/api/v1/mcp/tools", "tools", {"server": server})["tools"]:
        if offer["full_name"] == full_name:
            return server, offer["name"]
    return server, tool


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
