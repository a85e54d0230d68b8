"""What a system begins with: the catalogue stands behind the file."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from domain.model.servers import Command, Origin, ServerSpec, StartPolicy
from domain.orchestration import supervision
from domain.orchestration.known import KNOWN
from entrypoints.banner import banner
from entrypoints.given import given_servers
from entrypoints.settings.secret import SecretUrl
from entrypoints.settings.values import Settings

TOKEN = "GITHUB_PERSONAL_ACCESS_TOKEN"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def settings(folder: Path, servers: Mapping[str, Any] | None = None) -> Settings:
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers or {}}))
    url = SecretUrl("sqlite+aiosqlite://")
    return Settings(data_dir=folder, database_url=url, mcp_config=file)


def begun_with(
    folder: Path,
    servers: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, ServerSpec]:
    given = given_servers(settings(folder, servers), environ)
    assert len({spec.name for spec in given}) == len(given)
    return {spec.name: spec for spec in given}


def test_the_whole_catalogue_is_there_and_waits_for_its_first_use(tmp_path: Path) -> None:
    given = begun_with(tmp_path)

    assert given.keys() == {"sutazai", *(entry.name for entry in KNOWN)}
    assert given["sutazai"].origin is Origin.BUNDLED
    for entry in KNOWN:
        spec = given[entry.name]
        assert (spec.origin, spec.start) == (Origin.KNOWN, StartPolicy.LAZY)
        assert spec.start_timeout == entry.start_timeout


def test_what_a_known_server_lacks_is_named_until_it_is_given(tmp_path: Path) -> None:
    assert TOKEN in begun_with(tmp_path)["github"].problem
    assert begun_with(tmp_path, environ={TOKEN: "t"})["github"].problem == ""
    assert TOKEN in begun_with(tmp_path, environ={TOKEN: "\udcff"})["github"].problem


def test_the_data_folder_holds_what_a_known_server_keeps(tmp_path: Path) -> None:
    recipe = begun_with(tmp_path)["memory-bank-mcp"].recipe

    assert isinstance(recipe, Command)
    assert recipe.env == {"MEMORY_FILE_PATH": str(tmp_path / "memory-bank.jsonl")}


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("ddg", "ddg"), ("puppeteer-mcp", "playwright-mcp"), ("http_fetch", "http-fetch")],
)
@pytest.mark.parametrize("command", ["run", "${NONE}"], ids=["usable", "unusable"])
def test_the_file_goes_before_the_catalogue(
    tmp_path: Path, name: str, hidden: str, command: str
) -> None:
    given = begun_with(tmp_path, {name: {"command": command}})

    assert hidden not in {spec.name for spec in given.values() if spec.origin is Origin.KNOWN}
    assert Origin.FILE in {spec.origin for spec in given.values()}
    assert len(given) == 1 + len(KNOWN)


def test_the_banner_counts_known_servers_that_nobody_uses(tmp_path: Path) -> None:
    begun = settings(tmp_path)
    records = [supervision.new_record(spec, NOW) for spec in given_servers(begun, {})]
    lacking = sum(bool(record.spec.problem) for record in records)

    said = banner(begun, "http://here", 1, records).splitlines()

    at = said.index("  servers")
    assert said[at + 1].split() == ["sutazai", "idle"]
    idle = len(KNOWN) - lacking
    assert said[at + 2 :] == [
        f"  catalogue: {idle} known, idle until first used; {lacking} more lack something"
    ]
    used = [supervision.starting(each, NOW) for each in records if each.spec.name == "ddg"]
    assert "ddg" in banner(begun, "http://here", 1, used)
