"""One turn: history -> model <-> tools -> history, as a stream of events; keeps nothing."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import groupby, takewhile

import msgspec

from domain.errors import Unavailable
from domain.model.agents import Agent
from domain.model.conversations import Message, Role, ToolCall
from domain.model.tools import Tool
from domain.ports.models import LanguageModel, ModelRequest, ModelText, ToolOffer, Usage


class TurnTooLong(Unavailable):
    """The model wished for more steps than the agent's limits allow, or took too long."""


class TurnText(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the answer, as it comes."""

    text: str


class StepFinished(msgspec.Struct, frozen=True, kw_only=True):
    """The model's answer of one step is whole."""

    message: Message
    usage: Usage


class CallStarting(msgspec.Struct, frozen=True, kw_only=True):
    """The call is made as soon as the stream is asked for its next event, not before."""

    call: ToolCall


class CallFinished(msgspec.Struct, frozen=True, kw_only=True):
    """A call's answer as the model will see it."""

    call: ToolCall
    message: Message


TurnEvent = TurnText | StepFinished | CallStarting | CallFinished
CallTool = Callable[[ToolCall], Awaitable[Message]]


def offers(agent: Agent, tools: Sequence[Tool]) -> tuple[ToolOffer, ...]:
    """The tools that the agent may use, as a model is shown them."""
    return tuple(
        ToolOffer(name=tool.full_name, description=tool.description, parameters=tool.input_schema)
        for tool in tools
        if agent.may_use(tool.full_name)
    )


def unanswered(messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The calls of the last assistant's message that no tool message after it answers."""
    answered: set[str | None] = set()
    for message in reversed(messages):
        if message.role is Role.ASSISTANT:
            return tuple(call for call in message.tool_calls if call.call_id not in answered)
        if message.role is Role.USER:
            break
        answered.add(message.call_id)
    return ()


def in_order(messages: Sequence[Message]) -> list[Message]:
    """The same with the answers of each step in the order of its calls.

    One that a person decided is recorded before those that were made again after it.
    """
    ordered: list[Message] = []
    for are_answers, some in groupby(messages, key=lambda message: message.role is Role.TOOL):
        part = list(some)
        if are_answers and ordered:
            calls = {call.call_id: place for place, call in enumerate(ordered[-1].tool_calls)}
            part.sort(key=lambda message: calls.get(message.call_id or "", len(calls)))
        ordered += part
    return ordered


def _steps_done(messages: Sequence[Message]) -> int:
    """How often the model has answered since the user's last message."""
    turn = takewhile(lambda message: message.role is not Role.USER, reversed(messages))
    return sum(message.role is Role.ASSISTANT for message in turn)


async def run_turn(
    agent: Agent,
    model: LanguageModel,
    tools: tuple[ToolOffer, ...],
    history: Sequence[Message],
    call_tool: CallTool,
) -> AsyncGenerator[TurnEvent, None]:
    """Answer the last user's message; the stream ends with the turn.

    `history` may hold steps of this turn that are done already: it goes on after them. Calls of
    one step run side by side; their answers come in the calls' order. `call_tool` never raises
    a Failure: a call that fails is an answer the model can react to.

    Raises:
        TurnTooLong: more steps than `agent.limits.max_steps`, those done already included.
        ModelUnavailable, ModelRefused: from the model.
    """
    messages = list(history)
    for _ in range(_steps_done(messages), agent.limits.max_steps):
        pending = unanswered(messages)
        for call in pending:
            yield CallStarting(call=call)
        for call, message in zip(
            pending, await asyncio.gather(*map(call_tool, pending)), strict=True
        ):
            messages.append(message)
            yield CallFinished(call=call, message=message)
        if messages[-1].role is Role.ASSISTANT:
            return
        request = ModelRequest(
            instructions=agent.instructions, messages=tuple(in_order(messages)), tools=tools
        )
        async with aclosing(_step(model, request)) as events:
            async for event in events:
                if isinstance(event, StepFinished):
                    messages.append(event.message)
                yield event
    if messages[-1].role is not Role.ASSISTANT or unanswered(messages):
        raise TurnTooLong(
            f"The turn was ended after {agent.limits.max_steps} steps.",
            max_steps=agent.limits.max_steps,
        )


async def _step(
    model: LanguageModel, request: ModelRequest
) -> AsyncGenerator[TurnText | StepFinished, None]:
    """One answer of the model."""
    async with aclosing(model.answer(request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, ModelText):
                yield TurnText(text=piece.text)
                continue
            message = Message(role=Role.ASSISTANT, text=piece.text, tool_calls=piece.tool_calls)
            yield StepFinished(message=message, usage=piece.usage)
