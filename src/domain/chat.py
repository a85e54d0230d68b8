"""Chat: conversations, and messages that start a turn."""

import msgspec

from domain.errors import Invalid
from domain.model.agents import AgentId
from domain.model.callers import Caller, Scope
from domain.model.conversations import (
    Conversation,
    ConversationBusy,
    ConversationId,
    ConversationNotFound,
    StoredMessage,
)
from domain.model.keys import KeyInFlight, Once
from domain.model.pages import Page, PageQuery
from domain.model.tasks import FINISHED, AgentPayload, Task, TaskId, TaskStatus
from domain.ports.storage import Transaction, Transactions
from domain.ports.system import Chance
from domain.ports.tasks import TaskQuery
from domain.tasks.service import SubmitTask, TaskService
from domain.tasks.worker import Worker

DEFAULT_AGENT = AgentId("general-assistant")


class SendMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to an agent; without a conversation a new one begins."""

    message: str
    agent: AgentId | None = None
    conversation_id: ConversationId | None = None
    model: str | None = None


class MessageInvalid(Invalid):
    """The message cannot be sent as it is."""


class ConversationView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation with all its messages in order."""

    conversation: Conversation
    messages: tuple[StoredMessage, ...]


class ChatService:
    """A message starts a task; this process carries it out at once."""

    def __init__(
        self, transactions: Transactions, tasks: TaskService, worker: Worker, chance: Chance
    ) -> None:
        self._transactions = transactions
        self._tasks = tasks
        self._worker = worker
        self._chance = chance

    async def send(self, caller: Caller, send: SendMessage, once: Once | None = None) -> Task:
        """Keep the message and its task in one transaction; on return the turn is under way.

        Where its model has all the turns that it may have, the turn waits in line instead. For a
        key that came before, its task once that has ended. Raises AgentNotFound,
        ConversationNotFound, ConversationBusy, MessageInvalid, KeyReused, KeyInFlight.
        """
        caller.require(Scope.CHAT)
        if not send.message.strip():
            raise MessageInvalid("A message needs text.", path="/message")
        async with self._transactions.begin() as transaction:
            kept = None if once is None else await transaction.keys.take(caller.id, once)
            if kept is not None:
                return _ended(await transaction.tasks.get(TaskId(kept)))
            task = await self._begin(transaction, caller, send)
            if once is not None:
                await transaction.keys.keep(caller.id, once.key, task.task_id)
        if task.status is TaskStatus.RUNNING:
            self._worker.adopt(task)
        else:
            self._tasks.wake(task)
        return task

    async def _begin(self, transaction: Transaction, caller: Caller, send: SendMessage) -> Task:
        conversation = await self._conversation_for(transaction, caller, send)
        payload = AgentPayload(
            agent=conversation.agent_id,
            message=send.message,
            conversation_id=conversation.conversation_id,
            model=send.model,
            interactive=True,
        )
        task = await self._tasks.add(transaction, caller, SubmitTask(payload=payload))
        return await self._worker.claim_now(transaction, task) or task

    async def _conversation_for(
        self, transaction: Transaction, caller: Caller, send: SendMessage
    ) -> Conversation:
        if send.conversation_id is None:
            agent_id = send.agent or DEFAULT_AGENT
            await transaction.agents.get(agent_id)
            new_id = ConversationId(self._chance.new_id())
            return await transaction.conversations.add(new_id, agent_id, caller.id)
        conversation = await _visible(transaction, caller, send.conversation_id)
        if send.agent is not None and send.agent != conversation.agent_id:
            raise MessageInvalid(
                f"This conversation is with the agent {conversation.agent_id!r}.", path="/agent"
            )
        return conversation

    async def conversations(self, caller: Caller, query: PageQuery) -> Page[Conversation]:
        """Newest first; those of others only for ADMIN."""
        caller.require(Scope.READ)
        owner = None if Scope.ADMIN in caller.scopes else caller.id
        async with self._transactions.read() as transaction:
            return await transaction.conversations.list(owner, query)

    async def conversation(
        self, caller: Caller, conversation_id: ConversationId
    ) -> ConversationView:
        """Raises ConversationNotFound."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            conversation = await _visible(transaction, caller, conversation_id)
            messages = await transaction.conversations.messages(conversation_id)
        return ConversationView(conversation=conversation, messages=messages)

    async def remove(self, caller: Caller, conversation_id: ConversationId) -> None:
        """Raises ConversationNotFound, ConversationBusy."""
        caller.require(Scope.CHAT)
        async with self._transactions.begin() as transaction:
            await _visible(transaction, caller, conversation_id)
            # First, so that it waits for a message under way and none can follow.
            await transaction.conversations.remove(conversation_id)
            for status in TaskStatus:
                query = TaskQuery(status=status, conversation_id=conversation_id)
                if status in FINISHED or not (await transaction.tasks.list(query)).items:
                    continue
                raise ConversationBusy(
                    "A turn of this conversation is still under way.",
                    conversation_id=conversation_id,
                )


def _ended(task: Task) -> Task:
    if task.status not in FINISHED:
        raise KeyInFlight("The answer to this message is still under way.", task_id=task.task_id)
    return task


async def _visible(
    transaction: Transaction, caller: Caller, conversation_id: ConversationId
) -> Conversation:
    conversation = await transaction.conversations.get(conversation_id)
    if not caller.sees(conversation.owner):
        raise ConversationNotFound(
            f"There is no conversation {conversation_id!r}.", conversation_id=conversation_id
        )
    return conversation
