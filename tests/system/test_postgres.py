"""The whole system on a PostgreSQL that dies, freezes, comes back or is not there at all."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.sql import migrate
from tests.real.postgres import Postgres, new_database, postgres
from tests.system.running import System, eventually

pytestmark = pytest.mark.services

SUTAZAI = str(Path(sys.executable).with_name("sutazai"))
NOTICE_S = 1.5
# A look at health is shared for half a second; the rest is for a loaded machine.
SILENT_S = 4.0
# Nothing but its silence tells that a server is frozen: a look is given two seconds.


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    with new_database(server.url) as made:
        yield made


def _command(url: str, *words: str, **settings: str) -> subprocess.Popen[str]:
    inherited = {n: text for n, text in os.environ.items() if not n.startswith("SUTAZAI_")}
    return subprocess.Popen(
        [SUTAZAI, *words],
        env=inherited | {"SUTAZAI_DATABASE_URL": url} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ran(url: str, *words: str, **settings: str) -> tuple[int, str, str]:
    process = _command(url, *words, **settings)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def system(url: str, tmp_path: Path) -> Iterator[System]:
    assert _ran(url, "db", "upgrade", SUTAZAI_DATA_DIR=str(tmp_path / "data"))[0] == 0
    running = System(
        tmp_path,
        database_url=url,
        database_connect_timeout_s="1",
        database_statement_timeout_s="1",
        drain_s="1",
    )
    yield running.start()
    running.close()


def _seconds_until(seen: Callable[[], Any]) -> float:
    began = time.monotonic()
    eventually(seen, 20)
    return time.monotonic() - began


def _health(system: System) -> tuple[int, str]:
    answer = system.client.get("/health")
    return answer.status_code, answer.json()["services"]["database"]


def test_of_eight_upgrades_at_once_one_does_the_work_and_all_succeed(
    url: str, tmp_path: Path
) -> None:
    data = {"SUTAZAI_DATA_DIR": str(tmp_path)}
    assert _ran(url, "db", "current", **data)[1].split() == [
        "current",
        "none",
        "head",
        migrate.head(),
    ]
    code, _, err = _ran(url, "db", "check", **data)
    assert (code, "run `sutazai db upgrade`" in err) == (1, True)
    upgrades = [_command(url, "db", "upgrade", **data) for _ in range(8)]
    told = [upgrade.communicate(timeout=100) for upgrade in upgrades]
    assert [upgrade.returncode for upgrade in upgrades] == [0] * 8, told
    assert _ran(url, "db", "current", **data)[1].split()[1] == migrate.head()
    assert _ran(url, "db", "check", **data)[0] == 0


def test_a_start_without_the_server_ends_in_time_with_one_sentence(tmp_path: Path) -> None:
    began = time.monotonic()
    code, out, err = _ran(
        "postgresql://me:hidden-word@127.0.0.1:1/nowhere",
        *("serve", "--port=0", f"--data-dir={tmp_path}"),
        SUTAZAI_STARTUP_TIMEOUT_S="2",
    )
    assert time.monotonic() - began < 2 + 8  # and what it takes to load the system
    assert (code, out) == (1, "")
    (sentence,) = err.splitlines()
    assert sentence == (
        "error: SUTAZAI_DATABASE_URL: not reached within 2 s: The database nowhere at 127.0.0.1"
        " refuses connections."
    )


def test_a_command_without_the_server_fails_with_one_sentence(tmp_path: Path) -> None:
    url = "postgresql://me:hidden-word@127.0.0.1:1/nowhere"
    for words in (("db", "upgrade"), ("db", "current"), ("db", "check")):
        told = _ran(url, *words, SUTAZAI_DATA_DIR=str(tmp_path))
        assert told == (1, "", "error: The database nowhere at 127.0.0.1 refuses connections.\n")


def test_a_start_on_a_frozen_server_ends_in_time(
    server: Postgres, url: str, tmp_path: Path
) -> None:
    server.freeze()
    try:
        code, _, err = _ran(
            url,
            *("serve", "--port=0", f"--data-dir={tmp_path}"),
            SUTAZAI_STARTUP_TIMEOUT_S="2",
            SUTAZAI_DATABASE_CONNECT_TIMEOUT_S="1",
        )
    finally:
        server.thaw()
    assert code == 1
    assert err.startswith("error: SUTAZAI_DATABASE_URL: not reached within 2 s: The database")


def test_a_start_on_tables_that_are_not_there_tells_the_command(url: str, tmp_path: Path) -> None:
    code, _, err = _ran(url, "serve", "--port=0", f"--data-dir={tmp_path}")
    assert code == 1
    assert "run `sutazai db upgrade`" in err


def test_health_and_status_tell_of_the_servers_death_and_return(
    server: Postgres, system: System
) -> None:
    status = system.get("/api/v1/database/status")
    assert (status["status"], status["dialect"]) == ("healthy", "postgresql")
    assert int(status["server_version"].split(".")[0]) >= 15
    assert status["migration_current"] == status["migration_head"] == migrate.head()
    assert status["pool_in_use"] + status["pool_idle"] > 0
    assert status["probe_ms"] > 0
    assert _health(system) == (200, "healthy")

    server.kill()
    assert _seconds_until(lambda: _health(system) == (503, "unhealthy")) < NOTICE_S
    refused = system.client.get("/api/v1/database/status")
    assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert "refuses connections" in refused.json()["detail"]
    server.start()
    assert _seconds_until(lambda: _health(system) == (200, "healthy")) < NOTICE_S

    server.freeze()
    assert _seconds_until(lambda: _health(system) == (503, "unhealthy")) < SILENT_S
    server.thaw()
    assert _seconds_until(lambda: _health(system) == (200, "healthy")) < SILENT_S
    assert system.end() == 0
    assert server.password not in system.log


def test_a_system_ends_in_time_while_its_database_is_frozen(
    server: Postgres, system: System
) -> None:
    assert _health(system) == (200, "healthy")
    server.freeze()
    try:
        began = time.monotonic()
        assert system.end() == 0
        assert time.monotonic() - began < 1 + 2 * SILENT_S
    finally:
        server.thaw()


def test_tasks_go_on_after_the_server_was_away(server: Postgres, system: System) -> None:
    call = {"server": "sutazai", "tool": "wait", "arguments": {"seconds": 3}, "idempotent": True}
    body = {"task_type": "tool", "payload": call}
    task = system.post("/api/v1/tasks", body, status=201)
    eventually(lambda: system.get(f"/api/v1/tasks/{task['task_id']}")["status"] == "running")
    server.kill()
    server.start()
    assert system.finished(task["task_id"])["status"] == "succeeded"


def test_the_settings_show_the_database_without_its_password(server: Postgres, url: str) -> None:
    for words in (("settings",), ("settings", "--json")):
        code, out, err = _ran(url, *words)
        assert (code, server.password in out + err) == (0, False)
        assert "postgresql+asyncpg://sutazai:***@127.0.0.1" in out
