"""Decisions kept in memory."""

from datetime import datetime

import msgspec

from adapters.inmemory.events import put
from adapters.inmemory.pages import page
from adapters.inmemory.queue import held
from adapters.inmemory.state import Rows, State, own
from domain.model.decisions import (
    Decision,
    DecisionClosed,
    DecisionId,
    DecisionNotFound,
    Verdict,
)
from domain.model.pages import Page
from domain.model.tasks import Hold, Task, TaskId, TaskStatus
from domain.ports.decisions import DecisionQuery, NewDecision, Ruling


class MemoryDecisions:
    """The decisions of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._state = rows.state
        self._clock = rows.clock

    async def ask(self, hold: Hold, new: NewDecision) -> Decision:
        task = held(self._state, hold)
        self._state.keep_task(
            msgspec.structs.replace(task, status=TaskStatus.WAITING, worker=None, lease_until=None)
        )
        decision = Decision(
            decision_id=new.decision_id,
            task_id=task.task_id,
            owner=task.owner,
            kind=new.kind,
            question=new.question,
            created_at=self._clock.now(),
        )
        return self._keep(decision)

    async def get(self, decision_id: DecisionId) -> Decision:
        return own(self._found(decision_id))

    async def list(self, query: DecisionQuery) -> Page[Decision]:
        wanted = (
            decision
            for decision in self._state.decisions.values()
            if query.owner in {None, decision.owner}
            and query.task_id in {None, decision.task_id}
            and query.open in {None, decision.decision is None}
        )
        cursor = self._state.decisions.get(DecisionId(query.page.cursor or ""))
        return page(wanted, cursor, query.page, lambda decision: decision.decision_id)

    async def settle(self, decision_id: DecisionId, ruling: Ruling) -> Task:
        decision = self._found(decision_id)
        if decision.decision is not None:
            raise DecisionClosed(
                f"The decision {decision_id!r} is closed.", decision_id=decision_id
            )
        now = self._clock.now()
        self._keep(
            msgspec.structs.replace(
                decision, decision=ruling.verdict, decided_by=ruling.by, decided_at=now
            )
        )
        task = put(self._state, self._state.tasks[decision.task_id], ruling.events, now)
        outcome = ruling.outcome
        changed = (
            msgspec.structs.replace(
                task, status=TaskStatus.QUEUED, run_at=now, max_attempts=task.max_attempts + 1
            )
            if outcome is None
            else msgspec.structs.replace(
                task,
                status=outcome.status,
                result=outcome.result,
                error=outcome.error,
                finished_at=now,
            )
        )
        self._state.keep_task(own(changed))
        return own(changed)

    def _keep(self, decision: Decision) -> Decision:
        self._state.decisions[decision.decision_id] = own(decision)
        return own(decision)

    def _found(self, decision_id: DecisionId) -> Decision:
        decision = self._state.decisions.get(decision_id)
        if decision is None:
            raise DecisionNotFound(
                f"There is no decision {decision_id!r}.", decision_id=decision_id
            )
        return decision


def void(state: State, task_id: TaskId, now: datetime) -> None:
    """Close the open decision of a task that ended without it."""
    for decision in state.decisions.values():
        if decision.task_id == task_id and decision.decision is None:
            state.decisions[decision.decision_id] = msgspec.structs.replace(
                decision, decision=Verdict.VOID, decided_at=now
            )
            return
