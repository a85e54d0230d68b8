"""One turn between a scripted model and tools that are functions of the test."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from domain.errors import Failure
from domain.model.agents import Agent, AgentId, AgentLimits
from domain.model.callers import LOCAL
from domain.model.conversations import Message, Role, ToolCall
from domain.model.tools import Tool
from domain.ports.models import ModelAnswer, ModelUnavailable, Usage
from domain.turn import (
    CallFinished,
    CallStarting,
    CallTool,
    StepFinished,
    TurnEvent,
    TurnText,
    TurnTooLong,
    offers,
    run_turn,
    unanswered,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASK = Message(role=Role.USER, text="Do it.")


def agent(max_steps: int = 5, tools: tuple[str, ...] = ("*",)) -> Agent:
    return Agent(
        agent_id=AgentId("a"),
        name="A",
        instructions="Obey.",
        tools=tools,
        limits=AgentLimits(max_steps=max_steps),
        owner=LOCAL.id,
        created_at=NOW,
        updated_at=NOW,
    )


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id=call_id, name="s__t", arguments={"of": call_id})


def wish(*ids: str) -> ModelAnswer:
    return ModelAnswer(text="", tool_calls=tuple(map(call, ids)))


def wished(*ids: str) -> Message:
    return Message(role=Role.ASSISTANT, tool_calls=tuple(map(call, ids)))


def answered(call_id: str, *, is_error: bool = False) -> Message:
    return Message(role=Role.TOOL, text=f"did {call_id}", call_id=call_id, is_error=is_error)


async def did(call: ToolCall) -> Message:
    return answered(call.call_id)


async def turned(
    model: ScriptedLanguageModel,
    history: Sequence[Message] = (ASK,),
    call_tool: CallTool = did,
    max_steps: int = 5,
) -> list[TurnEvent]:
    return [event async for event in run_turn(agent(max_steps), model, (), history, call_tool)]


async def test_an_answer_without_calls_ends_the_turn() -> None:
    usage = Usage(input_tokens=3, output_tokens=2)
    model = ScriptedLanguageModel([ModelAnswer(text="Hello you", usage=usage)])

    events = await turned(model)

    said = Message(role=Role.ASSISTANT, text="Hello you")
    assert "".join(event.text for event in events if isinstance(event, TurnText)) == "Hello you"
    assert events[-1] == StepFinished(message=said, usage=usage)
    assert model.requests[0].instructions == "Obey."
    assert model.requests[0].messages == (ASK,)


async def test_calls_of_one_step_run_side_by_side_and_are_told_in_their_order() -> None:
    arrived = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def meet(wanted: ToolCall) -> Message:
        """Ends only where both are under way; the first asked for is the last to end."""
        arrived[wanted.call_id].set()
        other = "b" if wanted.call_id == "a" else "a"
        await arrived[other].wait()
        if wanted.call_id == "a":
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return answered(wanted.call_id)

    model = ScriptedLanguageModel([wish("a", "b"), ModelAnswer(text="done")])
    async with asyncio.timeout(5):
        events = await turned(model, call_tool=meet)

    assert [event for event in events if isinstance(event, CallStarting | CallFinished)] == [
        CallStarting(call=call("a")),
        CallStarting(call=call("b")),
        CallFinished(call=call("a"), message=answered("a")),
        CallFinished(call=call("b"), message=answered("b")),
    ]
    assert model.requests[1].messages == (ASK, wished("a", "b"), answered("a"), answered("b"))


async def test_a_call_is_not_made_before_its_start_was_taken() -> None:
    made: list[str] = []

    async def make(wanted: ToolCall) -> Message:
        made.append(wanted.call_id)
        return answered(wanted.call_id)

    turn = run_turn(agent(), ScriptedLanguageModel([wish("a")]), (), [ASK], make)
    async for event in turn:
        if isinstance(event, CallStarting):
            break
    await turn.aclose()

    assert not made


async def test_a_call_that_fails_is_an_answer_the_model_can_react_to() -> None:
    async def fail(wanted: ToolCall) -> Message:
        return answered(wanted.call_id, is_error=True)

    model = ScriptedLanguageModel([wish("a"), ModelAnswer(text="It failed.")])
    events = await turned(model, call_tool=fail)

    assert model.requests[1].messages[-1] == answered("a", is_error=True)
    assert isinstance(events[-1], StepFinished)
    assert events[-1].message.text == "It failed."


async def test_a_turn_goes_on_after_its_finished_steps() -> None:
    model = ScriptedLanguageModel([ModelAnswer(text="done")])
    history = (ASK, wished("a"), answered("a"))

    events = await turned(model, history)

    assert not [event for event in events if isinstance(event, CallStarting)]
    assert [request.messages for request in model.requests] == [history]


async def test_only_calls_without_an_answer_are_made_on_resuming() -> None:
    model = ScriptedLanguageModel([ModelAnswer(text="done")])
    history = (ASK, wished("a", "b", "c"), answered("b"))

    events = await turned(model, history)

    starts = [event.call.call_id for event in events if isinstance(event, CallStarting)]
    assert starts == ["a", "c"]
    (request,) = model.requests
    assert request.messages == (*history[:2], answered("a"), answered("b"), answered("c"))


async def test_a_turn_whose_last_answer_is_there_asks_nobody() -> None:
    model = ScriptedLanguageModel([])

    assert not await turned(model, (ASK, Message(role=Role.ASSISTANT, text="done")))


@pytest.mark.parametrize("done", [0, 1, 3])
async def test_steps_are_limited_those_of_earlier_attempts_included(done: int) -> None:
    history = [ASK]
    for number in range(done):
        history += [wished(f"d{number}"), answered(f"d{number}")]
    model = ScriptedLanguageModel([wish(f"n{number}") for number in range(9)])

    with pytest.raises(TurnTooLong) as caught:
        await turned(model, history, max_steps=3)

    assert len(model.requests) == 3 - done
    assert caught.value.details == {"max_steps": 3}


async def test_steps_of_earlier_turns_do_not_count() -> None:
    history = [ASK, wished("a"), answered("a"), Message(role=Role.ASSISTANT, text="done"), ASK]
    model = ScriptedLanguageModel([ModelAnswer(text="again")])

    assert await turned(model, history, max_steps=1)


async def test_the_last_step_allowed_may_end_the_turn() -> None:
    model = ScriptedLanguageModel([wish("a"), ModelAnswer(text="done")])

    events = await turned(model, max_steps=2)

    assert isinstance(events[-1], StepFinished)


async def test_a_failing_model_is_not_asked_again() -> None:
    model = ScriptedLanguageModel([ModelUnavailable("away"), ModelAnswer(text="back")])

    with pytest.raises(Failure, match="away"):
        await turned(model)

    assert len(model.requests) == 1


async def test_a_cancelled_turn_cancels_its_calls() -> None:
    under_way, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_wanted: ToolCall) -> Message:
        under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    turn = asyncio.create_task(turned(ScriptedLanguageModel([wish("a")]), call_tool=hang))
    await under_way.wait()
    turn.cancel()
    await asyncio.wait({turn})

    assert turn.cancelled()
    assert cancelled.is_set()


@pytest.mark.parametrize(
    ("messages", "left"),
    [
        ((), ()),
        ((ASK,), ()),
        ((ASK, wished("a", "b")), ("a", "b")),
        ((ASK, wished("a", "b"), answered("a")), ("b",)),
        ((ASK, wished("a"), answered("a")), ()),
        ((ASK, wished("a"), ASK), ()),
        ((wished("old"), ASK, wished("a")), ("a",)),
    ],
)
def test_unanswered_calls_are_those_of_the_last_step(
    messages: tuple[Message, ...], left: tuple[str, ...]
) -> None:
    assert tuple(call.call_id for call in unanswered(messages)) == left


def test_an_agent_is_offered_its_own_tools() -> None:
    tools = [
        Tool(server="s", name=name, full_name=f"s__{name}", definition={"name": name})
        for name in ("one", "two")
    ]

    assert [offer.name for offer in offers(agent(tools=("s__two",)), tools)] == ["s__two"]
    assert [offer.name for offer in offers(agent(tools=("s__*",)), tools)] == ["s__one", "s__two"]
    assert not offers(agent(tools=()), tools)
