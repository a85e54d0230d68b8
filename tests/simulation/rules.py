"""All rules that a commit is held to, each by what keeps it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adapters.inmemory.state import State
from domain.model.tasks import Lane, TaskStatus
from tests.simulation.decisions import DecisionRules
from tests.simulation.journal import Journal
from tests.simulation.lines import LineRules
from tests.simulation.rows import RowRules
from tests.simulation.schedules import ScheduleRules, Ticks
from tests.simulation.troubles import Troubles

WATCHED = ("tasks", "schedules", "decisions")
# The tables whose changes are looked at.


class Rules:
    """Looks at every commit, and at the end."""

    def __init__(
        self, journal: Journal, troubles: Troubles, caps: Mapping[Lane, int], ticks: Ticks
    ) -> None:
        self._rows = RowRules(journal, troubles)
        self._lines = LineRules(journal, caps)
        self._schedules = ScheduleRules(journal, ticks)
        self._decisions = DecisionRules(journal)

    def committed(
        self, before: Mapping[str, Mapping[Any, Any]], state: State, now: datetime
    ) -> None:
        """A commit has made `state`; of each row that it changed there is what was before."""
        for decision_id, old in before["decisions"].items():
            self._decisions.changed(old, state.decisions[decision_id], state)
        for schedule_id, old in before["schedules"].items():
            self._schedules.changed(old, state.schedules.get(schedule_id), state, now)
        changes = [
            (old, state.tasks[task_id])
            for task_id, old in before["tasks"].items()
            if state.tasks[task_id] is not old
        ]
        for old, task in changes:
            self._rows.changed(old, task, now)
            if task.status is TaskStatus.WAITING:
                self._decisions.waits(task, state)
        self._lines.committed(changes)

    def check(self, state: State) -> None:
        """All is over."""
        self._schedules.check(state)
        self._decisions.check(state)
