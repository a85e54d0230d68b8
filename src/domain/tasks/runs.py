"""Carrying out one attempt of a task: one tool call, or one turn of an agent."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from domain.model.callers import Caller, CallerId, Scope
from domain.model.conversations import Message
from domain.model.decisions import Question, Verdict
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

    def __init__(self, question: Question) -> None:
        super().__init__(question.reason)
        self.question = question


def unsure(call: Mapping[str, Any], reason: str) -> Indeterminate:
    """Whether a call had its effect is not known; `call` is the data of its TOOL_CALL event."""
    return Indeterminate(
        Question(
            call_id=call["call_id"],
            name=call.get("name"),
            server=call["server"],
            tool=call["tool"],
            arguments=call["arguments"],
            reason=reason,
        )
    )


INTERRUPTED = "The worker was lost while the call was under way."


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


def failed(reason: str, message: str) -> Finish:
    """The end of a task that failed."""
    error = TaskError(reason=reason, message=message)
    return Finish(outcome=Outcome(status=TaskStatus.FAILED, error=error))


def indeterminate(question: Question) -> Finish:
    """The end of a task whose call must not be repeated."""
    return failed(
        "indeterminate",
        f"Whether the call of {question.tool!r} had its effect is not known, and it must not be "
        f"repeated: {question.reason}",
    )


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


def outcome_of(plain: Mapping[str, Any]) -> Outcome:
    """The end of a tool task whose call was answered."""
    if not plain["is_error"]:
        return Outcome(status=TaskStatus.SUCCEEDED, result=plain)
    error = TaskError(reason="tool-error", message="The tool itself reports an error.")
    return Outcome(status=TaskStatus.FAILED, error=error, result=plain)


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
        elif event.kind is EventKind.DECISION:
            if event.data.get("decision") == Verdict.REPEAT:
                open_calls.pop(event.data["question"]["call_id"], None)
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
        call = {
            "call_id": "call",
            "server": payload.server,
            "tool": payload.tool,
            "arguments": payload.arguments,
        }
        events = await all_events(self._transactions, task)
        answers = [event.data for event in events if event.kind is EventKind.TOOL_RESULT]
        if answers:
            # Its worker was lost after the answer was recorded: only the task's end is missing.
            return Finish(outcome=outcome_of(answers[-1]["result"]))
        if calls_in_flight(events) and not self._repeatable(payload):
            raise unsure(call, INTERRUPTED)
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
            if not self._repeatable(payload):
                raise unsure(call, failure.message) from failure
            raise
        plain = as_json(result)
        told = {**call, "is_error": result.is_error, "result": plain}
        # The task ends with it: both are kept, or neither.
        recorder.hold_back(NewEvent(kind=EventKind.TOOL_RESULT, data=told))
        return Finish(outcome=outcome_of(plain))

    def _repeatable(self, payload: ToolPayload) -> bool:
        """Whether a second call does no further harm: as its caller says, else as is known."""
        if payload.idempotent is not None:
            return payload.idempotent
        return self._mcp.repeatable(payload.server, payload.tool)


RunOf = Mapping[type[ToolPayload | AgentPayload], Run]
