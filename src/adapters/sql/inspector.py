"""A look at the database from outside any transaction."""

import time

from sqlalchemy import literal, select

from adapters.sql.dialect import Engines
from adapters.sql.migrate import current, head
from adapters.sql.statements import translated, unavailable
from domain.ports.storage import StorageStatus


class SqlInspector:
    """Measures on a connection of its own; the pool's counts are those before it took one."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def status(self) -> StorageStatus:
        pools = self._engines.pools
        in_use = sum(pool.checkedout() for pool in pools)
        idle = sum(pool.checkedin() for pool in pools)
        started = time.perf_counter()
        with translated(self._engines):
            async with self._engines.reader.connect() as connection:
                await connection.execute(select(literal(1)))
                probe_ms = (time.perf_counter() - started) * 1000
                obstacle = await self._engines.dialect.obstacle(connection)
                dialect = connection.dialect
                version = ".".join(map(str, dialect.server_version_info or ()))
                revision = await current(connection)
        if obstacle:
            raise unavailable(self._engines, obstacle)
        return StorageStatus(
            dialect=dialect.name,
            server_version=version,
            migration_current=revision,
            migration_head=head(),
            pool_in_use=in_use,
            pool_idle=idle,
            probe_ms=round(probe_ms, 3),
        )
