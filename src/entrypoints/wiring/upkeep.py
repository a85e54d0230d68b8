"""The chores of every process that has the database."""

from contextlib import AsyncExitStack
from datetime import timedelta

from domain.agents import Models
from domain.once import purge_keys
from domain.tasks.register import SIGN_EVERY, Register
from domain.tasks.retention import Retention
from domain.tasks.upkeep import Chore, Upkeep
from entrypoints.settings.values import Settings
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.schedules import firing_of

END_OVERDUE_EVERY = timedelta(seconds=1)
# Deadlines are given in seconds.
PURGE_TASKS_EVERY = timedelta(minutes=1)
# Some thousands a minute go; they are kept by the day.
PURGE_KEYS_EVERY = timedelta(minutes=10)
# They are promised for 24 hours; some minutes more harm nobody.
PURGE_WORKERS_EVERY = timedelta(hours=1)
# They are kept for a day.
FIRE_EVERY = timedelta(seconds=1)
# Schedules count in minutes; looking whether one is due costs one indexed read.


def start_upkeep(
    settings: Settings, ground: Ground, models: Models, register: Register, stack: AsyncExitStack
) -> None:
    """Begin the chores; the stack ends them."""
    keep = timedelta(days=settings.keep_days)
    retention = Retention(ground.transactions, ground.shared.signals, keep)
    chores = (
        Chore(name="end overdue tasks", act=retention.end_overdue, every=END_OVERDUE_EVERY),
        Chore(name="purge old tasks", act=retention.purge, every=PURGE_TASKS_EVERY),
        Chore(
            name="purge idempotency keys",
            act=lambda: purge_keys(ground.transactions),
            every=PURGE_KEYS_EVERY,
        ),
        Chore(
            name="fire schedules",
            act=firing_of(ground, models).fire_due,
            every=FIRE_EVERY,
        ),
        Chore(name="sign the register of workers", act=register.sign, every=SIGN_EVERY),
        Chore(name="forget lost workers", act=register.purge, every=PURGE_WORKERS_EVERY),
    )
    upkeep = Upkeep(chores, ground.chance)
    stack.push_async_callback(upkeep.stop)
    upkeep.start()
