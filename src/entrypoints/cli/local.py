"""Commands that act on this machine: serve, db, settings."""

import asyncio
from pathlib import Path

import msgspec

from entrypoints.cli.context import DONE, Context
from entrypoints.settings.folder import make_data_folder
from entrypoints.settings.listing import listed
from entrypoints.settings.loading import InForce, load_in_force
from entrypoints.settings.values import Settings

SETTING_FLAGS = ("host", "port", "data_dir", "database_url", "mcp_config")


def serve(context: Context) -> int:
    """Run the system until it is told to stop."""
    from entrypoints.serve import serve as run  # noqa: PLC0415 - other commands start without it

    settings = _settings(context)
    make_data_folder(settings.data_dir)
    return run(settings, context.environ)


def settings(context: Context) -> int:
    """What is in force, and where each value came from."""
    rows = listed(_in_force(context))
    if context.json:
        context.terminal.json({"settings": msgspec.to_builtins(rows)})
    else:
        table = ((row.name, row.value, row.source) for row in rows)
        context.terminal.table(("SETTING", "VALUE", "SOURCE"), table)
    return DONE


def upgrade(context: Context) -> int:
    """Bring the database to the newest revision."""
    from entrypoints.wiring import database_upgrade  # noqa: PLC0415 - other commands start without it

    settings = _settings(context)
    make_data_folder(settings.data_dir)
    revision = asyncio.run(database_upgrade(settings))
    return _told(context, {"current": revision}, f"The database is at revision {revision}.")


def current(context: Context) -> int:
    """The database's revision, and the newest that this version knows."""
    from entrypoints.wiring import database_current  # noqa: PLC0415 - other commands start without it

    revision, head = asyncio.run(database_current(_settings(context)))
    text = f"current  {revision or 'none'}\nhead     {head}"
    return _told(context, {"current": revision, "head": head}, text)


def check(context: Context) -> int:
    """Fail unless the database is at the newest revision."""
    from entrypoints.wiring import database_check  # noqa: PLC0415 - other commands start without it

    asyncio.run(database_check(_settings(context)))
    return _told(context, {"ok": True}, "The database is at the newest revision.")


def _in_force(context: Context) -> InForce:
    args = vars(context.args)
    flags = {name: args[name] for name in SETTING_FLAGS if args.get(name) is not None}
    env_file = args.get("env_file")
    return load_in_force(context.environ, flags, Path(env_file) if env_file else None)


def _settings(context: Context) -> Settings:
    return _in_force(context).settings


def _told(context: Context, value: object, sentence: str) -> int:
    if context.json:
        context.terminal.json(value)
    else:
        context.terminal.say(sentence)
    return DONE
