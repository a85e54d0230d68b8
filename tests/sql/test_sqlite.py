"""What is particular to a database file: faults, locks, connections, other processes."""

import asyncio
import os
import pwd
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import msgspec
import pytest
from sqlalchemy import ClauseElement, Compiled, Dialect, Insert, event
from sqlalchemy.dialects import postgresql

from adapters.sql import (
    agents,
    claims,
    conversations,
    decisions,
    line,
    migrate,
    queue,
    retention,
    servers,
    tasks,
)
from adapters.sql.engine import Database, open_database
from adapters.sql.inspector import SqlInspector
from adapters.sql.sqlite import Sqlite
from domain.model.tasks import TaskId, TaskNotFound
from domain.ports.storage import StorageInspector, StorageUnavailable
from tests.contracts.storage import tool_task

pytestmark = pytest.mark.anyio


async def _submit(database: Database, *task_ids: str, size: int = 0) -> None:
    async with database.transactions.begin() as transaction:
        for task_id in task_ids:
            payload = tool_task(task_id).payload
            payload.arguments["zone"].append("x" * size)  # type: ignore[union-attr]
            await transaction.tasks.add(tool_task(task_id, payload=payload))


async def test_a_missing_folder_is_told_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "store.db"
    database = open_database(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StorageUnavailable, match="cannot be opened") as caught:
        await _submit(database, "t1")
    assert str(path) in caught.value.message
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        await database.inspector.status()
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        await migrate.upgrade(f"sqlite+aiosqlite:///{path}")
    await database.dispose()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_text("This is no database, whatever its name says." * 100)
    database = open_database(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StorageUnavailable, match="is no SQLite database"):
        await _submit(database, "t1")
    await database.dispose()


async def test_missing_tables_are_told(url: str) -> None:
    database = open_database(url)
    with pytest.raises(StorageUnavailable, match="has not the tables"):
        await _submit(database, "t1")
    status = await database.inspector.status()
    assert status.migration_current is None
    await database.dispose()


async def test_a_locked_file_is_told_and_serves_again_once_it_is_free(
    database: Database, tmp_path: Path
) -> None:
    await _submit(database, "t1")
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="is locked") as caught:
        await _submit(database, "t2")
    assert caught.value.retry_after is not None
    async with database.transactions.read() as transaction:
        assert (await transaction.tasks.get(TaskId("t1"))).task_id == "t1"
    other.execute("ROLLBACK")
    other.close()
    await _submit(database, "t2")


async def test_a_full_disk_is_told_and_keeps_nothing_of_the_transaction(
    database: Database,
) -> None:
    def fill(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count=60")
        cursor.close()

    event.listen(database.transactions._engines.writer.sync_engine, "connect", fill)
    with pytest.raises(StorageUnavailable, match="no room left"):
        await _submit(database, "small", "large", size=1_000_000)
    await _submit(database, "next")
    async with database.transactions.read() as transaction:
        with pytest.raises(TaskNotFound):
            await transaction.tasks.get(TaskId("small"))


async def test_a_transaction_that_failed_within_cannot_commit_the_rest(
    database: Database,
) -> None:
    def fill(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count=60")
        cursor.close()

    async def go_on_after_the_failure() -> None:
        huge = tool_task("huge").payload
        huge.arguments["zone"].append("x" * 1_000_000)  # type: ignore[union-attr]
        async with database.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task("first"))
            with pytest.raises(StorageUnavailable, match="no room left"):
                await transaction.tasks.add(tool_task("huge", payload=huge))

    event.listen(database.transactions._engines.writer.sync_engine, "connect", fill)
    with pytest.raises(StorageUnavailable, match="nothing is kept"):
        await go_on_after_the_failure()
    async with database.transactions.read() as transaction:
        assert await transaction.tasks.counts() == {}


async def test_the_inspector_tells_the_versions_and_the_pools_use(database: Database) -> None:
    inspector: StorageInspector = database.inspector
    status = await inspector.status()
    assert (status.dialect, status.server_version) == ("sqlite", sqlite3.sqlite_version)
    assert status.migration_current == status.migration_head == migrate.head()
    assert status.probe_ms > 0
    async with database.transactions.begin(), database.transactions.read():
        assert (await database.inspector.status()).pool_in_use == 2
    status = await database.inspector.status()
    assert status.pool_in_use == 0
    assert status.pool_idle == 3


async def test_a_file_that_is_gone_is_told_by_a_look_alone(
    database: Database, tmp_path: Path
) -> None:
    await database.inspector.status()
    (tmp_path / "store.db").unlink()
    with pytest.raises(StorageUnavailable, match="is gone"):
        await database.inspector.status()


async def test_a_disk_without_room_is_told_by_a_look_alone(
    database: Database, tmp_path: Path
) -> None:
    crowded = Sqlite(str(tmp_path / "store.db"), least_room_bytes=2**62)
    engines = msgspec.structs.replace(database.transactions._engines, dialect=crowded)
    with pytest.raises(StorageUnavailable, match="no room left"):
        await SqlInspector(engines).status()


async def test_a_file_that_may_not_be_written_is_told_by_a_look_alone(database: Database) -> None:
    with NamedTemporaryFile(suffix=".db") as file:
        os.fchmod(file.fileno(), 0o444)
        await database.inspector.status()
        engines = msgspec.structs.replace(database.transactions._engines, dialect=Sqlite(file.name))
        root = os.geteuid() == 0
        if root:  # it may write everything
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            with pytest.raises(StorageUnavailable, match="cannot be written"):
                await SqlInspector(engines).status()
        finally:
            if root:
                os.seteuid(0)


async def test_commits_are_durable_and_readers_are_few(database: Database) -> None:
    engines = database.transactions._engines
    async with engines.writer.connect() as connection:
        rows = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert rows == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 200}


