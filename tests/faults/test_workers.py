"""Workers that die, freeze, are told to end or meet poison, on every database."""

import signal
import time

import pytest

from domain.model.tasks import TaskStatus
from tests.faults.cluster import AGAIN_S, Cluster, Job
from tests.faults.conftest import everywhere
from tests.system.running import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

DRAIN_S = 2.0
CANCEL_S = 3.0
INNOCENT_S = 0.2


def pairs(number: int, seconds: float) -> list[Job]:
    """By turns one that may be repeated and one that must not: a worker gets some of both."""
    return [
        Job(name=f"{n}-{kind}", seconds=seconds, idempotent=kind == "again")
        for n in range(number)
        for kind in ("again", "once")
    ]


def names(jobs: list[Job]) -> list[str]:
    return [job.name for job in jobs]


@everywhere
def test_the_tasks_of_a_killed_worker_run_again_or_say_why_not(cluster: Cluster) -> None:
    victim, _ = cluster.working(2)
    jobs = pairs(4, 3)
    cluster.submit(*jobs)
    eventually(lambda: cluster.begun(*names(jobs)))
    lost = cluster.held_by("work-1")
    again = {name for name in lost if name.endswith("again")}
    assert len(lost) == 2 * len(again) == 4

    victim.end(signal.SIGKILL)
    killed = time.monotonic()
    eventually(lambda: all(cluster.crew.times()[name] == 2 for name in again), AGAIN_S)
    print(f"called again {time.monotonic() - killed:.1f} s after the kill")

    found = cluster.settled()
    for name, task in found.items():
        assert task.attempt == 1 + (name in lost)
        assert cluster.crew.times()[name] == 1 + (name in again)
        if name in lost - again:
            assert task.error is not None
            assert task.error.reason == "indeterminate"
        else:
            assert task.status is TaskStatus.SUCCEEDED


@everywhere
def test_a_worker_that_thaws_after_its_lease_changes_nothing(cluster: Cluster) -> None:
    victim, other = cluster.working(2)
    jobs = [Job(name=f"{n}-{seconds}s", seconds=seconds) for n in range(4) for seconds in (1, 5)]
    cluster.submit(*jobs)
    eventually(lambda: cluster.begun(*names(jobs)))
    lost = cluster.held_by("work-1")
    victim.freeze()
    while cluster.is_locked():  # frozen in the middle of a write: of SQLite nobody else writes then
        victim.thaw()
        victim.freeze()
    eventually(lambda: cluster.held_by("work-1") & lost == set(), AGAIN_S)
    short = {name for name in lost if name.endswith("1s")}
    eventually(lambda: all(cluster.tasks()[name].finished_at for name in short), 5)
    before = {name: (cluster.tasks()[name], cluster.events(name)) for name in short}
    assert not any(cluster.tasks()[name].finished_at for name in lost - short)

    victim.thaw()  # its calls were answered long ago, and all it held is another's
    assert victim.end() == 0
    assert "it took 4 tasks and handed back 0." in victim.log
    found = cluster.settled()
    assert before == {name: (found[name], cluster.events(name)) for name in short}
    for name, task in found.items():
        assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 1 + (name in lost))
    assert other.end() == 0


@everywhere
def test_a_task_that_kills_its_workers_fails_and_takes_no_other_along(cluster: Cluster) -> None:
    cluster.working(2)
    poison = Job(name="poison", kill=True, max_attempts=3)
    innocent = [Job(name=f"t{n}", seconds=INNOCENT_S, max_attempts=9) for n in range(12)]
    cluster.submit(poison, *innocent)

    def poisoned() -> bool:
        for dead in [w for w in cluster.workers if w.process.poll() is not None]:
            cluster.workers.remove(dead)
            cluster.crew.worker("--concurrency=4")
        return cluster.tasks()["poison"].finished_at is not None

    eventually(poisoned, 60)
    found = cluster.settled()
    error = found.pop("poison").error
    assert error is not None
    assert error.reason == "worker-lost"
    assert cluster.crew.times()["poison"] == poison.max_attempts
    assert {task.status for task in found.values()} == {TaskStatus.SUCCEEDED}


@everywhere
def test_a_worker_told_to_end_under_load_ends_in_time_and_loses_nothing(cluster: Cluster) -> None:
    victim, other = cluster.working(2)
    long = [Job(name=f"{n:02}", seconds=6) for n in range(2)]
    short = [Job(name=f"{n:02}", seconds=0.3, idempotent=False) for n in range(2, 48)]
    cluster.submit(*sorted([*long, *short], key=lambda job: job.name))
    eventually(lambda: cluster.begun(*names(short[:20])))
    # Whoever came first may have taken both: its others end while the rest are still to be had.
    if not cluster.held_by("work-1") & set(names(long)):
        victim, other = other, victim
    handed_back = cluster.held_by(victim.node) & set(names(long))
    assert handed_back

    told = time.monotonic()
    assert victim.end() == 0
    print(f"ended {time.monotonic() - told:.1f} s after SIGTERM")
    assert time.monotonic() - told < DRAIN_S + 2
    assert f"and handed back {len(handed_back)}." in victim.log
    found = cluster.settled()
    assert {task.status for task in found.values()} == {TaskStatus.SUCCEEDED}
    assert cluster.crew.times() == {name: 1 + (name in handed_back) for name in found}
    assert other.end() == 0


@everywhere
def test_a_cancelled_task_ends_in_time_though_nobody_hints_and_its_tool_is_deaf(
    cluster: Cluster,
) -> None:
    cluster.working(1)
    jobs = [Job(name=f"t{n}", seconds=60) for n in range(4)]
    cluster.submit(*jobs)
    eventually(lambda: cluster.begun(*names(jobs)))
    for job in jobs:
        cluster.cancel(job.name)
        time.sleep(0.3)  # at different moments of the worker's second
    waited = []
    for task in cluster.settled(CANCEL_S + 1).values():
        assert task.status is TaskStatus.CANCELLED
        assert task.finished_at is not None
        assert task.cancel_requested_at is not None
        waited.append((task.finished_at - task.cancel_requested_at).total_seconds())
    print(f"ended {max(waited):.1f} s after the cancel")
    assert max(waited) < CANCEL_S
