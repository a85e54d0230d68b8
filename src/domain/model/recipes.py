"""Known servers: what each is started from, and what must be given before it can be."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec

from domain.errors import Invalid
from domain.model.callers import CallerId
from domain.model.containers import Container
from domain.model.servers import (
    Command,
    Origin,
    ServerName,
    ServerSpec,
    Sessions,
    StartPolicy,
)

Arguments = Mapping[str, tuple[str, ...]]
# Values by the name of a parameter; only a parameter that takes several has more than one.


class ArgumentsRefused(Invalid):
    """A known server does not take an argument of this name, or not so many values of it."""


class Npm(msgspec.Struct, frozen=True, kw_only=True, tag="npm", tag_field="kind"):
    """A release on npm, fetched and run by `npx`."""

    package: str
    version: str
    args: tuple[str, ...] = ()


class Pypi(msgspec.Struct, frozen=True, kw_only=True, tag="pypi", tag_field="kind"):
    """A release on PyPI, fetched and run by `uvx`.

    `constraints` bound what the release itself leaves open: one whose SDK is not bounded dies
    with the SDK's next major version.
    """

    package: str
    version: str
    script: str
    constraints: tuple[str, ...] = ()
    args: tuple[str, ...] = ()


class Image(msgspec.Struct, frozen=True, kw_only=True, tag="image", tag_field="kind"):
    """A container image by its tag; without `network` it reaches nothing."""

    image: str
    tag: str
    args: tuple[str, ...] = ()
    network: bool = True


class Local(msgspec.Struct, frozen=True, kw_only=True, tag="local", tag_field="kind"):
    """A program that is installed by hand; the first of the words names it."""

    words: tuple[str, ...]


class Own(msgspec.Struct, frozen=True, kw_only=True, tag="own", tag_field="kind"):
    """A part of this system."""


Recipe = Npm | Pypi | Image | Local | Own


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a recipe leaves open: it takes the place of `{NAME}` there.

    `data_file` names the file of the system's data folder that stands where none is given.
    """

    name: str
    description: str
    required: bool = True
    several: bool = False
    data_file: str = ""


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the system's environment that is handed on to the server."""

    name: str
    description: str
    required: bool = True
    secret: bool = False


SESSION_REST = timedelta(minutes=30)
# How long what a session left in a server of its own is kept for it: nobody says that it is over.


class KnownServer(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the catalogue; `aliases` are further names that people ask for it by.

    `env` holds variables with a fixed value, in which parameters may stand.
    """

    name: ServerName
    title: str
    description: str
    recipe: Recipe
    parameters: tuple[Parameter, ...] = ()
    environment: tuple[Variable, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    start_timeout: timedelta = timedelta(minutes=2)
    # The first start downloads: 2 to 7 s were measured on a fast line.
    sessions: Sessions = Sessions.SHARED
    aliases: tuple[str, ...] = ()


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps a known server from starting: names in the entry's order."""

    variables: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    unsupported: str = ""

    @property
    def problem(self) -> str:
        """All of it as one sentence that goes on after a colon."""
        needs = (
            f"the environment variable {', '.join(self.variables)}" if self.variables else "",
            f"the argument {', '.join(self.parameters)}" if self.parameters else "",
        )
        needed = " and ".join(need for need in needs if need)
        parts = (self.unsupported, f"it needs {needed}" if needed else "")
        return "; ".join(part for part in parts if part) + "."


def data_files(entry: KnownServer, file_of: Callable[[str], str]) -> Arguments:
    """The arguments that the data folder provides; `file_of` gives the path of a file in it."""
    return {
        parameter.name: (file_of(parameter.data_file),)
        for parameter in entry.parameters
        if parameter.data_file
    }


def started_from(
    entry: KnownServer, arguments: Arguments, environ: Mapping[str, str]
) -> Command | Container | Missing:
    """What a known server is started from, or what is missing for it.

    Of `environ` only the variables that the entry names are handed on; an empty one is absent.

    Raises:
        ArgumentsRefused: An argument is not the entry's, or has too many values.
    """
    _check(entry, arguments)
    missing = Missing(
        variables=tuple(
            variable.name
            for variable in entry.environment
            if variable.required and not environ.get(variable.name)
        ),
        parameters=tuple(
            parameter.name
            for parameter in entry.parameters
            if parameter.required and not arguments.get(parameter.name)
        ),
        unsupported=_unsupported(entry.recipe),
    )
    return _recipe(entry, arguments, environ) if missing == Missing() else missing


def spec_of(
    entry: KnownServer, arguments: Arguments, environ: Mapping[str, str], owner: CallerId
) -> ServerSpec:
    """A known server as one to be run on first use; `problem` names what is missing.

    The command of an entry with a problem still holds `{NAME}` for what was not given, and is
    empty where the recipe is no command.

    Raises:
        ArgumentsRefused: An argument is not the entry's, or has too many values.
    """
    recipe = started_from(entry, arguments, environ)
    problem = ""
    if isinstance(recipe, Missing):
        problem, recipe = recipe.problem, _recipe(entry, arguments, environ)
    return ServerSpec(
        name=entry.name,
        recipe=recipe,
        start=StartPolicy.LAZY,
        origin=Origin.KNOWN,
        owner=owner,
        problem=problem,
        start_timeout=entry.start_timeout,
        sessions=entry.sessions,
        idle_stop=None if entry.sessions is Sessions.SHARED else SESSION_REST,
    )


def _check(entry: KnownServer, arguments: Arguments) -> None:
    known = {parameter.name: parameter for parameter in entry.parameters}
    for name, values in arguments.items():
        if name not in known:
            raise ArgumentsRefused(f"{entry.name} takes no argument {name}.", argument=name)
        if len(values) > 1 and not known[name].several:
            raise ArgumentsRefused(f"{entry.name} takes one {name} only.", argument=name)


def _unsupported(recipe: Recipe) -> str:
    match recipe:
        case Own():
            return "it is a part of this system that this version does not have yet"
        case _:
            return ""


def _recipe(
    entry: KnownServer, arguments: Arguments, environ: Mapping[str, str]
) -> Command | Container:
    words = [part for word in _words(entry.recipe) for part in _filled(word, entry, arguments)]
    fixed = {key: " ".join(_filled(text, entry, arguments)) for key, text in entry.env.items()}
    handed_on = {
        variable.name: environ[variable.name]
        for variable in entry.environment
        if environ.get(variable.name)
    }
    env = {**fixed, **handed_on}
    if isinstance(entry.recipe, Image):
        image = entry.recipe
        return Container(
            image=f"{image.image}:{image.tag}",
            pull=True,
            command=tuple(words),
            env=env,
            network=image.network,
        )
    return Command(command=words[0] if words else "", args=tuple(words[1:]), env=env)


def _words(recipe: Recipe) -> tuple[str, ...]:
    match recipe:
        case Npm():
            return ("npx", "-y", f"{recipe.package}@{recipe.version}", *recipe.args)
        case Pypi():
            bounds = (part for bound in recipe.constraints for part in ("--with", bound))
            release = f"{recipe.package}=={recipe.version}"
            return ("uvx", "--from", release, *bounds, recipe.script, *recipe.args)
        case Local():
            return recipe.words
        case Image():
            return recipe.args
        case _:
            return ()


def _filled(word: str, entry: KnownServer, arguments: Arguments) -> tuple[str, ...]:
    """The values in a parameter's place; none for an optional one that is not given."""
    for parameter in entry.parameters:
        if word == f"{{{parameter.name}}}":
            values = arguments.get(parameter.name, ())
            return values if values or not parameter.required else (word,)
    return (word,)