async def test_cancelled_transactions_give_their_connections_back(database: Database) -> None:
    async def hang(number: int) -> None:
        async with database.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task(f"t{number}"))
            await asyncio.Event().wait()

    running = [asyncio.create_task(hang(number)) for number in range(5)]
    done, _ = await asyncio.wait(running, timeout=0.1)
    assert not done
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await _submit(database, "t9")
    assert (await database.inspector.status()).pool_in_use == 0
    async with database.transactions.read() as transaction:
        assert sum((await transaction.tasks.counts()).values()) == 1


async def test_what_a_writer_read_is_still_so_when_it_writes(database: Database) -> None:
    async def submit_next() -> None:
        for _ in range(5):
            async with database.transactions.begin() as transaction:
                known = await transaction.tasks.counts()
                await transaction.tasks.add(tool_task(f"t{sum(known.values())}"))

    await asyncio.gather(*(submit_next() for _ in range(20)))
    async with database.transactions.read() as transaction:
        assert sum((await transaction.tasks.counts()).values()) == 100


async def test_two_processes_that_claim_from_one_file_share_the_tasks(
    database: Database, url: str
) -> None:
    ids = [f"t{number:03}" for number in range(120)]
    await _submit(database, *ids)
    program = Path(__file__).with_name("claimer.py")
    claimers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            url.replace("timeout=0.2", "timeout=10"),
            f"worker-{number}",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(2)
    ]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert await claimer.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(claimer.communicate(b"go\n") for claimer in claimers))
    shares = [answer.decode().split() for answer, _ in answers]
    assert [claimer.returncode for claimer in claimers] == [0, 0]
    assert sorted(shares[0] + shares[1]) == ids
    assert all(shares)


def test_opening_a_database_imports_neither_alembic_nor_postgres() -> None:
    code = (
        "import sys, adapters.sql.engine\n"
        "print([m for m in ('alembic', 'asyncpg', 'sqlalchemy.dialects.postgresql')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.strip() == "[]"


def _compiled(statement: ClauseElement, dialect: Dialect) -> Compiled:
    columns = list(statement.table.c.keys()) if isinstance(statement, Insert) else None
    return statement.compile(dialect=dialect, column_keys=columns)


def test_every_statement_can_be_said_to_postgres_too() -> None:
    dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
    statements = [
        value
        for module in (
            agents,
            servers,
            conversations,
            tasks,
            queue,
            claims,
            line,
            decisions,
            retention,
        )
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, ClauseElement)
    ]
    said = [str(_compiled(statement, dialect)) for statement in statements]
    assert len(said) > 25
    assert not any("strftime" in text for text in said)
    assert any("make_interval" in text and "SKIP LOCKED" in text for text in said)
