"""Faults in carrying tasks out."""

from copy import copy
from typing import Any

import msgspec

from domain.errors import Unavailable
from domain.model.tasks import EventKind
from domain.ports.storage import StorageUnavailable
from domain.tasks import agent_run, carrier, runs
from domain.tasks.carrier import Carrier, Held
from domain.tasks.endings import Endings
from domain.tasks.recorder import Recorder
from domain.tasks.runs import Indeterminate, ToolRun
from domain.tasks.worker import Worker
from tests.simulation.faults.fault import Faults, Function

faults = Faults()


@faults(
    "repeat-of-a-call-in-flight",
    "A call that may have had an effect is made again.",
    "calls_in_flight",
    runs,
    agent_run,
)
def _(right: Function) -> Function:
    return lambda events: right(events)[:0]


@faults("retry-of-an-indeterminate-call", "It is taken for a passing failure.", "__call__", ToolRun)
def _(right: Function) -> Function:
    async def call(run: Any, *args: Any) -> Any:
        try:
            return await right(run, *args)
        except Indeterminate as unsure:
            raise Unavailable(str(unsure)) from unsure

    return call


@faults("no-fence-on-finish", "A stale attempt ends the later one's task.", "_finish", Endings)
def _(right: Function) -> Function:
    async def finish(endings: Any, transaction: Any, task: Any, recorder: Any, end: Any) -> Any:
        row = await transaction.tasks.get(task.task_id)
        other = copy(recorder)
        other.hold = msgspec.structs.replace(recorder.hold, attempt=row.attempt)
        return await right(endings, transaction, task, other, end)

    return finish


@faults("poison-never-ended", "Attempts are not counted out.", "_attempt", Carrier)
def _(right: Function) -> Function:
    async def attempt(carrier: Any, held: Held, recorder: Any) -> Any:
        held.task = msgspec.structs.replace(held.task, max_attempts=1000)
        return await right(carrier, held, recorder)

    return attempt


@faults("retry-without-end", "The last attempt is followed by another.", "_settle", Carrier)
def _(right: Function) -> Function:
    async def settle(carrier: Any, task: Any, run: Any) -> Any:
        return await right(carrier, msgspec.structs.replace(task, max_attempts=1000), run)

    return settle


@faults("deadline-forgotten", "A run goes on after its deadline.", "_left_s", Carrier)
def _(right: Function) -> Function:
    return lambda carrier, held: right(carrier, held) and None


@faults("text-lost-at-a-failed-write", "A second try leaves out the text.", "_insist", Recorder)
def _(right: Function) -> Function:
    async def insist(recorder: Any, events: Any) -> None:
        try:
            await recorder._write(events, again=False)
        except StorageUnavailable:
            await right(recorder, tuple(e for e in events if e.kind is not EventKind.TEXT))

    return insist


@faults("result-lost-at-a-failed-write", "A failed record is not tried again.", "_insist", Recorder)
def _(right: Function) -> Function:
    async def insist(recorder: Any, events: Any) -> None:
        try:
            await recorder._write(events, again=False)
        except StorageUnavailable:
            return

    return insist


@faults("record-written-twice", "An unanswered commit is made again.", "_written_before", Recorder)
def _(right: Function) -> Function:
    async def written_before(*args: Any) -> None:
        await right(*args)

    return written_before


@faults("turn-from-its-start", "A turn forgets its finished steps.", "__init__", agent_run._Turn)
def _(right: Function) -> Function:
    def init(turn: Any, *args: Any) -> None:
        *others, _events = args
        right(turn, *others, ())

    return init


@faults(
    "answered-call-made-again",
    "A recorded answer is not looked for by the next attempt.",
    "all_events",
    runs,
)
def _(right: Function) -> Function:
    async def all_events(*args: Any) -> Any:
        kept = await right(*args)
        answered = {event.data["call_id"] for event in kept if event.kind == "tool_result"}
        return tuple(event for event in kept if event.data.get("call_id") not in answered)

    return all_events


@faults(
    "open-calls-kept",
    "A turn that was cut off leaves calls without answers in its conversation.",
    "_without_open_calls",
    agent_run,
)
def _(right: Function) -> Function:
    return lambda messages: tuple(messages[len(right(messages)) * 0 :])


@faults("lost-run-goes-on", "A run is not ended when its lease is lost.", "end", Held)
def _(right: Function) -> Function:
    def end(held: Held, why: carrier.Why) -> None:
        if why is not carrier.Why.LOST:
            right(held, why)

    return end


@faults("worker-without-polls", "A worker waits for hints alone.", "__init__", Worker)
def _(right: Function) -> Function:
    def init(worker: Any, *args: Any) -> None:
        right(worker, *args)
        worker._limits = msgspec.structs.replace(worker._limits, poll=worker._limits.lease * 1000)

    return init
