"""Commands that act on this machine: serve, work, db, settings."""

import asyncio
import gc
import signal
import sys
from pathlib import Path

import msgspec

from entrypoints.cli.context import DONE, FAILED, Context
from entrypoints.settings.folder import make_data_folder
from entrypoints.settings.listing import listed
from entrypoints.settings.loading import InForce, load_in_force
from entrypoints.settings.values import Settings

SETTING_FLAGS = ("host", "port", "data_dir", "database_url", "mcp_config", "worker_concurrency")


def serve(context: Context) -> int:
    """Run the system until it is told to stop."""
    settings = _starting(context)
    from entrypoints.serve import serve as run  # noqa: PLC0415 - other commands start without it

    return run(settings, context.environ)


def work(context: Context) -> int:
    """Carry out the tasks of a system until it is told to stop."""
    settings = _starting(context)
    from entrypoints.work import work as run  # noqa: PLC0415 - other commands start without it

    return run(settings, context.environ)


def _starting(context: Context) -> Settings:
    # Until the system itself listens to the signal there is nothing to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(DONE))
    settings = _settings(context)
    # A start only makes what stays: collecting in between costs a tenth of it. Once ready, the
    # system sets what it has made aside and collects again.
    gc.disable()
    return settings


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
    settings = _settings(context)
    from entrypoints.wiring.database import database_upgrade  # noqa: PLC0415 - other commands start without it

    make_data_folder(settings.data_dir)
    revision = asyncio.run(database_upgrade(settings))
    return _told(context, {"current": revision}, f"The database is at revision {revision}.")


def current(context: Context) -> int:
    """The database's revision, and the newest that this version knows."""
    settings = _settings(context)
    from entrypoints.wiring.database import database_current  # noqa: PLC0415 - other commands start without it

    revision, head = asyncio.run(database_current(settings))
    text = f"current  {revision or 'none'}\nhead     {head}"
    return _told(context, {"current": revision, "head": head}, text)


def check(context: Context) -> int:
    """Fail if the tables differ from what this version declares."""
    settings = _settings(context)
    from entrypoints.wiring.database import (  # noqa: PLC0415 - other commands start without it
        database_check,
        database_current,
    )

    revision, head = asyncio.run(database_current(settings))
    differences: tuple[str, ...]
    if revision == head:
        differences = asyncio.run(database_check(settings))
    else:
        at = f"The tables are at {revision or 'no revision'}, this version needs {head}"
        differences = (f"{at}: run `sutazai db upgrade`.",)
    if context.json:
        context.terminal.json({"ok": not differences, "differences": differences})
    elif not differences:
        context.terminal.say("The tables are as this version declares them.")
    for difference in differences:
        context.terminal.complain(f"error: {difference}")
    return FAILED if differences else DONE


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
