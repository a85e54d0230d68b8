"""Reading server-sent events."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx


class Event(NamedTuple):
    """`last_id` is None where the event has no id line."""

    kind: str
    last_id: str | None
    data: dict[str, Any]


async def events_of(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a response as they come; comments are left out."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
            fields = {}
