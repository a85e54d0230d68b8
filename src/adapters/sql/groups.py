"""Records and ends of many attempts in one statement, each behind its own fence."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Integer, Select, String, Text, case, func, insert, null, select, update
from sqlalchemy.types import TypeEngine

from adapters.sql.dialect import Dialect, Now
from adapters.sql.events import add_events, as_text, numbered
from adapters.sql.statements import Statements
from adapters.sql.tables import task_events, tasks
from domain.model.tasks import EventKind, TaskProgress, TaskStatus
from domain.ports.tasks import Entry

_ENTRY: Mapping[str, type[TypeEngine[Any]]] = {
    "task_id": String,
    "attempt": Integer,
    "number": Integer,
    "status": String,
    "progress": Text,
    "result": Text,
    "error": Text,
}
_TOLD = ("attempt", "kind", "data")
_BEHIND: Mapping[str, type[TypeEngine[Any]]] = {
    "task_id": String,
    "behind": Integer,
    "attempt": Integer,
    "kind": String,
    "data": Text,
}
_own = tasks.alias("own")


def locked(ids: Any) -> Select[tuple[str]]:
    """The same rows, locked in one order: those who change many do not wait in a ring."""
    own = select(_own.c.task_id).where(_own.c.task_id.in_(ids)).order_by(_own.c.task_id)
    in_order = own.with_for_update().cte("locked")
    return select(in_order.c.task_id)


@cache
def _write_of(kind: type[Dialect]) -> Any:
    """Records and ends of many at once; a running task has neither result nor error."""
    given = kind.recordset("entries", _ENTRY)
    ends = given.c.status.is_not(None)
    return (
        update(tasks)
        .where(
            tasks.c.task_id.in_(locked(select(given.c.task_id))),
            tasks.c.task_id == given.c.task_id,
            tasks.c.attempt == given.c.attempt,
            tasks.c.status == TaskStatus.RUNNING,
        )
        .values(
            last_seq=tasks.c.last_seq + given.c.number,
            status=func.coalesce(given.c.status, tasks.c.status),
            progress=func.coalesce(given.c.progress, tasks.c.progress),
            result=given.c.result,
            error=given.c.error,
            finished_at=case((ends, Now())),
            lease_until=case((ends, null()), else_=tasks.c.lease_until),
        )
        .returning(tasks.c.task_id, tasks.c.last_seq)
    )


@cache
def _write_and_tell(kind: type[Dialect]) -> Any:
    """The same with the events of those that were written, all in one statement."""
    kept = _write_of(kind).cte("kept")
    given = kind.recordset("events", _BEHIND)
    rows = select(
        kept.c.task_id, kept.c.last_seq - given.c.behind, *(given.c[name] for name in _TOLD), Now()
    ).join_from(kept, given, kept.c.task_id == given.c.task_id)
    told = insert(task_events).from_select(["task_id", "seq", *_TOLD, "at"], rows)
    return select(kept.c.task_id, kept.c.last_seq).add_cte(told.cte("told"))


def _behind(entry: Entry) -> Iterator[Mapping[str, Any]]:
    """The events as objects of the JSON array, each with how many follow it."""
    for behind, event in zip(reversed(range(len(entry.events))), entry.events, strict=True):
        yield {
            "task_id": entry.hold.task_id,
            "behind": behind,
            "attempt": entry.hold.attempt,
            "kind": event.kind,
            "data": as_text(event.data),
        }


def _given(entry: Entry) -> dict[str, Any]:
    """The entry as an object of the JSON array; what lies in a column as JSON is text in it."""
    given: dict[str, Any] = {
        "task_id": entry.hold.task_id,
        "attempt": entry.hold.attempt,
        "number": len(entry.events),
    }
    reports = [event.data for event in entry.events if event.kind is EventKind.PROGRESS]
    if reports:
        given["progress"] = as_text(msgspec.convert(reports[-1], TaskProgress))
    outcome = entry.outcome
    if outcome is not None:
        given["status"] = outcome.status
        if outcome.result is not None:
            given["result"] = as_text(outcome.result)
        if outcome.error is not None:
            given["error"] = as_text(outcome.error)
    return given


async def written(statements: Statements, entries: tuple[Entry, ...]) -> tuple[int | None, ...]:
    """See TaskQueue.write."""
    if not entries:
        return ()
    given = {"entries": as_text([_given(entry) for entry in entries])}
    if statements.dialect.chains:
        events = [event for entry in entries for event in _behind(entry)]
        given["events"] = as_text(events)
        rows = await statements.rows(_write_and_tell(type(statements.dialect)), given, alone=True)
        seqs: dict[str, int] = {row.task_id: int(row.last_seq) for row in rows}
    else:
        seqs = await _written_apart(statements, entries, given)
    return tuple(seqs.get(entry.hold.task_id) for entry in entries)


async def _written_apart(
    statements: Statements, entries: tuple[Entry, ...], given: Mapping[str, str]
) -> dict[str, int]:
    rows = await statements.rows(_write_of(type(statements.dialect)), given)
    seqs = {row.task_id: int(row.last_seq) for row in rows}
    events = [
        event
        for entry in entries
        if entry.hold.task_id in seqs
        for event in numbered(entry.hold, entry.events, seqs[entry.hold.task_id])
    ]
    await add_events(statements, events)
    return seqs
