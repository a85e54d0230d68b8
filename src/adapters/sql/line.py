"""The line of due tasks as SQL: who joins it at which turn, and where a task stands in it."""

from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
    update,
)

from adapters.sql.dialect import Greatest, Now
from adapters.sql.statements import Statements
from adapters.sql.tables import DELAYED, IN_LINE, IN_LINE_OF, Utc, tasks
from domain.model.tasks import Task
from domain.ports.tasks import MOST_COUNTED

MOST_JOINING = 200
# Tasks whose time has come join before each claim, at most so many: a claim stays short.

Value = BindParameter[Any] | Column[Any]


def _behind_own(owner: Value, priority: Value) -> ColumnElement[int]:
    """One behind the owner's last in line; a seek."""
    own = tasks.alias("own")
    last = (
        select(own.c.turn)
        .where(IN_LINE_OF, own.c.owner == owner, own.c.priority == priority)
        .order_by(own.c.turn.desc())
        .limit(1)
        .correlate(tasks)
        .scalar_subquery()
    )
    return func.coalesce(last + 1, 0)


def _head(priority: Value) -> ColumnElement[int]:
    """The smallest turn in line; a seek."""
    first = tasks.alias("first")
    turn = (
        select(first.c.turn)
        .where(IN_LINE, first.c.priority == priority)
        .order_by(first.c.turn)
        .limit(1)
        .correlate(tasks)
        .scalar_subquery()
    )
    return func.coalesce(turn, 0)


_OWNER = bindparam("joins_as", type_=String())
_PRIORITY = bindparam("joins_at", type_=Integer())
TURN_OF_NEW = Greatest(_behind_own(_OWNER, _PRIORITY), _head(_PRIORITY))

LATE = (
    select(tasks.c.task_id)
    .where(DELAYED, tasks.c.run_at <= Now())
    .order_by(tasks.c.run_at, tasks.c.task_id)
    .limit(MOST_JOINING)
    .with_for_update(skip_locked=True)
)
JOIN = (
    update(tasks)
    .where(tasks.c.task_id == bindparam("this"), DELAYED)
    .values(
        turn=Greatest(
            case(
                (tasks.c.attempt == 0, _behind_own(tasks.c.owner, tasks.c.priority)),
                else_=literal(0),
            ),
            _head(tasks.c.priority),
        )
    )
)


def _ahead(*wanted: ColumnElement[bool]) -> Select[Any]:
    """How many are ahead, as far as it is worth counting."""
    some = select(literal(1)).where(IN_LINE, *wanted).select_from(tasks).limit(MOST_COUNTED - 1)
    return select(func.count()).select_from(some.subquery())


AHEAD = select(
    _ahead(tasks.c.priority > bindparam("priority", type_=Integer())).scalar_subquery()
    + _ahead(
        tasks.c.priority == bindparam("priority", type_=Integer()),
        tuple_(tasks.c.turn, tasks.c.created_at, tasks.c.task_id)
        < tuple_(
            bindparam("turn", type_=Integer()),
            bindparam("created_at", type_=Utc()),
            bindparam("this", type_=String()),
        ),
    ).scalar_subquery()
)


async def line_up(statements: Statements) -> None:
    """Let the tasks join whose time has come, in the order of their times."""
    late = await statements.rows(LATE)
    if late:
        await statements.rows(JOIN, [{"this": row.task_id} for row in late])


async def place_in_line(statements: Statements, task: Task) -> int | None:
    """See TaskStore.place."""
    if task.turn is None:
        return None
    place = {
        "this": task.task_id,
        "priority": task.priority,
        "turn": task.turn,
        "created_at": task.created_at,
    }
    rows = await statements.rows(AHEAD, place)
    return min(int(rows[0][0]) + 1, MOST_COUNTED)
