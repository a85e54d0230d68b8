"""What must be true of the events of a task and of the messages of a conversation."""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from domain.model.conversations import Message, Role
from domain.model.tasks import (
    AgentPayload,
    EventKind,
    Task,
    TaskEvent,
    TaskStatus,
    TurnStep,
)
from tests.simulation.journal import Journal
from tests.simulation.models import well_formed
from tests.simulation.names import tag_of
from tests.simulation.store import Rack

_LAST = frozenset({EventKind.DONE, EventKind.ERROR})


def check_events(journal: Journal, rack: Rack, task: Task) -> None:
    """The record of an ended task is whole and in order."""
    tag, events = tag_of(task), rack.state.events.get(task.task_id, ())
    numbers = [event.seq for event in events]
    journal.require(
        numbers == list(range(1, len(events) + 1)), f"{tag}: its events are numbered {numbers}"
    )
    attempts = [event.attempt for event in events]
    journal.require(attempts == sorted(attempts), f"{tag}: events of attempts {attempts}")
    lasts = [event.kind for event in events if event.kind in _LAST]
    journal.require(
        len(lasts) == 1 and events[-1].kind in _LAST, f"{tag}: its record ends in {lasts}"
    )
    _text(journal, tag, events)
    if isinstance(task.payload, AgentPayload):
        _steps(journal, tag, task, events)
    elif task.status is TaskStatus.SUCCEEDED:
        results = [event for event in events if event.kind is EventKind.TOOL_RESULT]
        journal.require(results, f"{tag} succeeded and no result of a call is recorded")


def steps_of(events: Iterable[TaskEvent]) -> list[Message]:
    """The messages of all recorded steps, the answers of each in the order of its calls."""
    steps: list[list[Message]] = []
    for event in events:
        if event.kind is not EventKind.STEP:
            continue
        for message in msgspec.convert(event.data, TurnStep).messages:
            if message.role is Role.TOOL and steps:
                steps[-1].append(message)
            else:
                steps.append([message])
    return [message for first, *answers in steps for message in (first, *_sorted(first, answers))]


def _sorted(first: Message, answers: list[Message]) -> list[Message]:
    calls = [call.call_id for call in first.tool_calls]
    return sorted(answers, key=lambda answer: calls.index(answer.call_id or ""))


def _text(journal: Journal, tag: str, events: tuple[TaskEvent, ...]) -> None:
    """The pieces of each attempt's text meet, and hold what its finished steps say.

    A piece whose commit was not answered may come twice, with the same offset.
    """
    for attempt, of_attempt in groupby(events, key=lambda event: event.attempt):
        kept, said = "", ""
        for event in of_attempt:
            if event.kind is EventKind.TEXT:
                offset, text = event.data["offset"], event.data["text"]
                fits = offset <= len(kept) and text.startswith(kept[offset:])
                journal.require(fits, f"{tag}: {text!r} of attempt {attempt} at {offset}: {kept!r}")
                kept = kept[:offset] + text
            elif event.kind is EventKind.STEP:
                said += "".join(m.text for m in steps_of((event,)) if m.role is Role.ASSISTANT)
                journal.require(
                    kept == said, f"{tag}: attempt {attempt} said {said!r}, kept is {kept!r}"
                )


def _steps(journal: Journal, tag: str, task: Task, events: tuple[TaskEvent, ...]) -> None:
    """A turn goes on where it was, whatever became of its attempts."""
    steps = steps_of(events)
    told = [message.text for message in steps if message.role is Role.ASSISTANT]
    expected = [f"{tag}:{number}" for number in range(len(told))]
    journal.require(told == expected, f"{tag}: its steps are {told}")
    for message in steps:
        for call in message.tool_calls:
            answers = [m for m in steps if m.call_id == call.call_id]
            journal.require(len(answers) <= 1, f"{tag}: {call.call_id} was answered twice")
            own = all(m.is_error or m.text == call.arguments["key"] for m in answers)
            journal.require(own, f"{tag}: {call.call_id} was given another call's answer")
    if task.status is TaskStatus.SUCCEEDED:
        journal.require(well_formed(tuple(steps)), f"{tag}: a call of it was not answered")
        whole = bool(steps) and task.result["response"] == steps[-1].text
        journal.require(whole, f"{tag}: its result is not its last step")


def check_conversations(journal: Journal, rack: Rack) -> None:
    """Every conversation can be shown to a model, and holds each turn once, whole."""
    for conversation_id, stored in rack.state.messages.items():
        messages = tuple(entry.message for entry in stored)
        journal.require(well_formed(messages), f"{conversation_id}: a broken history")
        for task_id, entries in groupby(stored, key=lambda entry: entry.task_id):
            turn = [entry.message for entry in entries]
            task = next((t for t in rack.state.tasks.values() if t.task_id == task_id), None)
            if task is None:
                journal.broke(f"{conversation_id}: messages of nobody")
                continue
            tag, steps = tag_of(task), steps_of(rack.state.events.get(task.task_id, ()))
            begins = turn[0].role is Role.USER and turn[0].text == tag
            journal.require(begins, f"{tag}: its turn begins with {turn[0]}")
            if task.status is TaskStatus.SUCCEEDED:
                journal.require(turn[1:] == steps, f"{tag}: its conversation misses a step")
            else:
                part = turn[1:] == steps[: len(turn) - 1]
                journal.require(part, f"{tag}: its conversation holds what it never did")
