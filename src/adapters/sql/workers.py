"""Workers as rows."""

from datetime import timedelta

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from adapters.sql.dialect import Now, after, seconds
from adapters.sql.statements import Statements
from adapters.sql.tables import tasks, workers
from domain.model.tasks import TaskStatus, WorkerId
from domain.model.workers import WorkerRecord, WorkerSign

_THIS = workers.c.worker_id == bindparam("this")
ADD = insert(workers).values(started_at=Now(), seen_at=Now())
SEEN = update(workers).where(_THIS).values(seen_at=Now()).returning(workers.c.worker_id)
LEAVE = delete(workers).where(_THIS)
_HELD = (
    select(func.count())
    .where(tasks.c.status == TaskStatus.RUNNING, tasks.c.worker == workers.c.worker_id)
    .scalar_subquery()
)
LIST = select(
    *workers.c, _HELD.label("held"), (workers.c.seen_at < after("age_s")).label("lost")
).order_by(workers.c.worker_id)
PURGE = delete(workers).where(workers.c.seen_at < after("age_s")).returning(workers.c.worker_id)


class SqlWorkers:
    """The workers of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def begin(self, sign: WorkerSign) -> None:
        await self.leave(sign.worker_id)
        await self._statements.rows(ADD, msgspec.structs.asdict(sign))

    async def seen(self, worker_id: WorkerId) -> bool:
        return await self._statements.first(SEEN, {"this": worker_id}, alone=True) is not None

    async def leave(self, worker_id: WorkerId) -> None:
        await self._statements.rows(LEAVE, {"this": worker_id})

    async def list(self, lost_after: timedelta) -> tuple[WorkerRecord, ...]:
        rows = await self._statements.rows(LIST, {"age_s": seconds(-lost_after)})
        return tuple(msgspec.convert(row, WorkerRecord, from_attributes=True) for row in rows)

    async def purge(self, older_than: timedelta) -> int:
        return len(await self._statements.rows(PURGE, {"age_s": seconds(-older_than)}))
