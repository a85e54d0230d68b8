"""How an attempt ends in the store, also where the store pauses, lies still, or does not tell."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from domain.model.callers import LOCAL
from domain.model.decisions import Question
from domain.model.retries import RetryPolicy
from domain.model.servers import ServerDown
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    OnIndeterminate,
    Task,
    TaskId,
    TaskStatus,
    ToolPayload,
    WorkerId,
)
from domain.ports.decisions import DecisionQuery
from domain.tasks.carrier import Carrier, WorkerLimits
from domain.tasks.decisions import DecisionService
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Finish, Indeterminate, RunOf
from domain.tasks.service import SubmitTask
from domain.tasks.worker import Worker
from tests.domain.agent_bench import Faulty
from tests.domain.test_worker import DONE, LIMITS, PAYLOAD, Bench, RunFunction

pytestmark = pytest.mark.anyio

QUESTION = Question(call_id="c", server="s", tool="t", arguments={}, reason="The server broke.")
Fault = Callable[[Faulty], None]


def refused(store: Faulty) -> None:
    """The next two transactions do not begin."""
    store.refused = 2


def unacknowledged(store: Faulty) -> None:
    """The next transaction is kept, and its answer lost."""
    store.unacknowledged = 1


FAULTS = pytest.mark.parametrize("fault", [refused, unacknowledged])


class FaultyBench(Bench):
    """A bench whose carriers meet the store's faults."""

    def __init__(self) -> None:
        super().__init__()
        self.faulty = Faulty(self.transactions)
        self.decisions = DecisionService(self.transactions, self.signals)

    def worker(self, run: RunFunction, name: str = "w", limits: WorkerLimits = LIMITS) -> Worker:
        runs: RunOf = {ToolPayload: run, AgentPayload: run}
        carrier = Carrier(self.faulty, self.signals, runs, self.chance, limits)
        return Worker(WorkerId(name), self.transactions, self.signals, carrier, limits)

    async def submitted(self, **options: object) -> TaskId:
        submit = SubmitTask(payload=PAYLOAD, **options)  # type: ignore[arg-type]
        return (await self.tasks.submit(LOCAL, submit)).task_id


@pytest.fixture
def bench() -> FaultyBench:
    return FaultyBench()


def _failing_first(
    bench: FaultyBench, fault: Fault, failure: Exception
) -> Callable[[Task, Recorder], Awaitable[Finish]]:
    """A run that fails in its first attempt, and whose end meets a fault then."""

    async def run(task: Task, _recorder: Recorder) -> Finish:
        if task.attempt > 1:
            return DONE
        fault(bench.faulty)
        raise failure

    return run


@FAULTS
async def test_a_task_finishes_once_whatever_the_store_tells(
    bench: FaultyBench, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(_task: Task, _recorder: Recorder) -> Finish:
        fault(bench.faulty)
        return DONE

    async with bench.working(run) as worker:
        task = await bench.finished(await bench.submitted())
        await worker.stop(timedelta(seconds=5))
    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 1)
    assert await bench.kinds(task.task_id) == [EventKind.START, EventKind.DONE]
    assert "another attempt took over" not in caplog.text


@FAULTS
async def test_a_retry_is_kept_once_whatever_the_store_tells(
    bench: FaultyBench, fault: Fault
) -> None:
    run = _failing_first(bench, fault, ServerDown("it is down"))
    async with bench.working(run):
        task_id = await bench.submitted(retry=RetryPolicy(first_delay=timedelta()))
        task = await bench.finished(task_id)
    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 2)
    assert await bench.kinds(task_id) == [
        EventKind.START,
        EventKind.RETRY,
        EventKind.START,
        EventKind.DONE,
    ]


@FAULTS
async def test_a_question_is_asked_once_whatever_the_store_tells(
    bench: FaultyBench, fault: Fault
) -> None:
    run = _failing_first(bench, fault, Indeterminate(QUESTION))
    async with bench.working(run) as worker:
        task_id = await bench.submitted(on_indeterminate=OnIndeterminate.ASK)
        await bench.until(task_id, TaskStatus.WAITING)
        await worker.stop(timedelta(seconds=5))
    assert (await bench.decisions.list(LOCAL, DecisionQuery())).total_count == 1
    assert await bench.kinds(task_id) == [EventKind.START, EventKind.DECISION]


