"""Claims: which due tasks a worker gets, with caps and without."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    ColumnExpressionArgument,
    FromClause,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
    union_all,
    update,
)

from adapters.sql.dialect import Now, after
from adapters.sql.line import line_up
from adapters.sql.statements import Statements
from adapters.sql.tables import DELAYED, IN_LINE, IN_LINE_OF, RUNNING, tasks
from domain.model.tasks import Lane, TaskId, TaskStatus

LANES_AT_ONCE = 100
# SQLite joins at most 500 selects into one.

_due = tasks.alias("due")
_PLACE = (_due.c.task_id, _due.c.lane, _due.c.priority, _due.c.turn, _due.c.created_at)
_WAITS = and_(_due.c.status == TaskStatus.QUEUED, _due.c.run_at <= Now())
_LAPSED = and_(_due.c.status == TaskStatus.RUNNING, _due.c.lease_until <= Now())


def _in_order(table: FromClause) -> tuple[ColumnElement[Any], ...]:
    """What the line is ordered by: the columns of its index."""
    return table.c.priority.desc(), table.c.turn, table.c.created_at, table.c.task_id


def _first(*wanted: ColumnExpressionArgument[bool], most: str = "most") -> Select[Any]:
    number = bindparam(most, type_=Integer())
    return select(*_PLACE).where(*wanted).order_by(*_in_order(_due)).limit(number)


LAPSED = _first(RUNNING, _LAPSED).with_for_update(skip_locked=True)
NEXT = _first(IN_LINE).with_for_update(skip_locked=True)
ONE = (
    select(*_PLACE, _due.c.status)
    .where(_due.c.task_id == bindparam("only"), or_(_WAITS, _LAPSED))
    .with_for_update(skip_locked=True)
)


def _taken(wanted: ColumnElement[bool]) -> Any:
    return (
        update(tasks)
        .where(wanted)
        .values(
            status=TaskStatus.RUNNING,
            attempt=tasks.c.attempt + 1,
            started_at=func.coalesce(tasks.c.started_at, Now()),
            worker=bindparam("by"),
            lease_until=after("lease_s"),
        )
        .returning(*tasks.c)
    )


def _of_both(lapsed: CTE, following: CTE) -> Select[Any]:
    both = union_all(select(lapsed), select(following)).subquery()
    number = bindparam("most", type_=Integer())
    return select(both.c.task_id).order_by(*_in_order(both)).limit(number)


CLAIM = _taken(tasks.c.task_id.in_(_of_both(LAPSED.cte("lapsed"), NEXT.cte("following"))))
_late = tasks.alias("late")
_NOBODY_LATE = not_(exists(select(1).select_from(_late).where(DELAYED, _late.c.run_at <= Now())))
CLAIM_IN_LINE = _taken(and_(_NOBODY_LATE, CLAIM.whereclause))
# Finds nothing while there are tasks that have to join the line first.
CLAIM_CHOSEN = _taken(
    and_(
        tasks.c.task_id.in_(bindparam("ids", expanding=True)),
        or_(
            and_(tasks.c.status == TaskStatus.QUEUED, tasks.c.run_at <= Now()),
            and_(tasks.c.status == TaskStatus.RUNNING, tasks.c.lease_until <= Now()),
        ),
    )
)

COUNT = (
    select(_due.c.lane, func.count().label("number"))
    .where(RUNNING, _due.c.lane.in_(bindparam("lanes", expanding=True)))
    .group_by(_due.c.lane)
)


def _lanes() -> Select[Any]:
    """The lanes of which tasks are in line, found by one seek each."""
    first, other = tasks.alias("first"), tasks.alias("other")
    lanes = select(func.min(first.c.lane).label("lane")).where(IN_LINE_OF).cte(recursive=True)
    following = select(func.min(other.c.lane)).where(IN_LINE_OF, other.c.lane > lanes.c.lane)
    lanes = lanes.union_all(
        select(following.correlate(lanes).scalar_subquery()).where(lanes.c.lane.is_not(None))
    )
    return select(lanes.c.lane).where(lanes.c.lane.is_not(None))


LANES = _lanes()


@cache
def _heads(number: int) -> Any:
    """The first of the line of each of so many lanes."""
    parts = [
        _first(IN_LINE_OF, _due.c.lane == bindparam(f"lane_{lane}"), most=f"most_{lane}").subquery()
        for lane in range(number)
    ]
    return union_all(*map(select, parts))


async def claimed(
    statements: Statements,
    taking: Mapping[str, Any],
    limit: int,
    only: TaskId | None,
    caps: Mapping[Lane, int],
) -> Sequence[Row[Any]]:
    """The rows of the tasks that are claimed now, in no order. `taking` says by whom."""
    plain = only is None and not caps
    most = {**taking, "most": limit}
    if plain and (rows := await statements.rows(CLAIM_IN_LINE, most, alone=True)):
        return rows
    await line_up(statements)
    if plain:
        return await statements.rows(CLAIM, most)
    if caps:
        await statements.lock_claims()
    if only is None:
        chosen = await _chosen(statements, limit, caps)
    else:
        chosen = await _one(statements, only, caps)
    if not chosen:
        return ()
    # Heads of lanes are not locked: whoever claims without caps may have taken one meanwhile.
    return await statements.rows(CLAIM_CHOSEN, {**taking, "ids": chosen})


async def _chosen(
    statements: Statements, limit: int, caps: Mapping[Lane, int]
) -> tuple[TaskId, ...]:
    """The first due tasks whose lanes have room; those whose lease passed need none."""
    room = await _room(statements, caps)
    lapsed = await statements.rows(LAPSED, {"most": limit})
    in_line = await _heads_of_lanes(statements, limit, room)
    exempt = {row.task_id for row in lapsed}
    due = sorted(
        (*lapsed, *in_line),
        key=lambda row: (-row.priority, row.turn or 0, row.created_at, row.task_id),
    )
    return tuple(islice(_with_room(due, room, exempt), limit))


async def _one(
    statements: Statements, only: TaskId, caps: Mapping[Lane, int]
) -> tuple[TaskId, ...]:
    row = await statements.first(ONE, {"only": only})
    if row is None:
        return ()
    if row.lane in caps and row.status == TaskStatus.QUEUED:
        room = await _room(statements, {row.lane: caps[row.lane]})
        return (only,) if room[row.lane] > 0 else ()
    return (only,)


async def _room(statements: Statements, caps: Mapping[Lane, int]) -> dict[Lane, int]:
    rows = await statements.rows(COUNT, {"lanes": list(caps)})
    running = {row.lane: row.number for row in rows}
    return {lane: cap - running.get(lane, 0) for lane, cap in caps.items()}


async def _heads_of_lanes(
    statements: Statements, limit: int, room: Mapping[Lane, int]
) -> list[Row[Any]]:
    rows = await statements.rows(LANES)
    wanted = [(row.lane, min(limit, room.get(row.lane, limit))) for row in rows]
    wanted = [(lane, most) for lane, most in wanted if most > 0]
    heads: list[Row[Any]] = []
    for begin in range(0, len(wanted), LANES_AT_ONCE):
        part = wanted[begin : begin + LANES_AT_ONCE]
        values = {f"lane_{number}": lane for number, (lane, _) in enumerate(part)}
        mosts = {f"most_{number}": most for number, (_, most) in enumerate(part)}
        heads += await statements.rows(_heads(len(part)), {**values, **mosts})
    return heads


def _with_room(
    due: Iterable[Row[Any]], room: dict[Lane, int], exempt: set[TaskId]
) -> Iterator[TaskId]:
    for row in due:
        if row.task_id not in exempt and row.lane in room:
            if room[row.lane] <= 0:
                continue
            room[row.lane] -= 1
        yield row.task_id
