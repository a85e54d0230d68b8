"""Tools as their servers define them, and what a call gives back."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from domain.errors import Conflict, Invalid, NotFound, Unavailable


class ToolNotFound(NotFound):
    """No such tool on this server, or no tool of this full name."""


class ToolWithheld(Conflict):
    """The tool is another than when it was first seen: it awaits approval. Nothing was sent."""


class ArgumentsInvalid(Invalid):
    """The arguments do not match the tool's input schema; `path` points at the fault."""


class CallTimedOut(Unavailable):
    """The deadline passed before an answer came; whether the call had an effect is unknown."""


class CallInterrupted(Unavailable):
    """The server's session broke while the call was in flight; its effect is unknown."""


class PeerRefused(Unavailable):
    """The server answered with a JSON-RPC error: `code` and `message` are the server's own."""

    def __init__(
        self,
        code: int,
        message: str,
        data: object = None,
        *,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, code=code)
        self.code = code
        self.data = data


class AnswerMalformed(Unavailable):
    """The server answered a call with something that is no tool result."""


class Change(StrEnum):
    """How a tool differs from the listing before."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


class ToolAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that is another than it was: a warning to people, who may have approved the old."""

    tool: str
    change: Change
    at: datetime


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool on offer.

    `definition` is the server's own object, whole and unchanged: keys that this system does not
    know are passed on (MCP: unknown `_meta`, annotations and icons must survive a gateway).
    """

    server: str
    name: str
    full_name: str
    definition: Mapping[str, Any]

    @property
    def description(self) -> str:
        """What the tool says of itself, empty where it says nothing."""
        text = self.definition.get("description")
        return text if isinstance(text, str) else ""

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the arguments; an open object where the server sent none."""
        schema = self.definition.get("inputSchema")
        return schema if isinstance(schema, dict) else {"type": "object"}

    @property
    def annotations(self) -> Mapping[str, Any]:
        """The server's hints; not to be trusted for security."""
        hints = self.definition.get("annotations")
        return hints if isinstance(hints, dict) else {}

    @property
    def repeatable(self) -> bool:
        """Whether its hints say that a second call does no further harm. Absent means not."""
        hints = self.annotations
        return hints.get("idempotentHint") is True or hints.get("readOnlyHint") is True


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a call gave back; the parts are JSON text as the server wrote it, never re-encoded.

    `is_error` true means that the tool itself reports failure: the call was carried out.
    """

    content: msgspec.Raw
    structured_content: msgspec.Raw | None = None
    is_error: bool = False
    duration_ms: float = 0.0
