"""Which dialect a URL asks for."""

from sqlalchemy import make_url

from adapters.sql.dialect import Engines
from adapters.sql.postgres import postgres_engines
from adapters.sql.sqlite import sqlite_engines


def engines(url: str) -> Engines:
    """Engines that connect on first use."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return sqlite_engines(parsed)
    return postgres_engines(parsed)
