"""`sutazai mcp import` against a stand-in system."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.system import System, as_json, problem

POST = "POST /api/v1/mcp/servers"
LONG = "/a/very/long/path/" * 30
ENTRIES = {
    "My Files": {"command": "npx", "args": ["-y", "files@1", LONG, "a b"], "env": {"A": "s3cret"}},
    "web": {
        "command": "web",
        "args": ["--api-key", "s3cret", "postgres://u:s3cret@h", "${WEB_TOKEN}", "${PLACE}"],
        "sutazai": {"start": "lazy"},
    },
}
WEATHER = {
    "name": "io.example.ada/weather",
    "packages": [
        {
            "registryType": "npm",
            "identifier": "weather",
            "version": "1.0.0",
            "transport": {"type": "stdio"},
            "packageArguments": [{"type": "named", "name": "--unit", "isRequired": True}],
            "environmentVariables": [{"name": "KEY", "isRequired": True, "isSecret": True}],
        }
    ],
}


def config(folder: Path, entries: dict[str, Any]) -> str:
    return written(folder / "mcp.json", {"mcpServers": entries})


def written(file: Path, document: Any) -> str:
    file.write_text(json.dumps(document), "utf-8")
    return str(file)


def test_a_dry_run_shows_whole_commands_without_secrets_and_asks_nothing(
    command: Command, system: System, tmp_path: Path
) -> None:
    file = config(tmp_path, ENTRIES)

    ran = command("mcp", "import", file, "--dry-run", WEB_TOKEN="s3cret", PLACE="here")

    assert ran.code == 0
    assert "s3cret" not in ran.out + ran.err
    assert ran.out.splitlines() == [
        "my-files",
        f"  npx -y files@1 {LONG} 'a b'",
        "  env: A",
        "  start: eager",
        "web",
        "  web --api-key '***' 'postgres://u:***@h' '***' here",
        "  start: lazy",
        "2 would be added, 0 cannot be.",
    ]
    assert "'My Files' is called 'my-files' here" in ran.err
    assert system.asked == []


def test_what_cannot_be_used_is_told_beside_the_rest(
    command: Command, system: System, tmp_path: Path
) -> None:
    system.lay(POST, as_json({"name": "web", "state": "starting"}, 201))

    ran = command("mcp", "import", config(tmp_path, {**ENTRIES, "x": {"command": "${NO}"}}),
                  WEB_TOKEN="s3cret", PLACE="here")  # fmt: skip

    assert ran.code == 1
    assert "error: x: the environment has no NO." in ran.err
    assert ran.out.endswith("2 added, 1 cannot be.\n")
    assert [asked.body for asked in system.asked] == [
        {
            "name": "my-files",
            "command": "npx",
            "args": ["-y", "files@1", LONG, "a b"],
            "env": {"A": "s3cret"},
            "start": "eager",
        },
        {
            "name": "web",
            "command": "web",
            "args": ["--api-key", "s3cret", "postgres://u:s3cret@h", "s3cret", "here"],
            "start": "lazy",
        },
    ]


def test_a_server_that_the_system_refuses_does_not_stop_the_rest(
    command: Command, system: System, tmp_path: Path
) -> None:
    system.lay(
        POST,
        problem(409, "Server exists", "A server 'a' exists already."),
        as_json({"name": "b", "state": "idle"}, 201),
    )
    file = config(tmp_path, {"a": {"command": "x"}, "b": {"command": "y"}})

    ran = command("mcp", "import", file, "--json")

    answer = json.loads(ran.out)
    assert ran.code == 1
    assert [(server["name"], server["state"]) for server in answer["servers"]] == [("b", "idle")]
    assert [row["name"] for row in answer["problems"]] == ["a"]
    assert "exists already" in answer["problems"][0]["reason"]


def test_json_holds_what_would_be_added(command: Command, system: System, tmp_path: Path) -> None:
    entry = {"command": "x", "env": {"A": "s3cret"}, "sutazai": {"start_timeout_s": 5}}

    ran = command("mcp", "import", config(tmp_path, {"a": entry}), "--json", "--dry-run")

    answer = json.loads(ran.out)
    assert answer["dry_run"] is True
    assert answer["servers"] == [
        {
            "name": "a",
            "command": "x",
            "args": [],
            "env": {"A": "***"},
            "cwd": None,
            "start": "eager",
            "state": None,
        }
    ]
    assert any("time-outs" in warning for warning in answer["warnings"])


def test_a_registry_entry_is_filled_with_what_is_given(
    command: Command, system: System, tmp_path: Path
) -> None:
    system.lay(POST, as_json({"name": "sky", "state": "starting"}, 201))
    file = written(tmp_path / "server.json", WEATHER)

    ran = command(
        *("mcp", "import", file, "--name", "sky", "--env", "unit=C", "--env", "KEY"), KEY="s3cret"
    )

    assert ran.code == 0, ran.err
    assert "s3cret" not in ran.out + ran.err
    assert "'io.example.ada/weather' is called 'sky' here." in ran.err
    assert system.asked[-1].body == {
        "name": "sky",
        "command": "npx",
        "args": ["-y", "weather@1.0.0", "--unit", "C"],
        "env": {"KEY": "s3cret"},
    }


def test_a_registry_entry_takes_nothing_from_the_environment_unasked(
    command: Command, system: System, tmp_path: Path
) -> None:
    file = written(tmp_path / "server.json", WEATHER)

    ran = command("mcp", "import", file, KEY="s3cret", unit="C")

    assert ran.code == 1
    assert "npm weather: it needs --unit, KEY." in ran.err
    assert system.asked == []


def test_a_remote_is_registered_by_its_address(
    command: Command, system: System, tmp_path: Path
) -> None:
    headers = [{"name": "X-Key", "isRequired": True, "isSecret": True}]
    remote = {"type": "streamable-http", "url": "https://x.example/mcp?k=v1", "headers": headers}
    system.lay(POST, as_json({"name": "weather", "state": "starting"}, 201))
    file = written(tmp_path / "s.json", {"name": "a/weather", "remotes": [remote]})

    ran = command("mcp", "import", file, "--env", "X-Key=s3cret")

    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[1:3] == ["  https://x.example/mcp?***", "  headers: X-Key"]
    assert system.asked[-1].body == {
        "name": "weather",
        "url": "https://x.example/mcp?k=v1",
        "headers": {"X-Key": "s3cret"},
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", "Big"), "small letters"),
        (("--name", "one"), "2 could be added"),
        (("--env", "ABSENT"), "no such variable"),
    ],
)
def test_words_that_do_not_fit_the_file_are_wrong_usage(
    command: Command, system: System, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    file = config(tmp_path, {"a": {"command": "x"}, "b": {"command": "y"}})

    ran = command("mcp", "import", file, *words)

    assert ran.code == 2
    assert said in ran.err
    assert system.asked == []


def test_a_file_that_is_not_there_is_one_line(command: Command, tmp_path: Path) -> None:
    ran = command("mcp", "import", str(tmp_path / "absent"))

    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "does not exist" in ran.err
