"""Faults in what callers are promised: caps, turns, keys, schedules, decisions."""

from datetime import timedelta
from typing import Any

import msgspec

from adapters.inmemory import line, retention, tasks
from adapters.inmemory.decisions import MemoryDecisions
from adapters.inmemory.keys import MemoryKeys
from adapters.inmemory.queue import MemoryQueue
from adapters.inmemory.schedules import MemorySchedules
from domain.firing import Firing, submit_of
from domain.model.callers import Caller, CallerId
from domain.model.tasks import EventKind, Fire, Task, TaskStatus
from domain.tasks import decisions
from tests.simulation.faults.fault import Faults, Function

faults = Faults()


@faults("caps-forgotten", "A claim looks at no cap.", "_with_room", MemoryQueue)
def _(right: Function) -> Function:
    return lambda queue, due, _caps: right(queue, due, {})


@faults(
    "lapsed-tasks-give-room", "A lost worker's tasks are not counted.", "_with_room", MemoryQueue
)
def _(right: Function) -> Function:
    def with_room(queue: Any, due: list[Task], caps: Any) -> Any:
        lapsed = {task.task_id: task for task in due if task.status is TaskStatus.RUNNING}
        for task in lapsed.values():
            queue._state.unfinished[task.task_id] = msgspec.structs.replace(task, lane="none")
        chosen = [*right(queue, due, caps)]
        queue._state.unfinished.update(lapsed)
        return chosen

    return with_room


@faults("line-by-age", "Who has many in line is not put behind others.", "joined", line, tasks)
def _(_right: Function) -> Function:
    return lambda _state, task: msgspec.structs.replace(task, turn=0)


@faults("key-forgotten", "A key is not looked up.", "take", MemoryKeys)
def _(_right: Function) -> Function:
    async def take(*_: Any) -> None:
        return None

    return take


@faults("answer-of-a-key-forgotten", "What came of the act is not kept.", "keep", MemoryKeys)
def _(_right: Function) -> Function:
    async def keep(*_: Any) -> None:
        return

    return keep


@faults("key-of-everyone", "One caller's key is another's too.", "take", MemoryKeys)
def _(right: Function) -> Function:
    async def take(keys: Any, _caller: CallerId, once: Any) -> Any:
        return await right(
            keys, next((c for c, key in keys._keys if key == once.key), _caller), once
        )

    return take


@faults(
    "fire-apart-from-its-task",
    "A time is ticked off, then its task kept.",
    "_submit",
    Firing,
)
def _(_right: Function) -> Function:
    async def submit(service: Any, fired: Any) -> None:
        async with service._transactions.begin() as transaction:
            await transaction.schedules.replace(fired)
        async with service._transactions.begin() as transaction:
            fire = Fire(schedule_id=fired.schedule_id, scheduled_for=fired.last_at)
            owner = Caller(id=fired.owner, scopes=frozenset())
            await service._tasks.add(transaction, owner, submit_of(fired.work), fire)

    return submit


@faults("fire-by-every-process", "Nobody looks whether another was first.", "_submit", Firing)
def _(right: Function) -> Function:
    async def submit(service: Any, fired: Any) -> None:
        async with service._transactions.begin() as transaction:
            fire = Fire(schedule_id=fired.schedule_id, scheduled_for=fired.last_at)
            owner = Caller(id=fired.owner, scopes=frozenset())
            transaction.tasks._require_fresh = lambda _fire: None
            await service._tasks.add(transaction, owner, submit_of(fired.work), fire)
        await service._advanced(fired)

    return submit


@faults("fire-before-its-time", "A schedule is due a second early.", "due", MemorySchedules)
def _(right: Function) -> Function:
    class Early(msgspec.Struct):
        clock: Any

        def now(self) -> Any:
            return self.clock.now() + timedelta(seconds=1)

    async def due(schedules: Any, limit: int) -> Any:
        clock, schedules._clock = schedules._clock, Early(schedules._clock)
        try:
            return await right(schedules, limit)
        finally:
            schedules._clock = clock

    return due


@faults("decided-twice", "What was decided can be decided again.", "settle", MemoryDecisions)
def _(right: Function) -> Function:
    async def settle(store: Any, decision_id: Any, ruling: Any) -> Any:
        decision = store._state.decisions[decision_id]
        store._keep(msgspec.structs.replace(decision, decision=None))
        return await right(store, decision_id, ruling)

    return settle


@faults("question-left-open", "Who ends a task forgets its question.", "void", tasks, retention)
def _(_right: Function) -> Function:
    return lambda *_: None


@faults("decided-answer-forgotten", "A given answer is not recorded.", "_ruling", decisions)
def _(right: Function) -> Function:
    def ruling(*args: Any) -> Any:
        right_one = right(*args)
        kept = tuple(
            event
            for event in right_one.events
            if event.kind not in {EventKind.TOOL_RESULT, EventKind.STEP}
        )
        return msgspec.structs.replace(right_one, events=kept)

    return ruling


@faults("question-without-waiting", "A task is asked about and goes on.", "ask", MemoryDecisions)
def _(right: Function) -> Function:
    async def ask(store: Any, hold: Any, new: Any) -> Any:
        asked = await right(store, hold, new)
        task = store._state.tasks[hold.task_id]
        store._state.keep_task(msgspec.structs.replace(task, status=TaskStatus.QUEUED))
        return asked

    return ask
