"""Two API processes and two workers on PostgreSQL and Redis, each killed in turn under load."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sql import migrate
from tests.real.postgres import new_database
from tests.system.conftest import Make
from tests.system.crew import Crew
from tests.system.running import System, eventually

pytestmark = pytest.mark.services

WAVE = 40
# Tasks before each kill: more than all four together carry out at a time.
CALL_S = 2.0
HANDS = 4 + 8
# The most tasks that one process of each kind had in hand when it was killed.


@pytest.fixture
def crew(tmp_path: Path, make: Make, postgres_url: str, redis_url: str) -> Iterator[Crew]:
    with new_database(postgres_url) as database:
        asyncio.run(migrate.upgrade(database))
        crew = Crew(
            tmp_path, make, database_url=database, redis_url=redis_url, worker_concurrency="4"
        )
        yield crew
        crew.close()
        crew.system.close()


@pytest.fixture
def other(crew: Crew, make: Make) -> Iterator[System]:
    system = make(crew.servers, **crew.settings)
    yield system
    system.close()


def test_nothing_is_lost_or_done_twice_while_each_is_killed_in_turn(
    crew: Crew, other: System
) -> None:
    crew.system.start()
    other.start()
    workers = [crew.working(), crew.working()]
    first = crew.system.installation
    tasks: dict[str, str] = {}

    def loaded(worker_id: str, seen_by: System) -> None:
        """More work comes, and that worker has some of it in hand."""
        for _ in range(WAVE):
            text = f"t{len(tasks)}"
            tasks[text] = crew.submit(text, CALL_S, at=seen_by)

        def held() -> int:
            known = seen_by.get("/api/v1/workers")["workers"]
            return sum(each["held"] for each in known if each["worker_id"] == worker_id)

        eventually(held)

    for victim, survivor in ((crew.system, other), (other, crew.system)):
        loaded(f"{victim.installation}/serve", survivor)
        victim.end(signal.SIGKILL)
        victim.start()
    for number, worker in enumerate(workers, 1):
        loaded(f"{first}/work-{number}", other)
        worker.end(signal.SIGKILL)
        crew.working()

    ended = {text: other.finished(task) for text, task in tasks.items()}
    assert {task["status"] for task in ended.values()} == {"succeeded"}
    times = crew.times()
    assert set(times) == set(tasks)
    # A call beyond the first is an attempt that was counted, and only of those that were killed.
    assert all(times[text] <= task["attempt"] for text, task in ended.items())
    assert 0 < sum(task["attempt"] > 1 for task in ended.values()) <= 2 * HANDS
