"""Workers over the in-memory store: what a run's end, a cancel, a loss and a drain come to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from adapters.inmemory.model import ScriptedLanguageModel
from adapters.inmemory.signals import MemorySignals
from adapters.inmemory.system import ManualClock, SeededChance
from adapters.inmemory.transactions import MemoryTransaction, MemoryTransactions
from domain.agents import Models
from domain.model.callers import LOCAL
from domain.model.servers import ServerDown
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    Lane,
    NewEvent,
    Outcome,
    Task,
    TaskError,
    TaskId,
    TaskProgress,
    TaskStatus,
    ToolPayload,
    WorkerId,
)
from domain.ports.signals import Subscription
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish, RunOf, unsure
from domain.tasks.service import SubmitTask, TaskService
from domain.tasks.topics import WAKE, of_task
from domain.tasks.worker import Worker

pytestmark = pytest.mark.anyio

TICK = timedelta(milliseconds=10)
LIMITS = WorkerLimits(heartbeat=TICK, poll=TICK, cancel_grace=timedelta(milliseconds=100))
PAYLOAD = ToolPayload(server="s", tool="t")
DONE = Finish(outcome=Outcome(status=TaskStatus.SUCCEEDED, result={"n": 1}))

CALL = {"call_id": "c", "server": "s", "tool": "t", "arguments": {}}

RunFunction = Callable[[Task, Recorder], Awaitable[Finish]]


class Bench:
    """A store, a service on it, and workers as a test wants them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.chance = SeededChance(1)
        self.signals = MemorySignals()
        self.transactions = MemoryTransactions(self.clock)
        models = Models(ScriptedLanguageModel(()), {})
        self.tasks = TaskService(self.transactions, self.signals, self.chance, models)

    def worker(self, run: RunFunction, name: str = "w", limits: WorkerLimits = LIMITS) -> Worker:
        runs: RunOf = {ToolPayload: run, AgentPayload: run}
        carrier = Carrier(self.transactions, self.signals, runs, self.chance, limits)
        return Worker(WorkerId(name), self.transactions, self.signals, carrier, limits)

    @asynccontextmanager
    async def working(self, run: RunFunction, name: str = "w") -> AsyncIterator[Worker]:
        async with AsyncExitStack() as stack:
            worker = self.worker(run, name)
            await worker.start()
            stack.push_async_callback(worker.stop, timedelta())
            yield worker

    async def submit(self, *, max_attempts: int = 3, deadline: timedelta | None = None) -> TaskId:
        submit = SubmitTask(payload=PAYLOAD, max_attempts=max_attempts, deadline=deadline)
        return (await self.tasks.submit(LOCAL, submit)).task_id

    async def finished(self, task_id: TaskId) -> Task:
        async with asyncio.timeout(5):
            return await self.tasks.finished(LOCAL, task_id)

    async def until(self, task_id: TaskId, status: TaskStatus) -> Task:
        async with asyncio.timeout(5):
            async with self.signals.subscribe(of_task(task_id)) as changes:
                while (task := await self.tasks.get(LOCAL, task_id)).status is not status:
                    await changes.next(0.01)
        return task

    async def until_retried(self, task_id: TaskId) -> None:
        async with asyncio.timeout(5):
            async for event in self.tasks.follow(LOCAL, task_id):
                if event.kind is EventKind.RETRY:
                    return

    async def kinds(self, task_id: TaskId) -> list[EventKind]:
        async with self.transactions.read() as transaction:
            return [event.kind for event in await transaction.tasks.events(task_id, 0, 100)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def succeed(_task: Task, _recorder: Recorder) -> Finish:
    return DONE


async def hang(_task: Task, _recorder: Recorder) -> Finish:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_task_is_carried_out_and_tells_its_story(bench: Bench) -> None:
    async with bench.working(succeed):
        task = await bench.finished(await bench.submit())
    assert (task.status, task.attempt, task.result) == (TaskStatus.SUCCEEDED, 1, {"n": 1})
    assert await bench.kinds(task.task_id) == [EventKind.START, EventKind.DONE]


async def test_a_failure_that_may_pass_is_tried_again_after_its_delay(bench: Bench) -> None:
    async def down_once(task: Task, _recorder: Recorder) -> Finish:
        if task.attempt == 1:
            raise ServerDown("it is down")
        return DONE

    async with bench.working(down_once):
        task_id = await bench.submit()
        await bench.until_retried(task_id)
        task = await bench.until(task_id, TaskStatus.QUEUED)
        rest = task.run_at - bench.clock.now()
        assert timedelta(seconds=1) <= rest <= timedelta(seconds=1.25)
        bench.clock.advance(rest)
        task = await bench.finished(task_id)
    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 2)
    assert await bench.kinds(task_id) == [
        EventKind.START,
        EventKind.RETRY,
        EventKind.START,
        EventKind.DONE,
    ]


