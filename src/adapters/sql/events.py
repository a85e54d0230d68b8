"""The events of tasks as rows."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Integer, String, Text, insert, select
from sqlalchemy.types import TypeEngine

from adapters.sql.dialect import Dialect, Now
from adapters.sql.statements import Statements
from adapters.sql.tables import task_events
from domain.model.tasks import Hold, NewEvent

_EVENT: Mapping[str, type[TypeEngine[Any]]] = {
    "task_id": String,
    "seq": Integer,
    "attempt": Integer,
    "kind": String,
    "data": Text,
}


@cache
def _add_of(kind: type[Dialect]) -> Any:
    """All events in one statement: each alone is a message to the server of its own."""
    given = kind.recordset("events", _EVENT)
    return insert(task_events).from_select([*_EVENT, "at"], select(*given.c, Now()))


def numbered(hold: Hold, events: Sequence[NewEvent], last: int) -> list[dict[str, Any]]:
    """The events as rows, of which the last has the number `last`."""
    return [
        {
            "task_id": hold.task_id,
            "seq": seq,
            "attempt": hold.attempt,
            "kind": event.kind,
            "data": as_text(event.data),
        }
        for seq, event in enumerate(events, last - len(events) + 1)
    ]


async def add_events(statements: Statements, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep them, at the time that it is now."""
    if rows:
        await statements.rows(_add_of(type(statements.dialect)), {"events": as_text(rows)})


def as_text(value: Any) -> str:
    """The value as JSON text."""
    return msgspec.json.encode(value).decode()
