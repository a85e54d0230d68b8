"""Listeners to a task's events, which know where they were."""

import json
from typing import Any

import httpx
import msgspec

from tests.system.running import System


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One stored event as it came over HTTP."""

    id: int
    kind: str
    data: Any


def read(system: System, task_id: str, after: int, most: int | None = None) -> list[Event]:
    """The stored events behind that one, until their end or until there are `most`."""
    events: list[Event] = []
    listen(system, task_id, after, events, most)
    return events


def listen(
    system: System, task_id: str, after: int, events: list[Event], most: int | None = None
) -> None:
    """As `read`, but what came before a broken connection is kept: raises TransportError."""
    path, headers = f"/api/v1/tasks/{task_id}/events", {"Last-Event-ID": str(after)}
    with (
        httpx.Client(base_url=system.client.base_url, timeout=20) as client,
        client.stream("GET", path, headers=headers) as answer,
    ):
        answer.raise_for_status()
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
                continue
            if "id" in fields:
                data = json.loads(fields["data"])
                events.append(Event(id=int(fields["id"]), kind=fields["event"], data=data))
            fields = {}
            if len(events) == most:
                return
