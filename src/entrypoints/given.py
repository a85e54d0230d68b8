"""The servers that a system begins with: the bundled one, a file's and the catalogue's."""

import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from domain.model.callers import LOCAL
from domain.model.recipes import data_files, spec_of
from domain.model.servers import Command, Origin, ServerName, ServerSpec, StartPolicy
from domain.orchestration.known import KNOWN
from entrypoints.mcp_config import ConfigRefused, read_config, unfit
from entrypoints.settings.values import Settings

logger = logging.getLogger(__name__)

BUNDLED = ServerName("sutazai")


def given_servers(settings: Settings, environ: Mapping[str, str]) -> tuple[ServerSpec, ...]:
    """All of them, unusable ones with their problem.

    An entry of the file hides the known server whose name, or whose other name, it has.
    Raises ConfigRefused where the file as a whole cannot be used.
    """
    bundled = ServerSpec(
        name=BUNDLED,
        recipe=Command(command=sys.executable, args=("-P", "-m", "entrypoints.mcp.bundled")),
        origin=Origin.BUNDLED,
        owner=LOCAL.id,
    )
    of_file = () if settings.mcp_config is None else _of_file(settings.mcp_config, environ)
    named = (bundled, *of_file)
    return (*named, *_known({spec.name for spec in named}, settings.data_dir, environ))


def _of_file(path: Path, environ: Mapping[str, str]) -> tuple[ServerSpec, ...]:
    config = read_config(path, environ)
    names = [*(spec.name for spec in config.servers), *(each.name for each in config.problems)]
    if BUNDLED in names:
        raise ConfigRefused(f"{path}: the name {BUNDLED!r} is that of the bundled server.")
    for warning in config.warnings:
        logger.warning("%s: %s", path, warning)
    unusable = tuple(
        ServerSpec(
            name=ServerName(problem.name),
            recipe=Command(command=""),
            start=StartPolicy.DISABLED,
            origin=Origin.FILE,
            owner=LOCAL.id,
            problem=problem.reason,
        )
        for problem in config.problems
    )
    return (*config.servers, *unusable)


def _known(
    taken: Collection[str], folder: Path, environ: Mapping[str, str]
) -> Iterator[ServerSpec]:
    usable = {name: text for name, text in environ.items() if not unfit(text)}
    for entry in KNOWN:
        if not any(name in taken for name in (entry.name, *entry.aliases)):
            arguments = data_files(entry, lambda name: str(folder.absolute() / name))
            yield spec_of(entry, arguments, usable, LOCAL.id)
