"""Exit codes, settings, and the command as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import Command

SRC = Path(__file__).parents[2] / "src"
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from entrypoints.cli.main import main; main()"
)
# A shell that runs the tests in its background has them, and all they start, ignore SIGINT.


@contextmanager
def process(*words: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        env={"PATH": os.environ["PATH"], "HOME": "/home/ada", "PYTHONPATH": str(SRC), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("unheard",),
        ("mcp",),
        ("mcp", "lis"),
        ("mcp", "list", "--jso"),
        ("mcp", "call"),
        ("mcp", "start"),
        ("mcp", "add", "x", "--start", "later", "--", "run"),
        ("tasks", "submit", "dream"),
        ("tasks", "submit", "tool", "a__b", "--priority", "high"),
        ("db",),
        ("serve", "extra"),
        ("work", "--port", "1"),
    ],
)
def test_wrong_usage_ends_with_2(
    command: Command, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(*words)

    assert ended.value.code == 2
    assert "usage: sutazai" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("mcp", "call", "files"),
        ("mcp", "call", "files", "read", "no-pair"),
        ("mcp", "call", "files", "read", '{"a": '),
        ("mcp", "call", "files", "read", "a=1", "a=2"),
        ("mcp", "add", "x"),
        ("mcp", "add", "x", "--env", "NOT_THERE", "--", "run"),
        ("chat",),
        ("agents", "list", "--url", "ftp://x"),
        ("agents", "list", "--url", "localhost:1"),
    ],
)
def test_what_only_the_command_can_judge_ends_with_2_as_well(
    command: Command, words: tuple[str, ...]
) -> None:
    ran = command(*words)

    assert ran.code == 2
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize(
    "words", [("settings",), ("serve",), ("work",), ("db", "current"), ("db", "check")]
)
def test_bad_settings_end_with_1_and_one_line_a_problem(
    command: Command, words: tuple[str, ...]
) -> None:
    ran = command(*words, SUTAZAI_PROT="1", SUTAZAI_PORT="x")

    assert ran.code == 1
    assert ran.err.splitlines() == [
        "error: SUTAZAI_PROT is not a setting; did you mean SUTAZAI_PORT?",
        "error: SUTAZAI_PORT must be a whole number from 0 to 65535.",
    ]


def test_the_version_is_told(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command("--version")

    assert not ended.value.code
    assert capsys.readouterr().out == f"sutazai {version('sutazai')}\n"


def test_a_database_without_tables_is_told_the_way_to_them(
    command: Command, tmp_path: Path
) -> None:
    before = command("db", "check", "--data-dir", str(tmp_path))
    upgraded = command("db", "upgrade", "--data-dir", str(tmp_path))
    after = command("db", "check", "--data-dir", str(tmp_path))

    assert (before.code, upgraded.code, after.code) == (1, 0, 0)
    assert before.err.startswith("error: The tables are at no revision, this version needs ")
    assert before.err.endswith(": run `sutazai db upgrade`.\n")


def test_settings_are_shown_with_their_source(command: Command) -> None:
    ran = command("settings", "--port", "5", SUTAZAI_REDIS_URL="redis://:s3cret@h")

    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines()}
    assert ran.code == 0
    assert rows["SUTAZAI_PORT"] == ["5", "flag"]
    assert rows["SUTAZAI_REDIS_URL"] == ["redis://:***@h", "environment"]


def test_settings_are_shown_to_programs(command: Command, tmp_path: Path) -> None:
    env_file = tmp_path / "x.env"
    env_file.write_text("SUTAZAI_KEEP_DAYS=3")
    env_file.chmod(0o600)

    ran = command("settings", "--json", "--env-file", str(env_file))

    rows = {row["name"]: row for row in json.loads(ran.out)["settings"]}
    assert rows["SUTAZAI_KEEP_DAYS"] == {
        "name": "SUTAZAI_KEEP_DAYS",
        "value": 3,
        "source": "env file",
    }


def test_a_system_that_is_not_there_is_named_with_the_way_to_start_it(command: Command) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        ran = command("agents", "list", "--url", url)

    assert ran.code == 1
    assert url in ran.err
    assert "sutazai serve" in ran.err


def test_a_key_that_no_header_can_carry_is_refused(command: Command) -> None:
    ran = command("agents", "list", SUTAZAI_API_KEY="schlüssel")

    assert ran.code == 2
    assert "schlüssel" not in ran.err


def interrupted(child: subprocess.Popen[str]) -> str:
    """What it says at its end.

    Python does not hear a signal that comes in the moment before it blocks: as a person would,
    this asks again.
    """
    for _ in range(5):
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=2)[1]
    raise AssertionError


def test_an_interrupt_ends_with_130_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with process("agents", "list", "--url", url) as child:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                err = interrupted(child)

    assert child.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with process("settings") as child:
        assert child.stdout is not None
        child.stdout.close()
        child.stdout = None
        _, err = child.communicate(timeout=10)

    assert err == ""


def test_help_starts_without_the_http_client_or_a_server() -> None:
    code = (
        "import sys\n"
        "from entrypoints.cli.parser import parser_of\n"
        "parser_of()\n"
        "print(sorted({'httpx', 'litestar', 'sqlalchemy', 'asyncpg'} & set(sys.modules)))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )

    assert ran.stdout == "[]\n"
