"""Lists in parts, newest first."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol, TypeVar

from adapters.inmemory.state import own
from domain.model.pages import Page, PageQuery


class Dated(Protocol):
    """A row with an age."""

    @property
    def created_at(self) -> datetime: ...


T = TypeVar("T", bound=Dated)


def page(rows: Iterable[T], cursor: T | None, query: PageQuery, key: Callable[[T], str]) -> Page[T]:
    """The part after the row `cursor`; after a cursor that names no row there is nothing."""

    def place(row: T) -> tuple[datetime, str]:
        return row.created_at, key(row)

    ordered = sorted(rows, key=place, reverse=True)
    following = ordered
    if query.cursor is not None:
        following = [row for row in ordered if cursor is not None and place(row) < place(cursor)]
    part = following[: query.limit]
    more = len(following) > query.limit
    return Page(
        items=tuple(map(own, part)),
        total_count=len(ordered),
        next_cursor=key(part[-1]) if more else None,
    )
