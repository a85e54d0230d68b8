"""The workers, over a real connection."""

import pytest

from domain.model.tasks import WorkerId
from domain.model.workers import WorkerSign
from tests.http.world import World

pytestmark = pytest.mark.anyio


def sign(worker_id: str) -> WorkerSign:
    return WorkerSign(worker_id=WorkerId(worker_id), host="h", pid=7, version="1.0", concurrency=4)


async def test_workers_are_listed_in_parts(world: World) -> None:
    async with world.transactions.begin() as transaction:
        for name in ("i/work-2", "i/serve", "i/work-1"):
            await transaction.workers.begin(sign(name))

    first = (await world.client.get("/api/v1/workers", params={"limit": 2})).json()
    cursor = first["next_cursor"]
    rest = (await world.client.get("/api/v1/workers", params={"cursor": cursor})).json()

    assert first["total_count"] == 3
    assert [each["worker_id"] for each in first["workers"]] == ["i/serve", "i/work-1"]
    (last,) = rest["workers"]
    assert rest["next_cursor"] is None
    assert last.pop("started_at") == last.pop("seen_at")
    assert last == {
        "worker_id": "i/work-2",
        "host": "h",
        "pid": 7,
        "version": "1.0",
        "concurrency": 4,
        "held": 0,
        "lost": False,
    }
