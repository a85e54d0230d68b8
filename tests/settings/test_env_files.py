"""Env files: a small strict form, and nobody else's hand in them."""

import os
from pathlib import Path

import pytest

from entrypoints.settings.loading import load
from entrypoints.settings.sources import SettingsRefused, read_env_file


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "named.env"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("KEY = value ", "value"),
        ("export KEY=value", "value"),
        ("KEY=", ""),
        ("KEY=a b # said in passing", "a b"),
        ("KEY=a#b", "a#b"),
        ("KEY=# nothing", ""),
        ("KEY='a # b' # c", "a # b"),
        ("KEY='a\\n'", "a\\n"),
        ('KEY="a \\"b\\" \\n"', 'a "b" \n'),
        ('KEY="${HOME}"', "${HOME}"),
        ("KEY=a=b", "a=b"),
    ],
)
def test_a_line_gives_a_name_and_a_value(tmp_path: Path, line: str, value: str) -> None:
    assert read_env_file(written(tmp_path, f"# first\n\n{line}\n")) == {"KEY": value}


@pytest.mark.parametrize("line", ["KEY", "KEY value", "1KEY=x", "KEY='x", 'KEY="x" y', "=x"])
def test_a_line_of_another_form_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsRefused, match="line 2,"):
        read_env_file(written(tmp_path, f"A=1\n{line}\n"))


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="line 2, gives A a second time"):
        read_env_file(written(tmp_path, "A=1\nA=2\n"))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsRefused, match="can be written by others"):
        read_env_file(written(tmp_path, "A=1", mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "A=1")
    os.chown(file, 12345, -1)

    with pytest.raises(SettingsRefused, match="belongs to another user"):
        read_env_file(file)


@pytest.mark.parametrize(
    ("data", "said"), [(b"\xff", "not UTF-8"), (b"#" * 70_000, "larger than"), (None, "not exist")]
)
def test_a_file_that_cannot_be_settings_is_refused(
    tmp_path: Path, data: bytes | None, said: str
) -> None:
    file = tmp_path / "x"
    if data is not None:
        file.write_bytes(data)
        file.chmod(0o600)

    with pytest.raises(SettingsRefused, match=said):
        read_env_file(file)


@pytest.mark.parametrize("name", ["SUTAZAI_PROT", "GITHUB_TOKEN", "SUTAZAI_URL"])
def test_an_env_file_holds_settings_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsRefused, match=f"{name} .in .*named.env. is not a setting"):
        load({"HOME": "/h"}, env_file=written(tmp_path, f"{name}=x"))


def test_the_file_in_the_data_folder_cannot_move_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SUTAZAI_DATA_DIR=/elsewhere")
    (tmp_path / ".env").chmod(0o600)

    with pytest.raises(SettingsRefused, match="cannot name the data folder"):
        load({"SUTAZAI_DATA_DIR": str(tmp_path)})


def test_an_unsafe_file_in_the_data_folder_is_not_skipped_in_silence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SUTAZAI_PORT=1")
    (tmp_path / ".env").chmod(0o666)

    with pytest.raises(SettingsRefused, match="can be written by others"):
        load({"SUTAZAI_DATA_DIR": str(tmp_path)})
