"""What answers where no language model is configured: it says so, and calls tools when told to."""

import re
from collections.abc import AsyncGenerator, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from domain.model.conversations import Message, Role, ToolCall
from domain.ports.models import ModelAnswer, ModelRequest, ModelText, ToolOffer

_COMMAND = re.compile(r"^/tool[ \t]+(\S+)[ \t]*(.*)$")
_LISTED_TOOLS = 10
# Enough to see how names look; the list of all tools has its own place.
_PIECE_CHARS = 80
# About a line: clients see the answer arrive in pieces, as from a model.
_NO_CALLS: tuple[ToolCall, ...] = ()


class OfflineModel:
    """Always answers the same to the same request.

    A line `/tool NAME {json}` of the last user's message is a call of the offered tool NAME; the
    arguments may be left out. What such a line has wrong is said in the answer's text.
    """

    @property
    def name(self) -> str:
        return "offline"

    async def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        after = tuple(
            takewhile(lambda message: message.role is not Role.USER, reversed(request.messages))
        )
        if any(message.role is Role.TOOL for message in after):
            text, calls = _report(after[::-1]), _NO_CALLS
        else:
            asked = request.messages[-1 - len(after) :][:1]
            text, calls = _obey(asked[0].text if asked else "", request.tools)
        for begin in range(0, len(text), _PIECE_CHARS):
            yield ModelText(text=text[begin : begin + _PIECE_CHARS])
        yield ModelAnswer(text=text, tool_calls=calls)

    async def probe(self) -> None:
        """Answers always."""


def _report(messages: Sequence[Message]) -> str:
    """The results since the user's message, each under its tool's name."""
    names = {call.call_id: call.name for message in messages for call in message.tool_calls}
    return "\n\n".join(
        f"{names.get(message.call_id or '', 'tool')}"
        f"{' failed' if message.is_error else ''}:\n{message.text}"
        for message in messages
        if message.role is Role.TOOL
    )


def _obey(text: str, tools: tuple[ToolOffer, ...]) -> tuple[str, tuple[ToolCall, ...]]:
    offered = {tool.name for tool in tools}
    calls: list[ToolCall] = []
    faults: list[str] = []
    for line in map(str.strip, text.split("\n")):
        if line.split(maxsplit=1)[:1] != ["/tool"]:
            continue
        call = _read(line, offered, f"call_{len(calls) + 1}")
        if isinstance(call, str):
            faults.append(call)
        else:
            calls.append(call)
    if calls or faults:
        return "\n".join(faults), tuple(calls)
    return _introduction(tools), ()


def _read(line: str, offered: set[str], call_id: str) -> ToolCall | str:
    """The call that a line asks for, or what is wrong with the line."""
    match = _COMMAND.match(line)
    if match is None:
        return "A /tool line needs the full name of a tool: /tool NAME {json}."
    name, written = match.groups()
    if name not in offered:
        return f"No tool named {name} is offered here."
    try:
        arguments: dict[str, Any] = msgspec.json.decode(written or "{}", type=dict[str, Any])
    except msgspec.ValidationError:
        return f"The arguments of {name} must be a JSON object."
    except (msgspec.DecodeError, ValueError, RecursionError):
        return f"The arguments of {name} are not valid JSON."
    return ToolCall(call_id=call_id, name=name, arguments=arguments)


def _introduction(tools: tuple[ToolOffer, ...]) -> str:
    lines = [
        "No language model is configured, so this answer is a fixed text.",
        "Set SUTAZAI_LLM_BASE_URL and SUTAZAI_LLM_MODEL to use a server with OpenAI's interface.",
    ]
    if tools:
        lines.append("Tools can be called without a model, one call a line: /tool NAME {json}.")
        lines.extend(f"- {tool.name}" for tool in tools[:_LISTED_TOOLS])
        if len(tools) > _LISTED_TOOLS:
            lines.append(f"and {len(tools) - _LISTED_TOOLS} more.")
    else:
        lines.append("With tools on offer, a line /tool NAME {json} would call one.")
    return "\n".join(lines)
