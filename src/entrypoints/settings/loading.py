"""Settings in force: flags over the environment over an env file over defaults."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from entrypoints.settings.names import (
    CLIENT_NAMES,
    PREFIX,
    TEST_PREFIX,
    VARIABLES,
    Variable,
    name_of,
    nearest,
    place_of,
)
from entrypoints.settings.parsing import default_data_dir, is_loopback, path_of, value_of
from entrypoints.settings.secret import SecretUrl
from entrypoints.settings.sources import SettingsRefused, read_env_file, read_secret_file
from entrypoints.settings.values import EngineSettings, ModelSettings, Settings

DATABASE_FILE = "sutazai.db"
ENV_FILE = ".env"
FLAGS = {"worker_concurrency": "--concurrency"}
# Flags that are not called like their setting.
UNREAD = "unread"
# Stands for a secret that could not be read, so that its absence is not a second problem.


class Source(StrEnum):
    """Where a setting's value came from."""

    DEFAULT = "default"
    ENV_FILE = "env file"
    ENVIRONMENT = "environment"
    SECRET_FILE = "secret file"  # noqa: S105 - the name of a source
    FLAG = "flag"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A text that someone gave for a setting; `name` is what messages call it."""

    name: str
    variable: Variable
    text: str
    source: Source


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and the source of each that is not a default, by its path in the tree."""

    settings: Settings
    sources: Mapping[tuple[str, ...], Source]


Layer = dict[tuple[str, ...], Given]


def load(
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    """The settings in force; see `load_in_force`."""
    return load_in_force(environ, flags, env_file).settings


def load_in_force(
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> InForce:
    """Read every source, the first that gives a value wins: flags, environment, env file.

    `flags` holds texts by field name. Without `env_file` the file `.env` in the data folder is
    read if it is there. An empty value counts as not given.

    Raises:
        SettingsRefused: With every problem found, not only the first.
    """
    problems: list[str] = []
    above = _environment(environ, problems) | _flags(flags or {})
    if env_file is not None:
        below = _env_file(env_file, problems)
    else:
        below = _data_folder_file(above, environ, problems)
    given = below | above
    values = {path: _value(one, environ, problems) for path, one in given.items()}
    tree = _tree(values, environ, problems)
    _check_together(tree, problems)
    if problems:
        raise SettingsRefused(problems)
    return InForce(
        settings=Settings(**tree), sources={path: one.source for path, one in given.items()}
    )


def _flags(flags: Mapping[str, str]) -> Layer:
    return {
        (field,): Given(
            name=FLAGS.get(field) or f"--{field.replace('_', '-')}",
            variable=VARIABLES[PREFIX + field.upper()],
            text=text,
            source=Source.FLAG,
        )
        for field, text in flags.items()
    }


def _environment(environ: Mapping[str, str], problems: list[str]) -> Layer:
    own = {
        name: text
        for name, text in environ.items()
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in CLIENT_NAMES
    }
    return _layer(own, Source.ENVIRONMENT, "", problems)


def _env_file(path: Path, problems: list[str]) -> Layer:
    try:
        values = read_env_file(path)
    except SettingsRefused as refused:
        problems.extend(refused.problems)
        return {}
    return _layer(values, Source.ENV_FILE, f" (in {path})", problems)


def _data_folder_file(above: Layer, environ: Mapping[str, str], problems: list[str]) -> Layer:
    named = above.get(("data_dir",))
    folder = path_of(named.text, environ) if named else default_data_dir(environ)
    if folder is None or not (folder / ENV_FILE).exists():
        return {}
    layer = _env_file(folder / ENV_FILE, problems)
    if ("data_dir",) in layer:
        problems.append(f"{folder / ENV_FILE} cannot name the data folder that it lies in.")
    return layer


def _layer(values: Mapping[str, str], source: Source, where: str, problems: list[str]) -> Layer:
    layer: Layer = {}
    for name, text in values.items():
        place = place_of(name)
        if place is None:
            problems.append(_unknown(name, where))
        elif not text:
            continue
        elif place.path in layer:
            problems.append(f"{layer[place.path].name} and {name}{where} are both given: keep one.")
        else:
            content, origin = text, source
            if place.from_file:
                content, origin = _secret_file(name, text, problems), Source.SECRET_FILE
            layer[place.path] = Given(
                name=name, variable=place.variable, text=content, source=origin
            )
    return layer


def _secret_file(name: str, path: str, problems: list[str]) -> str:
    try:
        return read_secret_file(name, path)
    except SettingsRefused as refused:
        problems.extend(refused.problems)
        return UNREAD


def _unknown(name: str, where: str) -> str:
    near = nearest(name)
    return f"{name}{where} is not a setting" + (f"; did you mean {near}?" if near else ".")


def _value(given: Given, environ: Mapping[str, str], problems: list[str]) -> Any:
    """The typed value, None after a problem; no message holds the text, which may be secret."""
    try:
        return value_of(given.variable, given.text, environ)
    except ValueError:
        problems.append(f"{given.name} must {given.variable.must}.")
        return None


def _tree(
    values: Mapping[tuple[str, ...], Any], environ: Mapping[str, str], problems: list[str]
) -> dict[str, Any]:
    """The fields of Settings, with the defaults that are worked out."""
    tree: dict[str, Any] = {path[0]: value for path, value in values.items() if len(path) == 1}
    if "data_dir" not in tree:
        tree["data_dir"] = default_data_dir(environ)
        if tree["data_dir"] is None:
            problems.append("SUTAZAI_DATA_DIR must be given: the user has no home folder.")
    if "database_url" not in tree:
        tree["database_url"] = SecretUrl(f"sqlite+aiosqlite:///{tree['data_dir']}/{DATABASE_FILE}")
    tree["models"] = _named("models", ModelSettings, "base_url", values, problems)
    tree["engines"] = _named("engines", EngineSettings, "host", values, problems)
    return tree


def _named(
    field: str,
    struct: type[msgspec.Struct],
    needed: str,
    values: Mapping[tuple[str, ...], Any],
    problems: list[str],
) -> dict[str, Any]:
    """One of the maps by name; an entry without its `needed` field is a problem."""
    entries: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        if path[0] == field:
            entries.setdefault(path[1], {})[path[2]] = value
    for name, entry in entries.items():
        if needed not in entry:
            problems.append(f"{name_of((field, name, needed))} is missing.")
            entry[needed] = None
    return {name: struct(**entry) for name, entry in sorted(entries.items())}


def _check_together(tree: Mapping[str, Any], problems: list[str]) -> None:
    """What no value alone can show."""
    host = tree.get("host", "127.0.0.1")
    if host is not None and not is_loopback(host) and "admin_key" not in tree:
        problems.append(
            f"To listen on {host}, which others can reach, SUTAZAI_ADMIN_KEY must be given."
        )
    for field, needed in (
        ("llm_base_url", "llm_model"),
        ("llm_model", "llm_base_url"),
        ("llm_api_key", "llm_base_url"),
        ("docker_cert_path", "docker_host"),
    ):
        if field in tree and needed not in tree:
            problems.append(f"{name_of((field,))} is given without {name_of((needed,))}.")
