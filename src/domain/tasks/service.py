"""Tasks as callers see them: submitted, looked at, cancelled, followed."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import msgspec

from domain.errors import Invalid
from domain.model.agents import AgentId
from domain.model.callers import Caller, Scope
from domain.model.conversations import (
    ConversationNotFound,
    Message,
    MessageId,
    Role,
)
from domain.model.keys import Once
from domain.model.pages import Page
from domain.model.tasks import (
    FINISHED,
    AgentPayload,
    Fire,
    Payload,
    Task,
    TaskEvent,
    TaskId,
    TaskNotFound,
    TaskStatus,
)
from domain.once import acted_once
from domain.ports.signals import Signals
from domain.ports.storage import Transaction, Transactions
from domain.ports.system import Chance
from domain.ports.tasks import NewTask, TaskQuery
from domain.tasks import topics
from domain.tasks.agent_run import finished_steps
from domain.tasks.runs import events_of
from domain.tasks.stream import POLL_S, StreamEvent, follow

MOST_ATTEMPTS = 20
LONGEST_DELAY = timedelta(days=366)


class SubmitTask(msgspec.Struct, frozen=True, kw_only=True):
    """Work to be done. `delay` and `deadline` count from now."""

    payload: Payload
    priority: int = 0
    delay: timedelta = timedelta()
    deadline: timedelta | None = None
    max_attempts: int = 3


class TaskInvalid(Invalid):
    """A number of the task is out of its bounds."""


class TaskService:
    """Keeps tasks; workers carry them out."""

    def __init__(self, transactions: Transactions, signals: Signals, chance: Chance) -> None:
        self._transactions = transactions
        self._signals = signals
        self._chance = chance

    async def submit(self, caller: Caller, submit: SubmitTask, once: Once | None = None) -> Task:
        """Keep a task and wake a worker; for a key that came before, the task as it was then.

        Raises AgentNotFound, ConversationNotFound, ConversationBusy, TaskInvalid, KeyReused,
        KeyInFlight.
        """
        caller.require(Scope.TASKS)
        check_bounds(submit)
        async with self._transactions.begin() as transaction:
            task, _ = await acted_once(
                transaction, caller.id, once, Task, lambda: self.add(transaction, caller, submit)
            )
        self._signals.publish(topics.WAKE, {"task_id": task.task_id})
        return task

    async def add(
        self,
        transaction: Transaction,
        caller: Caller,
        submit: SubmitTask,
        fire: Fire | None = None,
    ) -> Task:
        """Keep a task within the caller's transaction; an agent's message goes with it."""
        payload = submit.payload
        new = NewTask(
            task_id=TaskId(self._chance.new_id()),
            payload=payload,
            owner=caller.id,
            priority=submit.priority,
            max_attempts=submit.max_attempts,
            delay=submit.delay,
            deadline=submit.deadline,
            fire=fire,
        )
        if not isinstance(payload, AgentPayload):
            return await transaction.tasks.add(new)
        await transaction.agents.get(AgentId(payload.agent))
        if payload.conversation_id is None:
            return await transaction.tasks.add(new)
        conversation = await transaction.conversations.get(payload.conversation_id)
        if not caller.sees(conversation.owner):
            raise ConversationNotFound(
                f"There is no conversation {payload.conversation_id!r}.",
                conversation_id=payload.conversation_id,
            )
        task = await transaction.tasks.add(
            msgspec.structs.replace(new, conversation_id=payload.conversation_id)
        )
        message = Message(role=Role.USER, text=payload.message)
        message_id = MessageId(self._chance.new_id())
        await transaction.conversations.append(
            payload.conversation_id, task.task_id, ((message_id, message),)
        )
        return task

    async def get(self, caller: Caller, task_id: TaskId) -> Task:
        """Raises TaskNotFound."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            return _visible(caller, await transaction.tasks.get(task_id))

    async def list(self, caller: Caller, query: TaskQuery) -> Page[Task]:
        """Newest first; those of others only for ADMIN."""
        caller.require(Scope.READ)
        owner = None if Scope.ADMIN in caller.scopes else caller.id
        async with self._transactions.read() as transaction:
            return await transaction.tasks.list(msgspec.structs.replace(query, owner=owner))

    async def cancel(self, caller: Caller, task_id: TaskId) -> Task:
        """Ask for its end. Raises TaskNotFound, TaskFinished."""
        caller.require(Scope.TASKS)
        async with self._transactions.begin() as transaction:
            _visible(caller, await transaction.tasks.get(task_id))
            task = await transaction.tasks.request_cancel(task_id)
            if task.status is TaskStatus.CANCELLED:
                await self._keep_steps(transaction, task)
        self._signals.publish(topics.CANCEL, {"task_id": task_id})
        self._signals.publish(topics.of_task(task_id), {})
        return task

    async def _keep_steps(self, transaction: Transaction, task: Task) -> None:
        """Nobody held the turn: what earlier attempts of it did stays in its conversation."""
        if task.conversation_id is None or task.attempt == 0:
            return
        messages = finished_steps(await events_of(transaction, task.task_id))
        entries = tuple((MessageId(self._chance.new_id()), message) for message in messages)
        await transaction.conversations.append(task.conversation_id, task.task_id, entries)

    async def history(
        self, caller: Caller, task_id: TaskId, after: int, limit: int
    ) -> tuple[TaskEvent, ...]:
        """What is recorded of a task behind the event `after`, in order. Raises TaskNotFound."""
        await self.get(caller, task_id)
        async with self._transactions.read() as transaction:
            return await transaction.tasks.events(task_id, after, limit)

    async def follow(
        self, caller: Caller, task_id: TaskId, after: int = 0
    ) -> AsyncGenerator[StreamEvent, None]:
        """Events with an id above `after` and those to come. Raises TaskNotFound."""
        await self.get(caller, task_id)
        events = follow(self._transactions, self._signals, task_id, after)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def finished(self, caller: Caller, task_id: TaskId) -> Task:
        """The task once it has ended. Raises TaskNotFound."""
        async with self._signals.subscribe(topics.of_task(task_id)) as subscription:
            while True:
                task = await self.get(caller, task_id)
                if task.status in FINISHED:
                    return task
                while (hint := await subscription.next(POLL_S)) and "text" in hint:
                    pass  # live text says nothing about the end


def _visible(caller: Caller, task: Task) -> Task:
    if not caller.sees(task.owner):
        raise TaskNotFound(f"There is no task {task.task_id!r}.", task_id=task.task_id)
    return task


def check_bounds(submit: SubmitTask) -> None:
    """Raises TaskInvalid where a number is out of its bounds."""
    if not 1 <= submit.max_attempts <= MOST_ATTEMPTS:
        raise TaskInvalid(f"max_attempts is from 1 to {MOST_ATTEMPTS}.", path="/max_attempts")
    if submit.delay > LONGEST_DELAY:
        raise TaskInvalid("run_at is at most 366 days ahead.", path="/run_at")
    if submit.deadline is not None and submit.deadline <= timedelta():
        raise TaskInvalid("deadline_s is above 0.", path="/deadline_s")
