"""The catalogue: every entry is whole, and says what it needs."""

import re
from datetime import timedelta

import pytest

from domain.model.callers import LOCAL
from domain.model.containers import Container
from domain.model.recipes import (
    Arguments,
    ArgumentsRefused,
    Image,
    KnownServer,
    Local,
    Missing,
    Npm,
    Own,
    Parameter,
    Pypi,
    Recipe,
    Variable,
    data_files,
    spec_of,
    started_from,
)
from domain.model.servers import SERVER_NAME_PATTERN, Command, ServerName, Sessions, StartPolicy
from domain.orchestration.known import BY_NAME, KNOWN

EVERY = pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.name)
SPECIFIC = re.compile(r"\d+(\.\d+)+")


def given(entry: KnownServer) -> Arguments:
    return {parameter.name: (f"<{parameter.name}>",) for parameter in entry.parameters}


def environ(entry: KnownServer) -> dict[str, str]:
    return {variable.name: f"<{variable.name}>" for variable in entry.environment}


def words(entry: KnownServer) -> tuple[str, ...]:
    match entry.recipe:
        case Local() as local:
            return local.words
        case Own():
            return ()
        case Npm() | Pypi() | Image() as recipe:
            return recipe.args


def toy(
    recipe: Recipe, *parameters: Parameter, environment: tuple[Variable, ...] = ()
) -> KnownServer:
    return KnownServer(
        name=ServerName("toy"),
        title="Toy",
        description="A toy.",
        recipe=recipe,
        parameters=parameters,
        environment=environment,
    )


def test_the_catalogue_has_every_name_that_was_asked_for() -> None:
    asked_for = """
        files context7 http_fetch http ddg sequentialthinking github postgres extended-memory
        memory-bank-mcp knowledge-graph-mcp compass-mcp nx-mcp playwright-mcp puppeteer-mcp
        language-server ultimatecoder mcp_ssh claude-task-runner claude-flow ruv-swarm
        unified-dev unified-memory
    """

    assert BY_NAME.keys() - {"http-fetch", "mcp-ssh"} == set(asked_for.split())


def test_names_and_aliases_are_unique() -> None:
    names = [name for entry in KNOWN for name in (entry.name, *entry.aliases)]

    assert len(names) == len(set(names))
    assert BY_NAME["http_fetch"] is BY_NAME["http-fetch"]
    assert BY_NAME["puppeteer-mcp"].name == "playwright-mcp"


@EVERY
def test_an_entry_is_whole(entry: KnownServer) -> None:
    assert re.match(SERVER_NAME_PATTERN, entry.name)
    assert entry.title
    assert entry.description.endswith(".")
    assert entry.start_timeout >= timedelta(minutes=1)
    places = re.findall(r"\{(\w+)\}", " ".join((*words(entry), *entry.env.values())))
    assert sorted(places) == sorted(parameter.name for parameter in entry.parameters)
    if isinstance(entry.recipe, Npm | Pypi):
        assert SPECIFIC.fullmatch(entry.recipe.version)
    if isinstance(entry.recipe, Image):
        assert SPECIFIC.fullmatch(entry.recipe.tag)


@EVERY
def test_an_entry_with_all_it_needs_has_a_command_or_a_reason(entry: KnownServer) -> None:
    made = started_from(entry, given(entry), environ(entry))

    if isinstance(entry.recipe, Image):
        assert isinstance(made, Container)
        assert made.pull
        assert {variable.name for variable in entry.environment} <= made.env.keys()
        return
    if isinstance(entry.recipe, Own):
        assert isinstance(made, Missing)
        assert made.unsupported
        assert made.variables == made.parameters == ()
        return
    assert isinstance(made, Command)
    assert made.command
    assert not re.search(r"\{\w+\}", " ".join((made.command, *made.args, *made.env.values())))
    assert {variable.name for variable in entry.environment} <= made.env.keys()
    spec = spec_of(entry, given(entry), environ(entry), LOCAL.id)
    assert (spec.recipe, spec.problem) == (made, "")


@EVERY
def test_an_entry_that_lacks_something_names_all_of_it(entry: KnownServer) -> None:
    needed = [
        *(variable.name for variable in entry.environment if variable.required),
        *(parameter.name for parameter in entry.parameters if parameter.required),
    ]

    spec = spec_of(entry, {}, {}, LOCAL.id)

    assert spec.start is StartPolicy.LAZY
    assert spec.start_timeout == entry.start_timeout
    assert bool(spec.problem) == bool(needed or isinstance(entry.recipe, Own))
    assert [name for name in needed if name not in spec.problem] == []


