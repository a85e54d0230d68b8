"""Whole systems on a real Redis: what they share, and what becomes of them without it."""

import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest

from tests.real.kept import free_port
from tests.real.redis import Redis, redis
from tests.system.conftest import Make
from tests.system.crew import Crew
from tests.system.running import System, eventually

pytestmark = pytest.mark.services

SOON_S = 3.0
# The promise is a second or two; a busy machine gets one more.
POLL_S = 1.0
# A worker that nobody wakes looks as often: it would wait for half of that in the mean.
REFUSED_S = 30.0


@pytest.fixture
def server() -> Iterator[Redis]:
    """A server of the test's own."""
    with redis() as started:
        yield started


def _refused(system: System) -> str:
    """What a system says that does not start."""
    ended = subprocess.run(
        system.command(),
        env=system.environment,
        stderr=subprocess.PIPE,
        timeout=REFUSED_S,
        check=False,
    )
    assert ended.returncode == 1
    said = ended.stderr.decode()
    return next(line for line in said.splitlines() if line.startswith("error: "))


def _waited(task: dict[str, str]) -> float:
    """Seconds from a task's submission to its start."""
    created, started = (datetime.fromisoformat(task[name]) for name in ("created_at", "started_at"))
    return (started - created).total_seconds()


def _cache(system: System) -> dict[str, str]:
    part: dict[str, str] = system.get("/health")["details"]["cache"]
    return part


def test_a_redis_that_is_not_there_ends_the_start_in_time(make: Make) -> None:
    url = f"redis://:hush@127.0.0.1:{free_port()}/0"

    said = _refused(make(redis_url=url, startup_timeout_s="1"))

    assert said == "error: SUTAZAI_REDIS_URL: not reached within 1 s: it cannot be reached."


def test_a_frozen_redis_ends_the_start_in_time(make: Make, server: Redis) -> None:
    server.freeze()
    said = _refused(make(redis_url=server.url, startup_timeout_s="1.5"))
    server.thaw()

    assert said == "error: SUTAZAI_REDIS_URL: not reached within 1.5 s: no answer within 1 s."


@pytest.mark.parametrize("options", ["", "?colour=red"])
def test_a_redis_url_that_is_wrong_is_named_without_its_password(
    make: Make, server: Redis, options: str
) -> None:
    system = make(redis_url=f"redis://:hush@127.0.0.1:{server.port}/0{options}")

    said = _refused(system)

    why = "not a URL" if options else "it refuses the user or the password"
    assert said.startswith("error: SUTAZAI_REDIS_URL: ")
    assert why in said
    assert "hush" not in said


def test_a_lost_redis_is_told_and_missed_by_nobody_and_is_back_by_itself(
    make: Make, server: Redis
) -> None:
    system = make(redis_url=server.url).start()
    assert system.get("/health")["services"]["cache"] == "healthy"
    assert _cache(system)["backend"] == system.get("/api/v1/cache/stats")["backend"] == "redis"
    mesh = {each["name"]: each for each in system.get("/api/v1/mesh/services")["services"]}
    assert (mesh["cache"]["instance"], mesh["cache"]["state"]) == ("redis", "healthy")

    server.kill()
    eventually(lambda: system.get("/health")["services"]["cache"] == "degraded", SOON_S)
    lost = _cache(system)
    assert "Redis is away" in lost["reason"]
    assert lost["since"] > lost["last_ok"]
    assert system.get("/health")["status"] == "degraded"
    answer = system.post("/api/v1/chat", {"message": '/tool sutazai__echo {"text": "here"}'})
    assert "here" in answer["response"]
    assert system.get("/api/v1/cache/stats")["backend"] == "memory"
    assert system.post("/api/v1/cache/clear") == {"cleared": 0}

    server.start()
    eventually(lambda: system.get("/health")["services"]["cache"] == "healthy", SOON_S)
    assert system.get("/api/v1/cache/stats")["backend"] == "redis"
    assert server.password not in system.log
    assert system.end() == 0


def test_a_submitted_task_wakes_a_worker_in_another_process(
    make: Make, server: Redis, tmp_path: Path
) -> None:
    crew = Crew(tmp_path, make, redis_url=server.url, worker_concurrency="1")
    try:
        crew.system.start()
        crew.system.until_ready("ledger")
        crew.submit("busy", 60)
        eventually(lambda: crew.caller_of("busy") == "serve")
        crew.working()
        crew.system.finished(crew.submit("first"))
        waits = [_waited(crew.system.finished(crew.submit(f"{n}"))) for n in range(15)]
        assert crew.caller_of("14") == "work-1"
        assert median(waits) < POLL_S / 4, waits
    finally:
        crew.close()


def test_systems_share_the_limits_of_a_caller(make: Make, server: Redis) -> None:
    systems = [make(redis_url=server.url, chat_per_minute="4").start() for _ in range(2)]

    codes = [
        system.client.post("/api/v1/chat", json={"message": "/tool sutazai__echo"}).status_code
        for _ in range(3)
        for system in systems
    ]

    assert codes == [200] * 4 + [429] * 2
    for system in systems:
        assert system.get("/health")["status"] == "healthy"
