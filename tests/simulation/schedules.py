"""Schedules in a run: a calendar of seconds, and what must be true of every fire."""

from datetime import datetime, timedelta

from adapters.inmemory.state import State
from adapters.inmemory.system import STARTED
from domain.model.schedules import Schedule
from domain.model.tasks import ScheduleId
from tests.simulation.journal import Journal
from tests.simulation.troubles import seconds

NEVER = STARTED + timedelta(days=5000)


class Ticks:
    """A cron expression is a number of seconds here, and no time comes after the trouble."""

    grain = timedelta(seconds=1)

    def __init__(self, until_s: float) -> None:
        self._until = STARTED + timedelta(seconds=until_s)

    def next_after(self, cron: str, timezone: str, after: datetime) -> datetime:
        del timezone
        every = timedelta(seconds=int(cron))
        following = STARTED + ((after - STARTED) // every + 1) * every
        return following if following <= self._until else NEVER


class ScheduleRules:
    """Each time brings one task, kept together with the step to the next time."""

    def __init__(self, journal: Journal, ticks: Ticks) -> None:
        self._journal = journal
        self._ticks = ticks

    def changed(
        self, before: Schedule | None, after: Schedule | None, state: State, now: datetime
    ) -> None:
        """A commit made `after` of `before`."""
        if before is None or after is None or after.last_at == before.last_at:
            return
        name, require = after.name, self._journal.require
        at = after.last_at
        assert at is not None  # it never goes back to None
        self._journal.note("fired", name, at=seconds(at), error=after.last_error)
        require(at <= now, f"{name} fired before its time")
        require(before.last_at is None or before.last_at < at, f"{name} went back in time")
        brought = _tasks(state, after.schedule_id).count(at)
        require(brought == 1, f"{name} fired for {seconds(at):g} and brought {brought} tasks")

    def check(self, state: State) -> None:
        """All is over: no time is left out at the end, and none brought two."""
        for schedule in state.schedules.values():
            times = _tasks(state, schedule.schedule_id)
            self._journal.require(
                len(set(times)) == len(times), f"{schedule.name} brought two tasks for one time"
            )
            ended = schedule.next_at == NEVER
            self._journal.require(ended, f"{schedule.name} has still to fire: {schedule.next_at}")


def _tasks(state: State, schedule_id: ScheduleId) -> list[datetime]:
    """For what times it has brought tasks."""
    return [
        task.scheduled_for
        for task in state.tasks.values()
        if task.schedule_id == schedule_id and task.scheduled_for is not None
    ]
