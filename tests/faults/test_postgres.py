"""Workers whose PostgreSQL cuts them off, restarts, or leaves them without an answer."""

import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from domain.model.tasks import TaskStatus
from tests.faults.cluster import AGAIN_S, LEASE_S, Cluster, Job
from tests.faults.conftest import Make, on_servers
from tests.faults.proxy import lossy_way
from tests.real.postgres import Postgres
from tests.system.running import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

SHIFTED = Path(__file__).with_name("shifted.py")
HOUR_S = 3600
HEARTBEAT_S = 1.0
MINUTE_S = 60.0
CUTS, LOST_EVERY = 4, 5


def jobs(number: int, seconds: float) -> list[Job]:
    """Half of them must not be repeated; attempts may be lost with the answer to a claim."""
    return [
        Job(name=f"{n:02}", seconds=seconds, idempotent=n % 2 == 0, max_attempts=9)
        for n in range(number)
    ]


def all_succeeded(cluster: Cluster) -> None:
    found = cluster.settled()
    assert {task.status for task in found.values()} == {TaskStatus.SUCCEEDED}
    assert cluster.crew.times() == dict.fromkeys(found, 1)


@on_servers
def test_connections_that_are_cut_again_and_again_cost_no_task(cluster: Cluster) -> None:
    cluster.working(2)
    cluster.submit(*jobs(40, 0.5))
    for _ in range(CUTS):
        made = len(cluster.crew.calls())
        eventually(lambda made=made: len(cluster.crew.calls()) >= made + 4, AGAIN_S)  # type: ignore[misc]
        eventually(cluster.cut)  # who was cut just now comes back with its next transaction
    all_succeeded(cluster)


@on_servers
def test_a_server_that_restarts_under_way_costs_no_task(cluster: Cluster, server: Postgres) -> None:
    cluster.working(2)
    cluster.submit(*jobs(40, 0.5))
    for end in (server.stop, server.kill):
        made = len(cluster.crew.calls())
        eventually(lambda made=made: len(cluster.crew.calls()) >= made + 8, AGAIN_S)  # type: ignore[misc]
        end()
        down = time.monotonic()
        server.start()
    made = len(cluster.crew.calls())
    eventually(lambda: len(cluster.crew.calls()) > made, AGAIN_S)
    print(f"went on {time.monotonic() - down:.1f} s after the server's death")
    all_succeeded(cluster)


@on_servers
def test_commits_whose_answers_are_lost_are_neither_lost_nor_made_twice(
    make: Make, database: str, server: Postgres
) -> None:
    with lossy_way(server.port, LOST_EVERY) as way:
        cluster = make(database, through=way.port)
        system = cluster.crew.system.start()
        system.until_ready("ledger")
        cluster.working(1)
        way.lossy = True
        for job in jobs(30, 0.1):
            for _ in range(9):
                answer = cluster.post(job)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
            assert answer.status_code == httpx.codes.CREATED, answer.text
        all_succeeded(cluster)
        print(f"{way.lost} answers lost")
        assert way.lost > 20
        assert len(cluster.tasks()) == 30


@on_servers
def test_workers_whose_clocks_differ_by_an_hour_take_nothing_from_each_other(
    cluster: Cluster,
) -> None:
    ahead = (sys.executable, "-P", str(SHIFTED), str(HOUR_S))
    right = cluster.crew.working("--concurrency=4")
    wrong = cluster.crew.working("--concurrency=4", program=ahead)
    # Each has room while the other holds tasks of three seconds: nobody takes them.
    cluster.submit(
        *(Job(name=f"{n}", seconds=3 if n % 2 else 1, deadline_s=MINUTE_S) for n in range(8))
    )
    found = cluster.settled()
    assert {(task.status, task.attempt) for task in found.values()} == {(TaskStatus.SUCCEEDED, 1)}
    assert set(dict(cluster.crew.calls()).values()) == {"work-1", "work-2"}

    # What one leaves behind the other takes when its lease has passed, not before, nor an hour on.
    names = [f"left{n}" for n in range(8)]
    cluster.submit(*(Job(name=name, seconds=4) for name in names))
    eventually(lambda: cluster.begun(*names))
    lost = cluster.held_by(right.node) & set(names)
    right.end(signal.SIGKILL)
    killed = time.monotonic()
    eventually(lambda: lost <= cluster.held_by(wrong.node), AGAIN_S)
    waited = time.monotonic() - killed
    print(f"called again {waited:.1f} s after the kill")
    assert waited > LEASE_S - HEARTBEAT_S - 1
    cluster.settled()
    assert _logged_hour(wrong.log) != _logged_hour(right.log)  # it was an hour ahead indeed


def _logged_hour(log: str) -> str:
    """The hour of day at which the ledger was started."""
    line = next(line for line in log.splitlines() if "ledger: idle -> starting" in line)
    return line.split()[1][:2]
