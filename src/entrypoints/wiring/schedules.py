"""Schedules over the parts of a system."""

from adapters.cron import CronCalendar
from domain.ports.schedules import Calendar
from domain.schedules import ScheduleService
from domain.tasks.service import TaskService
from entrypoints.wiring.ground import Ground


def schedules_of(ground: Ground) -> ScheduleService:
    """The service; it keeps nothing itself, so a process may make several."""
    transactions, signals = ground.transactions, ground.shared.signals
    calendar: Calendar = CronCalendar()
    tasks = TaskService(transactions, signals, ground.chance)
    return ScheduleService(transactions, signals, tasks, calendar, ground.chance)
