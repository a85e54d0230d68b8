"""Schedules of a running system: they fire by themselves, also for what was missed."""

import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from tests.system.conftest import Make
from tests.system.running import System, eventually

YEARLY = {
    "name": "Happy new year",
    "cron": "0 0 1 1 *",
    "task_type": "tool",
    "payload": {"server": "sutazai", "tool": "echo", "arguments": {"text": "cheers"}},
}


def miss_a_time(system: System) -> None:
    """As if the schedule had been due since long ago."""
    database = sqlite3.connect(system.data / "sutazai.db", timeout=10)
    with closing(database) as connection, connection:
        connection.execute("UPDATE schedules SET next_at = '2020-01-01 00:00:00.000000'")


def test_a_schedule_fires_while_the_system_runs_and_once_for_what_it_missed(make: Make) -> None:
    system = make().start()
    path = f"/api/v1/schedules/{system.post('/api/v1/schedules', YEARLY, 201)['schedule_id']}"
    miss_a_time(system)
    fired = eventually(lambda: (s := system.get(path))["last_task_id"] and s)
    task = system.finished(fired["last_task_id"])

    this_year = f"{datetime.now(UTC).year}-01-01T00:00:00Z"
    assert (task["status"], task["scheduled_for"]) == ("succeeded", this_year)
    assert fired["last_at"] == this_year
    assert fired["next_at"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"

    assert system.end(signal.SIGKILL) == -signal.SIGKILL
    miss_a_time(system)
    system.start()
    eventually(lambda: (s := system.get(path))["next_at"] != "2020-01-01T00:00:00Z" and s)
    assert system.get("/api/v1/tasks")["total_count"] == 1  # that time has its task
