"""Cutting a list that is at hand into parts."""

from collections.abc import Callable
from typing import TypeVar

from domain.model.pages import Page

T = TypeVar("T")


def cut(items: tuple[T, ...], key: Callable[[T], str], limit: int, cursor: str | None) -> Page[T]:
    """The first `limit` items whose key is above `cursor`; `items` are in the order of their key.

    A cursor whose item has gone still marks its place.
    """
    after = items if cursor is None else tuple(item for item in items if key(item) > cursor)
    part = after[:limit]
    return Page(
        items=part,
        total_count=len(items),
        next_cursor=key(part[-1]) if len(after) > limit else None,
    )
