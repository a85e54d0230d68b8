"""Worker processes beside the API and without it: one workload, each task once."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.tasks.register import LOST_AFTER
from tests.system.conftest import Make
from tests.system.crew import Crew
from tests.system.running import START_S, eventually

LEASE_S = 10.0
LEFT_S = 3.0
CANCEL_S = 3.0


@pytest.fixture
def crew(tmp_path: Path, make: Make, database: str) -> Iterator[Crew]:
    """A system that carries out one task at a time itself; workers are asked for."""
    crew = Crew(tmp_path, make, database_url=database, worker_concurrency="1", drain_s="2")
    yield crew
    crew.close()


@pytest.fixture
def crowded(crew: Crew) -> Crew:
    """Serve and two workers that have all started at the same time on an empty folder."""
    crew.worker()
    crew.worker()
    crew.system.start()
    crew.system.until_ready("ledger")
    for worker in crew.workers:
        eventually(lambda worker=worker: worker.works, START_S)  # type: ignore[misc]
    return crew


def end_all(crew: Crew) -> None:
    """Everyone ends politely, and no process is left."""
    for worker in crew.workers:
        worker.tell(signal.SIGTERM)
    assert crew.system.end() == 0
    for worker in crew.workers:
        assert worker.end() == 0, worker.log
    eventually(lambda: not crew.system.marked(), LEFT_S)


def test_serve_and_two_workers_share_one_workload(crowded: Crew) -> None:
    tasks = {f"t{number}": crowded.submit(f"t{number}", 0.3) for number in range(40)}
    for task in tasks.values():
        assert crowded.system.finished(task)["status"] == "succeeded"
    assert crowded.times() == dict.fromkeys(tasks, 1)
    assert {node for _, node in crowded.calls()} == {"serve", "work-1", "work-2"}
    assert {place: known["concurrency"] for place, known in crowded.listed().items()} == {
        "serve": 1,
        "work-1": 8,
        "work-2": 8,
    }
    end_all(crowded)


def test_the_tasks_of_a_killed_worker_run_again_on_another(crew: Crew) -> None:
    crew.system.start()
    crew.system.until_ready("ledger")
    busy = crew.submit("busy", 60)
    eventually(lambda: crew.caller_of("busy") == "serve")
    workers = {"work-1": crew.working(), "work-2": crew.working()}
    task = crew.submit("again", 5)
    holder = eventually(lambda: crew.caller_of("again"))
    assert workers.pop(holder).end(signal.SIGKILL) == -signal.SIGKILL
    (other,) = workers
    eventually(lambda: crew.caller_of("again") == other, LEASE_S + 2)
    ended = crew.system.finished(task)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    eventually(lambda: crew.listed()[holder]["lost"], LOST_AFTER.total_seconds() + 2)
    assert not crew.listed()[other]["lost"]
    crew.system.post(f"/api/v1/tasks/{busy}/cancel", status=202)
    crew.workers = list(workers.values())
    end_all(crew)


def test_a_worker_that_comes_back_frees_its_own_tasks_at_once(crew: Crew) -> None:
    crew.system.start()
    crew.system.until_ready("ledger")
    busy = crew.submit("busy", 60)
    eventually(lambda: crew.caller_of("busy") == "serve")
    victim, other = crew.working(), crew.working()
    texts = [f"t{number}" for number in range(12)]
    tasks = [crew.submit(text, 60) for text in texts]
    eventually(lambda: len(crew.calls()) == 1 + len(tasks))
    nodes = dict(crew.calls())
    lost = {text for text in texts if nodes[text] == "work-1"}
    assert 0 < len(lost) < len(texts)  # neither has room for all
    victim.end(signal.SIGKILL)
    crew.working()
    eventually(lambda: crew.times() == {"busy": 1} | {t: 1 + (t in lost) for t in texts}, 5)
    for task in (busy, *tasks):
        crew.system.post(f"/api/v1/tasks/{task}/cancel", status=202)
    crew.workers = [other, crew.workers[-1]]
    end_all(crew)


def test_a_worker_told_to_end_hands_back_what_is_not_done_in_time(crew: Crew) -> None:
    crew.system.start()
    crew.system.until_ready("ledger")
    busy = crew.submit("busy", 60)
    eventually(lambda: crew.caller_of("busy") == "serve")
    worker = crew.working()
    short, long = crew.submit("short", 1.5), crew.submit("long", 5)
    eventually(lambda: len(crew.calls()) == 3)
    assert crew.listed()["work-1"]["held"] == 2
    begun = time.monotonic()
    assert worker.end() == 0
    assert time.monotonic() - begun < 2 + 2
    assert "it took 2 tasks and handed back 1." in worker.log
    assert set(crew.listed()) == {"serve"}
    assert crew.system.get(f"/api/v1/tasks/{short}")["status"] == "succeeded"
    crew.system.post(f"/api/v1/tasks/{busy}/cancel", status=202)
    assert crew.system.finished(long)["status"] == "succeeded"
    assert crew.times() == {"busy": 1, "short": 1, "long": 2}
    crew.workers.clear()
    end_all(crew)


def test_a_second_signal_hastens_a_worker_s_end(tmp_path: Path, make: Make) -> None:
    crew = Crew(tmp_path, make, worker_concurrency="1", drain_s="60")
    crew.system.start()
    crew.system.until_ready("ledger")
    busy = crew.submit("busy", 50)
    eventually(lambda: crew.caller_of("busy") == "serve")
    worker = crew.working()
    try:
        task = crew.submit("long", 50)
        eventually(lambda: crew.caller_of("long") == "work-1")
        worker.tell(signal.SIGTERM)
        with pytest.raises(AssertionError):
            eventually(lambda: worker.process.poll() is not None, 1)
        worker.tell(signal.SIGINT)
        eventually(lambda: worker.process.poll() == 0, 3)
        assert crew.system.get(f"/api/v1/tasks/{task}")["status"] == "queued"
    finally:
        crew.close()
    crew.system.post(f"/api/v1/tasks/{busy}/cancel", status=202)


def test_a_worker_alone_drains_a_queue_filled_before(crew: Crew) -> None:
    crew.system.start()
    crew.system.until_ready("ledger")
    crew.submit("busy", 30)
    eventually(lambda: crew.caller_of("busy") == "serve")
    tasks = {f"t{number}": crew.submit(f"t{number}") for number in range(30)}
    assert crew.system.end() == 0
    worker = crew.working("--concurrency=4")
    eventually(lambda: len(crew.calls()) == 2 + len(tasks), START_S)
    assert worker.end() == 0
    eventually(lambda: not crew.system.marked(), LEFT_S)
    assert crew.times() == dict.fromkeys(tasks, 1) | {"busy": 2}
    assert {node for text, node in crew.calls() if text in tasks} == {"work-1"}
    assert "up to 4 tasks at a time" in worker.log


def test_a_cancel_reaches_the_task_of_another_process_in_time(crew: Crew) -> None:
    crew.system.start()
    crew.system.until_ready("ledger")
    busy = crew.submit("busy", 60)
    eventually(lambda: crew.caller_of("busy") == "serve")
    crew.working()
    task = crew.submit("long", 60)
    eventually(lambda: crew.caller_of("long") == "work-1")
    asked = time.monotonic()
    crew.system.post(f"/api/v1/tasks/{task}/cancel", status=202)
    path = f"/api/v1/tasks/{task}"
    eventually(lambda: crew.system.get(path)["status"] == "cancelled", CANCEL_S)
    assert time.monotonic() - asked < CANCEL_S
    crew.system.post(f"/api/v1/tasks/{busy}/cancel", status=202)
    end_all(crew)


def test_a_worker_starts_only_the_servers_that_its_tasks_need(crew: Crew) -> None:
    crew.system.start()
    crew.system.until_ready("ledger")
    before = len(crew.system.marked())
    crew.working()
    assert len(crew.system.marked()) == before
    busy = crew.submit("busy", 60)
    eventually(lambda: crew.caller_of("busy"))
    task = crew.submit("one")
    crew.system.finished(task)
    assert crew.caller_of("one") == "work-1" or crew.caller_of("busy") == "work-1"
    assert len(crew.system.marked()) == before + 2  # the ledger and its guard, nothing else
    crew.system.post(f"/api/v1/tasks/{busy}/cancel", status=202)
    end_all(crew)
