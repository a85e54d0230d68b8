"""Real MCP servers from npm and PyPI behind the whole system."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.real_servers import DOWNLOAD_S, Real, called, real_servers
from tests.system.running import System, eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(420)]


@contextmanager
def running(folder: Path, servers: dict[str, Real]) -> Iterator[System]:
    """A system with those servers and one that cannot start; nothing of it is left."""
    entries = {name: server.entry for name, server in servers.items()}
    system = System(folder, {**entries, "absent": {"command": "no-such-command-anywhere"}})
    try:
        yield system.start()
        assert system.end() == 0
        eventually(lambda: not system.marked(), 3)
    finally:
        system.close()


def test_seven_real_servers_are_listed_and_used_and_an_eighth_disturbs_nothing(
    tmp_path: Path,
) -> None:
    servers = real_servers(tmp_path)
    with running(tmp_path, servers) as system:
        eras = {name: system.until_ready(name, DOWNLOAD_S)["era"] for name in servers}
        assert eras == {name: server.era for name, server in servers.items()}
        tools = system.get("/api/v1/mcp/tools", limit=200)["tools"]
        # What is learned is kept by recipe: a known server of the same recipe offers it as well.
        offered = Counter(tool["server"] for tool in tools if tool["server"] in servers)
        assert offered == {name: server.tools for name, server in servers.items()}
        for server in servers.values():
            server.use(system)
        assert "no-such-command-anywhere" in system.server("absent")["reason"]
        assert system.get("/health")["services"]["mcp"] == "degraded"
        assert {name: system.server(name)["restarts"] for name in servers} == dict.fromkeys(
            servers, 0
        )
        message = f'/tool filesystem__list_directory {{"path": "{tmp_path / "files"}"}}'
        assert "greeting.txt" in system.post("/api/v1/chat", {"message": message})["response"]


def test_each_conversation_has_a_chain_of_thoughts_of_its_own(tmp_path: Path) -> None:
    def think(number: int, session: str) -> int:
        thought = {"thought": "so", "thoughtNumber": number, "totalThoughts": 9}
        answer = system.client.post(
            "/api/v1/mcp/servers/sequentialthinking/tools/sequentialthinking",
            params={"timeout_s": DOWNLOAD_S},
            json={**thought, "nextThoughtNeeded": True},
            headers={"Sutazai-Session": session},
        ).json()
        length: int = json.loads(answer["content"][0]["text"])["thoughtHistoryLength"]
        return length

    with running(tmp_path, {}) as system:
        system.client.timeout = DOWNLOAD_S
        steps = ((1, "a"), (2, "a"), (1, "b"), (3, "a"), (2, "b"))
        assert [think(*step) for step in steps] == [1, 2, 1, 3, 2]
        health = system.get("/api/v1/mcp/health")["services"]["sequentialthinking"]
        assert health["instances"] == {"ready": 2}


def test_a_server_of_the_catalogue_is_fetched_by_uvx_at_its_first_call(tmp_path: Path) -> None:
    with running(tmp_path, {}) as system:
        assert system.server("http-fetch")["state"] == "idle"
        system.client.timeout = DOWNLOAD_S
        answer = called(system, "http-fetch", "fetch", url="http://127.0.0.1/", within=DOWNLOAD_S)
        # It fetches public addresses only: that it says so shows that it serves, without a network.
        assert answer["is_error"] is True
        assert "127.0.0.1, which is not a public address" in answer["content"][0]["text"]
        now = system.server("http-fetch")
        assert (now["state"], now["era"], now["restarts"]) == ("ready", "modern", 0)
