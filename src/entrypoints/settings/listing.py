"""Settings as a person reads them: what is in force with its source, and the example file."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from entrypoints.settings.loading import InForce, Source
from entrypoints.settings.names import FILE_SUFFIX, VARIABLES, Variable, name_of
from entrypoints.settings.secret import Secret

WIDTH = 98
# With "# " before it a line stays within the 100 columns of this code base.
HEADER = """\
# Settings of SutazAI. Made by `python -m entrypoints.settings.example`: do not edit by hand.
# Copy it to `.env` in the data folder, or name your copy with `--env-file`. The file must belong
# to the user who runs the system and must not be writable by others. The environment wins over it.
# A secret may also come from a file: give its name with _FILE at the end and the path as value.
# In the names with __NAME__ put a name of your own, in capitals.
"""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force; `value` is masked where it is secret, None where it is unset."""

    name: str
    value: str | int | float | tuple[str, ...] | None
    source: Source


def listed(in_force: InForce) -> tuple[Listed, ...]:
    """Every setting, in the order in which the tree declares them."""
    return tuple(
        Listed(
            name=name_of(path),
            value=_shown(value),
            source=in_force.sources.get(path, Source.DEFAULT),
        )
        for path, value in _leaves(in_force.settings, ())
    )


def example() -> str:
    """The text of `.env.example`."""
    return HEADER + "".join(_example(variable) for variable in VARIABLES.values())


def _leaves(value: msgspec.Struct, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for field, below in msgspec.structs.asdict(value).items():
        if isinstance(below, Mapping):
            for name, entry in below.items():
                yield from _leaves(entry, (*path, field, name))
        else:
            yield (*path, field), below


def _shown(value: Any) -> str | int | float | tuple[str, ...] | None:
    if isinstance(value, Secret):
        return value.masked
    if value is None or isinstance(value, (int, float, tuple)):
        return value
    return str(value)


def _example(variable: Variable) -> str:
    default, description = _as_text(variable.default), variable.description
    if variable.example:
        description += f" Default: {variable.example}."
    if variable.secret:
        description += f" Or {variable.name}{FILE_SUFFIX}."
    lines = textwrap.wrap(description, WIDTH)
    return "\n" + "".join(f"# {line}\n" for line in lines) + f"# {variable.name}={default}\n"


def _as_text(default: Any) -> str:
    if default is None or default is msgspec.NODEFAULT or default == ():
        return ""
    return str(default)
