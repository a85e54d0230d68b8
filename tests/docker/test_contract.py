"""Containers are started, spoken to and ended as processes are."""

from collections.abc import Callable
from typing import Any

import pytest

from adapters.docker.engine import DockerEngine
from domain.model.containers import Container
from domain.ports.launching import Exit
from tests.contracts.launching import LONG, NAME, LaunchingContract
from tests.real.engine import BOX

pytestmark = [pytest.mark.anyio, pytest.mark.containers]

NOISY = """
awk 'BEGIN {
    for (i = 0; i < 5000; i++) print "line " i > "/dev/stderr"
    s = "é"; for (i = 0; i < 13; i++) s = s s
    for (i = 0; i < 50; i++) printf "%s", s > "/dev/stderr"
    fflush("/dev/stderr"); printf "done"
}'
cat > /dev/null
"""
ROLES = {
    "echo": "cat",
    "leaver": "printf bye; exit 3",
    "stayer": "printf ready; while :; do sleep 1; done",
    "stubborn": "trap '' TERM; printf ready; while :; do sleep 1; done",
    "noisy": NOISY,
}


def box(script: str) -> Container:
    return Container(image=BOX, command=("/bin/busybox", "sh", "-c", script))


class TestDockerEngine(LaunchingContract):
    @pytest.fixture
    def launcher(self, engine: DockerEngine) -> Any:
        return engine

    @pytest.fixture
    def recipe(self) -> Callable[[str], Container]:
        return lambda role: box(ROLES[role])

    @pytest.fixture
    def unknown(self) -> Container:
        env = {"TOKEN": "s3cret"}
        return Container(image=BOX, command=("no-such-command",), env=env)

    async def test_an_unknown_command_is_named(self, launcher: Any, unknown: Any) -> None:
        """The engine's init finds out, so it is the container's exit that tells."""
        child = await launcher.launch(NAME, unknown)
        exit_ = await child.wait()
        assert exit_.code == Exit(code=127).code
        assert "no-such-command" in exit_.excess
        assert "s3cret" not in str(exit_)
        await child.end(LONG)
