"""A Redis that goes and comes back: what it hastened waits for polls meanwhile."""

import time
from collections.abc import Iterable
from statistics import median

import pytest

from domain.model.tasks import Task, TaskStatus
from tests.faults.cluster import Cluster, Job
from tests.faults.conftest import WITH_REDIS, Make, on
from tests.real.redis import Redis
from tests.system.running import START_S, eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

POLL_S = 1.0
AT_ONCE_S = 0.25
CANCEL_S = 3.0


def waits(tasks: Iterable[Task]) -> list[float]:
    """Seconds from each task's submission to its start."""
    return [
        (task.started_at - task.created_at).total_seconds()
        for task in tasks
        if task.started_at is not None
    ]


@on(WITH_REDIS)
def test_a_redis_that_goes_and_comes_back_costs_a_poll_and_no_task(
    make: Make, database: str, redis_server: Redis
) -> None:
    cluster = make(database, worker_concurrency="1")
    system = cluster.crew.system.start()
    system.until_ready("ledger")
    # Who takes the tasks is never the process that they are submitted to: that one is busy.
    cluster.post(Job(name="busy", seconds=300))
    eventually(lambda: cluster.begun("busy"))
    cluster.working(1)

    def wait_of(name: str) -> float:
        """Submit one task after the other; the middle of how long they waited."""
        names = [f"{name}{n}" for n in range(7)]
        for each in names:
            assert cluster.post(Job(name=each)).is_success
            eventually(lambda each=each: cluster.tasks()[each].finished_at, START_S)  # type: ignore[misc]
        found = cluster.tasks()
        return median(waits(found[each] for each in names))

    wait_of("first")  # until the worker has started its server
    before = wait_of("before")
    cluster.post(Job(name="held", seconds=60))
    eventually(lambda: cluster.begun("held"))
    redis_server.kill()
    try:
        without = wait_of("without")
        cancel(cluster, "held")
    finally:
        redis_server.start()
    again = eventually(
        lambda: (wait := wait_of(f"{time.monotonic()}-")) < AT_ONCE_S and wait, START_S
    )
    print(f"waits with it {before:.3f} s, without {without:.3f} s, with it again {again:.3f} s")
    assert before < AT_ONCE_S
    assert before < without < POLL_S + AT_ONCE_S
    cancel(cluster, "busy")
    found = cluster.settled()
    cancelled = {found.pop(name).status for name in ("busy", "held")}
    assert cancelled == {TaskStatus.CANCELLED}
    assert {task.status for task in found.values()} == {TaskStatus.SUCCEEDED}
    assert set(cluster.crew.times().values()) == {1}


def cancel(cluster: Cluster, name: str) -> None:
    """It ends within its bound, with Redis or without."""
    task_id = cluster.tasks()[name].task_id
    cluster.crew.system.post(f"/api/v1/tasks/{task_id}/cancel", status=202)
    eventually(lambda: cluster.tasks()[name].finished_at, CANCEL_S)
