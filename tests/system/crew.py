"""A system with worker processes beside it, and a server that tells which of them called it."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.running import START_S, STOP_S, System, eventually

ROOT = str(Path(__file__).parents[2])


class WorkProcess:
    """One `sutazai work` on the data folder of a system; `program` stands for `sutazai`."""

    def __init__(
        self, system: System, log: Path, *words: str, program: tuple[str, ...] = ()
    ) -> None:
        self._log = log
        command = [
            *(program or system.program),
            "work",
            f"--data-dir={system.data}",
            f"--mcp-config={system.config}",
            "--concurrency=8",
            *words,
        ]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=system.environment
            )

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text("utf-8", errors="replace")

    @property
    def works(self) -> bool:
        """Whether it has said so."""
        assert self.process.poll() is None, self.log
        return "carries out up to" in self.log

    @property
    def node(self) -> str:
        """Its name in the ledger, once it works."""
        number = re.search(r"^Worker (\d+) of ", self.log, re.MULTILINE)
        assert number is not None, self.log
        return f"work-{number[1]}"

    def tell(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in its tracks; the servers that it runs go on."""
        self.tell(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.tell(signal.SIGCONT)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)


class Crew:
    """A system, its workers, and the ledger of the calls that any of them made."""

    def __init__(self, folder: Path, make: Callable[..., System], **settings: str) -> None:
        self._folder = folder
        self._ledger = folder / "ledger"
        ledger = {
            "command": sys.executable,
            "args": ["-m", "tests.fixtures.mcp_servers.ledger", str(self._ledger)],
            "env": {"PYTHONPATH": ROOT},
        }
        self.servers, self.settings = {"ledger": ledger}, settings
        self.system = make(self.servers, **settings)
        self.workers: list[WorkProcess] = []

    def worker(self, *words: str, program: tuple[str, ...] = ()) -> WorkProcess:
        """One more worker, which starts meanwhile."""
        log = self._folder / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkProcess(self.system, log, *words, program=program))
        return self.workers[-1]

    def working(self, *words: str, program: tuple[str, ...] = ()) -> WorkProcess:
        """One more worker, which works already."""
        worker = self.worker(*words, program=program)
        eventually(lambda: worker.works, START_S)
        return worker

    def submit(self, text: str, seconds: float = 0, *, at: System | None = None) -> str:
        """A task that is one call of the ledger; returns its id."""
        payload = {
            "server": "ledger",
            "tool": "note",
            "arguments": {"text": text, "seconds": seconds},
            "idempotent": True,
        }
        body = {"task_type": "tool", "payload": payload}
        system = at or self.system
        return str(system.post("/api/v1/tasks", body, status=201)["task_id"])

    def calls(self) -> list[tuple[str, str]]:
        """Text and node of every call so far, in order."""
        lines = self._ledger.read_text("utf-8").splitlines() if self._ledger.exists() else []
        return [(text, node) for text, node in (line.split(" ") for line in lines)]

    def caller_of(self, text: str) -> str:
        """The node whose call of that text came last; empty before there was one."""
        return dict(self.calls()).get(text, "")

    def listed(self) -> dict[str, Any]:
        """The workers that the API shows, by their place."""
        workers = self.system.get("/api/v1/workers")["workers"]
        return {worker["worker_id"].split("/")[1]: worker for worker in workers}

    def times(self) -> Counter[str]:
        """How often each text was called."""
        return Counter(text for text, _ in self.calls())

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for worker in self.workers:
            if worker.process.poll() is None:
                os.kill(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
