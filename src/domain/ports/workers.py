"""Which workers there are."""

from datetime import timedelta
from typing import Protocol

from domain.model.tasks import WorkerId
from domain.model.workers import WorkerRecord, WorkerSign


class WorkerStore(Protocol):
    """Workers by their id. Times are the store's; no claim and no lease depends on any of it."""

    async def begin(self, sign: WorkerSign) -> None:
        """A life of this worker begins now, in place of its earlier one."""
        ...

    async def seen(self, worker_id: WorkerId) -> bool:
        """It lives now; False where nothing is known of it."""
        ...

    async def leave(self, worker_id: WorkerId) -> None:
        """It has ended as it should; may be repeated."""
        ...

    async def list(self, lost_after: timedelta) -> tuple[WorkerRecord, ...]:
        """All of them by id; lost are those that were last seen longer ago."""
        ...

    async def purge(self, older_than: timedelta) -> int:
        """Forget those that were last seen longer ago; return how many."""
        ...
