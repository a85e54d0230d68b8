"""Conversations and their messages, kept in memory."""

import msgspec

from adapters.inmemory.pages import page
from adapters.inmemory.state import Rows, own
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


class MemoryConversations:
    """The conversations of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._conversations = rows.state.conversations
        self._messages = rows.state.messages
        self._clock = rows.clock

    async def add(
        self, conversation_id: ConversationId, agent_id: AgentId, owner: CallerId
    ) -> Conversation:
        if conversation_id in self._conversations:
            raise ValueError(conversation_id)
        now = self._clock.now()
        conversation = Conversation(
            conversation_id=conversation_id,
            agent_id=agent_id,
            owner=owner,
            created_at=now,
            updated_at=now,
        )
        self._conversations[conversation_id] = conversation
        return own(conversation)

    async def get(self, conversation_id: ConversationId) -> Conversation:
        return own(self._found(conversation_id))

    async def list(self, owner: CallerId | None, query: PageQuery) -> Page[Conversation]:
        wanted = (c for c in self._conversations.values() if owner in {None, c.owner})
        cursor = self._conversations.get(ConversationId(query.cursor or ""))
        return page(wanted, cursor, query, lambda row: row.conversation_id)

    async def remove(self, conversation_id: ConversationId) -> None:
        self._found(conversation_id)
        del self._conversations[conversation_id]
        self._messages.pop(conversation_id, None)

    async def append(
        self,
        conversation_id: ConversationId,
        task_id: TaskId | None,
        messages: tuple[tuple[MessageId, Message], ...],
    ) -> None:
        conversation = self._found(conversation_id)
        now = self._clock.now()
        before = self._messages.get(conversation_id, ())
        added = tuple(
            StoredMessage(
                message_id=message_id,
                conversation_id=conversation_id,
                seq=seq,
                task_id=task_id,
                message=message,
                created_at=now,
            )
            for seq, (message_id, message) in enumerate(messages, len(before) + 1)
        )
        self._messages[conversation_id] = before + tuple(map(own, added))
        self._conversations[conversation_id] = msgspec.structs.replace(conversation, updated_at=now)

    async def messages(self, conversation_id: ConversationId) -> tuple[StoredMessage, ...]:
        return tuple(map(own, self._messages.get(conversation_id, ())))

    def _found(self, conversation_id: ConversationId) -> Conversation:
        conversation = self._conversations.get(conversation_id)
        if conversation is None:
            raise ConversationNotFound(
                f"There is no conversation {conversation_id!r}.", conversation_id=conversation_id
            )
        return conversation
