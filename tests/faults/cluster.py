"""Workers on one database, the tasks they are given, and what is found of both afterwards."""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
from anyio.from_thread import BlockingPortal
from sqlalchemy import Select, func, literal_column, make_url, select, text, update

from adapters.sql import migrate
from adapters.sql.engine import Database, open_database
from adapters.sql.tables import metadata, task_events, tasks
from domain.model.tasks import FINISHED, Task, TaskEvent, TaskId, ToolPayload
from tests.contracts.storage import tool_task
from tests.faults.invariants import Case, check
from tests.system.crew import Crew, WorkProcess
from tests.system.running import START_S, System, eventually

LEASE_S = 10.0
AGAIN_S = LEASE_S + 2
# A lease that was just renewed, a poll, and what a loaded machine adds.
SETTLED_S = 60.0
FILE = "sutazai.db"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A task for the ledger: `name` is its id, and the text of its call."""

    name: str
    seconds: float = 0.0
    idempotent: bool = True
    kill: bool = False
    max_attempts: int = 3
    deadline_s: float | None = None

    @property
    def payload(self) -> ToolPayload:
        """One call of the ledger."""
        arguments = {"text": self.name, "seconds": self.seconds, "kill": self.kill}
        return ToolPayload(
            server="ledger", tool="note", arguments=arguments, idempotent=self.idempotent
        )


class Cluster:
    """A database of its own, workers, and the ledger of the calls that they make."""

    def __init__(
        self, folder: Path, portal: BlockingPortal, through: int | None = None, **settings: str
    ) -> None:
        self._portal = portal
        self.url = settings.get("database_url", f"sqlite+aiosqlite:///{folder / 'data' / FILE}")
        if through is not None:
            # The processes go another way than the tests themselves.
            way = make_url(self.url).set(port=through)
            settings["database_url"] = way.render_as_string(hide_password=False)
        self._jobs: dict[str, Job] = {}
        self.crew = Crew(
            folder, lambda servers, **more: System(folder, servers, **more), **settings
        )
        self.data = self.crew.system.data
        self.data.mkdir(exist_ok=True)
        self.file = self.data / FILE
        self.redis_url = settings.get("redis_url", "")
        self._database: Database

    def __enter__(self) -> Self:
        self._portal.call(migrate.upgrade, self.url)
        self._database = open_database(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.crew.close()
        self.crew.system.close()
        self._portal.call(self._database.dispose)
        for worker in self.workers:
            print(worker.log)  # shown where the test failed

    @property
    def workers(self) -> list[WorkProcess]:
        """Every worker that was started, in order."""
        return self.crew.workers

    def working(self, number: int, *words: str) -> list[WorkProcess]:
        """So many more workers, with room for four tasks each, which work already: by node."""
        started = [self.crew.worker("--concurrency=4", *words) for _ in range(number)]
        for worker in started:
            eventually(lambda worker=worker: worker.works, START_S)  # type: ignore[misc]
        return sorted(started, key=lambda worker: worker.node)

    def submit(self, *jobs: Job) -> None:
        """Submit tasks, all at once."""
        self._portal.call(self._submit, jobs)
        self._jobs |= {job.name: job for job in jobs}

    async def _submit(self, jobs: Sequence[Job]) -> None:
        async with self._database.transactions.begin() as transaction:
            for job in jobs:
                deadline = None if job.deadline_s is None else timedelta(seconds=job.deadline_s)
                new = tool_task(
                    job.name,
                    payload=job.payload,
                    max_attempts=job.max_attempts,
                    deadline=deadline,
                )
                await transaction.tasks.add(new)

    def post(self, job: Job, system: System | None = None) -> httpx.Response:
        """Ask an API for a task, with its name as the key; there it gets an id of its own."""
        self._jobs[job.name] = job
        body = {
            "task_type": "tool",
            "payload": msgspec.to_builtins(job.payload),
            "max_attempts": job.max_attempts,
        }
        del body["payload"]["type"]
        key = {"Idempotency-Key": f'"{job.name}"'}
        client = (system or self.crew.system).client
        return client.post("/api/v1/tasks", json=body, headers=key)

    def age(self, by: timedelta) -> None:
        """Let all that is kept have happened so much earlier: as if all clocks had moved on."""
        self._portal.call(self._age, by)

    async def _age(self, by: timedelta) -> None:
        async with self._database.transactions.begin() as transaction:
            statements = transaction.tasks._statements
            for table in metadata.sorted_tables:
                for row in await statements.rows(select(table)):
                    kept = dict(row._mapping.items())
                    times = {name: t - by for name, t in kept.items() if isinstance(t, datetime)}
                    here = [column == kept[column.name] for column in table.primary_key]
                    if times:
                        await statements.rows(update(table).where(*here).values(times))

    def cut(self) -> int:
        """End every connection to the database but the one that does it; how many there were."""
        here = func.current_database() == literal_column("datname")
        others = literal_column("pid") != func.pg_backend_pid()
        cut = select(func.pg_terminate_backend(literal_column("pid")))
        return len(self.rows(cut.select_from(text("pg_stat_activity")).where(here, others)))

    def cancel(self, name: str) -> None:
        """Ask for a task's end, and give nobody a hint."""
        self._portal.call(self._cancel, TaskId(name))

    async def _cancel(self, task_id: TaskId) -> None:
        async with self._database.transactions.begin() as transaction:
            await transaction.tasks.request_cancel(task_id)

    def rows(self, statement: Select[Any]) -> Sequence[Any]:
        """What the database says."""
        return self._portal.call(self._rows, statement)

    async def _rows(self, statement: Select[Any]) -> Sequence[Any]:
        async with self._database.transactions.read() as transaction:
            return await transaction.tasks._statements.rows(statement)

    def tasks(self) -> dict[str, Task]:
        """All tasks by name."""
        found = [
            msgspec.convert(row, Task, from_attributes=True) for row in self.rows(select(tasks))
        ]
        named = {_name(task): task for task in found}
        assert len(named) == len(found)  # none is there twice
        return named

    def events(self, task_id: str) -> tuple[TaskEvent, ...]:
        """All that is recorded of a task, in order."""
        here = task_events.c.task_id == task_id
        rows = self.rows(select(task_events).where(here).order_by(task_events.c.seq))
        return tuple(msgspec.convert(row, TaskEvent, from_attributes=True) for row in rows)

    def is_locked(self) -> bool:
        """Whether somebody keeps all others from writing to a file."""
        if not self.file.exists():
            return False
        with closing(sqlite3.connect(self.file, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    def begun(self, *names: str) -> bool:
        """Whether the calls of all these tasks have been made."""
        return set(names) <= self.crew.times().keys()

    def holder(self, name: str) -> str:
        """The node that made the task's last call."""
        return self.crew.caller_of(name)

    def held_by(self, node: str) -> set[str]:
        """The tasks whose last call was that node's."""
        return {name for name, caller in dict(self.crew.calls()).items() if caller == node}

    def settled(self, within: float = SETTLED_S) -> dict[str, Task]:
        """All tasks once they have ended, held to what must be true of each."""

        def ended() -> dict[str, Task] | None:
            found = self.tasks()
            return found if all(task.status in FINISHED for task in found.values()) else None

        found: dict[str, Task] = eventually(ended, within)
        assert found.keys() == self._jobs.keys()
        times = self.crew.times()
        last = {row.task_id: row.last_seq for row in self.rows(select(tasks))}
        events = defaultdict[str, list[TaskEvent]](list)
        for row in self.rows(select(task_events).order_by(task_events.c.seq)):
            events[row.task_id].append(msgspec.convert(row, TaskEvent, from_attributes=True))
        for name, task in found.items():
            check(
                Case(
                    task=task,
                    events=tuple(events[task.task_id]),
                    last_seq=last[task.task_id],
                    calls=times[name],
                    repeatable=self._jobs[name].idempotent,
                )
            )
        return found


def _name(task: Task) -> str:
    assert isinstance(task.payload, ToolPayload)
    return str(task.payload.arguments["text"])
