"""The line of due tasks as SQL: who joins it at which turn, and where a task stands in it."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    String,
    bindparam,
    case,
    func,
    literal,
    literal_column,
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

Value = ColumnElement[Any]


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


def _ahead(priority: Value, turn: Value, created_at: Value, task_id: Value) -> ColumnElement[int]:
    """How many are ahead, as far as it is worth counting."""
    other = tasks.alias("ahead")

    def some(*wanted: ColumnElement[bool]) -> ColumnElement[int]:
        found = select(literal(1)).where(IN_LINE, *wanted).select_from(other)
        few = found.limit(MOST_COUNTED - 1).subquery()
        return select(func.count()).select_from(few).scalar_subquery()

    before = tuple_(other.c.turn, other.c.created_at, other.c.task_id) < tuple_(
        turn, created_at, task_id
    )
    return some(other.c.priority > priority) + some(other.c.priority == priority, before)


AHEAD = select(
    _ahead(
        bindparam("priority", type_=Integer()),
        bindparam("turn", type_=Integer()),
        bindparam("created_at", type_=Utc()),
        bindparam("this", type_=String()),
    )
)
_NEW: tuple[ColumnElement[Any], ...] = tuple(
    literal_column(f"tasks.{name}") for name in ("priority", "turn", "created_at", "task_id")
)
# As text: what an INSERT returns is no FROM that a subquery could correlate with.
AHEAD_OF_NEW = _ahead(*_NEW)


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
    return behind(rows[0][0])


def behind(ahead: int) -> int:
    """The place of the task that has so many ahead."""
    return min(ahead + 1, MOST_COUNTED)
