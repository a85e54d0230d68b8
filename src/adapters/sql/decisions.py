"""Decisions as rows."""

from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, insert, null, select, update

from adapters.sql.dialect import Now
from adapters.sql.events import add_events, numbered
from adapters.sql.pages import page_of, rows_after
from adapters.sql.queue import HELD, held
from adapters.sql.statements import Statements
from adapters.sql.tables import UNDECIDED, decisions, tasks
from adapters.sql.tasks import task_of
from domain.model.decisions import Decision, DecisionClosed, DecisionId, DecisionNotFound
from domain.model.pages import Page
from domain.model.tasks import Hold, Task, TaskStatus
from domain.ports.decisions import DecisionQuery, NewDecision, Ruling

_THIS = decisions.c.decision_id == bindparam("this")
WAIT = (
    update(tasks)
    .where(HELD)
    .values(status=TaskStatus.WAITING, worker=null(), lease_until=null())
    .returning(tasks.c.owner)
)
ASK = insert(decisions).values(created_at=Now()).returning(*decisions.c)
GET = select(decisions).where(_THIS)
# The task first: whoever cancels it goes the same way, so nobody waits in a ring.
_SETTLED = update(tasks).where(
    tasks.c.task_id == select(decisions.c.task_id).where(_THIS, UNDECIDED).scalar_subquery(),
    tasks.c.status == TaskStatus.WAITING,
)
_SEQ = tasks.c.last_seq + bindparam("number")
RESUME = _SETTLED.values(
    status=TaskStatus.QUEUED,
    run_at=Now(),
    max_attempts=tasks.c.max_attempts + 1,
    last_seq=_SEQ,
).returning(*tasks.c)
END = _SETTLED.values(
    status=bindparam("ending"),
    result=bindparam("outcome", type_=tasks.c.result.type),
    error=bindparam("reason", type_=tasks.c.error.type),
    finished_at=Now(),
    last_seq=_SEQ,
).returning(*tasks.c)
CLOSE = (
    update(decisions)
    .where(_THIS, UNDECIDED)
    .values(decision=bindparam("verdict"), decided_by=bindparam("by"), decided_at=Now())
)


class SqlDecisions:
    """The decisions of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def ask(self, hold: Hold, new: NewDecision) -> Decision:
        task = await held(self._statements, WAIT, hold, {})
        values = {
            "decision_id": new.decision_id,
            "task_id": hold.task_id,
            "owner": task.owner,
            "kind": new.kind,
            "question": new.question,
        }
        return _decision((await self._statements.rows(ASK, values))[0])

    async def get(self, decision_id: DecisionId) -> Decision:
        row = await self._statements.first(GET, {"this": decision_id})
        if row is None:
            raise DecisionNotFound(
                f"There is no decision {decision_id!r}.", decision_id=decision_id
            )
        return _decision(row)

    async def list(self, query: DecisionQuery) -> Page[Decision]:
        wanted = [
            column == value
            for column, value in (
                (decisions.c.owner, query.owner),
                (decisions.c.task_id, query.task_id),
            )
            if value is not None
        ]
        if query.open is not None:
            undecided = decisions.c.decision.is_(None)
            wanted.append(undecided if query.open else ~undecided)
        part = rows_after(decisions.c.decision_id, wanted, query.page)
        rows = await self._statements.rows(part.rows)
        total = await self._statements.rows(part.total)
        items = tuple(_decision(row) for row in rows)
        return page_of(items, total[0][0], query.page, lambda item: item.decision_id)

    async def settle(self, decision_id: DecisionId, ruling: Ruling) -> Task:
        place = {"this": decision_id, "number": len(ruling.events)}
        outcome = ruling.outcome
        if outcome is None:
            row = await self._statements.first(RESUME, place)
        else:
            end = {"ending": outcome.status, "outcome": outcome.result, "reason": outcome.error}
            row = await self._statements.first(END, {**place, **end})
        if row is None:
            await self.get(decision_id)
            raise DecisionClosed(
                f"The decision {decision_id!r} is closed.", decision_id=decision_id
            )
        closing = {"this": decision_id, "verdict": ruling.verdict, "by": ruling.by}
        await self._statements.rows(CLOSE, closing)
        task = task_of(row)
        hold = Hold(task_id=task.task_id, attempt=task.attempt)
        await add_events(self._statements, numbered(hold, ruling.events, row.last_seq))
        return task


def _decision(row: Row[Any]) -> Decision:
    return msgspec.convert(row, Decision, from_attributes=True)
