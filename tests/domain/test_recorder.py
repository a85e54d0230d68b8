"""What a run tells is stored once, whenever its recorder is closed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import pytest

from domain.model.callers import LOCAL
from domain.model.tasks import EventKind, NewEvent, TaskProgress, ToolPayload, WorkerId
from domain.ports.storage import Transaction, Transactions
from domain.tasks.group import GroupWriter
from domain.tasks.recorder import Patience, Recorder
from domain.tasks.service import SubmitTask
from tests.domain.agent_bench import bench

pytestmark = pytest.mark.anyio


class Slow:
    """A store that has committed some time before it says so."""

    def __init__(self, store: Transactions) -> None:
        self._store = store
        self.committed, self.tells = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Transaction, None]:
        async with self._store.begin() as transaction:
            yield transaction
        self.committed.set()
        await self.tells.wait()

    def single(self) -> AbstractAsyncContextManager[Transaction]:
        return self.begin()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Transaction, None]:
        async with self._store.read() as transaction:
            yield transaction


async def test_what_is_being_written_as_the_run_ends_is_not_written_again() -> None:
    room = bench([])
    async with room.open():
        submitted = await room.tasks.submit(
            LOCAL, SubmitTask(payload=ToolPayload(server="s", tool="act"))
        )
        async with room.store.begin() as transaction:
            (task,) = await transaction.queue.claim(WorkerId("one"), timedelta(), 1)
        slow = Slow(room.store)
        patience = Patience(tries=1, pause=timedelta())
        recorder = Recorder(task, slow, GroupWriter(slow), room.signals, patience)
        recorder.progress(TaskProgress(progress=1))
        await slow.committed.wait()
        closing = asyncio.create_task(recorder.close())
        await asyncio.sleep(0)
        slow.tells.set()
        await closing
        assert not recorder.pending().events
        await recorder.record(NewEvent(kind=EventKind.TOOL_CALL, data={"call_id": "call"}))
        kinds = [event.kind for event in await room.events(submitted.task_id)]
    assert kinds == [EventKind.PROGRESS, EventKind.TOOL_CALL]
