"""MCP servers named in a file, in the form of Claude and Cursor or of VS Code."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.errors import Invalid
from domain.model.callers import LOCAL
from domain.model.containers import Container
from domain.model.servers import (
    Command,
    Origin,
    Remote,
    ServerName,
    ServerRecipe,
    ServerSpec,
    StartPolicy,
)
from entrypoints.known_entry import known_spec
from entrypoints.server_options import ServerOptions, is_web_url

LONGEST_NAME = 32
FORMS = ("mcpServers", "servers")
OWN_KEY = "sutazai"
KNOWN_KEYS = frozenset(
    {
        *("command", "args", "env", "cwd", "url", "headers", "type", "disabled"),
        *("known", "arguments", OWN_KEY),
    }
)
REFERENCE = re.compile(r"\$\{([^}]*)\}")
VARIABLE = re.compile(r"^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{).)*))?$", re.DOTALL)


class ConfigRefused(Invalid):
    """The file as a whole cannot be used."""


class EntryProblem(NamedTuple):
    """One entry that cannot be used, by its name in the file; the others can."""

    name: str
    reason: str


class McpConfig(NamedTuple):
    """What a file names, in its own order. A warning is one sentence."""

    servers: tuple[ServerSpec, ...]
    warnings: tuple[str, ...]
    problems: tuple[EntryProblem, ...]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the file before its references are replaced."""

    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    type: str | None = None
    disabled: bool = False
    known: str | None = None
    arguments: Mapping[str, str | tuple[str, ...]] = msgspec.field(default_factory=dict)
    sutazai: ServerOptions = ServerOptions()


class _Unusable(Exception):
    """Why one entry cannot be used."""


def read_config(path: Path, environ: Mapping[str, str]) -> McpConfig:
    """Read the servers that a file names.

    References `${VAR}`, `${VAR:-default}` and `${env:VAR}` are replaced from `environ` in
    commands, arguments, environments and working directories. An entry may be `known`, with the
    `arguments` that the catalogue asks for; of `environ` it is handed what it names. A relative
    `cwd` starts at the file's folder. Names are brought into this system's form, and
    each change is a warning.

    Raises:
        ConfigRefused: The file is missing or unreadable, is not JSON, gives a key twice, or is of
            neither form.
    """
    named, warnings = _entries(path)
    servers: list[ServerSpec] = []
    problems: list[EntryProblem] = []
    wanted = {raw: _normalised(raw) for raw in named}
    for raw, entry in named.items():
        name = wanted[raw]
        rivals = sorted(other for other in wanted if other != raw and wanted[other] == name)
        try:
            if not name:
                raise _Unusable("its name holds no letter and no digit")  # noqa: TRY301 - one way out
            if rivals:
                raise _Unusable(f"{rivals[0]!r} would have the same name, {name!r}")  # noqa: TRY301 - one way out
            servers.append(_spec(name, entry, path.absolute().parent, environ))
        except _Unusable as reason:
            problems.append(EntryProblem(_shown(raw), f"{reason}."))
            continue
        if name != raw:
            warnings.append(f"The server {raw!r} is called {name!r} here.")
        warnings.extend(
            f"The server {name!r} has the key {key!r}, which is ignored."
            for key in entry
            if key not in KNOWN_KEYS
        )
    return McpConfig(tuple(servers), tuple(warnings), tuple(problems))


