"""What a store of idempotency keys promises."""

import asyncio
from datetime import timedelta

import pytest

from domain.model.callers import CallerId
from domain.model.keys import IdempotencyKey, KeyInFlight, KeyReused, Once
from domain.model.tasks import TaskId
from domain.ports.tasks import TaskQuery
from tests.contracts.storage import LEASE, ME, Store, tool_task, turn_task

pytestmark = pytest.mark.anyio

KEY = IdempotencyKey("order-1")
ONCE = Once(key=KEY, fingerprint="a" * 64)
OTHER = Once(key=KEY, fingerprint="b" * 64)
ANSWER = {"task_id": "t1", "seen": ["1", 2, None]}


async def _kept(store: Store) -> None:
    async with store.transactions.begin() as transaction:
        assert await transaction.keys.take(ME, ONCE) is None
        await transaction.keys.keep(ME, KEY, ANSWER)


async def test_a_key_is_taken_once_and_then_gives_what_was_kept(store: Store) -> None:
    await _kept(store)
    for _ in range(2):
        async with store.transactions.begin() as transaction:
            assert await transaction.keys.take(ME, ONCE) == ANSWER


async def test_a_key_for_another_request_is_refused_and_the_kept_answer_stays(
    store: Store,
) -> None:
    await _kept(store)
    async with store.transactions.begin() as transaction:
        with pytest.raises(KeyReused) as caught:
            await transaction.keys.take(ME, OTHER)
        assert await transaction.keys.take(ME, ONCE) == ANSWER
    assert caught.value.details == {"key": KEY}


async def test_a_key_without_an_answer_is_in_flight(store: Store) -> None:
    async with store.transactions.begin() as transaction:
        assert await transaction.keys.take(ME, ONCE) is None
    async with store.transactions.begin() as transaction:
        with pytest.raises(KeyInFlight):
            await transaction.keys.take(ME, ONCE)
        with pytest.raises(KeyReused):
            await transaction.keys.take(ME, OTHER)


async def test_callers_do_not_share_their_keys(store: Store) -> None:
    await _kept(store)
    async with store.transactions.begin() as transaction:
        assert await transaction.keys.take(CallerId("you"), OTHER) is None


async def test_a_key_goes_with_the_row_that_it_guards(store: Store) -> None:
    async def fail() -> None:
        async with store.transactions.begin() as transaction:
            assert await transaction.keys.take(ME, ONCE) is None
            await transaction.tasks.add(tool_task("t1"))
            await transaction.keys.keep(ME, KEY, ANSWER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.transactions.begin() as transaction:
        assert await transaction.keys.take(ME, OTHER) is None


async def test_a_refused_key_leaves_the_rest_of_the_transaction(store: Store) -> None:
    await _kept(store)
    async with store.transactions.begin() as transaction:
        await transaction.tasks.add(turn_task("t1", "talk"))
        with pytest.raises(KeyReused):
            await transaction.keys.take(ME, OTHER)
        await transaction.tasks.add(tool_task("t2"))
    assert [(await store.get(task_id)).task_id for task_id in ("t1", "t2")] == ["t1", "t2"]


async def test_old_keys_are_purged_and_may_be_taken_anew(store: Store) -> None:
    await _kept(store)
    async with store.transactions.begin() as transaction:
        assert await transaction.keys.purge(timedelta(minutes=1)) == 0
        assert await transaction.keys.take(ME, ONCE) == ANSWER
    await store.advance(2 * LEASE)
    async with store.transactions.begin() as transaction:
        assert await transaction.keys.purge(LEASE) == 1
        assert await transaction.keys.take(ME, OTHER) is None


async def test_of_twenty_who_ask_at_once_one_acts_and_all_get_its_answer(store: Store) -> None:
    acted: list[int] = []

    async def ask(number: int) -> object:
        async with store.transactions.begin() as transaction:
            kept = await transaction.keys.take(ME, ONCE)
            if kept is not None:
                return kept
            acted.append(number)
            await asyncio.sleep(0.01)  # the others have come by now
            task = await transaction.tasks.add(tool_task(f"t{number}"))
            await transaction.keys.keep(ME, KEY, {"task_id": task.task_id})
            return {"task_id": task.task_id}

    answers = await asyncio.gather(*(ask(number) for number in range(20)))
    assert len(acted) == 1
    assert answers == [{"task_id": f"t{acted[0]}"}] * 20
    async with store.transactions.read() as transaction:
        tasks = await transaction.tasks.list(TaskQuery())
    assert [task.task_id for task in tasks.items] == [TaskId(f"t{acted[0]}")]


async def test_where_the_first_of_twenty_fails_another_acts(store: Store) -> None:
    acted: list[int] = []

    async def ask(number: int) -> object:
        async with store.transactions.begin() as transaction:
            kept = await transaction.keys.take(ME, ONCE)
            if kept is not None:
                return kept
            acted.append(number)
            if len(acted) == 1:
                raise ZeroDivisionError
            await transaction.keys.keep(ME, KEY, {"by": number})
            return {"by": number}

    answers = await asyncio.gather(*(ask(number) for number in range(20)), return_exceptions=True)
    first, second = acted
    assert isinstance(answers.pop(first), ZeroDivisionError)
    assert answers == [{"by": second}] * 19
