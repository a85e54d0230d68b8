"""An agent's task: its steps are recorded, and whoever takes it up goes on after them."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.chat import SendMessage
from domain.model.agents import AgentLimits
from domain.model.callers import LOCAL
from domain.model.conversations import ConversationBusy, ConversationId, Message, Role, ToolCall
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    StaleAttempt,
    Task,
    TaskId,
    TaskStatus,
    ToolPayload,
)
from domain.ports.models import ModelAnswer, ModelRefused, ModelUnavailable, Usage
from domain.tasks.agent_run import AgentRun
from domain.tasks.carrier import Why
from domain.tasks.group import GroupWriter
from domain.tasks.recorder import Patience, Recorder
from domain.tasks.runs import runner_of
from domain.tasks.service import SubmitTask
from tests.domain.agent_bench import AGENT, FROZEN, AgentBench, bench

pytestmark = pytest.mark.anyio

CALL = ToolCall(call_id="c1", name="s__act", arguments={"n": 1})
OTHER = ToolCall(call_id="c2", name="s__hang", arguments={})
WISH = ModelAnswer(text="I act.", tool_calls=(CALL,), usage=Usage(input_tokens=5, output_tokens=1))
END = ModelAnswer(text="done", usage=Usage(input_tokens=7, output_tokens=2))


async def act(_arguments: Mapping[str, Any]) -> str:
    return "acted"


async def hang(_arguments: Mapping[str, Any]) -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def submitted(
    bench: AgentBench, conversation_id: ConversationId | None = None, **options: Any
) -> TaskId:
    payload = AgentPayload(agent=AGENT, message="Do it.", conversation_id=conversation_id)
    return (await bench.tasks.submit(LOCAL, SubmitTask(payload=payload, **options))).task_id


async def test_a_turns_session_is_its_conversation_or_itself() -> None:
    async with bench([END, END]).open() as room, room.working():
        conversation = await room.conversation()
        talking = await room.finished(await submitted(room, conversation))
        alone = await room.finished(await submitted(room))

    assert runner_of(talking).session == conversation
    assert runner_of(alone).session == alone.task_id
    payload = ToolPayload(server="s", tool="act")
    assert runner_of(msgspec.structs.replace(alone, payload=payload)).session == ""


async def taken_over(bench: AgentBench, task_id: TaskId, after: EventKind) -> Task:
    """The end of a task whose first worker stands still after its first event of a kind."""
    frozen = bench.worker("w", FROZEN)
    await frozen.start()
    await bench.until_event(task_id, after)
    async with bench.working("w"):
        task = await bench.finished(task_id)
    for held in frozen._held.values():
        held.end(Why.LOST)
    await frozen.stop(timedelta())
    return task


async def test_every_step_is_recorded_and_the_conversation_grows_at_the_end() -> None:
    async with bench([WISH, END], act=act).open() as room, room.working():
        conversation = await room.conversation()
        task = await room.finished(await submitted(room, conversation))
        kinds = [event.kind for event in await room.events(task.task_id)]
        said = await room.said(conversation)

    assert task.status is TaskStatus.SUCCEEDED
    assert task.result["response"] == "done"
    assert task.result["usage"] == {"input_tokens": 12, "output_tokens": 3}
    (call,) = task.result["tool_calls"]
    assert (call["server"], call["tool"], call["is_error"]) == ("s", "act", False)
    assert [kind for kind in kinds if kind is not EventKind.TEXT] == [
        EventKind.START,
        EventKind.STEP,
        EventKind.TOOL_CALL,
        EventKind.STEP,
        EventKind.TOOL_RESULT,
        EventKind.STEP,
        EventKind.DONE,
    ]
    assert said == [
        Message(role=Role.USER, text="Do it."),
        Message(role=Role.ASSISTANT, text="I act.", tool_calls=(CALL,)),
        Message(role=Role.TOOL, text="acted", call_id="c1"),
        Message(role=Role.ASSISTANT, text="done"),
    ]


async def test_the_conversation_holds_nothing_of_a_turn_under_way() -> None:
    script = [WISH, ModelAnswer(text="", tool_calls=(OTHER,))]
    async with bench(script, act=act, hang=hang).open() as room, room.working():
        conversation = await room.conversation()
        task_id = await submitted(room, conversation)
        await room.until_event(task_id, EventKind.TOOL_RESULT)
        assert await room.said(conversation) == [Message(role=Role.USER, text="Do it.")]
        await room.tasks.cancel(LOCAL, task_id)
        await room.finished(task_id)


async def test_the_next_attempt_goes_on_after_the_recorded_steps() -> None:
    """The first worker stands still in its second call; that one may be made again."""
    waiting = asyncio.Event()
    times = 0

    async def slow_once(_arguments: Mapping[str, Any]) -> str:
        nonlocal times
        times += 1
        if times == 1:
            await waiting.wait()
        return "slept"

    wish = ModelAnswer(text="", tool_calls=(OTHER,))
    room = bench([WISH, wish, END], ["hang"], act=act, hang=slow_once)
    async with room.open():
        conversation = await room.conversation()
        task_id = await submitted(room, conversation)
        frozen = room.worker("w", FROZEN)
        await frozen.start()
        await room.desk.until("act", "hang")
        async with room.working("w"):
            task = await room.finished(task_id)
            waiting.set()
            await frozen.stop(timedelta(seconds=1))
        said = await room.said(conversation)

    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 2)
    assert room.desk.made == ["act", "hang", "hang"]
    assert [message.text for message in said] == ["Do it.", "I act.", "acted", "", "slept", "done"]
    assert [call["tool"] for call in task.result["tool_calls"]] == ["act", "hang"]
    assert task.result["usage"] == {"input_tokens": 12, "output_tokens": 3}


async def test_a_call_in_flight_that_must_not_be_repeated_ends_the_task() -> None:
    wish = ModelAnswer(text="", tool_calls=(OTHER,))
    async with bench([wish, END], hang=hang).open() as room:
        task = await taken_over(room, await submitted(room), EventKind.TOOL_CALL)

    assert task.error is not None
    assert (task.status, task.error.reason) == (TaskStatus.FAILED, "indeterminate")
    assert room.desk.made in (["hang"], [])


@pytest.mark.parametrize("kind", ["agent", "tool"])
async def test_a_handed_back_call_that_must_not_be_repeated_ends_the_task(kind: str) -> None:
    """A draining worker is a worker that is gone, as far as the call's effect is known."""
    wish = ModelAnswer(text="", tool_calls=(OTHER,))
    async with bench([wish, END], hang=hang).open() as room:
        if kind == "agent":
            task_id = await submitted(room)
        else:
            tool = SubmitTask(payload=ToolPayload(server="s", tool="hang"))
            task_id = (await room.tasks.submit(LOCAL, tool)).task_id
        async with room.working():
            await room.desk.until("hang")
        assert (await room.tasks.get(LOCAL, task_id)).status is TaskStatus.QUEUED
        async with room.working():
            task = await room.finished(task_id)

    assert task.error is not None
    assert task.error.reason == "indeterminate"
    assert room.desk.made == ["hang"]


