"""Watching one task until it has ended, over restarts of the system."""

import time
from typing import Any

from entrypoints.cli import timeline
from entrypoints.cli.client import AWAY_S, Busy, Client, NoAnswer, segment
from entrypoints.cli.follow import Follower
from entrypoints.cli.terminal import Terminal

POLL_S = 1.0
# A task in line has no events, and its place changes with those of others.
FINISHED = frozenset({"succeeded", "failed", "cancelled"})


def watched(terminal: Terminal, client: Client, task_id: str) -> dict[str, Any]:
    """Show a task until it has ended; return it as it is then."""
    path = f"/api/v1/tasks/{segment(task_id)}"
    task: dict[str, Any] = client.ask("GET", path)
    follower = Follower(terminal)
    try:
        _until_begun(follower, terminal, client, task)
        follower.show_all(client.follow("GET", f"{path}/events", away=follower.away))
    except KeyboardInterrupt:
        terminal.complain(f"\nIt goes on: `sutazai tasks cancel {task_id}` ends it.")
        raise
    return _asked(follower, client, path)


def _until_begun(
    follower: Follower, terminal: Terminal, client: Client, task: dict[str, Any]
) -> None:
    """Show where a new task stands in line."""
    told = ""
    while task["status"] == "queued" and not task["attempt"]:
        place = in_line(task)
        if place != told and not terminal.rewritable:
            follower.tell(place)
        told = place
        follower.status(f"{place} ...")
        time.sleep(POLL_S)
        task = _asked(follower, client, f"/api/v1/tasks/{segment(task['task_id'])}")


def in_line(task: dict[str, Any]) -> str:
    """Where a queued task stands."""
    position = task.get("queue_position")
    if position is not None:
        return f"queued, {position} in line"
    if task.get("run_at", "") > task.get("created_at", ""):
        return f"queued until {task['run_at']}"
    return "queued"


def _asked(follower: Follower, client: Client, path: str) -> dict[str, Any]:
    """The task now, or as soon as the system answers again."""
    until = None
    while True:
        try:
            task: dict[str, Any] = client.ask("GET", path)
        except (NoAnswer, Busy):
            if until is None:
                follower.away()
                until = time.monotonic() + AWAY_S
            if time.monotonic() > until:
                raise
            time.sleep(POLL_S)
        else:
            return task


def ending(task: dict[str, Any]) -> str:
    """How a task ended, in one line."""
    words = [f"{task['task_id']}: {task['status']}"]
    if task.get("started_at") and task.get("finished_at"):
        took = timeline.between(task["started_at"], task["finished_at"])
        words.append(f"after {took:.1f} s")
    if task.get("attempt", 1) > 1:
        words.append(f"at attempt {task['attempt']} of {task['max_attempts']}")
    error = task.get("error")
    return " ".join(words) + (f": {error['message']}" if error else "")
