"""What the processes of one system share beside the database: hints, and what may be lost."""

import msgspec

from domain.ports.cache import Cache
from domain.ports.limits import RateLimits
from domain.ports.probes import Probe
from domain.ports.signals import Signals


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that no truth depends on, and what tells how they are."""

    signals: Signals
    cache: Cache
    limits: RateLimits
    probe: Probe