async def test_a_cancelled_turn_leaves_its_finished_steps_without_open_calls() -> None:
    second = ModelAnswer(text="Two.", tool_calls=(OTHER,))
    async with bench([WISH, second], act=act, hang=hang).open() as room, room.working():
        conversation = await room.conversation()
        task_id = await submitted(room, conversation)
        await room.desk.until("act", "hang")
        await room.tasks.cancel(LOCAL, task_id)
        task = await room.finished(task_id)
        said = await room.said(conversation)

    assert task.status is TaskStatus.CANCELLED
    assert [(message.role, message.text) for message in said] == [
        (Role.USER, "Do it."),
        (Role.ASSISTANT, "I act."),
        (Role.TOOL, "acted"),
    ]


async def test_a_turn_cancelled_between_two_attempts_leaves_its_finished_steps_too() -> None:
    async with bench([WISH, ModelUnavailable("away")], act=act).open() as room:
        conversation = await room.conversation()
        task_id = await submitted(room, conversation)
        async with room.working():
            await room.until_event(task_id, EventKind.RETRY)
        task = await room.tasks.cancel(LOCAL, task_id)
        said = await room.said(conversation)

    assert task.status is TaskStatus.CANCELLED
    assert [message.text for message in said] == ["Do it.", "I act.", "acted"]


