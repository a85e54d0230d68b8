"""Following the pages of a list to their end, without I/O."""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.ports.mcp import ListingFailed

MAX_PAGES = 100
# python-sdk's own bound: more pages are taken for a paginator that never ends.
MAX_LIST_BYTES = 8 * 1024 * 1024
# Of all pages as JSON: the largest servers list some 300 KB; decoded it takes ten times as much.
MAX_ITEMS = 10_000
# Each costs some 2 us and 1 KB at every listing.


class Pages:
    """Ask with `next_params` until it is None, `add` each answer, then read `items`."""

    def __init__(self, method: str, key: str) -> None:
        self._method = method
        self._key = key
        self._items: list[Mapping[str, Any]] = []
        self._cursors: set[str] = set()
        self._next: dict[str, Any] | None = {}
        self._count = 0
        self._bytes = 0

    @property
    def items(self) -> tuple[Mapping[str, Any], ...]:
        """What all pages held, in order."""
        return tuple(self._items)

    def next_params(self) -> dict[str, Any] | None:
        """The parameters of the next request, None after the last page."""
        return self._next

    def add(self, result: msgspec.Raw) -> None:
        """Take in a page; the empty string is a cursor like any other."""
        self._bytes += len(memoryview(result))
        if self._bytes > MAX_LIST_BYTES:
            raise ListingFailed(f"the answers to {self._method} hold too many bytes")
        try:
            page = msgspec.json.decode(result, type=dict[str, Any])
            self._items += msgspec.convert(page.get(self._key), list[dict[str, Any]])
            cursor = msgspec.convert(page.get("nextCursor"), str | None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise ListingFailed(f"the answer to {self._method} is malformed") from fault
        self._count += 1
        if len(self._items) > MAX_ITEMS:
            raise ListingFailed(f"the answers to {self._method} hold too many items")
        if cursor is None:
            self._next = None
        elif cursor in self._cursors or self._count >= MAX_PAGES:
            raise ListingFailed(f"the pages of {self._method} never end")
        else:
            self._cursors.add(cursor)
            self._next = {"cursor": cursor}
