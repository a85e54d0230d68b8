"""The way from one version's tables to the next."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from adapters.sql import migrate
from adapters.sql.engine import open_database
from adapters.sql.opening import engines
from domain.model.conversations import ConversationId
from domain.model.retries import RetryPolicy
from domain.model.tasks import EventKind, TaskId, TaskStatus, ToolPayload, WorkerId, server_lane
from tests.real.postgres import new_database

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'store.db'}?timeout=10"
    else:
        with new_database(request.getfixturevalue("postgres_url")) as made:
            yield made


OLD_ROWS = (
    (
        "INSERT INTO tasks (task_id, task_type, status, payload, priority, owner, attempt,"
        " max_attempts, run_at, created_at, last_seq) VALUES ('t1', 'tool', 'queued',"
        ' \'{"type":"tool","server":"clock","tool":"now"}\', 5, \'me\', 2, 3, AT, AT, 1)'
    ),
    "INSERT INTO task_events VALUES ('t1', 1, 1, 'start', '{}', AT)",
    "INSERT INTO conversations VALUES ('talk', 'code-helper', 'me', 0, AT, AT)",
)


def _at(url: str) -> str:
    """An instant as the database's dialect writes it."""
    zone = "" if url.startswith("sqlite") else "+00"
    return f"'2026-01-02 03:04:05.678000{zone}'"


def _revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(migrate.folder()))
    walk = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in walk][::-1]


async def _run(url: str, *statements: str) -> None:
    opened = engines(url, migrate.PATIENT)
    async with opened.writer.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await opened.dispose()


async def _current(url: str) -> str | None:
    database = open_database(url)
    try:
        return (await database.inspector.status()).migration_current
    finally:
        await database.dispose()


def test_the_head_that_is_read_from_the_text_is_the_one_alembic_finds() -> None:
    assert migrate.head() == _revisions()[-1]


async def test_every_revision_goes_up_and_down_and_up_again(url: str) -> None:
    before = "base"
    for revision in _revisions():
        await migrate.upgrade(url, revision)
        await migrate.downgrade(url, before)
        assert await _current(url) == (None if before == "base" else before)
        await migrate.upgrade(url, revision)
        assert await _current(url) == revision
        before = revision


async def test_the_tables_of_the_head_are_those_that_the_code_declares(url: str) -> None:
    await migrate.upgrade(url, "0001")
    await migrate.upgrade(url)
    assert await migrate.differences(url) == ()


async def test_a_table_that_is_missing_is_a_difference(url: str) -> None:
    await migrate.upgrade(url, "0001")
    await migrate.downgrade(url, "base")
    assert any("agents" in difference for difference in await migrate.differences(url))


async def test_of_two_starters_one_migrates_and_both_succeed(url: str) -> None:
    await asyncio.gather(*(migrate.upgrade(url) for _ in range(3)))
    assert await _current(url) == migrate.head()


async def test_tables_of_a_newer_version_are_refused_and_left_as_they_are(url: str) -> None:
    await migrate.upgrade(url)
    await _run(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(migrate.RevisionUnknown, match="revision 9999"):
        await migrate.upgrade(url)
    assert await _current(url) == "9999"


async def test_an_installation_starts_with_three_agents(url: str) -> None:
    await migrate.upgrade(url)
    database = open_database(url)
    async with database.transactions.read() as transaction:
        agents = await transaction.agents.list()
    await database.dispose()
    assert [agent.agent_id for agent in agents] == [
        "code-helper",
        "general-assistant",
        "task-planner",
    ]
    assert all(agent.tools == ("*",) and agent.owner == "local" for agent in agents)
    assert all(agent.instructions and agent.capabilities for agent in agents)


async def test_migrating_leaves_the_logging_alone(url: str) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    await migrate.upgrade(url)
    assert (root.level, list(root.handlers)) == before
    assert not logging.getLogger("sqlalchemy.engine").disabled


async def test_rows_of_an_older_version_are_kept_on_the_way_to_the_head(url: str) -> None:
    await migrate.upgrade(url, "0002")
    await _run(url, *(row.replace("AT", _at(url)) for row in OLD_ROWS))
    await migrate.upgrade(url)
    assert await migrate.differences(url) == ()
    database = open_database(url)
    async with database.transactions.read() as transaction:
        task = await transaction.tasks.get(TaskId("t1"))
        events = await transaction.tasks.events(TaskId("t1"), 0, 10)
        talk = await transaction.conversations.get(ConversationId("talk"))
    await database.dispose()
    assert task.payload == ToolPayload(server="clock", tool="now")
    assert (task.priority, task.attempt, task.created_at.isoformat()) == (
        5,
        2,
        "2026-01-02T03:04:05.678000+00:00",
    )
    assert (task.schedule_id, task.scheduled_for) == (None, None)
    assert [(event.seq, event.kind) for event in events] == [(1, EventKind.START)]
    assert talk.agent_id == "code-helper"


async def test_queued_tasks_of_an_older_version_are_claimed_in_their_order(url: str) -> None:
    """They get their turns with the first claim; those of others join behind by turns."""
    await migrate.upgrade(url, "0002")
    rows = (
        ("t1", "queued", "a", 1, "2026-01-01 00:00:01"),
        ("t2", "queued", "a", 1, "2026-01-01 00:00:02"),
        ("t3", "queued", "b", 1, "2026-01-01 00:00:03"),
        ("late", "queued", "a", 9, "2999-01-01 00:00:00"),
        ("lapsed", "running", "a", 0, "2026-01-01 00:00:00"),
        ("done", "succeeded", "a", 0, "2026-01-01 00:00:00"),
    )
    zone = "" if url.startswith("sqlite") else "+00"
    insert = (
        "INSERT INTO tasks (task_id, task_type, status, payload, priority, owner, attempt,"
        " max_attempts, run_at, created_at, lease_until, finished_at, last_seq) VALUES "
    )
    for task_id, status, owner, priority, second in rows:
        payload = f'{{"type": "tool", "server": "clock-{owner}", "tool": "now"}}'
        at = f"'{second}.000000{zone}'"
        lease = at if status == "running" else "NULL"
        ended = at if status == "succeeded" else "NULL"
        values = (
            f"('{task_id}', 'tool', '{status}', '{payload}', {priority}, '{owner}', 0, 3, "
            f"{at}, {at}, {lease}, {ended}, 0)"
        )
        await _run(url, insert + values)
    await migrate.upgrade(url)
    database = open_database(url)
    async with database.transactions.begin() as transaction:
        claimed = await transaction.queue.claim(WorkerId("w"), timedelta(minutes=1), 10)
        counts = await transaction.tasks.counts()
    await database.dispose()
    assert [task.task_id for task in claimed] == ["t1", "t3", "t2", "lapsed"]
    assert [task.lane for task in claimed] == [
        server_lane(f"clock-{owner}") for owner in ("a", "b", "a", "a")
    ]
    assert claimed[0].retry == RetryPolicy()
    assert counts == {TaskStatus.RUNNING: 4, TaskStatus.QUEUED: 1, TaskStatus.SUCCEEDED: 1}
