"""MCP servers from a file: both forms, references, and what is refused."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.model.servers import Balance, Command, Limits, Origin, Remote, Sessions, StartPolicy
from domain.orchestration.known import BY_NAME
from entrypoints.given import given_servers
from entrypoints.mcp_config import ConfigRefused, McpConfig, read_config
from entrypoints.settings.secret import SecretUrl
from entrypoints.settings.values import Settings

ENVIRON = {"TOKEN": "t0ken", "EMPTY": ""}


def read(folder: Path, document: Any) -> McpConfig:
    file = folder / "mcp.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_config(file, ENVIRON)


def read_one(folder: Path, **entry: Any) -> McpConfig:
    return read(folder, {"mcpServers": {"one": {"command": "run", **entry}}})


@pytest.mark.parametrize("form", ["mcpServers", "servers"])
def test_both_forms_name_servers(tmp_path: Path, form: str) -> None:
    entry = {"command": "npx", "args": ["-y", "x"], "env": {"A": "1"}, "type": "stdio"}

    config = read(tmp_path, {form: {"files": entry}, "inputs": []})

    (server,) = config.servers
    assert (server.name, server.origin, server.owner) == ("files", Origin.FILE, "local")
    assert server.start is StartPolicy.EAGER
    assert server.recipe == Command(command="npx", args=("-y", "x"), env={"A": "1"})
    assert (config.warnings, config.problems) == ((), ())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${TOKEN}", "t0ken"),
        ("${env:TOKEN}", "t0ken"),
        ("a${TOKEN}b${TOKEN}", "at0kenbt0ken"),
        ("${NONE:-x y}", "x y"),
        ("${NONE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${TOKEN:-x}", "t0ken"),
        ("$TOKEN $5", "$TOKEN $5"),
    ],
)
def test_references_are_replaced_from_the_environment(
    tmp_path: Path, text: str, value: str
) -> None:
    (server,) = read_one(tmp_path, args=[text], env={"A": text}).servers

    assert server.recipe == Command(command="run", args=(value,), env={"A": value})


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"env": {"A": "${NONE}${ALSO_NONE}"}}, "the environment has no NONE, no ALSO_NONE."),
        ({"args": ["${input:key}"]}, "it refers to ${input:key}, which means nothing here."),
        ({"args": ["${A:-${TOKEN}}"]}, "it refers to ${A:-${TOKEN}, which means nothing here."),
        ({"url": "https://x", "command": "c"}, "it needs either a command or a url."),
        ({"url": "ftp://x", "command": None}, "its url is no http:// or https:// address."),
        ({"command": "${EMPTY}"}, "its command is empty."),
        ({"args": "x"}, "expected `array`, got `str` - at `$.args`."),
        ({"env": {"A": 1}}, "expected `str`, got `int` - at `$.env[...]`."),
        ({"sutazai": {"begin": 1}}, "object contains unknown field `begin` - at `$.sutazai`."),
        ({"sutazai": {"start_timeout_s": 0}}, "expected `float` > 0.0 - at `$.sutazai"),
        ({"sutazai": {"max_instances": 2}}, "max_instances is for a server with sessions per_"),
        (
            {"sutazai": {"replicas": 2, "sessions": "per_call"}},
            "replicas are for a server with sessions shared.",
        ),
        ({"sutazai": {"balance": "sticky"}}, "balance is for a server with several replicas."),
        (
            {"command": None, "url": "https://x", "sutazai": {"replicas": 2}},
            "replicas are for a server that runs here.",
        ),
        ({"sutazai": {"sessions": "mine"}}, "invalid enum value 'mine' - at `$.sutazai.sessions`"),
    ],
)
def test_a_faulty_entry_does_not_refuse_the_others(
    tmp_path: Path, entry: dict[str, Any], reason: str
) -> None:
    document = {"mcpServers": {"bad": {"command": "run", **entry}, "good": {"command": "run"}}}

    config = read(tmp_path, document)

    assert [server.name for server in config.servers] == ["good"]
    ((name, said),) = config.problems
    assert name == "bad"
    assert said.startswith(reason)


def test_an_entry_without_a_command_is_a_problem(tmp_path: Path) -> None:
    config = read(tmp_path, {"mcpServers": {"a": {}, "b": 3}})

    assert config.servers == ()
    assert [problem.name for problem in config.problems] == ["a", "b"]
    assert config.problems[0].reason == "it needs either a command or a url."


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("My Server", "my-server"),
        ("@acme/Files_2", "acme-files-2"),
        ("x" * 40, "x" * 32),
        (f"{'y' * 31}_z", "y" * 31),
    ],
)
def test_a_name_is_brought_into_form_and_the_change_is_told(
    tmp_path: Path, raw: str, name: str
) -> None:
    config = read(tmp_path, {"servers": {raw: {"command": "run"}}})

    assert [server.name for server in config.servers] == [name]
    assert config.warnings == (f"The server {raw!r} is called {name!r} here.",)


def test_two_names_that_become_one_are_both_refused(tmp_path: Path) -> None:
    config = read(
        tmp_path, {"servers": {n: {"command": "run"} for n in ("My Server", "my-server", "ok")}}
    )

    assert [server.name for server in config.servers] == ["ok"]
    assert [problem.name for problem in config.problems] == ["My Server", "my-server"]


def test_a_name_without_a_letter_is_a_problem(tmp_path: Path) -> None:
    assert read(tmp_path, {"servers": {"!!": {"command": "run"}}}).problems[0].name == "!!"


def test_own_keys_set_start_and_times(tmp_path: Path) -> None:
    (server,) = read_one(
        tmp_path, sutazai={"start": "lazy", "start_timeout_s": 5, "probe_timeout_s": 1.5}
    ).servers

    assert server.start is StartPolicy.LAZY
    assert server.start_timeout == timedelta(seconds=5)
    assert server.probe_timeout == timedelta(seconds=1.5)


def test_a_disabled_entry_never_starts(tmp_path: Path) -> None:
    (server,) = read_one(tmp_path, disabled=True, sutazai={"start": "eager"}).servers

    assert server.start is StartPolicy.DISABLED


def test_a_relative_working_directory_starts_at_the_file(tmp_path: Path) -> None:
    for given, meant in (("sub", str(tmp_path / "sub")), ("/abs", "/abs")):
        (server,) = read_one(tmp_path, cwd=given).servers
        assert server.recipe == Command(command="run", cwd=meant)


def test_a_url_names_a_server_that_runs_elsewhere(tmp_path: Path) -> None:
    entry = {"url": "https://x/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    (server,) = read(tmp_path, {"mcpServers": {"one": entry}}).servers

    headers = {"Authorization": "Bearer t0ken"}
    assert server.recipe == Remote(url="https://x/mcp", headers=headers)


def test_own_keys_set_limits_and_care(tmp_path: Path) -> None:
    limits = {"memory_mb": 300, "processes": None, "calls": 4, "line_bytes": 2048}
    own = {"canary_s": 3, "idle_stop_s": 60, "max_life_s": 3600, "limits": limits}
    (server,) = read_one(tmp_path, sutazai=own).servers

    assert (server.canary, server.idle_stop) == (timedelta(seconds=3), timedelta(minutes=1))
    assert server.max_life == timedelta(hours=1)
    assert server.limits == Limits(memory_mb=300, processes=None, calls=4, line_bytes=2048)


def test_own_keys_set_sessions_and_replicas(tmp_path: Path) -> None:
    (own,) = read_one(tmp_path, sutazai={"sessions": "per_caller", "max_instances": 3}).servers
    (many,) = read_one(tmp_path, sutazai={"replicas": 3, "balance": "round_robin"}).servers
    (plain,) = read_one(tmp_path).servers

    assert (own.sessions, own.max_instances) == (Sessions.PER_CALLER, 3)
    assert (many.sessions, many.replicas) == (Sessions.SHARED, 3)
    assert many.balance is Balance.ROUND_ROBIN
    assert (plain.sessions, plain.replicas) == (Sessions.SHARED, 1)


def test_foreign_keys_are_told_and_ignored(tmp_path: Path) -> None:
    document = {"mcpServers": {"a": {"command": "run", "autoApprove": []}}, "theme": 1}

    assert read(tmp_path, document).warnings == (
        f"The MCP config {tmp_path / 'mcp.json'} has the key 'theme', which is ignored.",
        "The server 'a' has the key 'autoApprove', which is ignored.",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"mcpServers": {\n"a": }}', "is not JSON: line 2"),
        ("[]", "is not a JSON object"),
        ("{}", "must hold one object"),
        ('{"servers": {}, "mcpServers": {}}', "must hold one object"),
        ('{"servers": []}', "must hold one object"),
        ('{"servers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "gives the key 'a' twice"),
        ('{"servers": {"a": {"env": {"K": "1", "K": "2"}}}}', "gives the key 'K' twice"),
        ('{"servers": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"servers": {"a": ' + "9" * 5000 + "}}", "a number that is too long"),
    ],
)
def test_a_file_of_no_known_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigRefused, match=said) as refused:
        read(tmp_path, text)

    assert "mcp.json" in refused.value.message


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match=r"nowhere\.json does not exist"):
        read_config(tmp_path / "nowhere.json", ENVIRON)


@pytest.mark.parametrize("unfit", ["a\0b", "half a pair \ud800"])
@pytest.mark.parametrize("key", ["command", "args", "env", "cwd"])
def test_what_no_process_can_take_is_a_problem_of_its_entry(
    tmp_path: Path, key: str, unfit: str
) -> None:
    value: Any = {"args": [unfit], "env": {"A": unfit}}.get(key, unfit)

    config = read_one(tmp_path, **{"command": "run", key: value})

    (problem,) = config.problems
    assert problem.reason == "it holds characters that no process can take."


def test_the_name_of_an_unusable_entry_can_be_shown(tmp_path: Path) -> None:
    config = read(tmp_path, {"mcpServers": {"a\nb\ud800" + "x" * 1000: {"command": ""}}})

    (problem,) = config.problems
    assert problem.name.startswith("a?b?xxx")
    assert problem.name.isprintable()
    assert len(problem.name) <= 64


def test_no_entry_takes_the_place_of_the_bundled_server(tmp_path: Path) -> None:
    for entry in ({"command": "run"}, {"command": ""}):
        file = tmp_path / "mcp.json"
        file.write_text(json.dumps({"mcpServers": {"sutazai": entry}}))
        url = SecretUrl("sqlite+aiosqlite://")
        settings = Settings(data_dir=tmp_path, database_url=url, mcp_config=file)
        with pytest.raises(ConfigRefused, match="the bundled server"):
            given_servers(settings, ENVIRON)


def test_an_entry_may_name_a_known_server_and_its_parameters(tmp_path: Path) -> None:
    entry = {"known": "files", "arguments": {"DIR": ["/a", "/${TOKEN}"]}, "env": {"A": "${TOKEN}"}}

    config = read(tmp_path, {"mcpServers": {"docs": entry | {"sutazai": {"canary_s": 3}}}})

    (server,) = config.servers
    assert (server.name, server.origin, server.start) == ("docs", Origin.FILE, StartPolicy.LAZY)
    assert server.canary == timedelta(seconds=3)
    assert server.start_timeout == BY_NAME["files"].start_timeout
    assert isinstance(server.recipe, Command)
    assert server.recipe.command == "npx"
    assert server.recipe.args[2:] == ("/a", "/t0ken")
    assert server.recipe.env == {"A": "t0ken"}
    assert (config.warnings, config.problems) == ((), ())


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"known": "files"}, "files: it needs the argument DIR."),
        ({"known": "files", "arguments": {"DIR": "${NONE}"}}, "the environment has no NONE."),
        ({"known": "nx-mcp", "arguments": {"A": "x"}}, "nx-mcp takes no argument A."),
        ({"known": "nobody"}, "There is no known server 'nobody'."),
        ({"known": "files", "arguments": {"DIR": "\0"}}, "it holds characters that no process"),
        ({"known": "files", "command": "run"}, "a known server takes arguments and env"),
        ({"command": "run", "arguments": {"DIR": "/a"}}, "arguments are for a known server"),
    ],
)
def test_a_known_server_that_cannot_be_used_says_why(
    tmp_path: Path, entry: dict[str, Any], reason: str
) -> None:
    (problem,) = read(tmp_path, {"mcpServers": {"one": entry}}).problems

    assert problem.reason.startswith(reason)
