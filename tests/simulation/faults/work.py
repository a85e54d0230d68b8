"""Faults in carrying tasks out."""

from typing import Any

import msgspec

from domain.errors import Unavailable
from domain.model.tasks import EventKind
from domain.ports.storage import StorageUnavailable
from domain.ports.tasks import Entry
from domain.tasks import agent_run, runs, steps
from domain.tasks.carrier import Carrier, Held, Why
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
            recorder._seq = await recorder._writer.write(Entry(hold=recorder.hold, events=events))
        except StorageUnavailable:
            if not await recorder._written_before(len(events)):
                await right(recorder, tuple(e for e in events if e.kind is not EventKind.TEXT))

    return insist


@faults("result-lost-at-a-failed-write", "A failed record is not tried again.", "_insist", Recorder)
def _(right: Function) -> Function:
    async def insist(recorder: Any, events: Any) -> None:
        try:
            recorder._seq = await recorder._writer.write(Entry(hold=recorder.hold, events=events))
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
    "held-back-forgotten", "What was to be written with the next is not.", "hold_back", Recorder
)
def _(_right: Function) -> Function:
    return lambda _recorder, _event: None


@faults(
    "open-calls-kept",
    "A turn that was cut off leaves calls without answers in its conversation.",
    "without_open_calls",
    agent_run,
    steps,
)
def _(right: Function) -> Function:
    return lambda messages: tuple(messages[len(right(messages)) * 0 :])


@faults("lost-run-goes-on", "A run does not hear that another took over.", "end", Held)
def _(right: Function) -> Function:
    def end(held: Held, why: Why) -> None:
        if why is not Why.LOST:
            right(held, why)

    return end


@faults("worker-without-polls", "A worker waits for hints alone.", "__init__", Worker)
def _(right: Function) -> Function:
    def init(worker: Any, *args: Any) -> None:
        right(worker, *args)
        worker._limits = msgspec.structs.replace(worker._limits, poll=worker._limits.lease * 1000)

    return init
