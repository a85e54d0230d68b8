"""Schedules over the parts of a system."""

from adapters.cron import CronCalendar
from domain.agents import Models
from domain.firing import Firing
from domain.ports.schedules import Calendar
from domain.schedules import ScheduleService
from domain.tasks.service import TaskService
from entrypoints.wiring.ground import Ground

CALENDAR: Calendar = CronCalendar()


def schedules_of(ground: Ground) -> ScheduleService:
    """The service."""
    return ScheduleService(ground.transactions, CALENDAR, ground.chance)


def firing_of(ground: Ground, models: Models) -> Firing:
    """The chore."""
    transactions, signals = ground.transactions, ground.shared.signals
    tasks = TaskService(transactions, signals, ground.chance, models)
    return Firing(transactions, signals, tasks, CALENDAR)
