"""A listener's place in a task's events outlives the client, the system and the hour."""

import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster, Job
from tests.faults.conftest import everywhere
from tests.faults.listening import read
from tests.system.running import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

SHIFTED = Path(__file__).with_name("shifted.py")
HOUR = timedelta(hours=1)


@everywhere
def test_the_rest_of_a_tasks_events_is_replayed_after_a_restart_an_hour_later(
    cluster: Cluster,
) -> None:
    system = cluster.crew.system.start()
    system.until_ready("ledger")
    task_id = cluster.post(Job(name="long", seconds=2)).json()["task_id"]
    eventually(lambda: cluster.begun("long"))
    before = read(system, task_id, 0, most=2)
    assert [event.kind for event in before] == ["start", "tool_call"]
    system.end(signal.SIGKILL)

    for restarts in (1, 2):
        cluster.age(HOUR)
        system.program = (sys.executable, "-P", str(SHIFTED), str(HOUR.seconds * restarts))
        system.start()
        after = read(system, task_id, before[-1].id)
        assert after[-1].kind == "done"
        assert [event.id for event in (*before, *after)] == list(range(1, after[-1].id + 1))
        assert read(system, task_id, 0) == [*before, *after]
        assert read(system, task_id, after[-1].id) == []
        system.end(signal.SIGKILL)
    assert cluster.settled()["long"].attempt == 2
