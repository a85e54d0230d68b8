"""What a transaction promises, whatever it is kept in."""

import asyncio
from contextlib import suppress

import pytest

from domain.model.agents import AgentId
from domain.model.conversations import ConversationBusy, ConversationId, Message, MessageId, Role
from domain.model.tasks import TaskId, TaskNotFound
from domain.ports.storage import StorageUnavailable
from domain.ports.tasks import TaskQuery
from tests.contracts.storage import ME, Store, tool_task, turn_task

pytestmark = pytest.mark.anyio

TALK = ConversationId("talk")


async def test_leaving_the_block_commits(store: Store) -> None:
    await store.submit(tool_task("t1"))
    assert (await store.get("t1")).task_id == "t1"


async def test_raising_inside_the_block_rolls_all_of_it_back(store: Store) -> None:
    await store.submit(tool_task("kept"))

    async def fail() -> None:
        async with store.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task("lost"))
            await transaction.tasks.request_cancel(TaskId("kept"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(TaskNotFound):
        await store.get("lost")
    assert (await store.get("kept")).cancel_requested_at is None


async def test_a_cancelled_block_rolls_back_and_frees_the_store(store: Store) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with store.transactions.begin() as transaction:
            await transaction.tasks.add(tool_task("lost"))
            inside.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await inside.wait()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    await store.submit(tool_task("next"))
    with pytest.raises(TaskNotFound):
        await store.get("lost")


async def test_an_error_of_the_callers_own_comes_out_unchanged(store: Store) -> None:
    mistake = OSError("no such file")
    with pytest.raises(OSError, match="no such file") as caught:
        async with store.transactions.begin():
            raise mistake
    assert caught.value is mistake


async def test_a_transaction_sees_what_it_wrote_and_readers_do_not(store: Store) -> None:
    async with store.transactions.begin() as writer:
        await writer.tasks.add(tool_task("t1"))
        assert (await writer.tasks.get(TaskId("t1"))).task_id == "t1"
        async with asyncio.timeout(2), store.transactions.read() as reader:
            with pytest.raises(TaskNotFound):
                await reader.tasks.get(TaskId("t1"))


async def test_a_reader_keeps_its_view_while_a_writer_commits(store: Store) -> None:
    async with store.transactions.read() as reader:
        assert await reader.tasks.counts() == {}
        await store.submit(tool_task("t1"))
        assert await reader.tasks.counts() == {}
        with pytest.raises(TaskNotFound):
            await reader.tasks.get(TaskId("t1"))


async def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises((TypeError, StorageUnavailable)):
        async with store.transactions.read() as reader:
            await reader.tasks.add(tool_task("t1"))
    with pytest.raises(TaskNotFound):
        await store.get("t1")


async def test_a_conflict_that_is_caught_leaves_the_rest_of_the_transaction(store: Store) -> None:
    async with store.transactions.begin() as transaction:
        await transaction.tasks.add(turn_task("t1", "talk"))
        with pytest.raises(ConversationBusy):
            await transaction.tasks.add(turn_task("t2", "talk"))
        await transaction.tasks.add(tool_task("t3"))
    assert [(await store.get(task_id)).task_id for task_id in ("t1", "t3")] == ["t1", "t3"]
    with pytest.raises(TaskNotFound):
        await store.get("t2")


async def test_five_hundred_concurrent_appends_are_all_kept_in_one_order(store: Store) -> None:
    async with store.transactions.begin() as transaction:
        await transaction.conversations.add(TALK, AgentId("helper"), ME)

    async def append(speaker: int) -> None:
        for number in range(25):
            said = (MessageId(f"{speaker}/{number}"), Message(role=Role.USER, text=str(number)))
            async with store.transactions.begin() as transaction:
                await transaction.conversations.append(TALK, None, (said,))
                await asyncio.sleep(0)  # let another writer run into this one

    await asyncio.gather(*(append(speaker) for speaker in range(20)))
    async with store.transactions.read() as transaction:
        kept = await transaction.conversations.messages(TALK)
    assert [row.seq for row in kept] == list(range(1, 501))
    for speaker in range(20):
        mine = [row.message.text for row in kept if row.message_id.startswith(f"{speaker}/")]
        assert mine == [str(number) for number in range(25)]


async def test_a_single_call_is_kept(store: Store) -> None:
    async with store.transactions.single() as transaction:
        task = await transaction.tasks.add(tool_task("t1"))
    assert task.queue_position == 1
    assert (await store.get("t1")).task_id == "t1"


async def test_a_single_call_that_breaks_a_rule_keeps_nothing_and_frees_the_store(
    store: Store,
) -> None:
    await store.submit(turn_task("first", TALK))
    for _ in range(12):  # more than there are connections
        with pytest.raises(ConversationBusy):
            async with store.transactions.single() as transaction:
                await transaction.tasks.add(turn_task("second", TALK))
    assert set(await _known(store)) == {"first"}


async def test_a_single_call_that_is_cancelled_frees_the_store(store: Store) -> None:
    for number in range(12):
        await store.submit(tool_task(f"before{number}"))

        async def act(task_id: str = f"t{number}") -> None:
            async with store.transactions.single() as transaction:
                await transaction.tasks.add(tool_task(task_id))

        acting = asyncio.create_task(act())
        for _ in range(number):
            await asyncio.sleep(0)
        acting.cancel()
        with suppress(asyncio.CancelledError):
            await acting
    await store.submit(tool_task("last"))
    assert "last" in await _known(store)


async def _known(store: Store) -> list[str]:
    async with store.transactions.read() as transaction:
        listed = await transaction.tasks.list(TaskQuery())
    return [task.task_id for task in listed.items]
