"""Idempotency keys as rows."""

from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from adapters.sql.dialect import Now, after, seconds
from adapters.sql.statements import Statements
from adapters.sql.tables import idempotency_keys as keys
from domain.model.callers import CallerId
from domain.model.keys import IdempotencyKey, KeyInFlight, KeyReused, Once

_THIS = (keys.c.caller == bindparam("by"), keys.c.key == bindparam("this"))
TAKE = insert(keys).values(created_at=Now())
GET = select(keys.c.fingerprint, keys.c.answer).where(*_THIS)
KEEP = update(keys).where(*_THIS).values(answer=bindparam("given", type_=keys.c.answer.type))
PURGE = delete(keys).where(keys.c.created_at < after("age_s")).returning(keys.c.key)


class SqlKeys:
    """The keys of one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def take(self, caller: CallerId, once: Once) -> Any:
        values = {"caller": caller, "key": once.key, "fingerprint": once.fingerprint}
        under_way = KeyInFlight("The act of this key is still under way.", key=once.key)
        try:
            # PostgreSQL waits here for the end of a transaction that has just taken it.
            await self._statements.rows(TAKE, values, {"pk_idempotency_keys": under_way})
        except KeyInFlight:
            kept = await self._statements.first(GET, {"by": caller, "this": once.key})
        else:
            return None
        if kept is not None and kept.fingerprint != once.fingerprint:
            raise KeyReused("This key was used for another request.", key=once.key)
        if kept is None or kept.answer is None:
            raise under_way
        return kept.answer

    async def keep(self, caller: CallerId, key: IdempotencyKey, answer: Any) -> None:
        await self._statements.rows(KEEP, {"by": caller, "this": key, "given": answer})

    async def purge(self, older_than: timedelta) -> int:
        rows = await self._statements.rows(PURGE, {"age_s": seconds(-older_than)})
        return len(rows)
