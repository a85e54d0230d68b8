"""A store that pauses while a call's answer is recorded: the call is made once all the same."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from domain.model.callers import LOCAL
from domain.model.conversations import ToolCall
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    Hold,
    NewEvent,
    TaskId,
    TaskStatus,
    ToolPayload,
    WorkerId,
)
from domain.ports.models import ModelAnswer
from domain.tasks.group import GroupWriter
from domain.tasks.recorder import Patience, Recorder
from domain.tasks.service import SubmitTask
from tests.domain.agent_bench import AGENT, LIMITS, AgentBench, bench

pytestmark = pytest.mark.anyio

CALL = ToolCall(call_id="c1", name="s__act", arguments={})
WISH = ModelAnswer(text="I act.", tool_calls=(CALL,))
END = ModelAnswer(text="done")
TOOL = ToolPayload(server="s", tool="act")
TURN = AgentPayload(agent=AGENT, message="Do it.")


async def submitted(room: AgentBench, payload: ToolPayload | AgentPayload) -> TaskId:
    return (await room.tasks.submit(LOCAL, SubmitTask(payload=payload))).task_id


@pytest.mark.parametrize("fault", ["refused", "unacknowledged"])
@pytest.mark.parametrize("kind", ["agent", "tool"])
async def test_a_call_is_made_once_though_the_store_fails_when_its_answer_is_recorded(
    kind: str, fault: str
) -> None:
    room = bench([WISH, END])

    async def act_then_fail(_arguments: Mapping[str, Any]) -> str:
        setattr(room.faulty, fault, 2)
        return "acted"

    room.desk._tools = {"act": act_then_fail}
    async with room.open(), room.working():
        task_id = await submitted(room, TURN if kind == "agent" else TOOL)
        task = await room.finished(task_id)
        kinds = [event.kind for event in await room.events(task_id)]

    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 1)
    assert room.desk.made == ["act"]
    assert kinds.count(EventKind.TOOL_RESULT) == 1
    assert kinds.count(EventKind.STEP) == (3 if kind == "agent" else 0)


async def test_a_call_is_not_repeated_though_the_store_fails_for_long() -> None:
    room = bench([])

    async def act_then_fail(_arguments: Mapping[str, Any]) -> str:
        room.faulty.refused = LIMITS.finish_tries
        return "acted"

    room.desk._tools = {"act": act_then_fail}
    async with room.open():
        task_id = await submitted(room, TOOL)
        worker = room.worker()
        await worker.start()
        await room.desk.until("act")
        await worker.stop(timedelta(seconds=5))
        assert (await room.tasks.get(LOCAL, task_id)).status is TaskStatus.RUNNING
        async with room.working():
            task = await room.finished(task_id)

    assert task.error is not None
    assert task.error.reason == "indeterminate"
    assert room.desk.made == ["act"]


async def test_a_call_whose_answer_is_recorded_is_not_made_again_by_the_next_worker() -> None:
    async def act(_arguments: Mapping[str, Any]) -> str:
        return "acted again"

    room = bench([], act=act)
    result = {"content": [{"type": "text", "text": "acted"}], "is_error": False}
    call = {"call_id": "call", "server": "s", "tool": "act", "arguments": {}}
    async with room.open():
        task_id = await submitted(room, TOOL)
        async with room.store.begin() as transaction:
            await transaction.queue.claim(WorkerId("lost"), timedelta(), 1)
            hold = Hold(task_id=task_id, attempt=1)
            await transaction.queue.record(
                hold,
                (
                    NewEvent(kind=EventKind.TOOL_CALL, data=call),
                    NewEvent(kind=EventKind.TOOL_RESULT, data={**call, "result": result}),
                ),
            )
        async with room.working():
            task = await room.finished(task_id)

    assert (task.status, task.attempt, task.result) == (TaskStatus.SUCCEEDED, 2, result)
    assert not room.desk.made


async def test_no_attempt_begins_twice_though_the_store_does_not_tell_that_it_recorded_it() -> None:
    room = bench([])
    start = NewEvent(kind=EventKind.START, data={})
    async with room.open():
        task_id = await submitted(room, TOOL)
        for attempt in (1, 2):
            async with room.store.begin() as transaction:
                (task,) = await transaction.queue.claim(WorkerId("lost"), timedelta(), 1)
            assert task.attempt == attempt
            writer, patience = GroupWriter(room.faulty), Patience(tries=2, pause=timedelta())
            recorder = Recorder(task, room.faulty, writer, room.signals, patience)
            room.faulty.unacknowledged = 1
            await recorder.record(start)
            await recorder.record(NewEvent(kind=EventKind.TOOL_CALL, data={"call_id": "call"}))
        events = await room.events(task_id)

    assert [(event.attempt, event.kind) for event in events] == [
        (attempt, kind) for attempt in (1, 2) for kind in (EventKind.START, EventKind.TOOL_CALL)
    ]
