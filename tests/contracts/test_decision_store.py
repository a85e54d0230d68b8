"""What a store of decisions promises: one answer to each question, and one way on for its task."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.callers import CallerId
from domain.model.decisions import (
    Decision,
    DecisionClosed,
    DecisionId,
    DecisionKind,
    DecisionNotFound,
    Question,
    Verdict,
)
from domain.model.pages import PageQuery
from domain.model.tasks import (
    EventKind,
    NewEvent,
    Outcome,
    StaleAttempt,
    Task,
    TaskError,
    TaskId,
    TaskStatus,
)
from domain.ports.decisions import DecisionQuery, NewDecision, Ruling
from tests.contracts.storage import DONE, LEASE, ME, Store, hold_of, text_event, tool_task

pytestmark = pytest.mark.anyio

QUESTION = Question(
    call_id="c1", server="mail", tool="send", arguments={"to": ["a", 1]}, reason="It broke."
)
AGAIN = Ruling(verdict=Verdict.REPEAT, by=ME)
FAILED = Outcome(
    status=TaskStatus.FAILED, error=TaskError(reason="indeterminate", message="Nobody knows.")
)


def _new(decision_id: str = "d1") -> NewDecision:
    return NewDecision(
        decision_id=DecisionId(decision_id), kind=DecisionKind.INDETERMINATE, question=QUESTION
    )


async def _asked(store: Store, task_id: str = "t1", **options: object) -> Decision:
    """A task that waits for a decision whose id follows from its own."""
    await store.submit(tool_task(task_id, **options))
    (task,) = await store.claim()
    async with store.transactions.begin() as transaction:
        return await transaction.decisions.ask(hold_of(task), _new(f"d-{task_id}"))


async def _settle(store: Store, decision: Decision, ruling: Ruling) -> Task:
    async with store.transactions.begin() as transaction:
        return await transaction.decisions.settle(decision.decision_id, ruling)


async def _get(store: Store, decision_id: str) -> Decision:
    async with store.transactions.read() as transaction:
        return await transaction.decisions.get(DecisionId(decision_id))


async def test_a_task_that_asks_waits_and_nobody_claims_it(store: Store) -> None:
    decision = await _asked(store, owner=CallerId("you"))
    task = await store.get("t1")
    assert (task.status, task.attempt) == (TaskStatus.WAITING, 1)
    assert (task.worker, task.lease_until, task.finished_at) == (None, None, None)
    assert decision == await _get(store, "d-t1")
    assert (decision.task_id, decision.owner, decision.question) == ("t1", "you", QUESTION)
    assert (decision.decision, decision.decided_at, decision.decided_by) == (None, None, None)
    await store.advance(LEASE)
    assert await store.claim() == ()


async def test_only_the_running_attempt_can_ask(store: Store) -> None:
    hold = await store.claimed(lease=LEASE)
    await store.advance(LEASE)
    await store.claim()
    with pytest.raises(StaleAttempt):
        async with store.transactions.begin() as transaction:
            await transaction.decisions.ask(hold, _new())
    with pytest.raises(DecisionNotFound):
        await _get(store, "d1")


async def test_a_task_goes_on_at_its_turn_with_one_attempt_more(store: Store) -> None:
    decision = await _asked(store, max_attempts=1)
    before = await store.get("t1")
    task = await _settle(store, decision, AGAIN)
    assert task == await store.get("t1")
    assert (task.status, task.attempt, task.max_attempts) == (TaskStatus.QUEUED, 1, 2)
    assert task.turn == before.turn
    (again,) = await store.claim()
    assert (again.task_id, again.attempt) == ("t1", 2)
    closed = await _get(store, decision.decision_id)
    assert (closed.decision, closed.decided_by) == (Verdict.REPEAT, ME)
    assert closed.decided_at is not None


@pytest.mark.parametrize("outcome", [DONE, FAILED], ids=["done", "failed"])
async def test_a_task_can_end_by_a_decision(store: Store, outcome: Outcome) -> None:
    decision = await _asked(store)
    ruling = Ruling(verdict=Verdict.DONE, by=ME, outcome=outcome)
    task = await _settle(store, decision, ruling)
    assert task == await store.get("t1")
    assert (task.status, task.result, task.error) == (
        outcome.status,
        outcome.result,
        outcome.error,
    )
    assert task.finished_at is not None


async def test_events_of_a_ruling_follow_the_earlier_ones(store: Store) -> None:
    await store.submit(tool_task("t1"))
    (task,) = await store.claim()
    async with store.transactions.begin() as transaction:
        await transaction.queue.record(hold_of(task), (text_event("a"), text_event("b")))
        decision = await transaction.decisions.ask(hold_of(task), _new())
    told = (NewEvent(kind=EventKind.DECISION, data={"n": 1}), text_event("c"))
    await _settle(store, decision, Ruling(verdict=Verdict.REPEAT, by=ME, events=told))
    (again,) = await store.claim()
    async with store.transactions.begin() as transaction:
        assert await transaction.queue.record(hold_of(again), (text_event("d"),)) == 5
    async with store.transactions.read() as transaction:
        events = await transaction.tasks.events(task.task_id, 2, 10)
    assert [(event.seq, event.attempt, event.kind) for event in events] == [
        (3, 1, EventKind.DECISION),
        (4, 1, EventKind.TEXT),
        (5, 2, EventKind.TEXT),
    ]


async def test_a_second_answer_is_refused_and_changes_nothing(store: Store) -> None:
    decision = await _asked(store)
    task = await _settle(store, decision, AGAIN)
    ruling = Ruling(verdict=Verdict.FAIL, by=CallerId("late"), outcome=FAILED)
    with pytest.raises(DecisionClosed):
        await _settle(store, decision, ruling)
    assert await store.get("t1") == task
    assert (await _get(store, decision.decision_id)).decided_by == ME


async def test_of_many_answers_exactly_one_counts(store: Store) -> None:
    decision = await _asked(store)
    answers = await asyncio.gather(
        *(
            _settle(store, decision, Ruling(verdict=Verdict.REPEAT, by=CallerId(f"c{number}")))
            for number in range(5)
        ),
        return_exceptions=True,
    )
    (task,) = (answer for answer in answers if isinstance(answer, Task))
    assert sum(isinstance(answer, DecisionClosed) for answer in answers) == 4
    assert task.max_attempts == 4


async def test_an_unknown_decision_is_not_found(store: Store) -> None:
    with pytest.raises(DecisionNotFound):
        await _get(store, "nothing")
    with pytest.raises(DecisionNotFound):
        async with store.transactions.begin() as transaction:
            await transaction.decisions.settle(DecisionId("nothing"), AGAIN)


async def test_a_cancel_of_a_waiting_task_makes_its_decision_void(store: Store) -> None:
    decision = await _asked(store)
    async with store.transactions.begin() as transaction:
        task = await transaction.tasks.request_cancel(TaskId("t1"))
    assert task.status is TaskStatus.CANCELLED
    closed = await _get(store, decision.decision_id)
    assert (closed.decision, closed.decided_by) == (Verdict.VOID, None)
    assert closed.decided_at is not None
    with pytest.raises(DecisionClosed):
        await _settle(store, decision, AGAIN)
    assert await store.get("t1") == task


async def test_a_cancel_and_an_answer_at_once_do_not_both_count(store: Store) -> None:
    for number in range(5):
        decision = await _asked(store, f"t{number}")

        async def cancel(task_id: TaskId = decision.task_id) -> None:
            async with store.transactions.begin() as transaction:
                await transaction.tasks.request_cancel(task_id)

        outcomes = await asyncio.gather(
            _settle(store, decision, Ruling(verdict=Verdict.FAIL, by=ME, outcome=FAILED)),
            cancel(),
            return_exceptions=True,
        )
        task = await store.get(decision.task_id)
        closed = await _get(store, decision.decision_id)
        assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 1
        assert (task.status, closed.decision) in {
            (TaskStatus.FAILED, Verdict.FAIL),
            (TaskStatus.CANCELLED, Verdict.VOID),
        }


async def test_decisions_are_listed_newest_first_and_narrowed(store: Store) -> None:
    you = CallerId("you")
    for number in range(1, 4):
        await _asked(store, f"t{number}")
        await store.advance(timedelta(milliseconds=2))
    await _asked(store, "yours", owner=you)
    await _settle(store, await _get(store, "d-t2"), AGAIN)

    async def ids(query: DecisionQuery) -> tuple[list[str], int, str | None]:
        async with store.transactions.read() as transaction:
            page = await transaction.decisions.list(query)
        return [item.decision_id for item in page.items], page.total_count, page.next_cursor

    assert await ids(DecisionQuery(owner=ME)) == (["d-t3", "d-t2", "d-t1"], 3, None)
    assert await ids(DecisionQuery(open=True)) == (["d-yours", "d-t3", "d-t1"], 3, None)
    assert await ids(DecisionQuery(open=False)) == (["d-t2"], 1, None)
    assert await ids(DecisionQuery(task_id=TaskId("t1"))) == (["d-t1"], 1, None)
    part = DecisionQuery(page=PageQuery(limit=2, cursor="d-yours"))
    assert await ids(part) == (["d-t3", "d-t2"], 4, "d-t2")
