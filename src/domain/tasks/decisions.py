"""Decisions as callers see them: questions about calls of unknown effect, and their answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.errors import Invalid
from domain.model.callers import Caller, Scope
from domain.model.conversations import Message, Role
from domain.model.decisions import Decision, DecisionId, DecisionNotFound, Question, Verdict
from domain.model.pages import Page
from domain.model.tasks import (
    EventKind,
    NewEvent,
    Outcome,
    Task,
    ToolPayload,
    last_event,
)
from domain.ports.decisions import DecisionQuery, Ruling
from domain.ports.models import Usage
from domain.ports.signals import Signals
from domain.ports.storage import Transactions
from domain.tasks import topics
from domain.tasks.runs import indeterminate, outcome_of
from domain.tasks.steps import answered, shown, step


class DecisionInvalid(Invalid):
    """The answer does not fit the question."""


class GivenResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a person knows to have come of a call: a tool result, as its server would give it."""

    content: tuple[Mapping[str, Any], ...] = ()
    structured_content: Mapping[str, Any] | None = None
    is_error: bool = False

    def plain(self) -> dict[str, Any]:
        """The same as rows and events hold results. Raises DecisionInvalid."""
        for number, block in enumerate(self.content):
            kind = block.get("type")
            if not isinstance(kind, str) or not isinstance(block.get("text", ""), str):
                raise DecisionInvalid(
                    "A part of a tool's result has a type, and its text is a string.",
                    path=f"/result/content/{number}",
                )
        plain = {"content": list(self.content), "is_error": self.is_error, "duration_ms": 0.0}
        if self.structured_content is None:
            return plain
        return {**plain, "structured_content": self.structured_content}


class Decide(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word; a result goes with DONE alone."""

    verdict: Verdict
    result: GivenResult | None = None


class DecisionService:
    """Shows what waits to be decided, and lets tasks go on."""

    def __init__(self, transactions: Transactions, signals: Signals) -> None:
        self._transactions = transactions
        self._signals = signals

    async def list(self, caller: Caller, query: DecisionQuery) -> Page[Decision]:
        """Newest first; those about tasks of others only for ADMIN."""
        caller.require(Scope.READ)
        owner = None if Scope.ADMIN in caller.scopes else caller.id
        async with self._transactions.read() as transaction:
            return await transaction.decisions.list(msgspec.structs.replace(query, owner=owner))

    async def get(self, caller: Caller, decision_id: DecisionId) -> Decision:
        """Raises DecisionNotFound."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            return _visible(caller, await transaction.decisions.get(decision_id))

    async def decide(self, caller: Caller, decision_id: DecisionId, decide: Decide) -> Decision:
        """Close a decision; its task goes on or ends at once.

        Raises DecisionNotFound, DecisionClosed, DecisionInvalid.
        """
        caller.require(Scope.TASKS)
        if decide.result is not None and decide.verdict is not Verdict.DONE:
            raise DecisionInvalid("A result goes with the decision done only.", path="/result")
        async with self._transactions.begin() as transaction:
            decision = _visible(caller, await transaction.decisions.get(decision_id))
            task = await transaction.tasks.get(decision.task_id)
            await transaction.decisions.settle(decision_id, _ruling(caller, task, decision, decide))
            closed = await transaction.decisions.get(decision_id)
        self._signals.publish(topics.WAKE, {"task_id": decision.task_id})
        self._signals.publish(topics.of_task(decision.task_id), {})
        return closed


def _ruling(caller: Caller, task: Task, decision: Decision, decide: Decide) -> Ruling:
    question, verdict = decision.question, decide.verdict
    told = {
        "decision_id": decision.decision_id,
        "state": "decided",
        "decision": verdict.value,
        "decided_by": caller.id,
        "question": msgspec.to_builtins(question),
    }
    events: tuple[NewEvent, ...] = (NewEvent(kind=EventKind.DECISION, data=told),)
    outcome: Outcome | None = None
    if verdict is Verdict.DONE:
        plain = (decide.result or GivenResult()).plain()
        message = Message(
            role=Role.TOOL,
            text=shown(plain),
            call_id=question.call_id,
            is_error=plain["is_error"],
        )
        events = (*events, answered(_call(question), message, plain))
        if isinstance(task.payload, ToolPayload):
            outcome = outcome_of(plain)
        else:
            events = (*events, step(message, Usage()))
    elif verdict is Verdict.FAIL:
        outcome = indeterminate(question).outcome
    if outcome is not None:
        events = (*events, last_event(task.task_id, outcome))
    return Ruling(verdict=verdict, by=caller.id, events=events, outcome=outcome)


def _call(question: Question) -> dict[str, Any]:
    """The call as its TOOL_CALL event told it."""
    call = {
        "call_id": question.call_id,
        "server": question.server,
        "tool": question.tool,
        "arguments": question.arguments,
    }
    return call if question.name is None else {**call, "name": question.name}


def _visible(caller: Caller, decision: Decision) -> Decision:
    if not caller.sees(decision.owner):
        raise DecisionNotFound(
            f"There is no decision {decision.decision_id!r}.", decision_id=decision.decision_id
        )
    return decision
