"""The chores of every process that has the database."""

from contextlib import AsyncExitStack
from datetime import timedelta

from domain.once import purge_keys
from domain.tasks.upkeep import Chore, Upkeep
from entrypoints.wiring.ground import Ground
from entrypoints.wiring.schedules import schedules_of

PURGE_KEYS_EVERY = timedelta(minutes=10)
# They are promised for 24 hours; some minutes more harm nobody.
FIRE_EVERY = timedelta(seconds=1)
# Schedules count in minutes; looking whether one is due costs one indexed read.


def start_upkeep(ground: Ground, stack: AsyncExitStack) -> None:
    """Begin the chores; the stack ends them."""
    chores = (
        Chore(
            name="purge idempotency keys",
            act=lambda: purge_keys(ground.transactions),
            every=PURGE_KEYS_EVERY,
        ),
        Chore(name="fire schedules", act=schedules_of(ground).fire_due, every=FIRE_EVERY),
    )
    upkeep = Upkeep(chores, ground.chance)
    stack.push_async_callback(upkeep.stop)
    upkeep.start()
