"""SQLAlchemy's asyncio extension without the ORM that it imports for classes not used here.

The ORM costs a third of a second and 14 MB of every start, and there is no way of asking for the
engine alone: see decisions/0002-runtime-dependencies.md. Import the extension from here only.
"""

import sys
from types import ModuleType

_UNUSED = ("sqlalchemy.ext.asyncio.session", "sqlalchemy.ext.asyncio.scoping")


class _Placeholder(ModuleType):
    """Stands for a module while its package takes names from it that nobody will use."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


_absent = [name for name in _UNUSED if name not in sys.modules]
sys.modules.update({name: _Placeholder(name) for name in _absent})
try:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
finally:
    for name in _absent:
        del sys.modules[name]

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]
