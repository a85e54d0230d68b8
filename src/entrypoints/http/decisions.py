"""Decisions over HTTP: calls of unknown effect, and what a person says of them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody
from litestar.types import Scope

from domain.model.decisions import Decision, DecisionId, DecisionKind, Verdict
from domain.model.pages import PageQuery
from domain.model.tasks import TaskId
from domain.ports.decisions import DecisionQuery
from domain.tasks.decisions import Decide, DecisionService, GivenResult
from entrypoints.http.requests import Cursor, Id, Limit, Query, Service, caller_of


class DecisionStatus(StrEnum):
    """Whether somebody still has to decide."""

    OPEN = "open"
    CLOSED = "closed"


class Word(StrEnum):
    """`repeat`: the call may be made again. `done`: it had its effect. `fail`: the task ends."""

    REPEAT = "repeat"
    DONE = "done"
    FAIL = "fail"


class ResultGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of the call, as a tool's result."""

    content: list[dict[str, Any]] = []
    structured_content: dict[str, Any] | None = None
    is_error: bool = False

    def result(self) -> GivenResult:
        """The same in the domain's words."""
        return GivenResult(
            content=tuple(self.content),
            structured_content=self.structured_content,
            is_error=self.is_error,
        )


class DecisionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is decided; a result goes with `done` only, where it counts as the call's answer."""

    decision: Word
    result: ResultGiven | None = None


class QuestionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The call in question, and why nobody knows what came of it."""

    server: str | None
    tool: str
    arguments: dict[str, Any]
    reason: str


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question about a task that waits; `void` where the task ended before it was decided."""

    decision_id: str
    task_id: str
    kind: DecisionKind
    status: DecisionStatus
    question: QuestionAnswer
    owner: str
    created_at: datetime
    decided_at: datetime | None = None
    decision: Verdict | None = None
    decided_by: str | None = None


class DecisionList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the decisions, newest first."""

    decisions: tuple[DecisionAnswer, ...]
    total_count: int
    next_cursor: str | None


def _answer(decision: Decision) -> DecisionAnswer:
    question = decision.question
    return DecisionAnswer(
        decision_id=decision.decision_id,
        task_id=decision.task_id,
        kind=decision.kind,
        status=DecisionStatus.OPEN if decision.decision is None else DecisionStatus.CLOSED,
        question=QuestionAnswer(
            server=question.server,
            tool=question.tool,
            arguments=dict(question.arguments),
            reason=question.reason,
        ),
        owner=decision.owner,
        created_at=decision.created_at,
        decided_at=decision.decided_at,
        decision=decision.decision,
        decided_by=decision.decided_by,
    )


@get("/")
async def list_decisions(  # noqa: PLR0913, PLR0917 - one argument a query parameter
    decisions: Service[DecisionService],
    scope: Scope,
    status: FromQuery[DecisionStatus | None] = None,
    task_id: Query = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DecisionList:
    """Decisions, newest first."""
    query = DecisionQuery(
        task_id=None if task_id is None else TaskId(task_id),
        open=None if status is None else status is DecisionStatus.OPEN,
        page=PageQuery(limit=limit, cursor=cursor),
    )
    page = await decisions.list(caller_of(scope), query)
    return DecisionList(
        decisions=tuple(map(_answer, page.items)),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


@get("/{decision_id:str}")
async def get_decision(
    decisions: Service[DecisionService], scope: Scope, decision_id: Id
) -> DecisionAnswer:
    """One decision."""
    return _answer(await decisions.get(caller_of(scope), DecisionId(decision_id)))


@post("/{decision_id:str}", status_code=200)
async def decide(
    decisions: Service[DecisionService],
    scope: Scope,
    decision_id: Id,
    data: JSONBody[DecisionBody],
) -> DecisionAnswer:
    """Say what becomes of the call; the task goes on at once, or ends."""
    word = Decide(
        verdict=Verdict(data.decision.value),
        result=None if data.result is None else data.result.result(),
    )
    return _answer(await decisions.decide(caller_of(scope), DecisionId(decision_id), word))


ROUTES = Router(
    "/decisions",
    route_handlers=[list_decisions, get_decision, decide],
    tags=["tasks"],
)
