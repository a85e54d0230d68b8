"""Following the pages of a list to their end, without I/O."""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.ports.mcp import HandshakeFailed

MAX_PAGES = 100
# python-sdk's own bound: more pages are taken for a paginator that never ends.


class Pages:
    """Ask with `next_params` until it is None, `add` each answer, then read `items`."""

    def __init__(self, method: str, key: str) -> None:
        self._method = method
        self._key = key
        self._items: list[Mapping[str, Any]] = []
        self._cursors: set[str] = set()
        self._next: dict[str, Any] | None = {}
        self._count = 0

    @property
    def items(self) -> tuple[Mapping[str, Any], ...]:
        """What all pages held, in order."""
        return tuple(self._items)

    def next_params(self) -> dict[str, Any] | None:
        """The parameters of the next request, None after the last page."""
        return self._next

    def add(self, result: msgspec.Raw) -> None:
        """Take in a page; the empty string is a cursor like any other."""
        try:
            page = msgspec.json.decode(result, type=dict[str, Any])
            self._items += msgspec.convert(page.get(self._key), list[dict[str, Any]])
            cursor = msgspec.convert(page.get("nextCursor"), str | None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise HandshakeFailed(f"the answer to {self._method} is malformed") from fault
        self._count += 1
        if cursor is None:
            self._next = None
        elif cursor in self._cursors or self._count >= MAX_PAGES:
            raise HandshakeFailed(f"the pages of {self._method} never end")
        else:
            self._cursors.add(cursor)
            self._next = {"cursor": cursor}