def _entries(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The entries by their names in the file, and a warning for each foreign key beside them."""
    document = _document(path)
    forms = [form for form in FORMS if form in document]
    if len(forms) != 1 or not isinstance(document[forms[0]], dict):
        raise ConfigRefused(
            f"The MCP config {path} must hold one object, 'mcpServers' or 'servers'."
        )
    warnings = [
        f"The MCP config {path} has the key {key!r}, which is ignored."
        for key in document
        if key not in {*FORMS, "inputs"}
    ]
    return document[forms[0]], warnings


def _document(path: Path) -> dict[str, Any]:
    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise ConfigRefused(f"The MCP config {path} gives the key {key!r} twice.")
            values[key] = value
        return values

    try:
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text, object_pairs_hook=without_doubles)
    except FileNotFoundError:
        raise ConfigRefused(f"The MCP config {path} does not exist.") from None
    except OSError as error:
        raise ConfigRefused(f"The MCP config {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise ConfigRefused(f"The MCP config {path} is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise ConfigRefused(
            f"The MCP config {path} is not JSON: line {error.lineno}, column {error.colno}: "
            f"{error.msg}."
        ) from error
    except (RecursionError, ValueError):
        raise ConfigRefused(
            f"The MCP config {path} is nested too deeply or holds a number that is too long."
        ) from None
    if not isinstance(document, dict):
        raise ConfigRefused(f"The MCP config {path} is not a JSON object.")
    return document


def _normalised(raw: str) -> str:
    """The name in this system's form, empty where nothing is left of it."""
    return re.sub(r"[^a-z0-9-]+", "-", raw.lower()).strip("-")[:LONGEST_NAME].rstrip("-")


def _spec(name: str, raw: Any, folder: Path, environ: Mapping[str, str]) -> ServerSpec:
    entry = _entry(raw)
    own, missing = entry.sutazai, list(_missing(entry, environ))
    if missing:
        raise _Unusable(f"the environment has no {', no '.join(missing)}")

    def fill(text: str) -> str:
        return REFERENCE.sub(lambda reference: _filled(reference[1], environ) or "", text)

    if entry.known is not None:
        spec = _known(entry, entry.known, environ, fill)
    else:
        spec = ServerSpec(
            name=ServerName(name), recipe=_recipe(entry, folder, fill), owner=LOCAL.id
        )
    if any(map(unfit, _held(spec.recipe))):
        raise _Unusable("it holds characters that no process can take")
    spec = msgspec.structs.replace(spec, name=ServerName(name), origin=Origin.FILE)
    try:
        spec = own.applied(spec)
    except Invalid as refusal:
        raise _Unusable(refusal.message.removesuffix(".")) from refusal
    if entry.disabled:
        spec = msgspec.structs.replace(spec, start=StartPolicy.DISABLED)
    return spec


def _known(
    entry: _Entry, known: str, environ: Mapping[str, str], fill: Callable[[str], str]
) -> ServerSpec:
    places = (entry.command, entry.url, entry.cwd)
    if entry.args or entry.headers or any(place is not None for place in places):
        raise _Unusable("a known server takes arguments and env, and nothing of another form")
    arguments = {
        name: fill(values) if isinstance(values, str) else tuple(map(fill, values))
        for name, values in entry.arguments.items()
    }
    env = {name: fill(value) for name, value in entry.env.items()}
    try:
        return known_spec(known, arguments, env, environ, LOCAL.id)
    except Invalid as refusal:
        raise _Unusable(refusal.message.removesuffix(".")) from refusal


def _recipe(entry: _Entry, folder: Path, fill: Callable[[str], str]) -> Command | Remote:
    if entry.arguments:
        raise _Unusable("arguments are for a known server, args for a command")
    if (entry.command is None) == (entry.url is None):
        raise _Unusable("it needs either a command or a url")
    if entry.url is not None:
        url = fill(entry.url)
        if entry.type == "sse":
            raise _Unusable("its type, sse, is the old transport, which is not supported")
        if not is_web_url(url):
            raise _Unusable("its url is no http:// or https:// address")
        return Remote(url=url, headers={key: fill(text) for key, text in entry.headers.items()})
    command = fill(entry.command or "")
    if not command:
        raise _Unusable("its command is empty")
    return Command(
        command=command,
        args=tuple(fill(argument) for argument in entry.args),
        env={key: fill(value) for key, value in entry.env.items()},
        cwd=None if entry.cwd is None else str(folder / fill(entry.cwd)),
    )


def _held(recipe: ServerRecipe) -> Iterator[str]:
    """Every text of a recipe."""
    if isinstance(recipe, Remote):
        yield from (recipe.url, *recipe.headers, *recipe.headers.values())
    elif isinstance(recipe, Container):
        yield from (recipe.image, *recipe.command, *recipe.env, *recipe.env.values())
    else:
        yield from (recipe.command, *recipe.args, *recipe.env, *recipe.env.values())
        yield recipe.cwd or ""


def _shown(raw: str) -> str:
    """A name that cannot be used, so that it can be read in a line and written as JSON."""
    return "".join(letter if letter.isprintable() else "?" for letter in raw[: 2 * LONGEST_NAME])


def unfit(text: str) -> bool:
    """Whether it holds NUL or half a surrogate pair, which is what bytes outside UTF-8 become."""
    try:
        return b"\0" in text.encode()
    except UnicodeEncodeError:
        return True


def _entry(raw: Any) -> _Entry:
    try:
        return msgspec.convert(raw, _Entry)
    except msgspec.ValidationError as error:
        # Its text names types and keys, never values.
        raise _Unusable(f"{str(error)[0].lower()}{str(error)[1:]}") from error


def _texts(entry: _Entry) -> Iterator[str]:
    yield from (entry.command or "", *entry.args, *entry.env.values(), entry.cwd or "")
    yield from (entry.url or "", *entry.headers.values())
    for values in entry.arguments.values():
        yield from (values,) if isinstance(values, str) else values


def _missing(entry: _Entry, environ: Mapping[str, str]) -> Iterator[str]:
    """The variables that the entry needs and the environment lacks, each once, in order."""
    found = [hit for text in _texts(entry) for hit in REFERENCE.findall(text)]
    for reference in dict.fromkeys(found):
        match = VARIABLE.match(reference)
        if match is None:
            raise _Unusable(f"it refers to ${{{reference}}}, which means nothing here")
        if _filled(reference, environ) is None:
            yield match[1]


def _filled(reference: str, environ: Mapping[str, str]) -> str | None:
    """What a reference stands for, None where nothing does. An empty value takes the default."""
    match = VARIABLE.match(reference)
    if match is None:
        return None
    name, default = match.groups()
    value = environ.get(name)
    return default if default is not None and not value else value