async def test_the_last_attempt_s_failure_is_the_task_s(bench: Bench) -> None:
    async def down(_task: Task, _recorder: Recorder) -> Finish:
        raise ServerDown("it is down")

    async with bench.working(down):
        task = await bench.finished(await bench.submit(max_attempts=1))
    assert task.error == TaskError(reason="unavailable", message="it is down")


async def test_an_unsure_call_is_indeterminate_and_not_repeated(bench: Bench) -> None:
    async def interrupted(_task: Task, _recorder: Recorder) -> Finish:
        raise unsure(CALL, "The server broke.")

    async with bench.working(interrupted):
        task = await bench.finished(await bench.submit())
    assert task.attempt == 1
    assert task.error is not None
    assert task.error.reason == "indeterminate"


async def test_a_bug_in_a_run_fails_its_task_only(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_task: Task, _recorder: Recorder) -> Finish:
        raise KeyError("secret")

    async with bench.working(broken) as worker:
        task = await bench.finished(await bench.submit())
        assert worker.running
    assert task.error == TaskError(
        reason="internal", message="An internal error ended it; the log says more."
    )
    assert "its run broke" in caplog.text


async def test_a_cancel_ends_a_run_that_hangs(bench: Bench) -> None:
    async with bench.working(hang):
        task_id = await bench.submit()
        await bench.until(task_id, TaskStatus.RUNNING)
        await bench.tasks.cancel(LOCAL, task_id)
        task = await bench.finished(task_id)
    assert task.status is TaskStatus.CANCELLED
    assert (await bench.kinds(task_id))[-1] is EventKind.ERROR


async def test_a_cancel_ends_a_run_that_will_not_be_cancelled(bench: Bench) -> None:
    release = asyncio.Event()

    async def stubborn(_task: Task, _recorder: Recorder) -> Finish:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return DONE

    async with bench.working(stubborn):
        task_id = await bench.submit()
        await bench.until(task_id, TaskStatus.RUNNING)
        await bench.tasks.cancel(LOCAL, task_id)
        task = await bench.finished(task_id)
        release.set()
    assert task.status is TaskStatus.CANCELLED


async def test_a_deadline_ends_a_run_that_hangs(bench: Bench) -> None:
    async with bench.working(hang):
        task = await bench.finished(await bench.submit(deadline=timedelta(milliseconds=50)))
    assert task.error is not None
    assert task.error.reason == "deadline"


async def test_a_deadline_that_passes_while_the_store_is_slow_leaves_nothing_to_do(
    bench: Bench,
) -> None:
    begun = []

    async def run(task: Task, recorder: Recorder) -> Finish:
        await recorder.record(NewEvent(kind=EventKind.TOOL_CALL, data=CALL))
        begun.append(task.attempt)
        return DONE

    class Slow(MemoryTransactions):
        @asynccontextmanager
        async def begin(self) -> AsyncIterator[MemoryTransaction]:
            await asyncio.sleep(0.1)
            async with bench.transactions.begin() as transaction:
                yield transaction

    runs: RunOf = {ToolPayload: run, AgentPayload: run}
    carrier = Carrier(Slow(bench.clock), bench.signals, runs, bench.chance, LIMITS)
    worker = Worker(WorkerId("w"), bench.transactions, bench.signals, carrier, LIMITS)
    await worker.start()
    task = await bench.finished(await bench.submit(deadline=timedelta(milliseconds=50)))
    await worker.stop(timedelta())
    assert task.error is not None
    assert (task.error.reason, begun) == ("deadline", [])


async def test_a_task_that_keeps_killing_its_worker_fails_with_that_reason(bench: Bench) -> None:
    task_id = await bench.submit(max_attempts=2)
    for _ in range(2):
        async with bench.transactions.begin() as transaction:
            await transaction.queue.claim(WorkerId("dead"), timedelta(seconds=1), 1)
        bench.clock.advance(timedelta(seconds=2))
    async with bench.working(succeed):
        task = await bench.finished(task_id)
    assert task.error is not None
    assert (task.status, task.error.reason) == (TaskStatus.FAILED, "worker-lost")


async def test_an_attempt_that_lost_its_lease_changes_nothing(bench: Bench) -> None:
    release, late = asyncio.Event(), asyncio.Event()

    async def frozen(_task: Task, recorder: Recorder) -> Finish:
        await release.wait()
        late.set()
        await recorder.record(NewEvent(kind=EventKind.PROGRESS, data={"progress": 9.0}))
        raise AssertionError

    slow = WorkerLimits(heartbeat=timedelta(hours=1), poll=TICK, concurrency=1)
    worker = bench.worker(frozen, "frozen", slow)
    await worker.start()
    task_id = await bench.submit()
    await bench.until(task_id, TaskStatus.RUNNING)
    bench.clock.advance(timedelta(seconds=11))
    async with bench.working(succeed, "other"):
        task = await bench.finished(task_id)
        release.set()
        await late.wait()
        await worker.stop(timedelta(seconds=1))
    assert (task.attempt, await bench.tasks.get(LOCAL, task_id)) == (2, task)
    assert EventKind.PROGRESS not in await bench.kinds(task_id)


