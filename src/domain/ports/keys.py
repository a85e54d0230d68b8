"""What came of the acts that callers gave a key."""

from datetime import timedelta
from typing import Any, Protocol

from domain.model.callers import CallerId
from domain.model.keys import IdempotencyKey, Once


class KeyStore(Protocol):
    """Idempotency keys, one namespace a caller.

    A key is taken in the transaction of the act that it guards: both are kept, or neither is.
    """

    async def take(self, caller: CallerId, once: Once) -> Any:
        """Take the key, or return the answer that is kept under it, as plain JSON values.

        None: it is taken now, and the act is this transaction's to do. Where another transaction
        has just taken it, this waits until that one has ended. Raises KeyReused where it was
        taken with another fingerprint, KeyInFlight where no answer is kept yet.
        """
        ...

    async def keep(self, caller: CallerId, key: IdempotencyKey, answer: Any) -> None:
        """Keep the answer under a key that is taken; any value that JSON can say but None."""
        ...

    async def purge(self, older_than: timedelta) -> int:
        """Forget the keys that were taken longer ago; return how many."""
        ...
