"""A call of unknown effect: where its caller wants that, a person says what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.model.callers import LOCAL, Caller, CallerId, Scope, ScopeMissing
from domain.model.conversations import Role, ToolCall
from domain.model.decisions import Decision, DecisionClosed, DecisionNotFound, Verdict
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    OnIndeterminate,
    TaskId,
    TaskStatus,
    ToolPayload,
)
from domain.ports.decisions import DecisionQuery
from domain.ports.models import ModelAnswer
from domain.tasks.carrier import Why
from domain.tasks.decisions import Decide, DecisionInvalid, DecisionService, GivenResult
from domain.tasks.service import SubmitTask
from tests.domain.agent_bench import AGENT, FROZEN, bench

pytestmark = pytest.mark.anyio

CALL = ToolCall(call_id="c1", name="s__act", arguments={"n": 1})
OTHER = ToolCall(call_id="c2", name="s__act", arguments={"n": 2})
TOOL = ToolPayload(server="s", tool="act", arguments={"n": 1})
STRANGER = Caller(id=CallerId("stranger"), scopes=frozenset({Scope.READ, Scope.TASKS}))
READER = Caller(id=LOCAL.id, scopes=frozenset({Scope.READ}))
REPEAT, FAIL = Decide(verdict=Verdict.REPEAT), Decide(verdict=Verdict.FAIL)
KNOWN = GivenResult(content=({"type": "text", "text": "it was sent"},))
DONE = Decide(verdict=Verdict.DONE, result=KNOWN)
STILL = msgspec.structs.replace(FROZEN, concurrency=1)
# It has what it can carry, and takes nothing more.


class Room:
    """A bench whose tool `act` hangs at its first calls, and answers from then on."""

    def __init__(self, *script: ModelAnswer, hangs: int = 1) -> None:
        self._hangs = hangs
        self.bench = bench(script, act=self._act)
        self.decisions = DecisionService(self.bench.store, self.bench.signals)

    async def _act(self, arguments: Mapping[str, Any]) -> str:
        self._hangs -= 1
        if self._hangs >= 0:
            await asyncio.Event().wait()
        return f"acted {arguments['n']}"

    async def open_decision(self) -> Decision:
        """The one that is open now."""
        page = await self.decisions.list(LOCAL, DecisionQuery(open=True))
        (decision,) = page.items
        return decision

    async def text_for_the_model(self, task_id: TaskId) -> list[str]:
        """What the turn's steps hold of its calls' answers."""
        return [
            message["text"]
            for event in await self.bench.events(task_id)
            if event.kind is EventKind.STEP
            for message in event.data["messages"]
            if message["role"] == Role.TOOL
        ]

    async def asked(self, task_id: TaskId, times: int = 1) -> Decision:
        """The decision that the task waits for, once it has asked so many times."""
        async with asyncio.timeout(10):
            async for event in self.bench.tasks.follow(LOCAL, task_id):
                times -= event.kind is EventKind.DECISION and event.data["state"] == "asked"
                if not times:
                    break
        return await self.open_decision()


@asynccontextmanager
async def interrupted(
    payload: ToolPayload | AgentPayload, *script: ModelAnswer, calls: int = 1, max_attempts: int = 3
) -> AsyncIterator[tuple[Room, TaskId]]:
    """A task that waits, its worker having stood still in mid-call, and a worker that works."""
    room = Room(*script, hangs=calls)
    async with room.bench.open():
        submit = SubmitTask(
            payload=payload, on_indeterminate=OnIndeterminate.ASK, max_attempts=max_attempts
        )
        task_id = (await room.bench.tasks.submit(LOCAL, submit)).task_id
        frozen = room.bench.worker("w", STILL)
        await frozen.start()
        await room.bench.desk.until(*["act"] * calls)
        try:
            async with room.bench.working("w"):
                await room.asked(task_id)
                yield room, task_id
        finally:
            for held in frozen._held.values():
                held.end(Why.LOST)
            await frozen.stop(timedelta())


def turn(*calls: ToolCall) -> tuple[AgentPayload, ModelAnswer, ModelAnswer]:
    """An agent's turn with these calls in one step."""
    wish = ModelAnswer(text="I act.", tool_calls=calls)
    return AgentPayload(agent=AGENT, message="Do it."), wish, ModelAnswer(text="done")


async def test_the_question_names_the_call() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        events = await room.bench.events(task_id)
    question = decision.question
    assert (decision.task_id, decision.owner) == (task_id, LOCAL.id)
    assert (question.server, question.tool, question.arguments) == ("s", "act", {"n": 1})
    assert "worker was lost" in question.reason
    assert events[-1].kind is EventKind.DECISION
    assert events[-1].data["decision_id"] == decision.decision_id
    assert events[-1].data["state"] == "asked"


async def test_a_call_that_may_be_repeated_is_made_again() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        closed = await room.decisions.decide(LOCAL, decision.decision_id, REPEAT)
        task = await room.bench.finished(task_id)
    assert (closed.decision, closed.decided_by) == (Verdict.REPEAT, LOCAL.id)
    assert (task.status, room.bench.desk.made) == (TaskStatus.SUCCEEDED, ["act", "act"])
    assert task.result["content"] == [{"type": "text", "text": "acted 1"}]


async def test_a_known_result_counts_as_the_calls_answer() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        await room.decisions.decide(LOCAL, decision.decision_id, DONE)
        task = await room.bench.finished(task_id)
        kinds = [event.kind for event in await room.bench.events(task_id)]
    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 2)
    assert task.result["content"] == [{"type": "text", "text": "it was sent"}]
    assert room.bench.desk.made == ["act"]
    assert kinds[-3:] == [EventKind.DECISION, EventKind.TOOL_RESULT, EventKind.DONE]