async def test_a_worker_that_stood_still_may_take_up_its_own_task_again(bench: Bench) -> None:
    thawed, again, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(task: Task, recorder: Recorder) -> Finish:
        if task.attempt == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                thawed.set()
                raise
        again.set()
        await go.wait()
        return DONE

    still = WorkerLimits(heartbeat=timedelta(hours=1), poll=TICK)
    worker = bench.worker(run, "w", still)
    await worker.start()
    task_id = await bench.submit()
    await bench.until(task_id, TaskStatus.RUNNING)
    (first,) = worker._carrying
    bench.clock.advance(timedelta(seconds=11))
    async with asyncio.timeout(5):
        await again.wait()
        await thawed.wait()
        await first
    assert worker.held == 1
    go.set()
    task = await bench.finished(task_id)
    await worker.stop(timedelta(seconds=5))
    assert (task.status, task.attempt, worker.held) == (TaskStatus.SUCCEEDED, 2, 0)


async def test_a_draining_worker_hands_back_what_it_cannot_end(bench: Bench) -> None:
    async with bench.working(hang):
        task_id = await bench.submit()
        await bench.until(task_id, TaskStatus.RUNNING)
    task = await bench.tasks.get(LOCAL, task_id)
    assert (task.status, task.worker) == (TaskStatus.QUEUED, None)
    assert (task.attempt, task.max_attempts) == (1, 4)


async def test_a_draining_worker_lets_a_run_end_in_time(bench: Bench) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def short(_task: Task, _recorder: Recorder) -> Finish:
        started.set()
        await release.wait()
        return DONE

    async with bench.working(short) as worker:
        task_id = await bench.submit()
        await started.wait()
        stopping = asyncio.create_task(worker.stop(timedelta(seconds=5)))
        release.set()
        await stopping
        assert (await bench.tasks.get(LOCAL, task_id)).status is TaskStatus.SUCCEEDED


async def test_a_new_life_of_a_worker_takes_up_what_its_last_one_held(bench: Bench) -> None:
    task_id = await bench.submit()
    async with bench.transactions.begin() as transaction:
        await transaction.queue.claim(WorkerId("w"), timedelta(hours=1), 1)
    async with bench.working(succeed):
        task = await bench.finished(task_id)
    assert task.attempt == 2


async def test_a_listener_sees_text_once_live_and_stored(bench: Bench) -> None:
    go = asyncio.Event()

    async def speak(_task: Task, recorder: Recorder) -> Finish:
        await recorder.record()
        await go.wait()
        for word in ("one ", "two ", "three"):
            recorder.text(word)
            await asyncio.sleep(0)
        recorder.progress(TaskProgress(progress=1.0))
        await recorder.record()
        recorder.text(" four")
        return DONE

    async with bench.working(speak):
        task_id = await bench.submit()
        text, lives = "", 0
        async with asyncio.timeout(5):
            async for event in bench.tasks.follow(LOCAL, task_id):
                if event.kind is EventKind.START:
                    go.set()
                if event.kind is EventKind.TEXT:
                    assert event.data["offset"] == len(text)
                    text += event.data["text"]
                    lives += event.live
    assert text == "one two three four"
    assert lives >= 1


async def test_a_resumed_stream_goes_on_after_the_last_event_seen(bench: Bench) -> None:
    async with bench.working(succeed):
        task_id = await bench.submit()
        await bench.finished(task_id)
    seen = [event async for event in bench.tasks.follow(LOCAL, task_id)]
    rest = [event async for event in bench.tasks.follow(LOCAL, task_id, seen[0].id)]
    assert rest == seen[1:]
    assert not [event async for event in bench.tasks.follow(LOCAL, task_id, seen[-1].id)]


async def test_an_end_sends_no_other_worker_to_the_store_but_one_that_a_cap_held_up() -> None:
    async def run(_task: Task, _recorder: Recorder) -> Finish:
        return DONE

    bench = Bench()
    caps: dict[Lane, int] = {}
    for wakes in (0, 1):
        worker = bench.worker(run)
        worker._caps = lambda: caps
        task = await bench.tasks.submit(LOCAL, SubmitTask(payload=PAYLOAD))
        async with bench.signals.subscribe(WAKE) as heard:
            await worker.start()
            await bench.tasks.finished(LOCAL, task.task_id)
            await worker.stop(timedelta())
            hints = [hint async for hint in _hints(heard)]
        assert len(hints) == wakes
        caps[Lane("server:s")] = 1


async def _hints(heard: Subscription) -> AsyncIterator[Mapping[str, Any]]:
    while (hint := await heard.next(0.01)) is not None:
        yield hint
