"""Decisions: what a person has to say before a task can go on."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

import msgspec

from domain.errors import Conflict, NotFound
from domain.model.callers import CallerId
from domain.model.tasks import TaskId

DecisionId = NewType("DecisionId", str)


class DecisionNotFound(NotFound):
    """No decision has this id."""


class DecisionClosed(Conflict):
    """It has been decided, or its task ended without it."""


class DecisionKind(StrEnum):
    """What the question is about. INDETERMINATE: a call that may have had its effect."""

    INDETERMINATE = "indeterminate"


class Verdict(StrEnum):
    """What was decided about a call.

    REPEAT: it may be made again. DONE: it had its effect, and this is its answer. FAIL: the task
    ends. VOID is nobody's word: the task ended before anybody decided.
    """

    REPEAT = "repeat"
    DONE = "done"
    FAIL = "fail"
    VOID = "void"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The call in question; `reason` says to people why nobody knows what came of it.

    In an agent's turn `name` is the tool's full name. `server` is None where the tool was not
    known any more when it was called.
    """

    call_id: str
    name: str | None = None
    server: str | None
    tool: str
    arguments: Mapping[str, Any]
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A question about a task that waits for its answer; open while `decision` is None.

    `owner` is the task's.
    """

    decision_id: DecisionId
    task_id: TaskId
    owner: CallerId
    kind: DecisionKind
    question: Question
    created_at: datetime
    decided_at: datetime | None = None
    decision: Verdict | None = None
    decided_by: CallerId | None = None
