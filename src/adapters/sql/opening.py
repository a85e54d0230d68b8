"""Which dialect a URL asks for."""

from sqlalchemy import make_url

from adapters.sql.dialect import Engines
from adapters.sql.pool import PostgresLimits, postgres_engines
from adapters.sql.sqlite import sqlite_engines


def engines(url: str, limits: PostgresLimits) -> Engines:
    """Engines that connect on first use; the limits are PostgreSQL's alone."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return sqlite_engines(parsed)
    return postgres_engines(parsed, limits)
