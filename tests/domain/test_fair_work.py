"""Caps and places as callers and workers meet them."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from domain.agents import Models
from domain.chat import SendMessage
from domain.model.callers import LOCAL, Caller, CallerId, Scope
from domain.model.conversations import ToolCall
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    TaskStatus,
    ToolPayload,
    model_lane,
    server_lane,
)
from domain.ports.models import ModelAnswer
from domain.tasks.service import SubmitTask, TaskInvalid
from tests.domain.agent_bench import AGENT, AgentBench, bench

pytestmark = pytest.mark.anyio

END = ModelAnswer(text="done")
HANG = ModelAnswer(text="", tool_calls=(ToolCall(call_id="c", name="s__hang", arguments={}),))
TOOL = ToolPayload(server="s", tool="hang")
OTHER = Caller(id=CallerId("other"), scopes=frozenset({Scope.READ, Scope.TASKS}))


class Gate:
    """A tool that answers once it is let go; `most` is how many calls waited at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.inside = self.most = 0

    async def __call__(self, _arguments: Mapping[str, Any]) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.go.wait()
        self.inside -= 1
        return "went"


async def test_a_worker_takes_no_more_of_a_lane_than_its_cap() -> None:
    gate = Gate()
    room = bench([], hang=gate)
    async with room.open():
        tasks = [await room.tasks.submit(LOCAL, SubmitTask(payload=TOOL)) for _ in range(5)]
        assert {task.lane for task in tasks} == {server_lane("s")}
        caps = {server_lane("s"): 2}
        async with room.working("w", caps), room.working("v", caps):
            await room.desk.until("hang", "hang")
            gate.go.set()
            for task in tasks:
                await room.finished(task.task_id)
    assert gate.most == 2


async def test_a_message_waits_in_line_where_its_model_is_busy() -> None:
    gate = Gate()
    room = bench([HANG, END, END], hang=gate)
    caps = {model_lane(room.models.first_name(None)): 1}
    async with room.open(), room.working("w", caps) as worker:
        chats = room.chats(worker)
        hello = SendMessage(message="Hello", agent=AGENT)
        first = await chats.send(LOCAL, hello)
        await room.desk.until("hang")
        second = await chats.send(LOCAL, hello)
        assert (first.status, second.status) == (TaskStatus.RUNNING, TaskStatus.QUEUED)
        assert (await room.tasks.get(LOCAL, second.task_id)).queue_position == 1
        gate.go.set()
        for task in (first, second):
            assert (await room.finished(task.task_id)).status is TaskStatus.SUCCEEDED


async def test_a_message_of_another_lane_does_not_wait() -> None:
    room = bench([END])
    async with room.open(), room.working("w", {server_lane("s"): 1}) as worker:
        task = await room.chats(worker).send(LOCAL, SendMessage(message="Hello", agent=AGENT))
        assert task.status is TaskStatus.RUNNING
        await room.finished(task.task_id)


def test_a_model_has_one_lane_whichever_of_its_names_is_asked_for() -> None:
    small, large = ScriptedLanguageModel(()), ScriptedLanguageModel(())
    models = Models(small, {"cheap": small, "large": large})
    names = {name: models.first_name(name) for name in (None, small.name, "cheap", "large", "x")}
    assert names == {
        None: small.name,
        small.name: small.name,
        "cheap": small.name,
        "large": "large",
        "x": "x",
    }


async def test_an_agents_lane_is_the_model_it_would_ask_now() -> None:
    room = bench([])
    async with room.open():
        own = AgentPayload(agent=AGENT, message="Hello")
        other = AgentPayload(agent=AGENT, message="Hello", model="elsewhere")
        lanes = [
            (await room.tasks.submit(LOCAL, SubmitTask(payload=payload))).lane
            for payload in (own, other)
        ]
    assert lanes == [model_lane(room.models.default.name), model_lane("elsewhere")]


async def test_a_submitted_task_knows_its_place() -> None:
    room = bench([])
    async with room.open():
        for _ in range(3):
            await room.tasks.submit(LOCAL, SubmitTask(payload=TOOL))
        mine = await room.tasks.submit(OTHER, SubmitTask(payload=TOOL))
        later = SubmitTask(payload=TOOL, delay=timedelta(hours=1))
        delayed = await room.tasks.submit(LOCAL, later)
        urgent = await room.tasks.submit(LOCAL, SubmitTask(payload=TOOL, priority=1))
        assert [task.queue_position for task in (mine, delayed, urgent)] == [2, None, 1]
        assert (await room.tasks.get(OTHER, mine.task_id)).queue_position == 3


@pytest.mark.parametrize(
    ("deadline", "delay"),
    [(60, 60), (60, 3600), (0, 0), (-1, 0)],
)
async def test_a_deadline_that_cannot_be_kept_is_refused(deadline: int, delay: int) -> None:
    room = bench([])
    submit = SubmitTask(
        payload=TOOL, deadline=timedelta(seconds=deadline), delay=timedelta(seconds=delay)
    )
    async with room.open():
        with pytest.raises(TaskInvalid) as caught:
            await room.tasks.submit(LOCAL, submit)
    assert caught.value.details == {"path": "/deadline_s"}


async def test_a_call_that_an_operator_calls_idempotent_is_repeated() -> None:
    gate = Gate()
    room = AgentBench(ScriptedLanguageModel(()), {"hang": gate}, idempotent=("hang",))
    async with room.open():
        task = await room.tasks.submit(LOCAL, SubmitTask(payload=TOOL))
        async with room.working("w"):
            await room.desk.until("hang")
        gate.go.set()
        async with room.working("w"):
            ended = await room.finished(task.task_id)
        kinds = [event.kind for event in await room.events(task.task_id)]
    assert (ended.status, ended.attempt) == (TaskStatus.SUCCEEDED, 2)
    assert kinds.count(EventKind.TOOL_CALL) == 2
