"""Tasks over HTTP."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromQuery, HeaderParameter, JSONBody
from litestar.types import Scope

from domain.model.conversations import ConversationId
from domain.model.pages import PageQuery
from domain.model.tasks import (
    EventKind,
    OnIndeterminate,
    Task,
    TaskError,
    TaskId,
    TaskProgress,
    TaskStatus,
    TaskType,
)
from domain.ports.system import Clock
from domain.ports.tasks import TaskQuery
from domain.tasks.service import TaskService
from entrypoints.http.keys import ONCE, Key
from entrypoints.http.limits import Quota, counted_caller
from entrypoints.http.problems import ParameterInvalid
from entrypoints.http.requests import Cursor, Id, Limit, Query, Service, caller_of
from entrypoints.http.streams import EVENTS, MEDIA_TYPE, EventStream
from entrypoints.http.task_bodies import AgentTaskBody, RetryGiven, ToolTaskBody

MOST_DIGITS = 18
# An event's id fits 64 bits.


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task as it stands. `queue_position` is 1 for the next; 1000 stands for all from there on.

    `lane` is what a cap counts: the server that it calls, or the model that it asks.
    """

    task_id: str
    task_type: TaskType
    status: TaskStatus
    payload: dict[str, Any]
    priority: int
    attempt: int
    max_attempts: int
    retry: RetryGiven
    on_indeterminate: OnIndeterminate
    owner: str
    lane: str
    run_at: datetime
    created_at: datetime
    queue_position: int | None = None
    conversation_id: str | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    progress: TaskProgress | None = None
    result: Any = None
    error: TaskError | None = None
    schedule_id: str | None = None
    scheduled_for: datetime | None = None


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the tasks, newest first."""

    tasks: tuple[TaskAnswer, ...]
    total_count: int
    next_cursor: str | None


class EventAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a task. `id` counts from 1 and is the one of the stream."""

    id: int
    attempt: int
    event: EventKind
    at: datetime
    data: dict[str, Any]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what happened in a task, in its order."""

    events: tuple[EventAnswer, ...]
    next_cursor: str | None


def _answer(task: Task) -> TaskAnswer:
    payload: dict[str, Any] = msgspec.to_builtins(task.payload)
    inner = {"type", "interactive"}
    return TaskAnswer(
        task_id=task.task_id,
        task_type=task.task_type,
        status=task.status,
        payload={name: value for name, value in payload.items() if name not in inner},
        priority=task.priority,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        retry=RetryGiven.of(task.retry),
        on_indeterminate=task.on_indeterminate,
        owner=task.owner,
        lane=task.lane,
        run_at=task.run_at,
        created_at=task.created_at,
        queue_position=task.queue_position,
        conversation_id=task.conversation_id,
        deadline_at=task.deadline_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        cancel_requested_at=task.cancel_requested_at,
        progress=task.progress,
        result=task.result,
        error=task.error,
        schedule_id=task.schedule_id,
        scheduled_for=task.scheduled_for,
    )


@post("/", dependencies=ONCE)
async def submit_task(
    tasks: Service[TaskService],
    clock: Service[Clock],
    scope: Scope,
    data: JSONBody[ToolTaskBody | AgentTaskBody],
    once: Key,
) -> TaskAnswer:
    """Keep work to be done."""
    caller = await counted_caller(scope, Quota.TASKS)
    submit = data.submit(data.payload.payload(), clock.now())
    return _answer(await tasks.submit(caller, submit, once))


@get("/")
async def list_tasks(  # noqa: PLR0913, PLR0917 - one argument a query parameter
    tasks: Service[TaskService],
    scope: Scope,
    status: FromQuery[TaskStatus | None] = None,
    conversation_id: Query = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> TaskList:
    """Tasks, newest first."""
    query = TaskQuery(
        status=status,
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        page=PageQuery(limit=limit, cursor=cursor),
    )
    page = await tasks.list(caller_of(scope), query)
    return TaskList(
        tasks=tuple(map(_answer, page.items)),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


@get("/{task_id:str}")
async def get_task(tasks: Service[TaskService], scope: Scope, task_id: Id) -> TaskAnswer:
    """One task."""
    return _answer(await tasks.get(caller_of(scope), TaskId(task_id)))


@post("/{task_id:str}/cancel", status_code=202)
async def cancel_task(tasks: Service[TaskService], scope: Scope, task_id: Id) -> TaskAnswer:
    """Ask for a task's end."""
    return _answer(await tasks.cancel(caller_of(scope), TaskId(task_id)))


@get("/{task_id:str}/history")
async def task_history(
    tasks: Service[TaskService],
    scope: Scope,
    task_id: Id,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> History:
    """What happened in a task so far, with the attempt and the time of each event."""
    after = _event_id("cursor", cursor or "0")
    found = await tasks.history(caller_of(scope), TaskId(task_id), after, limit + 1)
    events = tuple(
        EventAnswer(
            id=event.seq,
            attempt=event.attempt,
            event=event.kind,
            at=event.at,
            data=dict(event.data),
        )
        for event in found[:limit]
    )
    return History(events=events, next_cursor=str(events[-1].id) if len(found) > limit else None)


@get(
    "/{task_id:str}/events",
    media_type=MEDIA_TYPE,
    responses={200: EVENTS},
)
async def follow_task(
    tasks: Service[TaskService],
    draining: Service[asyncio.Event],
    scope: Scope,
    task_id: Id,
    last_event_id: Annotated[str, HeaderParameter(name="Last-Event-ID")] = "0",
) -> EventStream:
    """A task's events as they come, after the one named by Last-Event-ID."""
    after = _event_id("Last-Event-ID", last_event_id)
    task = await tasks.get(caller_of(scope), TaskId(task_id))
    events = tasks.follow(caller_of(scope), task.task_id, after)
    return EventStream(task.task_id, events, draining)


def _event_id(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_DIGITS:
        raise ParameterInvalid(f"{name} is an event's id: a whole number.")
    return int(text)


ROUTES = Router(
    "/tasks",
    route_handlers=[submit_task, list_tasks, get_task, cancel_task, task_history, follow_task],
    tags=["tasks"],
)
