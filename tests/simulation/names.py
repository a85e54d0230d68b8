"""The names under which a run knows its tasks and calls."""

from domain.model.tasks import Task, ToolPayload
from tests.simulation.troubles import seconds


def key_of(task: Task) -> str:
    """What its calls are told by."""
    payload = task.payload
    if isinstance(payload, ToolPayload):
        return str(payload.arguments.get("key"))
    return payload.message


def tag_of(task: Task) -> str:
    """The task's own name; of a schedule's tasks each has its time in it."""
    if task.scheduled_for is None:
        return key_of(task)
    return f"{key_of(task)}@{seconds(task.scheduled_for):g}"
