"""The workers over HTTP: which processes carry tasks out."""

import msgspec
from litestar import Router, get
from litestar.types import Scope

from domain.model.workers import WorkerRecord
from domain.tasks.register import WorkerService
from entrypoints.http.pages import cut
from entrypoints.http.requests import Cursor, Limit, Service, caller_of


class WorkerList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the workers by id."""

    workers: tuple[WorkerRecord, ...]
    total_count: int
    next_cursor: str | None


@get("/")
async def list_workers(
    workers: Service[WorkerService], scope: Scope, limit: Limit = 50, cursor: Cursor = None
) -> WorkerList:
    """Workers with the tasks in their hands; one that was lost is shown for a day."""
    known = await workers.list(caller_of(scope))
    page = cut(known, lambda worker: worker.worker_id, limit, cursor)
    return WorkerList(
        workers=page.items, total_count=page.total_count, next_cursor=page.next_cursor
    )


ROUTES = Router("/workers", route_handlers=[list_workers], tags=["workers"])
