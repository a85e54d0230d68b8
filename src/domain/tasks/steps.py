"""The steps of a turn as events, and read back from them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.model.conversations import Message
from domain.model.tasks import EventKind, NewEvent, TaskEvent, TurnStep
from domain.ports.models import Usage
from domain.turn import in_order, unanswered

MOST_SHOWN = 60_000
# Characters of one tool's answer that a model is shown: some 15,000 tokens.


def step(message: Message, usage: Usage) -> NewEvent:
    """The event that keeps a step of a turn."""
    done = TurnStep(
        messages=(message,),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )
    data: dict[str, Any] = msgspec.to_builtins(done)
    return NewEvent(kind=EventKind.STEP, data=data)


def answered(call: Mapping[str, Any], message: Message, result: Mapping[str, Any]) -> NewEvent:
    """The event that tells a call's answer; `call` is the data of its TOOL_CALL event."""
    data = {**call, "is_error": message.is_error, "result": result}
    return NewEvent(kind=EventKind.TOOL_RESULT, data=data)


def finished_steps(events: tuple[TaskEvent, ...]) -> tuple[Message, ...]:
    """The messages of a turn that was ended early, less calls that nothing answers."""
    messages = [
        message
        for event in events
        if event.kind is EventKind.STEP
        for message in msgspec.convert(event.data, TurnStep).messages
    ]
    return without_open_calls(messages)


def without_open_calls(messages: list[Message]) -> tuple[Message, ...]:
    """The same up to the last step whose calls are all answered."""
    kept = in_order(messages)
    while kept and unanswered(kept):
        kept.pop()
    return tuple(kept)


def shown(result: Mapping[str, Any]) -> str:
    """A tool's result as text for a model: text as it is, other content named."""
    parts = [
        block["text"]
        if isinstance(block, dict) and isinstance(block.get("text"), str)
        else f"[{block.get('type', 'content') if isinstance(block, dict) else 'content'}]"
        for block in result["content"]
    ]
    if not parts and "structured_content" in result:
        parts = [msgspec.json.encode(result["structured_content"]).decode()]
    text = "\n".join(parts)
    if len(text) <= MOST_SHOWN:
        return text
    return f"{text[:MOST_SHOWN]}\n[{len(text) - MOST_SHOWN} more characters were left out]"
