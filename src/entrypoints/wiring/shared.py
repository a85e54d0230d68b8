"""What the processes of one system share beside the database: hints, and what may be lost."""

import msgspec

from adapters.inmemory.cache import MemoryCache
from adapters.inmemory.signals import MemorySignals
from domain.ports.cache import Cache
from domain.ports.signals import Signals
from domain.ports.system import Clock


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that no truth depends on."""

    signals: Signals
    cache: Cache


def shared_ports(clock: Clock) -> Shared:
    """Those of one process alone."""
    return Shared(signals=MemorySignals(), cache=MemoryCache(clock))
