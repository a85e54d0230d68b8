"""Acting once, however often a caller asks: the answer of an act is kept under the caller's key."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from domain.model.callers import CallerId
from domain.model.keys import KEPT_FOR, Once
from domain.ports.storage import Transaction, Transactions

T = TypeVar("T")


async def acted_once(
    transaction: Transaction,
    caller: CallerId,
    once: Once | None,
    kind: type[T],
    act: Callable[[], Awaitable[T]],
) -> tuple[T, bool]:
    """What `act` gives, or gave when the key came first; and whether it was done now.

    `act` writes within `transaction`, so the key and what it guards are kept together or not at
    all. Raises KeyReused, KeyInFlight, and what `act` raises: the key is free again then.
    """
    if once is None:
        return await act(), True
    kept = await transaction.keys.take(caller, once)
    if kept is not None:
        return msgspec.convert(kept, kind), False
    value = await act()
    await transaction.keys.keep(caller, once.key, value)
    return value, True


async def purge_keys(transactions: Transactions) -> int:
    """Forget the keys that have been kept long enough; return how many."""
    async with transactions.begin() as transaction:
        return await transaction.keys.purge(KEPT_FOR)
