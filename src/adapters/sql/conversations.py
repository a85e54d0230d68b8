"""Conversations and their messages as rows."""

from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update

from adapters.sql.dialect import Now
from adapters.sql.pages import page_of, rows_after
from adapters.sql.statements import Statements
from adapters.sql.tables import conversations, messages
from domain.model.agents import AgentId
from domain.model.callers import CallerId
from domain.model.conversations import (
    Conversation,
    ConversationId,
    ConversationNotFound,
    Message,
    MessageId,
    StoredMessage,
)
from domain.model.pages import Page, PageQuery
from domain.model.tasks import TaskId

_THIS = conversations.c.conversation_id == bindparam("this")
ADD = (
    insert(conversations)
    .values(last_seq=0, created_at=Now(), updated_at=Now())
    .returning(*conversations.c)
)
GET = select(conversations).where(_THIS)
REMOVE = delete(conversations).where(_THIS).returning(conversations.c.conversation_id)
RESERVE = (
    update(conversations)
    .where(_THIS)
    .values(last_seq=conversations.c.last_seq + bindparam("number"), updated_at=Now())
    .returning(conversations.c.last_seq)
)
APPEND = insert(messages).values(created_at=Now())
MESSAGES = (
    select(messages).where(messages.c.conversation_id == bindparam("this")).order_by(messages.c.seq)
)


class SqlConversations:
    """The conversations of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(
        self, conversation_id: ConversationId, agent_id: AgentId, owner: CallerId
    ) -> Conversation:
        values = {"conversation_id": conversation_id, "agent_id": agent_id, "owner": owner}
        return _conversation((await self._statements.rows(ADD, values))[0])

    async def get(self, conversation_id: ConversationId) -> Conversation:
        row = await self._statements.first(GET, {"this": conversation_id})
        if row is None:
            raise _unknown(conversation_id)
        return _conversation(row)

    async def list(self, owner: CallerId | None, query: PageQuery) -> Page[Conversation]:
        wanted = [] if owner is None else [conversations.c.owner == owner]
        part = rows_after(conversations.c.conversation_id, wanted, query)
        rows = await self._statements.rows(part.rows)
        total = await self._statements.rows(part.total)
        items = tuple(_conversation(row) for row in rows)
        return page_of(items, total[0][0], query, lambda item: item.conversation_id)

    async def remove(self, conversation_id: ConversationId) -> None:
        if await self._statements.first(REMOVE, {"this": conversation_id}) is None:
            raise _unknown(conversation_id)

    async def append(
        self,
        conversation_id: ConversationId,
        task_id: TaskId | None,
        messages: tuple[tuple[MessageId, Message], ...],
    ) -> None:
        place = {"this": conversation_id, "number": len(messages)}
        row = await self._statements.first(RESERVE, place)
        if row is None:
            raise _unknown(conversation_id)
        first = row.last_seq - len(messages) + 1
        values = [
            {
                "message_id": message_id,
                "conversation_id": conversation_id,
                "seq": seq,
                "task_id": task_id,
                "message": message,
            }
            for seq, (message_id, message) in enumerate(messages, first)
        ]
        if values:
            await self._statements.rows(APPEND, values)

    async def messages(self, conversation_id: ConversationId) -> tuple[StoredMessage, ...]:
        rows = await self._statements.rows(MESSAGES, {"this": conversation_id})
        return tuple(msgspec.convert(row, StoredMessage, from_attributes=True) for row in rows)


def _conversation(row: Row[Any]) -> Conversation:
    return msgspec.convert(row, Conversation, from_attributes=True)


def _unknown(conversation_id: ConversationId) -> ConversationNotFound:
    return ConversationNotFound(
        f"There is no conversation {conversation_id!r}.", conversation_id=conversation_id
    )
