"""What every process of a system stands on: time, the database, and what it shares."""

from contextlib import AsyncExitStack

import msgspec

from adapters.system import SystemChance, SystemClock
from domain.errors import Invalid
from domain.ports.storage import StorageInspector, Transactions
from domain.ports.system import Chance, Clock
from entrypoints.settings.values import Settings
from entrypoints.wiring.database import opened_database
from entrypoints.wiring.shared import Shared, opened_shared


class SettingUnsupported(Invalid):
    """A setting asks for a part that this version does not have."""


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
        SettingUnsupported: a part is asked for that this version does not have.
        StorageUnavailable: the database cannot be reached in time, or its tables are outdated.
        RedisUnavailable: a Redis that is set cannot be reached in time.
        RedisUrlInvalid: its URL holds options that nobody knows.
    """
    _refuse_unsupported(settings)
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


def _refuse_unsupported(settings: Settings) -> None:
    """Running without a part that was asked for would be a lie."""
    asked = {
        "SUTAZAI_DOCKER_HOST": settings.docker_host,
        "SUTAZAI_ENGINES__": settings.engines,
    }
    for name, value in asked.items():
        if value:
            raise SettingUnsupported(f"{name}: this version has no such part yet; leave it unset.")