async def test_a_known_error_is_the_tools_own() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        refused = Decide(verdict=Verdict.DONE, result=GivenResult(is_error=True))
        await room.decisions.decide(LOCAL, decision.decision_id, refused)
        task = await room.bench.finished(task_id)
    assert task.error is not None
    assert (task.status, task.error.reason) == (TaskStatus.FAILED, "tool-error")


@pytest.mark.parametrize("payload", [TOOL, turn(CALL)[0]], ids=["tool", "agent"])
async def test_a_call_that_is_given_up_fails_its_task(payload: ToolPayload | AgentPayload) -> None:
    async with interrupted(payload, *turn(CALL)[1:]) as (room, task_id):
        decision = await room.open_decision()
        await room.decisions.decide(LOCAL, decision.decision_id, FAIL)
        task = await room.bench.finished(task_id)
        last = (await room.bench.events(task_id))[-1]
    assert task.error is not None
    assert (task.status, task.error.reason) == (TaskStatus.FAILED, "indeterminate")
    assert (last.kind, last.data["reason"]) == (EventKind.ERROR, "indeterminate")
    assert room.bench.desk.made == ["act"]


@pytest.mark.parametrize(
    ("decide", "text", "made"), [(REPEAT, "acted 1", 2), (DONE, "it was sent", 1)]
)
async def test_an_agents_run_goes_on_after_the_decision(
    decide: Decide, text: str, made: int
) -> None:
    async with interrupted(*turn(CALL)) as (room, task_id):
        decision = await room.open_decision()
        await room.decisions.decide(LOCAL, decision.decision_id, decide)
        task = await room.bench.finished(task_id)
        told = await room.text_for_the_model(task_id)
    assert (task.status, task.result["response"]) == (TaskStatus.SUCCEEDED, "done")
    (call,) = task.result["tool_calls"]
    assert (call["server"], call["tool"], call["arguments"]) == ("s", "act", {"n": 1})
    assert call["result"]["content"] == [{"type": "text", "text": text}]
    assert (told, len(room.bench.desk.made)) == ([text], made)


async def test_calls_side_by_side_are_asked_about_one_by_one() -> None:
    async with interrupted(*turn(CALL, OTHER), calls=2) as (room, task_id):
        first = await room.open_decision()
        await room.decisions.decide(LOCAL, first.decision_id, DONE)
        second = await room.asked(task_id, 2)
        await room.decisions.decide(LOCAL, second.decision_id, REPEAT)
        task = await room.bench.finished(task_id)
        told = await room.text_for_the_model(task_id)
    assert [first.question.call_id, second.question.call_id] == ["c1", "c2"]
    assert (task.status, told) == (TaskStatus.SUCCEEDED, ["it was sent", "acted 2"])


async def test_a_last_attempt_that_asked_may_be_made_once_more() -> None:
    async with interrupted(TOOL, max_attempts=2) as (room, task_id):
        decision = await room.open_decision()
        await room.decisions.decide(LOCAL, decision.decision_id, REPEAT)
        task = await room.bench.finished(task_id)
    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 3)


async def test_nobody_decides_twice() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        await room.decisions.decide(LOCAL, decision.decision_id, FAIL)
        with pytest.raises(DecisionClosed):
            await room.decisions.decide(LOCAL, decision.decision_id, REPEAT)
        await room.bench.finished(task_id)


async def test_a_cancelled_task_needs_no_decision_any_more() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        task = await room.bench.tasks.cancel(LOCAL, task_id)
        with pytest.raises(DecisionClosed):
            await room.decisions.decide(LOCAL, decision.decision_id, DONE)
        closed = await room.decisions.get(LOCAL, decision.decision_id)
    assert (task.status, closed.decision) == (TaskStatus.CANCELLED, Verdict.VOID)


async def test_a_decision_is_the_business_of_the_tasks_owner() -> None:
    async with interrupted(TOOL) as (room, task_id):
        decision = await room.open_decision()
        for act in (
            room.decisions.get(STRANGER, decision.decision_id),
            room.decisions.decide(STRANGER, decision.decision_id, REPEAT),
        ):
            with pytest.raises(DecisionNotFound):
                await act
        assert (await room.decisions.list(STRANGER, DecisionQuery())).items == ()
        with pytest.raises(ScopeMissing):
            await room.decisions.decide(READER, decision.decision_id, REPEAT)
        assert (await room.bench.tasks.get(LOCAL, task_id)).status is TaskStatus.WAITING


@pytest.mark.parametrize(
    ("decide", "path"),
    [
        (Decide(verdict=Verdict.REPEAT, result=KNOWN), "/result"),
        (Decide(verdict=Verdict.DONE, result=GivenResult(content=({},))), "/result/content/0"),
        (
            Decide(
                verdict=Verdict.DONE,
                result=GivenResult(content=({"type": "image"}, {"type": "text", "text": 5})),
            ),
            "/result/content/1",
        ),
    ],
)
async def test_an_answer_that_does_not_fit_changes_nothing(decide: Decide, path: str) -> None:
    async with interrupted(TOOL) as (room, _):
        decision = await room.open_decision()
        with pytest.raises(DecisionInvalid) as caught:
            await room.decisions.decide(LOCAL, decision.decision_id, decide)
        assert caught.value.details["path"] == path
        assert await room.open_decision() == decision