async def test_a_store_that_stays_away_leaves_the_task_to_another_worker(
    bench: FaultyBench,
) -> None:
    async def run(task: Task, _recorder: Recorder) -> Finish:
        if task.attempt == 1:
            bench.faulty.refused = LIMITS.finish_tries
        return DONE

    async with bench.working(run) as worker:
        task_id = await bench.submitted()
        await bench.until(task_id, TaskStatus.RUNNING)
        await worker.stop(timedelta(seconds=5))
        assert (await bench.tasks.get(LOCAL, task_id)).status is TaskStatus.RUNNING
    async with bench.working(run):
        task = await bench.finished(task_id)
    assert (task.status, task.attempt) == (TaskStatus.SUCCEEDED, 2)


async def test_a_cancel_that_came_before_the_question_ends_the_task(bench: FaultyBench) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def run(_task: Task, _recorder: Recorder) -> Finish:
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue  # a call that hears of no cancel
        raise Indeterminate(QUESTION)

    deaf = WorkerLimits(heartbeat=timedelta(hours=1), poll=timedelta(hours=1))
    worker = bench.worker(run, "deaf", deaf)
    await worker.start()
    task_id = await bench.submitted(on_indeterminate=OnIndeterminate.ASK)
    await began.wait()
    async with bench.transactions.begin() as transaction:
        await transaction.tasks.request_cancel(task_id)
    go.set()
    task = await bench.finished(task_id)
    await worker.stop(timedelta(seconds=5))
    assert task.status is TaskStatus.CANCELLED
    assert (await bench.decisions.list(LOCAL, DecisionQuery())).total_count == 0


async def test_a_retry_behind_the_deadline_ends_the_task_at_once(bench: FaultyBench) -> None:
    async def down(_task: Task, _recorder: Recorder) -> Finish:
        raise ServerDown("it is down")

    async with bench.working(down):
        retry = RetryPolicy(first_delay=timedelta(minutes=2), longest_delay=timedelta(hours=1))
        task = await bench.finished(
            await bench.submitted(retry=retry, deadline=timedelta(minutes=1))
        )
    assert task.error is not None
    assert (task.status, task.error.reason) == (TaskStatus.FAILED, "deadline")
    assert "it is down" in task.error.message
    assert await bench.kinds(task.task_id) == [EventKind.START, EventKind.ERROR]


async def test_rests_grow_as_the_task_says_and_spread(bench: FaultyBench) -> None:
    async def down(_task: Task, _recorder: Recorder) -> Finish:
        raise ServerDown("it is down")

    policy = RetryPolicy(
        first_delay=timedelta(seconds=10), factor=3, longest_delay=timedelta(seconds=60)
    )
    rests: list[timedelta] = []
    async with bench.working(down):
        task_id = await bench.submitted(retry=policy, max_attempts=5)
        retries = (
            event
            async for event in bench.tasks.follow(LOCAL, task_id)
            if event.kind is EventKind.RETRY
        )
        for _ in range(4):
            await anext(retries)
            task = await bench.tasks.get(LOCAL, task_id)
            rests.append(task.run_at - bench.clock.now())
            bench.clock.advance(rests[-1])
        await bench.finished(task_id)
    expected = [10, 30, 60, 60]
    for rest, least in zip(rests, expected, strict=True):
        assert timedelta(seconds=least) <= rest <= timedelta(seconds=least * 1.25)
    assert rests[2] != rests[3]


async def test_a_failure_that_names_a_time_is_not_met_again_before_it(bench: FaultyBench) -> None:
    async def busy(_task: Task, _recorder: Recorder) -> Finish:
        raise ServerDown("it rests", retry_after=timedelta(minutes=9))

    async with bench.working(busy):
        task_id = await bench.submitted()
        await bench.until_retried(task_id)
        task = await bench.until(task_id, TaskStatus.QUEUED)
    assert task.run_at - bench.clock.now() >= timedelta(minutes=9)


@pytest.mark.parametrize(
    ("policy", "attempt", "seconds"),
    [
        (RetryPolicy(), 1, 1),
        (RetryPolicy(), 4, 8),
        (RetryPolicy(), 20, 60),
        (RetryPolicy(factor=100), 2000, 60),
        (RetryPolicy(first_delay=timedelta()), 9, 0),
        (RetryPolicy(first_delay=timedelta(hours=1)), 1, 60),
        (RetryPolicy(factor=1, first_delay=timedelta(seconds=5)), 7, 5),
    ],
)
def test_a_policy_gives_the_rest_after_each_attempt(
    policy: RetryPolicy, attempt: int, seconds: int
) -> None:
    assert policy.delay(attempt) == timedelta(seconds=seconds)
