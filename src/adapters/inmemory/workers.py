"""Workers kept in memory."""

from datetime import timedelta

import msgspec

from adapters.inmemory.state import Rows
from domain.model.tasks import TaskStatus, WorkerId
from domain.model.workers import WorkerRecord, WorkerSign


class MemoryWorkers:
    """The workers of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._workers = rows.state.workers
        self._tasks = rows.state.unfinished
        self._clock = rows.clock

    async def begin(self, sign: WorkerSign) -> None:
        now = self._clock.now()
        self._workers[sign.worker_id] = WorkerRecord(
            **msgspec.structs.asdict(sign), started_at=now, seen_at=now, held=0, lost=False
        )

    async def seen(self, worker_id: WorkerId) -> bool:
        known = self._workers.get(worker_id)
        if known is not None:
            now = self._clock.now()
            self._workers[worker_id] = msgspec.structs.replace(known, seen_at=now)
        return known is not None

    async def leave(self, worker_id: WorkerId) -> None:
        self._workers.pop(worker_id, None)

    async def list(self, lost_after: timedelta) -> tuple[WorkerRecord, ...]:
        limit = self._clock.now() - lost_after
        return tuple(
            msgspec.structs.replace(
                self._workers[name], held=self._held(name), lost=self._workers[name].seen_at < limit
            )
            for name in sorted(self._workers)
        )

    def _held(self, name: WorkerId) -> int:
        return sum(
            task.status is TaskStatus.RUNNING and task.worker == name
            for task in self._tasks.values()
        )

    async def purge(self, older_than: timedelta) -> int:
        limit = self._clock.now() - older_than
        old = [name for name, known in self._workers.items() if known.seen_at < limit]
        for name in old:
            del self._workers[name]
        return len(old)
