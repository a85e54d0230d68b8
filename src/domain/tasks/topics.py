"""The topics on which the parts around tasks hint to one another."""

from domain.model.tasks import TaskId

WAKE = "tasks"
# A task became due somewhere.
CANCEL = "tasks.cancel"
# Someone asked for a running task's end; the hint carries its `task_id`.


def of_task(task_id: TaskId) -> str:
    """Something was recorded about this task, or a live piece of its text comes along."""
    return f"task.{task_id}"
