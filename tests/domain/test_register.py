"""Workers sign the register as long as they live."""

from datetime import timedelta

import pytest

from adapters.inmemory.system import ManualClock
from adapters.inmemory.transactions import MemoryTransactions
from domain.model.callers import LOCAL, Caller, CallerId, Scope, ScopeMissing
from domain.model.tasks import WorkerId
from domain.model.workers import WorkerSign
from domain.tasks.register import KEPT, LOST_AFTER, Register, WorkerService

pytestmark = pytest.mark.anyio


def register(transactions: MemoryTransactions, name: str = "w") -> Register:
    sign = WorkerSign(worker_id=WorkerId(name), host="h", pid=1, version="1", concurrency=1)
    return Register(transactions, sign)


async def test_a_worker_is_shown_from_its_start_to_its_end() -> None:
    clock = ManualClock()
    transactions = MemoryTransactions(clock)
    worker, service = register(transactions), WorkerService(transactions)
    assert await service.list(LOCAL) == ()
    await worker.enter()
    clock.advance(LOST_AFTER)
    await worker.sign()
    (known,) = await service.list(LOCAL)
    assert known.seen_at - known.started_at == LOST_AFTER
    assert not known.lost
    await worker.leave()
    assert await service.list(LOCAL) == ()


async def test_a_killed_worker_is_lost_and_forgotten_after_a_day() -> None:
    clock = ManualClock()
    transactions = MemoryTransactions(clock)
    worker, other = register(transactions), register(transactions, "other")
    service = WorkerService(transactions)
    await worker.enter()
    clock.advance(LOST_AFTER + timedelta(seconds=1))
    (known,) = await service.list(LOCAL)
    assert known.lost
    clock.advance(KEPT)
    assert await other.purge() == 1
    assert await service.list(LOCAL) == ()
    await worker.sign()  # it was frozen, not killed
    (known,) = await service.list(LOCAL)
    assert not known.lost


async def test_workers_are_shown_to_whoever_may_read() -> None:
    service = WorkerService(MemoryTransactions(ManualClock()))
    with pytest.raises(ScopeMissing):
        await service.list(Caller(id=CallerId("x"), scopes=frozenset({Scope.CHAT})))
