"""A claim walks the line's own index, however many tasks are in line and whatever was counted."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from adapters.sql import migrate
from adapters.sql.engine import Database, open_database
from domain.model.tasks import Hold, TaskId, WorkerId, server_lane
from domain.ports.tasks import Entry, NewTask
from tests.contracts.storage import DONE, tool_task
from tests.real.postgres import new_database

pytestmark = pytest.mark.anyio

IN_LINE = 300


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind, whose server has no statistics of it."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'store.db'}?timeout=10"
    else:
        with new_database(request.getfixturevalue("postgres_url")) as made:
            yield made


def _explained(database: Database) -> list[tuple[str, Any]]:
    """Statements on tasks as they are run from now on, asked for their plans."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        seen.append((sql, parameters))

    engine = database.transactions._engines.writer.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    return seen


async def _plan(database: Database, statement: tuple[str, Any]) -> str:
    engine = database.transactions._engines.writer
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    async with engine.begin() as connection:
        rows = await connection.exec_driver_sql(f"{explain} {statement[0]}", statement[1])
        return "\n".join(str(row[-1]) for row in rows)


async def _filled(url: str) -> Database:
    await migrate.upgrade(url)
    database = open_database(url)
    async with database.transactions.begin() as transaction:
        for number in range(IN_LINE):
            new: NewTask = tool_task(f"t{number:04}", lane=server_lane(f"s{number % 3}"))
            await transaction.tasks.add(new)
    return database


async def test_a_claim_walks_the_line(url: str) -> None:
    database = await _filled(url)
    seen = _explained(database)
    async with database.transactions.begin() as transaction:
        await transaction.queue.claim(WorkerId("w"), timedelta(minutes=1), 5)
    claims = [found for found in seen if found[0].lstrip().startswith("WITH")]
    plan = await _plan(database, claims[-1])
    await database.dispose()
    assert "ix_tasks_line" in plan
    assert "ix_tasks_running" in plan
    for other in ("uq_tasks_busy", "line_of", "SCAN tasks"):
        assert other not in plan


async def test_ends_are_written_without_a_look_at_other_tasks(url: str) -> None:
    database = await _filled(url)
    async with database.transactions.begin() as transaction:
        await transaction.queue.claim(WorkerId("w"), timedelta(minutes=1), 5)
    seen = _explained(database)
    entry = Entry(hold=Hold(task_id=TaskId("t0000"), attempt=1), events=(), outcome=DONE)
    async with database.transactions.begin() as transaction:
        await transaction.queue.write((entry,))
    (update,) = [found for found in seen if "UPDATE tasks" in found[0]]
    plan = await _plan(database, update)
    await database.dispose()
    for scan in ("SCAN tasks", "SCAN own", "Seq Scan on tasks", "Bitmap"):
        assert scan not in plan


async def test_a_claim_with_caps_walks_each_lane(url: str) -> None:
    database = await _filled(url)
    seen = _explained(database)
    async with database.transactions.begin() as transaction:
        caps = {server_lane("s0"): 2}
        claimed = await transaction.queue.claim(WorkerId("w"), timedelta(minutes=1), 9, caps=caps)
    heads = [found for found in seen if "UNION ALL" in found[0] and "lane" in found[0]]
    plan = await _plan(database, heads[-1])
    await database.dispose()
    assert len(claimed) == 9
    assert plan.count("ix_tasks_line_of_lane") == 3


async def test_a_turn_is_found_by_seeks(url: str) -> None:
    database = await _filled(url)
    seen = _explained(database)
    async with database.transactions.begin() as transaction:
        await transaction.tasks.add(tool_task("one more"))
    (insert,) = [found for found in seen if found[0].lstrip().startswith("INSERT INTO tasks")]
    plan = await _plan(database, insert)
    await database.dispose()
    assert "ix_tasks_line_of_owner" in plan
    assert "ix_tasks_line " in plan.replace("\n", " ")
