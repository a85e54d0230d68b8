"""Chat and conversations over HTTP."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post
from litestar.params import JSONBody
from litestar.types import Scope

from domain.chat import ChatService, SendMessage
from domain.model.agents import AgentId
from domain.model.conversations import Conversation, ConversationId, Role, StoredMessage, ToolCall
from domain.model.pages import PageQuery
from domain.model.tasks import Task, TaskStatus
from domain.ports.models import Usage
from domain.tasks.service import TaskService
from entrypoints.http.keys import ONCE, Key, refuse_key
from entrypoints.http.limits import Quota, counted_caller
from entrypoints.http.problems import TaskFailed
from entrypoints.http.requests import Cursor, Id, Limit, Service, caller_of
from entrypoints.http.streams import EVENTS, MEDIA_TYPE, EventStream

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to say to an agent; without a conversation a new one begins."""

    message: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000_000)]
    agent: Short | None = None
    conversation_id: Short | None = None
    model: Short | None = None

    def words(self) -> SendMessage:
        """The same in the domain's words."""
        conversation = self.conversation_id
        return SendMessage(
            message=self.message,
            agent=None if self.agent is None else AgentId(self.agent),
            conversation_id=None if conversation is None else ConversationId(conversation),
            model=self.model,
        )


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that the answer rests on."""

    server: str | None
    tool: str
    arguments: dict[str, Any]
    is_error: bool
    result: Any


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent said, and what it did for that."""

    response: str
    conversation_id: str | None
    task_id: str
    agent: str
    model: str
    tool_calls: tuple[CallAnswer, ...]
    usage: Usage


class ConversationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A line of talk with one agent."""

    conversation_id: str
    agent: str
    owner: str
    created_at: datetime
    updated_at: datetime


class ConversationList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the conversations, newest first."""

    conversations: tuple[ConversationAnswer, ...]
    total_count: int
    next_cursor: str | None


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing said, at its place in the conversation."""

    message_id: str
    seq: int
    role: Role
    text: str
    created_at: datetime
    task_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    is_error: bool = False


class WholeConversation(ConversationAnswer, frozen=True, kw_only=True):
    """A conversation with all that was said."""

    messages: tuple[MessageAnswer, ...]


def _facts(conversation: Conversation) -> dict[str, Any]:
    return {
        "conversation_id": conversation.conversation_id,
        "agent": conversation.agent_id,
        "owner": conversation.owner,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }


def _message(stored: StoredMessage) -> MessageAnswer:
    said = stored.message
    return MessageAnswer(
        message_id=stored.message_id,
        seq=stored.seq,
        role=said.role,
        text=said.text,
        created_at=stored.created_at,
        task_id=stored.task_id,
        tool_calls=said.tool_calls,
        call_id=said.call_id,
        is_error=said.is_error,
    )


def _answer(task: Task) -> ChatAnswer:
    if task.status is not TaskStatus.SUCCEEDED:
        reason = "" if task.error is None else task.error.reason
        message = "" if task.error is None else task.error.message
        raise TaskFailed(
            message or "The answer was not finished.",
            reason=reason,
            task_id=task.task_id,
            conversation_id=task.conversation_id,
        )
    return msgspec.convert({**task.result, "task_id": task.task_id}, ChatAnswer)


@post("/chat", status_code=200, dependencies=ONCE)
async def chat(
    chats: Service[ChatService],
    tasks: Service[TaskService],
    scope: Scope,
    data: JSONBody[ChatBody],
    once: Key,
) -> ChatAnswer:
    """Say something and wait for the answer; whoever stops waiting does not stop the work."""
    caller = await counted_caller(scope, Quota.CHAT)
    task = await chats.send(caller, data.words(), once)
    return _answer(await tasks.finished(caller, task.task_id))


@post(
    "/chat/stream",
    status_code=200,
    media_type=MEDIA_TYPE,
    responses={200: EVENTS},
    guards=[refuse_key],
)
async def chat_stream(
    chats: Service[ChatService],
    tasks: Service[TaskService],
    draining: Service[asyncio.Event],
    scope: Scope,
    data: JSONBody[ChatBody],
) -> EventStream:
    """Say something and follow the answer as it comes."""
    caller = await counted_caller(scope, Quota.CHAT)
    task = await chats.send(caller, data.words())
    return EventStream(task.task_id, tasks.follow(caller, task.task_id), draining)


@get("/conversations")
async def list_conversations(
    chats: Service[ChatService], scope: Scope, limit: Limit = 50, cursor: Cursor = None
) -> ConversationList:
    """Conversations, newest first."""
    page = await chats.conversations(caller_of(scope), PageQuery(limit=limit, cursor=cursor))
    return ConversationList(
        conversations=tuple(ConversationAnswer(**_facts(found)) for found in page.items),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


@get("/conversations/{conversation_id:str}")
async def get_conversation(
    chats: Service[ChatService], scope: Scope, conversation_id: Id
) -> WholeConversation:
    """One conversation with its messages."""
    view = await chats.conversation(caller_of(scope), ConversationId(conversation_id))
    messages = tuple(map(_message, view.messages))
    return WholeConversation(**_facts(view.conversation), messages=messages)


@delete("/conversations/{conversation_id:str}")
async def remove_conversation(
    chats: Service[ChatService], scope: Scope, conversation_id: Id
) -> None:
    """Take a conversation away with its messages."""
    await chats.remove(caller_of(scope), ConversationId(conversation_id))


ROUTES = Router(
    "/",
    route_handlers=[
        chat,
        chat_stream,
        list_conversations,
        get_conversation,
        remove_conversation,
    ],
    tags=["chat"],
)
