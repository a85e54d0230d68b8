"""A part of a list, with the way to the next part."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Items in the list's own order.

    `total_count` counts the whole list, `next_cursor` is the last item's key, or None at the end.
    """

    items: tuple[T, ...]
    total_count: int
    next_cursor: str | None = None


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` items (1 to 200) that come after the item whose key is `cursor`."""

    limit: int = 50
    cursor: str | None = None