async def test_a_failing_model_ends_a_chat_at_once_and_a_submitted_task_later() -> None:
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(
            bench([ModelUnavailable("away"), ModelUnavailable("away"), END]).open()
        )
        worker = await stack.enter_async_context(room.working())
        send = SendMessage(message="Hello", agent=AGENT)
        asked = await room.finished((await room.chats(worker).send(LOCAL, send)).task_id)
        kept = await room.finished(await submitted(room))

    assert asked.error is not None
    assert (asked.status, asked.attempt) == (TaskStatus.FAILED, 1)
    assert asked.error.reason == "unavailable"
    assert (kept.status, kept.attempt) == (TaskStatus.SUCCEEDED, 2)


async def test_a_refusing_model_is_not_asked_again() -> None:
    async with bench([ModelRefused("no such model"), END]).open() as room, room.working():
        task = await room.finished(await submitted(room))

    assert task.error is not None
    assert (task.attempt, task.error.reason) == (1, "model-refused")


@pytest.mark.parametrize(
    "limits", [AgentLimits(max_steps=1), AgentLimits(turn_timeout=timedelta(seconds=0.2))]
)
async def test_a_turn_at_its_limits_ends_for_good_and_leaves_what_it_did(
    limits: AgentLimits,
) -> None:
    both = ModelAnswer(text="", tool_calls=(OTHER,))
    room = bench([WISH, both, END], act=act, hang=hang)
    room._limits = limits
    async with room.open(), room.working():
        conversation = await room.conversation()
        task = await room.finished(await submitted(room, conversation))
        said = [message.text for message in await room.said(conversation)]

    assert task.error is not None
    assert (task.attempt, task.error.reason) == (1, "turn-limit")
    assert said == (["Do it."] if limits.max_steps == 1 else ["Do it.", "I act.", "acted"])


async def test_a_second_turn_of_a_conversation_is_refused() -> None:
    wish = ModelAnswer(text="", tool_calls=(OTHER,))
    async with bench([wish], hang=hang).open() as room, room.working():
        conversation = await room.conversation()
        task_id = await submitted(room, conversation)
        with pytest.raises(ConversationBusy):
            await submitted(room, conversation)
        assert len(await room.said(conversation)) == 1
        await room.tasks.cancel(LOCAL, task_id)
        await room.finished(task_id)


async def test_a_tool_that_the_agent_may_not_use_is_an_answer_and_no_call() -> None:
    script = [ModelAnswer(text="", tool_calls=(CALL,)), END]
    async with bench(script, act=act).open() as room, room.working():
        async with room.store.begin() as transaction:
            agent = await transaction.agents.get(AGENT)
            other = msgspec.structs.replace(agent, tools=("s__other",))
            await transaction.agents.replace(other)
        task = await room.finished(await submitted(room))

    assert task.status is TaskStatus.SUCCEEDED
    assert task.result["tool_calls"][0]["is_error"] is True
    assert room.desk.made == []


async def test_a_turn_whose_conversation_is_gone_meanwhile_ends_without_one() -> None:
    room = bench([ModelAnswer(text="Hello?")])
    async with room.open():
        conversation_id = await room.conversation()
        payload = AgentPayload(agent=AGENT, message="Hi.", conversation_id=conversation_id)
        task = await room.tasks.submit(LOCAL, SubmitTask(payload=payload))
        async with room.store.begin() as transaction:
            await transaction.conversations.remove(conversation_id)
        async with room.working():
            ended = await room.finished(task.task_id)

    assert ended.status is TaskStatus.FAILED
    assert ended.error is not None
    assert ended.error.reason == "not-found"


async def test_a_turn_that_another_attempt_has_ended_is_not_begun_again() -> None:
    room = bench([ModelAnswer(text="Hello.")])
    async with room.open(), room.working():
        conversation_id = await room.conversation()
        payload = AgentPayload(agent=AGENT, message="Hi.", conversation_id=conversation_id)
        task = await room.tasks.submit(LOCAL, SubmitTask(payload=payload))
        ended = await room.finished(task.task_id)
        frozen = msgspec.structs.replace(ended, attempt=1)
        patience = Patience(tries=1, pause=timedelta())
        recorder = Recorder(frozen, room.store, GroupWriter(room.store), room.signals, patience)
        with pytest.raises(StaleAttempt):
            await AgentRun(room.mcp, room.models, room.store)(frozen, recorder)