def test_a_release_from_npm_is_run_by_npx() -> None:
    entry = BY_NAME["files"]

    made = started_from(entry, {"DIR": ("/a", "/b c")}, {})

    assert isinstance(made, Command)
    assert made.command == "npx"
    assert made.args[:2] == ("-y", f"@modelcontextprotocol/server-filesystem@{version(entry)}")
    assert made.args[2:] == ("/a", "/b c")


def version(entry: KnownServer) -> str:
    assert isinstance(entry.recipe, Npm)
    return entry.recipe.version


def test_a_release_from_pypi_is_run_by_uvx_within_its_constraints() -> None:
    recipe = Pypi(
        package="mcp-server-sqlite",
        version="2025.4.25",
        script="mcp-server-sqlite",
        constraints=("mcp<2", "pydantic<3"),
        args=("--db-path", "{DB}"),
    )

    made = started_from(
        toy(recipe, Parameter(name="DB", description="A file.")), {"DB": ("x",)}, {}
    )

    assert isinstance(made, Command)
    assert (made.command, *made.args) == (
        *("uvx", "--from", "mcp-server-sqlite==2025.4.25", "--with", "mcp<2"),
        *("--with", "pydantic<3", "mcp-server-sqlite", "--db-path", "x"),
    )


def test_what_is_optional_leaves_no_trace() -> None:
    made = started_from(BY_NAME["language-server"], {"WORKSPACE": ("/w",), "LSP": ("gopls",)}, {})

    assert isinstance(made, Command)
    assert made.args == ("--workspace", "/w", "--lsp", "gopls", "--")
    assert started_from(BY_NAME["context7"], {}, {}).__class__ is Command


def test_a_server_is_handed_its_own_variables_only() -> None:
    environment = {"GITHUB_PERSONAL_ACCESS_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s"}

    made = started_from(BY_NAME["github"], {}, environment)

    assert isinstance(made, Command)
    assert made.env == {"GITHUB_PERSONAL_ACCESS_TOKEN": "t"}


def test_an_empty_variable_and_no_values_are_missing() -> None:
    entry = toy(
        Npm(package="x", version="1", args=("{A}",)),
        Parameter(name="A", description="A."),
        environment=(Variable(name="T", description="T."), Variable(name="U", description="U.")),
    )

    made = started_from(entry, {"A": ()}, {"T": "", "U": ""})

    assert made == Missing(variables=("T", "U"), parameters=("A",))
    assert made.problem == "it needs the environment variable T, U and the argument A."


def test_the_started_from_an_entry_with_a_problem_shows_what_is_open() -> None:
    spec = spec_of(BY_NAME["files"], {}, {}, LOCAL.id)

    assert isinstance(spec.recipe, Command)
    assert spec.recipe.args[-1] == "{DIR}"
    assert spec.problem == "it needs the argument DIR."


@pytest.mark.parametrize(
    "arguments", [{"DIRS": ("/a",)}, {"WORKSPACE": ("/a", "/b")}], ids=["unknown", "too many"]
)
def test_arguments_that_an_entry_does_not_take_are_refused(arguments: Arguments) -> None:
    with pytest.raises(ArgumentsRefused):
        started_from(BY_NAME["nx-mcp"], arguments, {})


def test_two_servers_of_one_package_keep_their_data_apart() -> None:
    recipes = [
        spec_of(entry, data_files(entry, lambda name: f"/data/{name}"), {}, LOCAL.id).recipe
        for entry in (BY_NAME["memory-bank-mcp"], BY_NAME["knowledge-graph-mcp"])
    ]
    files = {recipe.env["MEMORY_FILE_PATH"] for recipe in recipes if isinstance(recipe, Command)}

    assert files == {"/data/memory-bank.jsonl", "/data/knowledge-graph.jsonl"}


def test_servers_are_shared_unless_their_state_is_one_callers() -> None:
    apart = {entry.name for entry in KNOWN if entry.sessions is Sessions.PER_SESSION}

    assert apart == {"sequentialthinking", "playwright-mcp"}
    for entry in KNOWN:
        spec = spec_of(entry, given(entry), environ(entry), LOCAL.id)
        assert spec.sessions is entry.sessions
        assert (spec.idle_stop is None) == (entry.sessions is Sessions.SHARED)
