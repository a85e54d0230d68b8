"""What is particular to PostgreSQL: bounds on every wait, reconnects, faults in plain words."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, make_url
from sqlalchemy.exc import DBAPIError

from adapters.sql import migrate
from adapters.sql.engine import Database, open_database
from adapters.sql.pool import PostgresLimits
from domain.model.agents import AgentExists
from domain.model.tasks import Hold, TaskId
from domain.ports.storage import StorageUnavailable
from tests.contracts.storage import DONE, LONG, WORKER, tool_task
from tests.real.postgres import new_database
from tests.real.postgres import postgres as started

pytestmark = [pytest.mark.services, pytest.mark.anyio]

SHORT = PostgresLimits(
    pool_size=2,
    pool_timeout=timedelta(seconds=0.5),
    connect_timeout=timedelta(seconds=1),
    statement_timeout=timedelta(seconds=0.5),
)
BOUND_S = 4.0
# The slowest way through SHORT's limits, with what a loaded machine adds.
LOCK = "SELECT pg_advisory_xact_lock(7)"


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    with new_database(postgres_url) as made:
        yield made


@asynccontextmanager
async def _opened(url: str, limits: PostgresLimits = SHORT) -> AsyncIterator[Database]:
    database = open_database(url, limits)
    try:
        yield database
    finally:
        await database.dispose()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    await migrate.upgrade(url)
    async with _opened(url) as opened:
        yield opened


async def _submit(database: Database, task_id: str) -> None:
    async with database.transactions.begin() as transaction:
        await transaction.tasks.add(tool_task(task_id))


async def _submitted(database: Database) -> int:
    async with database.transactions.read() as transaction:
        return sum((await transaction.tasks.counts()).values())


async def _sql(transaction: Any, statement: str) -> Any:
    connection = transaction.tasks._statements.connection
    result = await connection.exec_driver_sql(statement)
    return result.scalar() if result.returns_rows else None


async def test_a_statement_that_waits_too_long_for_a_lock_is_ended(
    database: Database, url: str
) -> None:
    async with (
        _opened(url, PostgresLimits()) as patient,
        patient.transactions.begin() as holder,
    ):
        await _sql(holder, "LOCK TABLE tasks")
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="ended a statement that took too long"):
            await _submit(database, "t1")
        assert 0.4 < time.monotonic() - began < BOUND_S
    await _submit(database, "t1")


async def test_a_full_pool_is_waited_for_and_then_told(database: Database) -> None:
    async with database.transactions.read(), database.transactions.read():
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="all connections of this process in use"):
            await _submit(database, "t1")
        assert 0.4 < time.monotonic() - began < BOUND_S

    async with database.transactions.read():
        async with database.transactions.read():
            waiting = asyncio.create_task(_submit(database, "t1"))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        await waiting


async def test_a_transaction_that_rests_too_long_loses_its_locks(
    database: Database, url: str
) -> None:
    async def rest_with_a_lock() -> None:
        async with database.transactions.begin() as resting:
            await _sql(resting, LOCK)
            async with other.transactions.begin() as transaction:
                await _sql(transaction, LOCK)
            with pytest.raises(StorageUnavailable, match="closed the connection"):
                await resting.tasks.add(tool_task("t1"))
            raise KeyError

    async with _opened(url, PostgresLimits()) as other:
        with pytest.raises(KeyError):
            await rest_with_a_lock()
    assert (await database.inspector.status()).pool_in_use == 0
    assert await _submitted(database) == 0


async def test_a_restart_fails_what_is_under_way_and_nothing_later() -> None:
    async def stop_within() -> None:
        async with database.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task("lost"))
            await asyncio.to_thread(server.stop)

    with started() as server, new_database(server.url) as url:
        await migrate.upgrade(url)
        async with _opened(url) as database:
            with pytest.raises(StorageUnavailable):
                await stop_within()
            with pytest.raises(StorageUnavailable, match="refuses connections"):
                await _submit(database, "between")
            with pytest.raises(StorageUnavailable, match="refuses connections"):
                await database.inspector.status()
            await asyncio.to_thread(server.start)
            await asyncio.gather(_submit(database, "t1"), _submit(database, "t2"))
            # Both connections idle while the server dies: the pool finds that out by itself.
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.gather(_submit(database, "t3"), _submit(database, "t4"))
            assert await _submitted(database) == 4


async def test_a_frozen_server_is_told_within_bounds_and_used_again_once_it_thaws() -> None:
    async def freeze_within() -> None:
        async with database.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task("lost"))
            server.freeze()
            await transaction.tasks.add(tool_task("lost too"))

    with started() as server, new_database(server.url) as url:
        await migrate.upgrade(url)
        async with _opened(url) as database:
            for act in (freeze_within, database.inspector.status):
                async with asyncio.timeout(BOUND_S):
                    with pytest.raises(StorageUnavailable, match="gave no answer in time"):
                        await act()
            server.thaw()
            await asyncio.gather(_submit(database, "t1"), _submit(database, "t2"))
            assert await _submitted(database) == 2
            server.freeze()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(BOUND_S), asyncio.timeout(0.1):
                    await database.inspector.status()
            async with asyncio.timeout(BOUND_S):
                await database.dispose()
            server.thaw()


async def test_a_commit_without_an_answer_is_a_failure_that_leaves_either_all_or_nothing() -> None:
    async def freeze_before_the_end() -> None:
        async with database.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task("t1"))
            await transaction.tasks.add(tool_task("t2"))
            server.freeze()

    with started() as server, new_database(server.url) as url:
        await migrate.upgrade(url)
        async with _opened(url) as database:
            with pytest.raises(StorageUnavailable, match="gave no answer in time"):
                await freeze_before_the_end()
            server.thaw()
            assert await _submitted(database) in {0, 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong-secret"}, "refuses the user or the password"),
        ({"username": "nobody"}, "refuses the user or the password"),
        ({"database": "nowhere"}, "does not exist"),
        ({"port": 1}, "refuses connections"),
        ({"host": "nowhere.invalid"}, "cannot be reached"),
        ({"query": {"sslmode": "require"}}, "cannot be reached"),
    ],
)
async def test_what_cannot_be_reached_is_told_without_the_password(
    url: str, changes: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    changed = make_url(url).set(**changes)
    async with _opened(changed.render_as_string(hide_password=False)) as database:
        with pytest.raises(StorageUnavailable, match=words) as caught:
            await _submit(database, "t1")
    told: BaseException | None = caught.value
    while told is not None:
        assert str(changed.password) not in f"{told} {told!r}"
        told = told.__cause__ or told.__context__
    assert str(changed.password) not in caplog.text


async def test_the_name_that_others_use_for_tls_is_understood(url: str) -> None:
    async with _opened(f"{url}?sslmode=prefer") as database:
        assert (await database.inspector.status()).dialect == "postgresql"


async def test_an_error_of_ours_shows_no_value_of_the_statement(database: Database) -> None:
    async with database.transactions.begin() as transaction:
        task = tool_task("t1", owner="secret-owner", priority=2**40)
        with pytest.raises(DBAPIError, match="hidden") as caught:
            await transaction.tasks.add(task)
    assert "secret-owner" not in str(caught.value)


async def test_missing_tables_are_told(url: str) -> None:
    async with _opened(url) as database:
        with pytest.raises(StorageUnavailable, match="has not the tables"):
            await _submit(database, "t1")
        assert (await database.inspector.status()).migration_current is None


async def test_a_server_that_takes_no_writes_is_told_by_a_look_alone(
    database: Database, url: str
) -> None:
    await _submit(database, "t1")
    name = make_url(url).database
    async with database.transactions.begin() as transaction:
        await _sql(transaction, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with _opened(url) as later:
        with pytest.raises(StorageUnavailable, match="cannot be written"):
            await later.inspector.status()
        with pytest.raises(StorageUnavailable, match="cannot be written"):
            await _submit(later, "t2")
        assert await _submitted(later) == 1


async def test_tables_that_change_under_way_fail_one_transaction_at_most(
    database: Database,
) -> None:
    await _submit(database, "t1")
    assert await _submitted(database) == 1
    async with database.transactions.begin() as transaction:
        await _sql(transaction, "ALTER TABLE tasks ALTER COLUMN status TYPE varchar(40)")
    try:
        await _submitted(database)
    except StorageUnavailable as failure:
        assert "has got other tables meanwhile" in failure.message  # noqa: PT017 - or none at all
    assert await _submitted(database) == 1


async def test_the_inspector_tells_the_versions_and_the_pools_use(database: Database) -> None:
    status = await database.inspector.status()
    assert status.dialect == "postgresql"
    assert int(status.server_version.split(".")[0]) >= 15
    assert status.migration_current == status.migration_head == migrate.head()
    assert status.probe_ms > 0
    async with database.transactions.begin():
        status = await database.inspector.status()
        assert (status.pool_in_use, status.pool_idle) == (1, 0)
    status = await database.inspector.status()
    assert (status.pool_in_use, status.pool_idle) == (0, 2)


async def test_a_statement_is_compiled_and_prepared_once_a_connection(url: str) -> None:
    await migrate.upgrade(url)
    async with _opened(url, PostgresLimits(pool_size=1)) as database:
        compiled: list[str] = []
        prepared: set[int] = set()

        def compiling(*arguments: Any) -> None:
            context = arguments[4]
            if context.compiled is not None and context.cache_hit.name != "CACHE_HIT":
                compiled.append(str(context.statement))

        for number in range(4):
            if number == 2:
                engine = database.transactions._engines.writer.sync_engine
                event.listen(engine, "before_cursor_execute", compiling)
            task_id = f"t{number}"
            await _submit(database, task_id)
            async with database.transactions.begin() as transaction:
                await transaction.queue.claim(WORKER, LONG, 1, TaskId(task_id))
                hold = Hold(task_id=TaskId(task_id), attempt=1)
                await transaction.queue.heartbeat(WORKER, LONG, (hold,))
                await transaction.queue.finish(hold, DONE)
                count = "SELECT count(*) FROM pg_prepared_statements"
                if number > 1:
                    prepared.add(await _sql(transaction, count))
        assert compiled == []
        assert len(prepared) == 1


async def test_a_transaction_says_nothing_to_the_server_but_its_begin_statements_and_end(
    url: str,
) -> None:
    await migrate.upgrade(url)
    async with _opened(url, PostgresLimits(pool_size=1)) as database:
        said: list[str] = []  # all but prepared statements
        async with database.transactions._engines.writer.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_query_logger(lambda record: said.append(record.query))
        await _submit(database, "t1")
        assert said == ["BEGIN;", "COMMIT;"]
        said.clear()
        async with database.transactions.single() as transaction:
            await transaction.tasks.add(tool_task("t2"))
        assert said == []
        assert await _submitted(database) == 2
        assert said == ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;", "ROLLBACK;"]


async def test_a_broken_rule_leaves_the_rest_of_the_transaction(database: Database) -> None:
    async with database.transactions.begin() as transaction:
        (agent, *_) = await transaction.agents.list()
        await transaction.tasks.add(tool_task("t1"))
        with pytest.raises(AgentExists):
            await transaction.agents.add(agent)
    assert await _submitted(database) == 1
