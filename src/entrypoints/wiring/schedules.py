"""Schedules over the parts of a system."""

from adapters.cron import CronCalendar
from domain.agents import Models
from domain.ports.schedules import Calendar
from domain.schedules import ScheduleService
from domain.tasks.service import TaskService
from entrypoints.wiring.ground import Ground


def schedules_of(ground: Ground, models: Models) -> ScheduleService:
    """The service; it keeps nothing itself, so a process may make several."""
    transactions, signals = ground.transactions, ground.shared.signals
    calendar: Calendar = CronCalendar()
    tasks = TaskService(transactions, signals, ground.chance, models)
    return ScheduleService(transactions, signals, tasks, calendar, ground.chance)
