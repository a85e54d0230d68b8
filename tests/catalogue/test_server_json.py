"""What the registry's description of a server becomes here."""

import json
from pathlib import Path
from typing import Any

import pytest

from domain.model.servers import Command, Remote
from entrypoints.mcp_config import ConfigRefused
from entrypoints.server_json import KINDS, Described, Undescribed, is_server_json, read_server_json

NPM = {
    "registryType": "npm",
    "identifier": "@ada/weather",
    "version": "1.2.3",
    "transport": {"type": "stdio"},
}
PYPI = {**NPM, "registryType": "pypi", "identifier": "weather"}
REMOTE = {"type": "streamable-http", "url": "https://weather.example/mcp"}


def read(
    folder: Path, given: dict[str, str] | None = None, **parts: Any
) -> Described | Undescribed:
    file = folder / "server.json"
    server = {"name": "io.example.ada/Weather_Now", "description": "Weather.", "version": "9"}
    file.write_text(json.dumps({**server, **parts}), "utf-8")
    assert is_server_json(file)
    return read_server_json(file, given or {})


def line(described: Described | Undescribed, *, shown: bool = False) -> str:
    assert isinstance(described, Described), described
    recipe = described.shown if shown else described.recipe
    assert isinstance(recipe, Command)
    return " ".join((recipe.command, *recipe.args))


def reasons(described: Described | Undescribed) -> str:
    assert isinstance(described, Undescribed), described
    return " ".join(described.reasons)


def with_arguments(*arguments: dict[str, Any]) -> dict[str, Any]:
    return {**NPM, "packageArguments": arguments}


PUBLIC = ".".join(("registry", *KINDS["npm"].home))


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        (NPM, "npx -y @ada/weather@1.2.3"),
        (PYPI, "uvx --from weather==1.2.3 weather"),
        ({**NPM, "registryBaseUrl": f"https://{PUBLIC}/"}, "npx -y @ada/weather@1.2.3"),
        (
            {**NPM, "runtimeHint": "npx", "runtimeArguments": [{"type": "named", "name": "--yes"}]},
            "npx --yes @ada/weather@1.2.3",
        ),
        (
            {**PYPI, "runtimeArguments": [{"type": "named", "name": "--python", "value": "3.12"}]},
            "uvx --python 3.12 --from weather==1.2.3 weather",
        ),
    ],
)
def test_a_package_becomes_a_command(
    tmp_path: Path, package: dict[str, Any], expected: str
) -> None:
    described = read(tmp_path, packages=[package], unheardOf=1)

    assert line(described) == expected
    assert described.name == "weather-now"
    assert described.title == "io.example.ada/Weather_Now"


@pytest.mark.parametrize(
    ("argument", "given", "expected"),
    [
        ({"type": "positional", "value": "start"}, {}, "start"),
        ({"type": "positional", "value": "start", "valueHint": "a"}, {"a": "x"}, "start"),
        ({"type": "positional", "valueHint": "dir", "default": "/a"}, {}, "/a"),
        ({"type": "positional", "valueHint": "dir", "default": "/a"}, {"dir": "/b"}, "/b"),
        ({"type": "positional", "valueHint": "dir"}, {}, ""),
        ({"type": "named", "name": "--unit", "value": "K"}, {}, "--unit K"),
        ({"type": "named", "name": "--unit", "format": "string"}, {"unit": "C"}, "--unit C"),
        ({"type": "named", "name": "--unit", "format": "string"}, {"--unit": "C"}, "--unit C"),
        ({"type": "named", "name": "--unit", "format": "string"}, {}, ""),
        ({"type": "named", "name": "--key", "isSecret": True}, {}, ""),
        ({"type": "named", "name": "--quiet"}, {}, "--quiet"),
        (
            {
                "type": "named",
                "name": "--at",
                "value": "{lat},{lon},{other}",
                "variables": {"lat": {"default": ""}, "lon": {"isRequired": True}},
            },
            {"lon": "2"},
            "--at ,2,{other}",
        ),
        (
            {"type": "named", "name": "--at", "value": "{lat}", "variables": {"lat": {}}},
            {},
            "",
        ),
    ],
)
def test_arguments_are_filled(
    tmp_path: Path, argument: dict[str, Any], given: dict[str, str], expected: str
) -> None:
    described = read(tmp_path, given, packages=[with_arguments(argument)])

    assert line(described) == f"npx -y @ada/weather@1.2.3 {expected}".rstrip()


@pytest.mark.parametrize(
    ("argument", "given", "reason"),
    [
        ({"type": "positional", "valueHint": "dir", "isRequired": True}, {}, "it needs dir."),
        ({"type": "named", "name": "--unit", "isRequired": True}, {}, "it needs --unit."),
        (
            {
                "type": "named",
                "name": "-e",
                "value": "A={a}",
                "variables": {"a": {"isRequired": True}},
            },
            {},
            "it needs a.",
        ),
        (
            {"type": "named", "name": "--unit", "choices": ["C", "K"]},
            {"unit": "F"},
            "--unit must be one of C, K.",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    tmp_path: Path, argument: dict[str, Any], given: dict[str, str], reason: str
) -> None:
    assert reasons(read(tmp_path, given, packages=[with_arguments(argument)])).endswith(reason)


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ({**NPM, "registryType": "oci", "identifier": "x.example/y:1"}, "container image"),
        ({**NPM, "registryType": "mcpb"}, "packages of this kind"),
        ({**NPM, "transport": {"type": "sse", "url": "http://x"}}, "speaks sse"),
        ({**NPM, "runtimeHint": "bunx"}, "bunx"),
        ({**NPM, "registryBaseUrl": "https://packages.example"}, "another registry"),
        ({**NPM, "version": "latest"}, "no specific version"),
        ({**NPM, "version": "^1.2.3"}, "no specific version"),
        ({**NPM, "version": "1.x"}, "no specific version"),
        ({**NPM, "version": ""}, "no specific version"),
        ({**NPM, "version": "1.0 --evil"}, "no specific version"),
        ({**NPM, "identifier": "--registry=https://packages.example"}, "no package's name"),
        ({**NPM, "identifier": "https://packages.example/x.tgz"}, "no package's name"),
        ({**PYPI, "identifier": "x @ git+https://packages.example"}, "no package's name"),
    ],
)
def test_a_package_that_cannot_be_run_says_why(
    tmp_path: Path, package: dict[str, Any], reason: str
) -> None:
    assert reason in reasons(read(tmp_path, packages=[package]))


