"""One turn of an agent as a run: each finished step is recorded, so that a next attempt goes on."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec

from domain.agents import Models
from domain.errors import Failure
from domain.model.agents import Agent
from domain.model.conversations import ConversationNotFound, Message, Role, ToolCall
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskError,
    TaskEvent,
    TaskStatus,
    TurnStep,
)
from domain.model.tools import ToolNotFound
from domain.orchestration.routing import LONGEST_CALL
from domain.orchestration.service import McpService
from domain.ports.models import LanguageModel, ModelRefused, Usage
from domain.ports.storage import Transaction, Transactions
from domain.tasks.recorder import Recorder
from domain.tasks.runs import (
    INTERRUPTED,
    Finish,
    all_events,
    as_json,
    calls_in_flight,
    failed,
    runner_of,
    unsure,
)
from domain.tasks.steps import answered, shown, step, without_open_calls
from domain.turn import (
    CallFinished,
    CallStarting,
    StepFinished,
    TurnText,
    TurnTooLong,
    in_order,
    offers,
    run_turn,
)

FIRST_LISTS = timedelta(seconds=3)
# Who has just added a server means its tools to be used; one that hangs must not hold up a turn.
CALL_KEYS = ("server", "tool", "arguments", "is_error", "result")
# What an answer tells of each call that it rests on.


class AgentRun:
    """One turn of an agent."""

    def __init__(self, mcp: McpService, models: Models, transactions: Transactions) -> None:
        self._mcp = mcp
        self._models = models
        self._transactions = transactions

    async def __call__(self, task: Task, recorder: Recorder) -> Finish:
        payload = task.payload
        assert isinstance(payload, AgentPayload)  # noqa: S101 - the task's type says so
        events = await all_events(self._transactions, task)
        self._refuse_repeats(events)
        async with self._transactions.read() as transaction:
            agent = await transaction.agents.get(payload.agent)
            history = await _history(transaction, task, payload)
        model = self._models.get(payload.model or agent.model)
        turn = _Turn(task, agent, model, recorder, self._mcp, events)
        try:
            await turn.run(history)
        except TurnTooLong as failure:
            # Another attempt would go the same way.
            return turn.given_up(failure)
        except ModelRefused as failure:
            # What is wrong is between this system and the model, not the caller's words.
            return failed("model-refused", failure.message)
        return turn.finish()

    def _refuse_repeats(self, events: tuple[TaskEvent, ...]) -> None:
        for call in calls_in_flight(events):
            if not self._mcp.repeatable(call["server"] or "", call["tool"]):
                raise unsure(call, INTERRUPTED)


async def _history(
    transaction: Transaction, task: Task, payload: AgentPayload
) -> tuple[Message, ...]:
    """What was said up to the message to answer. Raises StaleAttempt where that was done."""
    if payload.conversation_id is None:
        return (Message(role=Role.USER, text=payload.message),)
    stored = await transaction.conversations.messages(payload.conversation_id)
    if not stored:
        raise ConversationNotFound(
            f"There is no conversation {payload.conversation_id!r}.",
            conversation_id=payload.conversation_id,
        )
    last = stored[-1]
    if last.task_id != task.task_id or last.message.role is not Role.USER:
        raise StaleAttempt(
            f"Another attempt has ended the turn of the task {task.task_id!r}.",
            task_id=task.task_id,
            attempt=task.attempt,
        )
    return tuple(entry.message for entry in stored)


class _Turn:
    """The turn under way: what it recorded before and since."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        task: Task,
        agent: Agent,
        model: LanguageModel,
        recorder: Recorder,
        mcp: McpService,
        events: tuple[TaskEvent, ...],
    ) -> None:
        self._task = task
        self._agent = agent
        self._model = model
        self._recorder = recorder
        self._mcp = mcp
        steps = [
            msgspec.convert(event.data, TurnStep)
            for event in events
            if event.kind is EventKind.STEP
        ]
        self._messages = [message for step in steps for message in step.messages]
        self._input_tokens = sum(step.input_tokens for step in steps)
        self._output_tokens = sum(step.output_tokens for step in steps)
        self._calls = [
            {key: event.data[key] for key in CALL_KEYS}
            for event in events
            if event.kind is EventKind.TOOL_RESULT
        ]
        self._results: dict[str, dict[str, Any]] = {}

    async def run(self, history: tuple[Message, ...]) -> None:
        """Go on after the recorded steps, to the turn's end. Raises TurnTooLong."""
        longest = self._agent.limits.turn_timeout
        try:
            async with asyncio.timeout(longest.total_seconds()) as timer:
                await self._run(history)
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise TurnTooLong(f"The turn was ended after {longest.total_seconds():g} s.") from error

    async def _run(self, history: tuple[Message, ...]) -> None:
        tools = offers(self._agent, await self._mcp.tools_soon(FIRST_LISTS))
        turn = run_turn(self._agent, self._model, tools, (*history, *self._messages), self._call)
        async with aclosing(turn) as events:
            async for event in events:
                match event:
                    case TurnText(text=text):
                        self._recorder.text(text)
                    case StepFinished(message=message, usage=usage):
                        await self._step(message, usage)
                    case CallStarting(call=call):
                        await self._recorder.record(
                            NewEvent(kind=EventKind.TOOL_CALL, data=self._named(call))
                        )
                    case CallFinished(call=call, message=message):
                        await self._answered(call, message)

    async def _step(self, message: Message, usage: Usage, *more: NewEvent) -> None:
        self._messages.append(message)
        self._input_tokens += usage.input_tokens
        self._output_tokens += usage.output_tokens
        await self._recorder.record(step(message, usage), *more)

    async def _answered(self, call: ToolCall, message: Message) -> None:
        result = answered(self._named(call), message, self._results.pop(call.call_id))
        self._calls.append({key: result.data[key] for key in CALL_KEYS})
        await self._step(message, Usage(), result)

    async def _call(self, call: ToolCall) -> Message:
        """Call the tool; a failure is an answer that the model can react to."""
        try:
            if not self._agent.may_use(call.name):
                raise ToolNotFound(f"There is no tool {call.name!r}.", tool=call.name)
            tool = self._mcp.find(call.name)
            result = await self._mcp.call_tool(
                runner_of(self._task),
                tool.server,
                tool.name,
                call.arguments,
                timeout=min(LONGEST_CALL, self._agent.limits.turn_timeout),
                progress=self._recorder.progress,
            )
        except Failure as failure:
            text, is_error = failure.message, True
            plain: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
        else:
            plain, is_error = as_json(result), result.is_error
            text = shown(plain)
        self._results[call.call_id] = plain
        return Message(role=Role.TOOL, text=text, call_id=call.call_id, is_error=is_error)

    def _named(self, call: ToolCall) -> dict[str, Any]:
        try:
            tool = self._mcp.find(call.name)
        except ToolNotFound:
            server, name = None, call.name
        else:
            server, name = tool.server, tool.name
        return {
            "call_id": call.call_id,
            "name": call.name,
            "server": server,
            "tool": name,
            "arguments": call.arguments,
        }

    def finish(self) -> Finish:
        """The turn's result, and the messages that its conversation gains."""
        result = {
            "response": self._messages[-1].text,
            "conversation_id": self._task.conversation_id,
            "agent": self._agent.agent_id,
            "model": self._model.name,
            "tool_calls": self._calls,
            "usage": {
                "input_tokens": self._input_tokens,
                "output_tokens": self._output_tokens,
            },
        }
        return Finish(
            outcome=Outcome(status=TaskStatus.SUCCEEDED, result=result),
            messages=tuple(in_order(self._messages)),
        )

    def given_up(self, failure: TurnTooLong) -> Finish:
        """The turn's end at its limits; what it did stays in its conversation."""
        error = TaskError(reason="turn-limit", message=failure.message)
        outcome = Outcome(status=TaskStatus.FAILED, error=error)
        return Finish(outcome=outcome, messages=without_open_calls(self._messages))
