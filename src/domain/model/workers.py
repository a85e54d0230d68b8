"""Workers: the processes that carry tasks out, and when each was last seen."""

from datetime import datetime

import msgspec

from domain.model.tasks import WorkerId


class WorkerSign(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself: `concurrency` is how many tasks it carries out at a time."""

    worker_id: WorkerId
    host: str
    pid: int
    version: str
    concurrency: int


class WorkerRecord(WorkerSign, frozen=True, kw_only=True):
    """A worker as the store knows it; `held` counts the tasks that run in its hands.

    `lost` is one that has not been seen for too long: it was killed, or its machine is gone.
    """

    started_at: datetime
    seen_at: datetime
    held: int
    lost: bool
