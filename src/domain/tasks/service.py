"""Tasks as callers see them: submitted, looked at, cancelled, followed."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import msgspec

from domain.agents import Models
from domain.errors import Invalid
from domain.model.agents import AgentId
from domain.model.callers import Caller, Scope
from domain.model.conversations import (
    ConversationId,
    ConversationNotFound,
    Message,
    MessageId,
    Role,
)
from domain.model.keys import Once
from domain.model.pages import Page
from domain.model.retries import DEFAULT_RETRY, RetryPolicy
from domain.model.tasks import (
    FINISHED,
    AgentPayload,
    Fire,
    Lane,
    OnIndeterminate,
    Payload,
    Task,
    TaskEvent,
    TaskId,
    TaskNotFound,
    TaskStatus,
    ToolPayload,
    model_lane,
    server_lane,
)
from domain.once import acted_once
from domain.ports.signals import Signals
from domain.ports.storage import Transaction, Transactions
from domain.ports.system import Chance
from domain.ports.tasks import NewTask, TaskQuery
from domain.tasks import topics
from domain.tasks.runs import events_of
from domain.tasks.steps import finished_steps
from domain.tasks.stream import POLL_S, StreamEvent, follow

MOST_ATTEMPTS = 20
LONGEST_DELAY = timedelta(days=366)
LONGEST_REST, MOST_GROWTH = timedelta(days=1), 100


class SubmitTask(msgspec.Struct, frozen=True, kw_only=True):
    """Work to be done. `delay` and `deadline` count from now."""

    payload: Payload
    priority: int = 0
    delay: timedelta = timedelta()
    deadline: timedelta | None = None
    max_attempts: int = 3
    retry: RetryPolicy = DEFAULT_RETRY
    on_indeterminate: OnIndeterminate = OnIndeterminate.FAIL


class TaskInvalid(Invalid):
    """A number of the task is out of its bounds."""


class TaskService:
    """Keeps tasks; workers carry them out."""

    def __init__(
        self, transactions: Transactions, signals: Signals, chance: Chance, models: Models
    ) -> None:
        self._transactions = transactions
        self._signals = signals
        self._chance = chance
        self._models = models

    async def submit(self, caller: Caller, submit: SubmitTask, once: Once | None = None) -> Task:
        """Keep a task and wake a worker; for a key that came before, the task as it was then.

        Raises AgentNotFound, ConversationNotFound, ConversationBusy, TaskInvalid, KeyReused,
        KeyInFlight.
        """
        caller.require(Scope.TASKS)
        check_bounds(submit)
        alone = once is None and isinstance(submit.payload, ToolPayload)
        # Such a task is one call on the store; with others it is kept together with what else is.
        opened = self._transactions.single() if alone else self._transactions.begin()
        async with opened as transaction:
            task, _ = await acted_once(
                transaction, caller.id, once, Task, lambda: self.add(transaction, caller, submit)
            )
        self.wake(task)
        return task

    def wake(self, task: Task) -> None:
        """Tell workers that a task became due."""
        self._signals.publish(topics.WAKE, {"task_id": task.task_id})

    async def add(
        self,
        transaction: Transaction,
        caller: Caller,
        submit: SubmitTask,
        fire: Fire | None = None,
    ) -> Task:
        """Keep a task within the caller's transaction; an agent's message goes with it."""
        payload = submit.payload
        conversation_id = await self._conversation(transaction, caller, payload)
        task = await transaction.tasks.add(
            NewTask(
                task_id=TaskId(self._chance.new_id()),
                payload=payload,
                owner=caller.id,
                lane=await self._lane(transaction, payload),
                priority=submit.priority,
                conversation_id=conversation_id,
                max_attempts=submit.max_attempts,
                retry=submit.retry,
                on_indeterminate=submit.on_indeterminate,
                delay=submit.delay,
                deadline=submit.deadline,
                fire=fire,
            )
        )
        if conversation_id is not None and isinstance(payload, AgentPayload):
            message = Message(role=Role.USER, text=payload.message)
            entry = (MessageId(self._chance.new_id()), message)
            await transaction.conversations.append(conversation_id, task.task_id, (entry,))
        return task

    async def _lane(self, transaction: Transaction, payload: Payload) -> Lane:
        """The server that is called, or the model that is asked as things stand now."""
        if isinstance(payload, ToolPayload):
            return server_lane(payload.server)
        agent = await transaction.agents.get(AgentId(payload.agent))
        return model_lane(self._models.first_name(payload.model or agent.model))

    async def _conversation(
        self, transaction: Transaction, caller: Caller, payload: Payload
    ) -> ConversationId | None:
        if isinstance(payload, ToolPayload) or payload.conversation_id is None:
            return None
        conversation = await transaction.conversations.get(payload.conversation_id)
        if not caller.sees(conversation.owner):
            raise ConversationNotFound(
                f"There is no conversation {payload.conversation_id!r}.",
                conversation_id=payload.conversation_id,
            )
        return payload.conversation_id

    async def get(self, caller: Caller, task_id: TaskId) -> Task:
        """A task, with its place in line if it has one. Raises TaskNotFound."""
        caller.require(Scope.READ)
        async with self._transactions.read() as transaction:
            task = visible(caller, await transaction.tasks.get(task_id))
            return await _placed(transaction, task)

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
            visible(caller, await transaction.tasks.get(task_id))
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


async def _placed(transaction: Transaction, task: Task) -> Task:
    if task.status is not TaskStatus.QUEUED:
        return task
    place = await transaction.tasks.place(task)
    return msgspec.structs.replace(task, queue_position=place)


def visible(caller: Caller, task: Task) -> Task:
    """The task, where it is this caller's business. Raises TaskNotFound."""
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
    if submit.deadline is not None and submit.deadline <= submit.delay:
        raise TaskInvalid(
            "deadline_s counts from now and must lie behind run_at: the task would end before it "
            "may begin.",
            path="/deadline_s",
        )
    _check_retry(submit.retry)


def _check_retry(retry: RetryPolicy) -> None:
    if not timedelta() <= retry.first_delay <= LONGEST_REST:
        raise TaskInvalid("first_delay_s is from 0 to 86400.", path="/retry/first_delay_s")
    if not timedelta() <= retry.longest_delay <= LONGEST_REST:
        raise TaskInvalid("longest_delay_s is from 0 to 86400.", path="/retry/longest_delay_s")
    if not 1 <= retry.factor <= MOST_GROWTH:
        raise TaskInvalid(f"factor is from 1 to {MOST_GROWTH}.", path="/retry/factor")
