"""Conversations: a message starts a turn at once, one at a time, seen by its owner only."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.chat import ChatService, MessageInvalid, SendMessage
from domain.model.agents import AgentId, AgentNotFound
from domain.model.callers import LOCAL, Caller, CallerId, Scope, ScopeMissing
from domain.model.conversations import (
    ConversationBusy,
    ConversationId,
    ConversationNotFound,
    ToolCall,
)
from domain.model.pages import PageQuery
from domain.model.tasks import TaskId, TaskStatus
from domain.ports.models import ModelAnswer
from domain.ports.tasks import TaskQuery
from tests.domain.agent_bench import AGENT, AgentBench, Script, bench

pytestmark = pytest.mark.anyio

ANSWER = ModelAnswer(text="Hello you")
HANG = ModelAnswer(text="", tool_calls=(ToolCall(call_id="c", name="s__hang", arguments={}),))
STRANGER = Caller(id=CallerId("stranger"), scopes=frozenset({Scope.READ, Scope.CHAT}))
READER = Caller(id=CallerId("reader"), scopes=frozenset({Scope.READ}))


async def hang(_arguments: Mapping[str, Any]) -> str:
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def talking(script: Script) -> AsyncIterator[tuple[AgentBench, ChatService]]:
    async with bench(script, hang=hang).open() as room, room.working() as worker:
        yield room, room.chats(worker)


def hello(**more: Any) -> SendMessage:
    return SendMessage(**({"message": "Hello", "agent": AGENT} | more))


async def test_a_message_is_under_way_once_it_is_sent() -> None:
    async with talking([ANSWER, ANSWER]) as (room, chats):
        task = await chats.send(LOCAL, hello())
        assert (task.status, task.attempt) == (TaskStatus.RUNNING, 1)
        await room.finished(task.task_id)
        assert task.conversation_id is not None
        again = await chats.send(LOCAL, hello(conversation_id=task.conversation_id, agent=None))
        await room.finished(again.task_id)
        view = await chats.conversation(LOCAL, task.conversation_id)

    texts = [(entry.seq, entry.message.text) for entry in view.messages]
    assert texts == [(1, "Hello"), (2, "Hello you"), (3, "Hello"), (4, "Hello you")]
    assert [entry.task_id for entry in view.messages] == [task.task_id] * 2 + [again.task_id] * 2


async def test_of_many_messages_at_once_one_is_taken() -> None:
    async with talking([HANG]) as (room, chats):
        conversation = await room.conversation()
        outcomes = await asyncio.gather(
            *(chats.send(LOCAL, hello(conversation_id=conversation)) for _ in range(10)),
            return_exceptions=True,
        )
        taken = [outcome for outcome in outcomes if not isinstance(outcome, ConversationBusy)]
        view = await chats.conversation(LOCAL, conversation)
        (task,) = taken
        assert not isinstance(task, BaseException)
        await room.tasks.cancel(LOCAL, task.task_id)
        await room.finished(task.task_id)

    assert len(view.messages) == 1


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
async def test_a_message_without_text_is_refused(text: str) -> None:
    async with talking([]) as (_, chats):
        with pytest.raises(MessageInvalid):
            await chats.send(LOCAL, hello(message=text))


async def test_a_refused_message_leaves_nothing() -> None:
    async with talking([]) as (room, chats):
        with pytest.raises(AgentNotFound):
            await chats.send(LOCAL, hello(agent=AgentId("nobody")))
        with pytest.raises(ConversationNotFound):
            await chats.send(LOCAL, hello(conversation_id=ConversationId("none")))
        assert (await chats.conversations(LOCAL, PageQuery())).total_count == 0
        assert (await room.tasks.list(LOCAL, TaskQuery())).total_count == 0


async def test_a_conversation_stays_with_its_agent() -> None:
    async with talking([]) as (room, chats):
        conversation = await room.conversation()
        with pytest.raises(MessageInvalid, match="'a'"):
            await chats.send(LOCAL, hello(conversation_id=conversation, agent=AgentId("b")))


async def test_a_conversation_is_its_owners_business() -> None:
    async with talking([]) as (room, chats):
        conversation = await room.conversation()
        for act in (
            chats.send(STRANGER, hello(conversation_id=conversation)),
            chats.conversation(STRANGER, conversation),
            chats.remove(STRANGER, conversation),
        ):
            with pytest.raises(ConversationNotFound):
                await act
        assert (await chats.conversations(STRANGER, PageQuery())).items == ()
        assert len((await chats.conversations(LOCAL, PageQuery())).items) == 1


async def test_who_may_only_read_says_nothing() -> None:
    async with talking([]) as (room, chats):
        conversation = await room.conversation()
        with pytest.raises(ScopeMissing):
            await chats.send(READER, hello())
        with pytest.raises(ScopeMissing):
            await chats.remove(READER, conversation)


async def test_a_conversation_is_removed_between_turns_only() -> None:
    async with talking([HANG]) as (room, chats):
        task = await chats.send(LOCAL, hello())
        conversation = task.conversation_id
        assert conversation is not None
        with pytest.raises(ConversationBusy):
            await chats.remove(LOCAL, conversation)
        assert len((await chats.conversation(LOCAL, conversation)).messages) == 1
        await room.tasks.cancel(LOCAL, task.task_id)
        await room.finished(task.task_id)
        await chats.remove(LOCAL, conversation)
        with pytest.raises(ConversationNotFound):
            await chats.conversation(LOCAL, conversation)
        assert (await room.tasks.get(LOCAL, TaskId(task.task_id))).status is TaskStatus.CANCELLED


async def test_a_message_to_an_agent_that_was_removed_is_refused() -> None:
    async with talking([]) as (room, chats):
        conversation = await room.conversation()
        await room.agents.remove(LOCAL, AGENT)
        with pytest.raises(AgentNotFound):
            await chats.send(LOCAL, hello(conversation_id=conversation, agent=None))
        assert not (await chats.conversation(LOCAL, conversation)).messages
