"""Server-sent events as they come in (HTML Living Standard, section 9.2)."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One event; `id` is the last one that the stream gave, None before the first."""

    kind: str
    data: Any
    id: str | None


def events(chunks: Iterable[bytes], last_id: str | None = None) -> Iterator[Event]:
    """The events of a stream whose data is JSON. One that the end cut off is dropped."""
    kind = "message"
    data: list[str] = []
    for line in _lines(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(kind, json.loads("\n".join(data)), last_id)
            kind = "message"
            data.clear()
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            last_id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines; `str.splitlines` would also divide at characters that texts may hold."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
