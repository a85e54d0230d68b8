"""Decisions as rows: each belongs to a task that waits for it."""

from typing import Protocol

import msgspec

from domain.model.callers import CallerId
from domain.model.decisions import Decision, DecisionId, DecisionKind, Question, Verdict
from domain.model.pages import Page, PageQuery
from domain.model.tasks import Hold, NewEvent, Outcome, Task, TaskId


class NewDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A question to ask."""

    decision_id: DecisionId
    kind: DecisionKind
    question: Question


class DecisionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions to list; None does not narrow."""

    owner: CallerId | None = None
    task_id: TaskId | None = None
    open: bool | None = None
    page: PageQuery = PageQuery()


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, and what comes of it for the task.

    `events` go to the end of the task's. Without an `outcome` the task is queued again.
    """

    verdict: Verdict
    by: CallerId
    events: tuple[NewEvent, ...] = ()
    outcome: Outcome | None = None


class DecisionStore(Protocol):
    """Questions and their answers. Times are the store's."""

    async def ask(self, hold: Hold, new: NewDecision) -> Decision:
        """Let a running task wait for an answer; its lease is gone. Raises StaleAttempt."""
        ...

    async def get(self, decision_id: DecisionId) -> Decision:
        """Raises DecisionNotFound."""
        ...

    async def list(self, query: DecisionQuery) -> Page[Decision]:
        """Newest first; the cursor is the id."""
        ...

    async def settle(self, decision_id: DecisionId, ruling: Ruling) -> Task:
        """Close an open decision and let its task go on, or end; of many exactly one does so.

        A task that is queued again is due at once, keeps its turn and may make one attempt more.
        Raises DecisionNotFound, DecisionClosed.
        """
        ...
