"""What a server answered a tool call with, read from its JSON text."""

import msgspec

from domain.model.tools import AnswerMalformed, ToolResult

_UNSET = msgspec.Raw(b"")
_ARRAY = ord("[")


class _CallResult(msgspec.Struct, frozen=True):
    content: msgspec.Raw = msgspec.Raw(b"[]")
    structuredContent: msgspec.Raw = _UNSET  # noqa: N815 - the protocol's own name
    isError: bool = False  # noqa: N815 - the protocol's own name


_decode_result = msgspec.json.Decoder(_CallResult).decode


def tool_result(raw: msgspec.Raw, server: str, tool: str, took_s: float) -> ToolResult:
    """The result that a server's answer holds. Raises AnswerMalformed."""
    try:
        result = _decode_result(raw)
        if memoryview(result.content)[0] != _ARRAY:
            raise msgspec.ValidationError("content is no array")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerMalformed(
            f"The server {server!r} answered {tool!r} with something that is no tool result.",
            server=server,
            tool=tool,
        ) from error
    structured = result.structuredContent
    return ToolResult(
        content=result.content,
        structured_content=None if structured is _UNSET else structured,
        is_error=result.isError,
        duration_ms=round(took_s * 1000, 3),
    )
