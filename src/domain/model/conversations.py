"""Conversations: what users, agents and tools said, in order."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

import msgspec

from domain.errors import Conflict, NotFound
from domain.model.agents import AgentId
from domain.model.callers import CallerId

ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)


class ConversationNotFound(NotFound):
    """No conversation has this id."""


class ConversationBusy(Conflict):
    """A turn of this conversation is still under way; a second would race it."""


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A model's wish to call a tool. `call_id` is unique in its turn; `name` is the full name."""

    call_id: str
    name: str
    arguments: Mapping[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing said.

    An assistant's message may carry `tool_calls`; each is answered by one tool message with the
    same `call_id`, whose `text` is what the model is shown.
    """

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    is_error: bool = False


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message at its place; `seq` counts from 1 without gaps in its conversation."""

    message_id: MessageId
    conversation_id: ConversationId
    seq: int
    task_id: str | None
    message: Message
    created_at: datetime


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A line of talk between one caller and one agent."""

    conversation_id: ConversationId
    agent_id: AgentId
    owner: CallerId
    created_at: datetime
    updated_at: datetime
