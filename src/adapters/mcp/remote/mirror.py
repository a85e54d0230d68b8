"""What a modern request repeats of its body in its headers, without I/O.

Source: MCP 2026-07-28, basic/transports/streamable-http, request metadata.
"""

import base64
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

ANNOTATION = "x-mcp-header"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN = re.compile(r"[\x20-\x7e]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = ("string", "integer", "boolean")
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"default", "examples", "const", "enum"})
# Keywords whose values are no schemas, whatever they look like.

Path = tuple[str, ...]
Definition = Mapping[str, Any]


class Mirror:
    """The headers of requests; which arguments belong in them is learned from the listed tools."""

    def __init__(self) -> None:
        self._params: dict[str, dict[str, Path]] = {}

    def learn(self, tools: tuple[Definition, ...]) -> tuple[Definition, ...]:
        """Take in a whole list; what comes back is without the tools whose annotations are wrong.

        A client must leave such tools out.
        """
        kept, params = [], {}
        for tool in tools:
            mirrored = _annotated(tool.get("inputSchema"))
            if mirrored is None:
                logger.warning(
                    "the tool %.100r is left out: its %s is wrong", tool.get("name"), ANNOTATION
                )
                continue
            kept.append(tool)
            if mirrored:
                params[str(tool.get("name"))] = mirrored
        self._params = params
        return tuple(kept)

    def headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        """What a request of this method and with these parameters is sent with."""
        found = {"Mcp-Method": method}
        name = params.get(_NAMED_BY.get(method, ""))
        if isinstance(name, str):
            found["Mcp-Name"] = encoded(name)
            if method == "tools/call" and name in self._params:
                found.update(_mirrored(self._params[name], params.get("arguments")))
        return found


def encoded(value: str) -> str:
    """The value as a header can hold it: as it is where that is safe, else base64, marked so."""
    plain = _PLAIN.fullmatch(value) and value == value.strip()
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _mirrored(wanted: Mapping[str, Path], arguments: object) -> dict[str, str]:
    if isinstance(arguments, msgspec.Raw):
        arguments = msgspec.json.decode(arguments)
    found = {}
    for header, path in wanted.items():
        value: object = arguments
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            found[f"Mcp-Param-{header}"] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            found[f"Mcp-Param-{header}"] = encoded(str(value))
    return found


def _annotated(schema: object) -> dict[str, Path] | None:
    """Where the value of each header is found, None where an annotation breaks a rule."""
    found: dict[str, Path] = {}
    for path, part in _parts(schema):
        if ANNOTATION not in part:
            continue
        header = part[ANNOTATION]
        named = isinstance(header, str) and _TOKEN.fullmatch(header)
        if not path or not named or part.get("type") not in _TYPES:
            return None
        if header.lower() in {other.lower() for other in found}:
            return None
        found[header] = path
    return found


def _parts(schema: object) -> Iterator[tuple[Path | None, Mapping[str, Any]]]:
    """Every schema within; its path is None where more than `properties` leads to it.

    With a stack of its own: a hostile schema is as deep as it likes.
    """
    waiting: list[tuple[Path | None, object]] = [((), schema)]
    while waiting:
        path, part = waiting.pop()
        if isinstance(part, list):
            waiting += [(None, one) for one in part]
        elif isinstance(part, Mapping):
            yield path, part
            for word, value in part.items():
                if word in _MAPS and isinstance(value, Mapping):
                    on = path is not None and word == "properties"
                    waiting += [
                        ((*path, key) if on and path is not None else None, one)
                        for key, one in value.items()
                    ]
                elif word not in _DATA:
                    waiting.append((None, value))
