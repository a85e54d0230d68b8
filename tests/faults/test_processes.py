"""Two API processes and two workers serve one workload, and each of them is killed in turn."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import httpx
import pytest

from domain.model.tasks import TaskStatus
from tests.faults.cluster import Cluster, Job
from tests.faults.conftest import WITH_REDIS, Make
from tests.faults.listening import Event, listen
from tests.system.running import START_S, System, eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

EVERY_S = 0.1
LISTENED = 8
# Every so many tasks have a listener.
LONGEST_S = 90.0


class Clients:
    """Who submits at both APIs by turns and listens to some of the tasks."""

    def __init__(self, cluster: Cluster, systems: tuple[System, System]) -> None:
        self._cluster = cluster
        self._systems = systems
        self._enough = threading.Event()
        self.accepted = 0
        self.failures = 0
        self.heard: dict[str, list[Event]] = {}

    def submit_on_and_on(self) -> None:
        """Each task is sent to one API after the other until one has taken it."""
        for number in count():
            if self._enough.wait(EVERY_S):
                return
            job = Job(name=f"t{number}", seconds=0.4, idempotent=number % 3 > 0, max_attempts=9)
            task_id = self._accepted(job, number)
            if number % LISTENED == 0:
                self.heard[task_id] = []
                threading.Thread(target=self._hear, args=(task_id, number)).start()

    def _accepted(self, job: Job, number: int) -> str:
        for turn in count(number):
            with suppress(httpx.TransportError):
                answer = self._cluster.post(job, self._systems[turn % 2])
                if answer.is_success:
                    self.accepted += 1
                    return str(answer.json()["task_id"])
                assert answer.is_server_error or answer.status_code == 409, answer.text
            self.failures += 1
            time.sleep(EVERY_S)
        raise AssertionError

    def _hear(self, task_id: str, number: int) -> None:
        events, until = self.heard[task_id], time.monotonic() + LONGEST_S
        for turn in count(number):
            after = events[-1].id if events else 0
            with suppress(httpx.TransportError, httpx.HTTPStatusError):
                listen(self._systems[turn % 2], task_id, after, events)
            if (events and events[-1].kind in {"done", "error"}) or time.monotonic() > until:
                return
            time.sleep(EVERY_S)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.submit_on_and_on)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()


def test_two_apis_and_two_workers_are_killed_in_turn_and_nothing_is_lost_or_doubled(
    make: Make, tmp_path: Path
) -> None:
    cluster = make(WITH_REDIS, drain_s="2")
    one = cluster.crew.system
    servers = json.loads(one.config.read_text("utf-8"))["mcpServers"]
    (tmp_path / "other").mkdir()
    settings = {"database_url": cluster.url, "redis_url": cluster.redis_url}
    two = System(tmp_path / "other", servers, **settings)
    try:
        for system in (one.start(), two.start()):
            system.until_ready("ledger")
        workers = cluster.working(2)
        clients = Clients(cluster, (one, two))
        with clients.at_work():
            eventually(lambda: clients.accepted > 10, START_S)
            for system, worker in zip((one, two), workers, strict=True):
                system.end(signal.SIGKILL)
                _more(cluster, 10)
                system.start()
                worker.end(signal.SIGKILL)
                _more(cluster, 10)
                cluster.working(1)
            _more(cluster, 10)
        found = cluster.settled()
        assert len(found) == clients.accepted
        unsure = [t for t in found.values() if t.status is not TaskStatus.SUCCEEDED]
        assert {t.error.reason for t in unsure if t.error} <= {"indeterminate"}
        for task_id, events in clients.heard.items():
            eventually(lambda events=events: events[-1].kind in {"done", "error"})  # type: ignore[misc]
            stored = cluster.events(task_id)
            assert [event.id for event in events] == [event.seq for event in stored]
        again = sum(task.attempt > 1 for task in found.values())
        print(
            f"{len(found)} tasks, {again} begun again, {len(unsure)} of unknown effect, "
            f"{clients.failures} requests sent again, {len(clients.heard)} listeners"
        )
    finally:
        print(two.log)
        two.close()


def _more(cluster: Cluster, number: int) -> None:
    """Wait for so many more calls."""
    made = len(cluster.crew.calls())
    eventually(lambda: len(cluster.crew.calls()) >= made + number, START_S)
