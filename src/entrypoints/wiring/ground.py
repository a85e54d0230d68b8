"""What every process of a system stands on: time, the database, and what it shares."""

from contextlib import AsyncExitStack

import msgspec

from adapters.system import SystemChance, SystemClock
from domain.ports.storage import StorageInspector, Transactions
from domain.ports.system import Chance, Clock
from entrypoints.settings.values import Settings
from entrypoints.wiring.database import opened_database
from entrypoints.wiring.shared import Shared
from entrypoints.wiring.sharing import opened_shared


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that all other parts are built on."""

    clock: Clock
    chance: Chance
    transactions: Transactions
    inspector: StorageInspector
    shared: Shared


async def opened_ground(settings: Settings, stack: AsyncExitStack) -> Ground:
    """Open it; the stack closes it.

    Raises:
        StorageUnavailable: the database cannot be reached in time, or its tables are outdated.
        RedisUnavailable: a Redis that is set cannot be reached in time.
        RedisUrlInvalid: its URL holds options that nobody knows.
    """
    clock, chance = SystemClock(), SystemChance()
    shared = await opened_shared(settings, clock, chance, stack)
    database = await opened_database(settings, stack)
    return Ground(
        clock=clock,
        chance=chance,
        transactions=database.transactions,
        inspector=database.inspector,
        shared=shared,
    )
