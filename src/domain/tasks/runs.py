"""Carrying out one attempt of a task: one tool call, or one turn of an agent."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from domain.errors import Failure
from domain.model.callers import Caller, CallerId, Scope
from domain.model.conversations import Message
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    NewEvent,
    Outcome,
    Task,
    TaskError,
    TaskEvent,
    TaskId,
    TaskStatus,
    ToolPayload,
)
from domain.model.tools import CallInterrupted, CallTimedOut, ToolResult
from domain.orchestration.routing import LONGEST_CALL
from domain.orchestration.service import McpService
from domain.ports.storage import Transaction, Transactions
from domain.tasks.recorder import Recorder
from domain.tasks.stream import BATCH

RUN_SCOPES = frozenset({Scope.READ, Scope.CHAT, Scope.TOOLS})
# A task acts for its owner, who needed TASKS or CHAT to submit it; it never administers.


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, and the messages it adds to its conversation."""

    outcome: Outcome
    messages: tuple[Message, ...] = ()


class Indeterminate(Exception):
    """A call was under way when its worker died or its server broke; it must not be repeated."""


Run = Callable[[Task, Recorder], Awaitable[Finish]]
# Carries one attempt out; raises Failure where it failed, Indeterminate, StaleAttempt.


def runner_of(task: Task) -> Caller:
    """The caller on whose behalf the task acts.

    A turn's session is its conversation, or the turn itself where it stands alone: what servers
    keep for one they keep from the others.
    """
    payload = task.payload
    session = ""
    if isinstance(payload, AgentPayload):
        session = payload.conversation_id or task.task_id
    return Caller(id=CallerId(task.owner), scopes=RUN_SCOPES, session=session)


def failed(reason: str, message: str, result: Any = None) -> Finish:
    """The end of a task that failed."""
    error = TaskError(reason=reason, message=message)
    return Finish(outcome=Outcome(status=TaskStatus.FAILED, error=error, result=result))


def as_json(result: ToolResult) -> dict[str, Any]:
    """A result as plain JSON values, for rows and events."""
    plain: dict[str, Any] = {
        "content": msgspec.json.decode(result.content),
        "is_error": result.is_error,
        "duration_ms": result.duration_ms,
    }
    if result.structured_content is not None:
        plain["structured_content"] = msgspec.json.decode(result.structured_content)
    return plain


async def all_events(transactions: Transactions, task: Task) -> tuple[TaskEvent, ...]:
    """What earlier attempts recorded, in order; empty for a first attempt."""
    if task.attempt <= 1:
        return ()
    async with transactions.read() as transaction:
        return await events_of(transaction, task.task_id)


async def events_of(transaction: Transaction, task_id: TaskId) -> tuple[TaskEvent, ...]:
    """All that is recorded of a task, in order."""
    events: list[TaskEvent] = []
    while batch := await transaction.tasks.events(task_id, events[-1].seq if events else 0, BATCH):
        events.extend(batch)
    return tuple(events)


def calls_in_flight(events: tuple[TaskEvent, ...]) -> tuple[Mapping[str, Any], ...]:
    """The data of calls that began and of whose end nothing is recorded."""
    open_calls: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event.kind is EventKind.TOOL_CALL:
            open_calls[event.data["call_id"]] = event.data
        elif event.kind is EventKind.TOOL_RESULT:
            open_calls.pop(event.data["call_id"], None)
        elif event.kind is EventKind.RETRY:
            open_calls.clear()  # the attempt ended by itself and knew that a repeat is harmless
    return tuple(open_calls.values())


class ToolRun:
    """One tool call."""

    def __init__(self, mcp: McpService, transactions: Transactions) -> None:
        self._mcp = mcp
        self._transactions = transactions

    async def __call__(self, task: Task, recorder: Recorder) -> Finish:
        payload = task.payload
        assert isinstance(payload, ToolPayload)  # noqa: S101 - the task's type says so
        events = await all_events(self._transactions, task)
        answers = [event.data for event in events if event.kind is EventKind.TOOL_RESULT]
        if answers:
            # Its worker was lost after the answer was recorded: only the task's end is missing.
            return _ended_with(answers[-1]["result"])
        if calls_in_flight(events) and not self.repeatable(payload):
            raise Indeterminate(f"{payload.server}/{payload.tool}")
        call = {
            "call_id": "call",
            "server": payload.server,
            "tool": payload.tool,
            "arguments": payload.arguments,
        }
        await recorder.record(NewEvent(kind=EventKind.TOOL_CALL, data=call))
        try:
            result = await self._mcp.call_tool(
                runner_of(task),
                payload.server,
                payload.tool,
                payload.arguments,
                timeout=LONGEST_CALL,
                progress=recorder.progress,
            )
        except (CallTimedOut, CallInterrupted) as failure:
            if not self.repeatable(payload):
                raise Indeterminate(failure.message) from failure
            raise
        plain = as_json(result)
        told = {**call, "is_error": result.is_error, "result": plain}
        await recorder.record(NewEvent(kind=EventKind.TOOL_RESULT, data=told))
        return _ended_with(plain)

    def repeatable(self, payload: ToolPayload) -> bool:
        """Whether a second call does no further harm: as its caller says, else its tool."""
        if payload.idempotent is not None:
            return payload.idempotent
        return any(
            tool.repeatable
            for tool in self._mcp.known_tools(payload.server)
            if tool.name == payload.tool
        )


def _ended_with(result: Mapping[str, Any]) -> Finish:
    if result["is_error"]:
        return failed("tool-error", "The tool itself reports an error.", result)
    return Finish(outcome=Outcome(status=TaskStatus.SUCCEEDED, result=result))


def retry_delay(task: Task, failure: Failure) -> timedelta:
    """How long to wait before the next attempt: 1, 2, 4 s ..., at most a minute."""
    own = timedelta(seconds=min(60, 1 << min(task.attempt - 1, 6)))
    asked = getattr(failure, "retry_after", None)
    return max(own, asked) if isinstance(asked, timedelta) else own


RunOf = Mapping[type[ToolPayload | AgentPayload], Run]
