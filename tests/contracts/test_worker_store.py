"""What a store of workers promises."""

from datetime import timedelta

import pytest

from domain.model.tasks import WorkerId
from domain.model.workers import WorkerSign
from tests.contracts.storage import LONG, WORKER, Store, tool_task

pytestmark = pytest.mark.anyio

MOMENT = timedelta(milliseconds=50)


def sign(worker_id: str = WORKER, pid: int = 7) -> WorkerSign:
    return WorkerSign(
        worker_id=WorkerId(worker_id), host="höst", pid=pid, version="1.0", concurrency=16
    )


async def begin(store: Store, *signs: WorkerSign) -> None:
    async with store.transactions.begin() as transaction:
        for each in signs:
            await transaction.workers.begin(each)


async def test_workers_are_listed_by_id_with_what_they_said(store: Store) -> None:
    await begin(store, sign("b"), sign("a", pid=8))
    async with store.transactions.read() as transaction:
        first, second = await transaction.workers.list(LONG)
    assert (first.worker_id, first.pid, second.worker_id, second.pid) == ("a", 8, "b", 7)
    assert (first.host, first.version, first.concurrency) == ("höst", "1.0", 16)
    assert (first.held, first.lost) == (0, False)
    assert first.started_at == first.seen_at
    assert first.started_at.tzinfo is not None


async def test_a_worker_holds_the_tasks_that_run_in_its_hands(store: Store) -> None:
    await begin(store, sign(), sign("idle"))
    await store.submit(tool_task("t1"), tool_task("t2"), tool_task("t3"))
    await store.claim(2)
    async with store.transactions.read() as transaction:
        held = {each.worker_id: each.held for each in await transaction.workers.list(LONG)}
    assert held == {WORKER: 2, "idle": 0}


async def test_a_sign_is_seen_and_its_absence_too(store: Store) -> None:
    await begin(store, sign("a"), sign("b"))
    await store.advance(MOMENT)
    async with store.transactions.begin() as transaction:
        assert await transaction.workers.seen(WorkerId("a"))
        assert not await transaction.workers.seen(WorkerId("nobody"))
        lost = {each.worker_id: each.lost for each in await transaction.workers.list(MOMENT / 2)}
        (a, _) = await transaction.workers.list(LONG)
    assert lost == {"a": False, "b": True}
    assert a.seen_at >= a.started_at + MOMENT


async def test_a_new_life_takes_the_place_of_the_earlier_one(store: Store) -> None:
    await begin(store, sign(pid=1))
    await store.advance(MOMENT)
    async with store.transactions.read() as transaction:
        (before,) = await transaction.workers.list(LONG)
    await begin(store, sign(pid=2))
    async with store.transactions.read() as transaction:
        (after,) = await transaction.workers.list(LONG)
    assert after.pid == 2
    assert after.started_at > before.started_at


async def test_who_leaves_is_gone_and_who_was_lost_long_ago_as_well(store: Store) -> None:
    await begin(store, sign("a"), sign("b"))
    await store.advance(MOMENT)
    await begin(store, sign("c"))
    async with store.transactions.begin() as transaction:
        for _ in range(2):
            await transaction.workers.leave(WorkerId("a"))
        assert await transaction.workers.purge(MOMENT / 2) == 1
        assert await transaction.workers.purge(MOMENT / 2) == 0
        assert [each.worker_id for each in await transaction.workers.list(LONG)] == ["c"]
