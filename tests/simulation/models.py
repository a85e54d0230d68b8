"""A language model that answers, wishes for tools, is slow, hangs, refuses, breaks off."""

import asyncio
from collections.abc import AsyncGenerator

from domain.model.conversations import Message, Role, ToolCall
from domain.ports.models import (
    ModelAnswer,
    ModelRefused,
    ModelRequest,
    ModelText,
    ModelUnavailable,
    Usage,
)
from tests.simulation.servers import Outside

MOST_CALLING_STEPS = 3


class SimulatedModel:
    """What it says names the task and the step of its turn: `t7:2`."""

    def __init__(self, outside: Outside, name: str = "m") -> None:
        self._out = outside
        self._name = name
        self._answers = 0

    @property
    def name(self) -> str:
        return self._name

    async def probe(self) -> None:
        return

    async def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        out, climate = self._out, self._out.climate
        tag, step = place_of(request.messages)
        out.journal.note("asked", tag, step=step)
        out.telling_moment()
        check_history(request.messages, out, tag)
        await asyncio.sleep(out.dice.uniform(0.02, 0.4))
        if out.happens(climate.model_hangs):
            out.journal.note("model-hangs", tag)
            await out.calm.wait()
        if out.happens(climate.model_slow):
            await asyncio.sleep(out.dice.uniform(1, 8))
        if out.happens(climate.model_refuses):
            out.journal.note("model-refused", tag)
            raise ModelRefused("The model refuses.")
        if out.happens(climate.model_fails):
            out.journal.note("model-failed", tag)
            raise ModelUnavailable("The model does not answer.")
        text = f"{tag}:{step}"
        yield ModelText(text=tag)
        await asyncio.sleep(out.dice.choice((0.01, 0.1, 0.5)))
        if out.happens(climate.model_breaks):
            out.journal.note("model-failed", tag)
            raise ModelUnavailable("The model broke off.")
        yield ModelText(text=f":{step}")
        calls = self._wishes(request, tag, step)
        yield ModelAnswer(text=text, tool_calls=calls, usage=Usage(input_tokens=1, output_tokens=1))

    def _wishes(self, request: ModelRequest, tag: str, step: int) -> tuple[ToolCall, ...]:
        out = self._out
        wants = request.tools and step < MOST_CALLING_STEPS
        if not wants or not out.happens(out.climate.model_calls):
            return ()
        self._answers += 1
        return tuple(
            ToolCall(
                call_id=f"{self._answers}.{number}",
                name=out.dice.choice(request.tools).name,
                arguments={"key": f"{tag}/{self._answers}.{number}"},
            )
            for number in range(out.dice.choice((1, 1, 2)))
        )


def place_of(messages: tuple[Message, ...]) -> tuple[str, int]:
    """Whose turn it is and how many answers it has had."""
    steps = 0
    for message in reversed(messages):
        if message.role is Role.USER:
            return message.text, steps
        steps += message.role is Role.ASSISTANT
    return "?", steps


def check_history(messages: tuple[Message, ...], out: Outside, tag: str) -> None:
    """A model's server refuses a history in which a call is not answered at once."""
    out.journal.require(well_formed(messages), f"{tag}: the model was shown a broken history")


def well_formed(messages: tuple[Message, ...]) -> bool:
    """Whether every call is answered, once and in its order, right after it was wished for."""
    open_calls: list[str] = []
    for message in messages:
        if message.role is Role.TOOL:
            if not open_calls or message.call_id != open_calls.pop(0):
                return False
            continue
        if open_calls:
            return False
        open_calls = [call.call_id for call in message.tool_calls]
    return not open_calls
