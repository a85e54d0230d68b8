"""How Redis is."""

import time

from adapters.redis.link import Away, RedisLink
from domain.model.health import Finding, HealthState

BACKEND = "redis"


class RedisProbe:
    """Redis: one question to it, none while it is away. Without it the system goes on, slower."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def look(self) -> Finding:
        """Ask it now."""
        begun = time.monotonic()
        try:
            await self._link.ask("PING")
        except Away:
            return Finding(
                state=HealthState.DEGRADED,
                reason=f"Redis is away: {self._link.reason}; each process goes on by itself",
                backend=BACKEND,
            )
        probe_ms = round((time.monotonic() - begun) * 1000, 3)
        return Finding(state=HealthState.HEALTHY, probe_ms=probe_ms, backend=BACKEND)
