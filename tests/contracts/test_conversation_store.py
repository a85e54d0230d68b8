"""What a store of conversations promises."""

import pytest

from domain.model.agents import AgentId
from domain.model.callers import CallerId
from domain.model.conversations import (
    Conversation,
    ConversationId,
    ConversationNotFound,
    Message,
    MessageId,
    Role,
    ToolCall,
)
from domain.model.pages import Page, PageQuery
from domain.model.tasks import TaskId
from tests.contracts.storage import LEASE, ME, Store

pytestmark = pytest.mark.anyio

CALL = ToolCall(call_id="c1", name="clock__now", arguments={"zone": "UTC", "deep": [{"a": None}]})
TURN = (
    (MessageId("m1"), Message(role=Role.USER, text="What time is it?")),
    (MessageId("m2"), Message(role=Role.ASSISTANT, tool_calls=(CALL,))),
    (MessageId("m3"), Message(role=Role.TOOL, text="broken", call_id="c1", is_error=True)),
)


async def _add(store: Store, conversation_id: str, owner: CallerId = ME) -> Conversation:
    async with store.transactions.begin() as transaction:
        return await transaction.conversations.add(
            ConversationId(conversation_id), AgentId("helper"), owner
        )


async def _list(
    store: Store, owner: CallerId | None = None, limit: int = 50, cursor: str | None = None
) -> Page[Conversation]:
    async with store.transactions.read() as transaction:
        query = PageQuery(limit=limit, cursor=cursor)
        return await transaction.conversations.list(owner, query)


def _ids(page: Page[Conversation]) -> list[str]:
    return [item.conversation_id for item in page.items]


async def test_a_new_conversation_is_kept_empty(store: Store) -> None:
    added = await _add(store, "talk")
    async with store.transactions.read() as transaction:
        assert await transaction.conversations.get(added.conversation_id) == added
        assert await transaction.conversations.messages(added.conversation_id) == ()
    assert (added.agent_id, added.owner) == ("helper", "me")
    assert added.created_at == added.updated_at


async def test_an_unknown_conversation_is_not_found_but_has_no_messages(store: Store) -> None:
    nowhere = ConversationId("nowhere")
    async with store.transactions.begin() as transaction:
        with pytest.raises(ConversationNotFound):
            await transaction.conversations.get(nowhere)
        with pytest.raises(ConversationNotFound):
            await transaction.conversations.remove(nowhere)
        with pytest.raises(ConversationNotFound):
            await transaction.conversations.append(nowhere, None, TURN)
        assert await transaction.conversations.messages(nowhere) == ()


async def test_messages_keep_their_order_and_their_content(store: Store) -> None:
    talk = await _add(store, "talk")
    await store.advance(LEASE)
    async with store.transactions.begin() as transaction:
        await transaction.conversations.append(talk.conversation_id, TaskId("t1"), TURN[:1])
        await transaction.conversations.append(talk.conversation_id, None, TURN[1:])
    async with store.transactions.read() as transaction:
        kept = await transaction.conversations.messages(talk.conversation_id)
        after = await transaction.conversations.get(talk.conversation_id)
    assert [(row.message_id, row.message) for row in kept] == list(TURN)
    assert [row.seq for row in kept] == [1, 2, 3]
    assert [row.task_id for row in kept] == ["t1", None, None]
    assert after.updated_at > talk.updated_at
    assert after.created_at == talk.created_at


async def test_a_removed_conversation_takes_its_messages_along(store: Store) -> None:
    talk = (await _add(store, "talk")).conversation_id
    async with store.transactions.begin() as transaction:
        await transaction.conversations.append(talk, None, TURN)
    async with store.transactions.begin() as transaction:
        await transaction.conversations.remove(talk)
    async with store.transactions.read() as transaction:
        assert await transaction.conversations.messages(talk) == ()
    await _add(store, "talk")
    async with store.transactions.begin() as transaction:
        await transaction.conversations.append(talk, None, TURN[:1])
        assert [row.seq for row in await transaction.conversations.messages(talk)] == [1]


async def test_pages_go_from_the_newest_to_the_oldest_without_a_gap(store: Store) -> None:
    for name in ("c1", "c2", "c3", "c4", "c5"):
        await _add(store, name)
    first = await _list(store, limit=2)
    second = await _list(store, limit=2, cursor=first.next_cursor)
    await _add(store, "c6")
    third = await _list(store, limit=2, cursor=second.next_cursor)
    assert [_ids(page) for page in (first, second, third)] == [["c5", "c4"], ["c3", "c2"], ["c1"]]
    assert [page.next_cursor for page in (first, second, third)] == ["c4", "c2", None]
    assert [page.total_count for page in (first, second, third)] == [5, 5, 6]


async def test_age_comes_before_the_id(store: Store) -> None:
    await _add(store, "z")
    await store.advance(LEASE)
    await _add(store, "a")
    assert _ids(await _list(store)) == ["a", "z"]
    assert _ids(await _list(store, limit=1, cursor="a")) == ["z"]


async def test_a_list_is_narrowed_to_its_owner(store: Store) -> None:
    await _add(store, "mine")
    await _add(store, "yours", CallerId("you"))
    page = await _list(store, ME)
    assert (_ids(page), page.total_count) == (["mine"], 1)
    assert (await _list(store)).total_count == 2


async def test_after_an_unknown_cursor_there_is_nothing(store: Store) -> None:
    await _add(store, "talk")
    page = await _list(store, cursor="gone")
    assert (page.items, page.total_count, page.next_cursor) == ((), 1, None)
