"""What is asked of a task over HTTP: its work, and how it is to be carried out."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import msgspec

from domain.model.agents import AgentId
from domain.model.conversations import ConversationId
from domain.model.retries import RetryPolicy
from domain.model.tasks import (
    AgentPayload,
    OnIndeterminate,
    Payload,
    ToolPayload,
)
from domain.tasks.service import SubmitTask

DAY_S, YEAR_S = 86400, 366 * 86400
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000_000)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Priority = Annotated[int, msgspec.Meta(ge=-1000, le=1000)]
Deadline = Annotated[float, msgspec.Meta(gt=0, le=YEAR_S)]
MaxAttempts = Annotated[int, msgspec.Meta(ge=1, le=20)]


class ToolWork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tool call; `idempotent` true allows a repeat after a worker died in mid-call."""

    server: Short
    tool: Short
    arguments: dict[str, Any] = {}
    idempotent: bool | None = None

    def payload(self) -> Payload:
        """The same in the domain's words."""
        return ToolPayload(
            server=self.server,
            tool=self.tool,
            arguments=self.arguments,
            idempotent=self.idempotent,
        )


class AgentWork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn of an agent."""

    agent: Short
    message: Text
    conversation_id: Short | None = None
    model: Short | None = None

    def payload(self) -> Payload:
        """The same in the domain's words."""
        conversation = self.conversation_id
        return AgentPayload(
            agent=AgentId(self.agent),
            message=self.message,
            conversation_id=None if conversation is None else ConversationId(conversation),
            model=self.model,
        )


class RetryGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to rest between attempts: the first time, then `factor` times as long each."""

    first_delay_s: Annotated[float, msgspec.Meta(ge=0, le=DAY_S)] = 1.0
    factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 2.0
    longest_delay_s: Annotated[float, msgspec.Meta(ge=0, le=DAY_S)] = 60.0

    @classmethod
    def of(cls, policy: RetryPolicy) -> Self:
        """The domain's words as they are told."""
        return cls(
            first_delay_s=policy.first_delay.total_seconds(),
            factor=policy.factor,
            longest_delay_s=policy.longest_delay.total_seconds(),
        )

    def policy(self) -> RetryPolicy:
        """The same in the domain's words."""
        return RetryPolicy(
            first_delay=timedelta(seconds=self.first_delay_s),
            factor=self.factor,
            longest_delay=timedelta(seconds=self.longest_delay_s),
        )


class _TaskBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    priority: Priority = 0
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    deadline_s: Deadline | None = None
    max_attempts: MaxAttempts = 3
    retry: RetryGiven = RetryGiven()
    on_indeterminate: OnIndeterminate = OnIndeterminate.FAIL

    def submit(self, payload: Payload, now: datetime) -> SubmitTask:
        return SubmitTask(
            payload=payload,
            priority=self.priority,
            delay=max(timedelta(), (self.run_at or now) - now),
            deadline=None if self.deadline_s is None else timedelta(seconds=self.deadline_s),
            max_attempts=self.max_attempts,
            retry=self.retry.policy(),
            on_indeterminate=self.on_indeterminate,
        )


class ToolTaskBody(_TaskBody, frozen=True, kw_only=True, tag="tool", tag_field="task_type"):
    """A tool call to be done. Higher priority first; the deadline counts from now."""

    payload: ToolWork


class AgentTaskBody(_TaskBody, frozen=True, kw_only=True, tag="agent", tag_field="task_type"):
    """An agent's turn to be done. Higher priority first; the deadline counts from now."""

    payload: AgentWork
