"""Lists in parts, newest first, the key of the last row leading to the next part."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Select, and_, func, or_, select

from domain.model.pages import Page, PageQuery

T = TypeVar("T")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one part, one more than asked for where more follow; the size of the whole."""

    rows: Select[Any]
    total: Select[Any]


def rows_after(key: Column[str], wanted: Sequence[ColumnElement[bool]], query: PageQuery) -> Part:
    """Rows of the key's table, `created_at` falling, then the key; none after an unknown cursor."""
    table = key.table
    rows = select(table).where(*wanted)
    if query.cursor is not None:
        other = table.alias("cursor")
        at = select(other.c.created_at).where(other.c[key.name] == query.cursor).scalar_subquery()
        age = table.c.created_at
        rows = rows.where(or_(age < at, and_(age == at, key < query.cursor)))
    return Part(
        rows=rows.order_by(table.c.created_at.desc(), key.desc()).limit(query.limit + 1),
        total=select(func.count()).select_from(table).where(*wanted),
    )


def page_of(items: tuple[T, ...], total: int, query: PageQuery, key: Callable[[T], str]) -> Page[T]:
    """The part without its one item too many, which tells that more follow."""
    part = items[: query.limit]
    more = len(items) > query.limit
    return Page(items=part, total_count=total, next_cursor=key(part[-1]) if more else None)