def test_every_missing_name_is_told_at_once(tmp_path: Path) -> None:
    package = {
        **with_arguments({"type": "positional", "valueHint": "dir", "isRequired": True}),
        "environmentVariables": [
            {"name": "API_KEY", "isRequired": True, "isSecret": True},
            {"name": "UNITS", "default": "C"},
            {"name": "LOG"},
        ],
    }

    assert reasons(read(tmp_path, packages=[package])).endswith("it needs dir, API_KEY.")
    described = read(tmp_path, {"dir": "/d", "API_KEY": "k"}, packages=[package])
    assert isinstance(described, Described)
    assert isinstance(described.recipe, Command)
    assert described.recipe.env == {"API_KEY": "k", "UNITS": "C"}


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    package = with_arguments(
        {"type": "named", "name": "--with", "isSecret": True, "choices": ["s3cret"]},
        {"type": "positional", "value": "a={b}", "variables": {"b": {"isSecret": True}}},
        {"type": "positional", "value": "a={c}", "variables": {"c": {}}, "isSecret": True},
    )

    described = read(tmp_path, {"with": "s3cret", "b": "s3cret", "c": "s3cret"}, packages=[package])

    assert line(described).endswith(" --with s3cret a=s3cret a=s3cret")
    assert line(described, shown=True).endswith(" --with *** a=*** ***")


def test_a_remote_becomes_an_address_with_headers(tmp_path: Path) -> None:
    remote = {
        "type": "streamable-http",
        "url": "https://{tenant}.example/mcp",
        "variables": {"tenant": {"isRequired": True, "isSecret": True}},
        "headers": [
            {
                "name": "Authorization",
                "value": "Bearer {token}",
                "variables": {"token": {"isRequired": True, "isSecret": True}},
            },
            {"name": "X-Region"},
        ],
    }

    described = read(tmp_path, {"tenant": "ada", "token": "t"}, remotes=[remote])

    assert isinstance(described, Described)
    assert described.recipe == Remote(
        url="https://ada.example/mcp", headers={"Authorization": "Bearer t"}
    )
    assert described.shown == Remote(
        url="https://***.example/mcp", headers={"Authorization": "Bearer ***"}
    )
    assert reasons(read(tmp_path, remotes=[remote])).endswith("it needs tenant, token.")


def test_an_address_can_be_a_secret_as_a_whole(tmp_path: Path) -> None:
    remote = {
        "type": "streamable-http",
        "url": "{base}",
        "variables": {"base": {"isRequired": True, "isSecret": True}},
    }

    described = read(tmp_path, {"base": "http://ada.example"}, remotes=[remote])

    assert isinstance(described, Described)
    assert described.shown == Remote(url="***")
    assert "does not start" in reasons(read(tmp_path, {"base": "file:///"}, remotes=[remote]))


def test_the_first_that_can_be_run_is_taken(tmp_path: Path) -> None:
    image = {**NPM, "registryType": "oci"}

    assert line(read(tmp_path, packages=[image, PYPI, NPM], remotes=[REMOTE])).startswith("uvx")
    remote = read(tmp_path, packages=[image], remotes=[{**REMOTE, "type": "sse"}, REMOTE])
    assert isinstance(remote, Described)
    assert isinstance(remote.recipe, Remote)
    left = read(tmp_path, packages=[image], remotes=[{**REMOTE, "type": "sse"}])
    assert isinstance(left, Undescribed)
    assert len(left.reasons) == 2
    assert reasons(read(tmp_path, packages=[])) == "it names no package, no remote."


def test_the_registrys_own_wrapping_is_taken_off(tmp_path: Path) -> None:
    described = read(tmp_path, server={"name": "a/b", "packages": [NPM]})

    assert described.name == "b"


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"packages": []}', '{"name": "a/___", "packages": []}', '{"name": 1}',
     '{"name": "a/b", "packages": [{"registry_type": "npm"}]}'],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "server.json"
    file.write_text(text, "utf-8")

    with pytest.raises(ConfigRefused):
        read_server_json(file, {})
    with pytest.raises(ConfigRefused):
        read_server_json(tmp_path / "absent", {})


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ('{"name": "a/b", "remotes": []}', True),
        ('{"mcpServers": {}, "packages": []}', False),
        ('{"servers": {}}', False),
        ("{", False),
        ("[]", False),
    ],
)
def test_the_form_is_told_by_its_keys(tmp_path: Path, text: str, is_one: bool) -> None:  # noqa: FBT001 - a table's column
    file = tmp_path / "file"
    file.write_text(text, "utf-8")

    assert is_server_json(file) is is_one
