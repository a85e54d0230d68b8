"""Where settings come from beside the environment: env files and secret files."""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from domain.errors import Invalid

LARGEST_FILE_BYTES = 64 * 1024
# Settings are short; anything longer is the wrong file.
LINE = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$")
DOUBLE_QUOTED = re.compile(r'^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$')
SINGLE_QUOTED = re.compile(r"^'([^']*)'\s*(?:#.*)?$")
ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "$": "$"}
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class SettingsRefused(Invalid):
    """The settings cannot be used; `problems` holds one sentence for each thing to change."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems), problems=self.problems)


def read_secret_file(name: str, path: str) -> str:
    """The text of a file that holds one secret, without the line end that editors add."""
    text = _text_of(Path(path), f"{name} names the file {path}, which")
    return text.removesuffix("\n").removesuffix("\r")


def read_env_file(path: Path) -> Mapping[str, str]:
    """The `KEY=VALUE` lines of a file that nobody but its owner, this user or root, can write."""
    text = _text_of(path, f"The env file {path}", guarded=True)
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"The env file {path}, line {number},"
        try:
            name, value = _parsed(line)
        except ValueError as error:
            problems.append(f"{where} {error}.")
            continue
        if name in values:
            problems.append(f"{where} gives {name} a second time.")
        elif name:
            values[name] = value
    if problems:
        raise SettingsRefused(problems)
    return values


def _parsed(line: str) -> tuple[str, str]:
    """Name and value of a line; both empty for a blank line or a comment."""
    line = line.strip()
    if not line or line.startswith("#"):
        return "", ""
    match = LINE.match(line)
    if match is None:
        raise ValueError("is not of the form KEY=VALUE")
    name, value = match.groups()
    if value.startswith('"'):
        quoted = DOUBLE_QUOTED.match(value)
        if quoted is None:
            raise ValueError("has text in quotes that does not end well")
        return name, re.sub(r"\\(.)", lambda hit: ESCAPES.get(hit[1], hit[0]), quoted[1])
    if value.startswith("'"):
        quoted = SINGLE_QUOTED.match(value)
        if quoted is None:
            raise ValueError("has text in quotes that does not end well")
        return name, quoted[1]
    return name, re.split(r"(?:^|\s+)#", value, maxsplit=1)[0].strip()


def _text_of(path: Path, subject: str, *, guarded: bool = False) -> str:
    try:
        with path.open("rb") as file:
            if guarded:
                _refuse_if_others_can_write(os.fstat(file.fileno()), path)
            data = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SettingsRefused([f"{subject} does not exist."]) from None
    except OSError as error:
        raise SettingsRefused([f"{subject} cannot be read: {error.strerror}."]) from None
    if len(data) > LARGEST_FILE_BYTES:
        raise SettingsRefused([f"{subject} is larger than {LARGEST_FILE_BYTES} bytes."])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsRefused([f"{subject} is not UTF-8 text."]) from None


def _refuse_if_others_can_write(status: os.stat_result, path: Path) -> None:
    if status.st_uid not in {os.geteuid(), 0}:
        raise SettingsRefused([f"The env file {path} belongs to another user."])
    if status.st_mode & WRITABLE_BY_OTHERS:
        raise SettingsRefused(
            [f"The env file {path} can be written by others: run chmod go-w {path}."]
        )
