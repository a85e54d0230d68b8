"""Idempotency keys kept in memory."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.inmemory.state import KeptKey, Rows
from domain.model.callers import CallerId
from domain.model.keys import IdempotencyKey, KeyInFlight, KeyReused, Once


class MemoryKeys:
    """The keys of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._keys = rows.state.keys
        self._clock = rows.clock

    async def take(self, caller: CallerId, once: Once) -> Any:
        kept = self._keys.get((caller, once.key))
        if kept is None:
            self._keys[caller, once.key] = KeptKey(
                fingerprint=once.fingerprint, created_at=self._clock.now()
            )
            return None
        if kept.fingerprint != once.fingerprint:
            raise KeyReused("This key was used for another request.", key=once.key)
        if kept.answer is None:
            raise KeyInFlight("The act of this key is still under way.", key=once.key)
        return msgspec.json.decode(kept.answer)

    async def keep(self, caller: CallerId, key: IdempotencyKey, answer: Any) -> None:
        kept = self._keys.get((caller, key))
        if kept is not None:
            encoded = msgspec.json.encode(answer)
            self._keys[caller, key] = msgspec.structs.replace(kept, answer=encoded)

    async def purge(self, older_than: timedelta) -> int:
        limit: datetime = self._clock.now() - older_than
        old = [place for place, kept in self._keys.items() if kept.created_at < limit]
        for place in old:
            del self._keys[place]
        return len(old)
