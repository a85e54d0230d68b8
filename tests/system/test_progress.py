"""Progress of many calls that run at once on one child: each reaches its own caller only."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.system.conftest import Make
from tests.system.crew import ROOT
from tests.system.running import System

AT_ONCE = 32
REPORTS = 20
CHAOS = {
    "command": sys.executable,
    "args": ["-m", "tests.fixtures.mcp_servers.chaos"],
    "env": {"PYTHONPATH": ROOT},
}


def submitted(system: System, base: int) -> str:
    arguments = {"n": REPORTS, "base": base, "pause_s": 0.05}
    payload = {"server": "chaos", "tool": "progress", "arguments": arguments}
    body = {"task_type": "tool", "payload": payload}
    return str(system.post("/api/v1/tasks", body, status=201)["task_id"])


def heard(system: System, task_id: str) -> list[float]:
    """The values of all progress that a caller who listens is told of."""
    values, named = [], ""
    with system.client.stream("GET", f"/api/v1/tasks/{task_id}/events", timeout=60) as stream:
        for line in stream.iter_lines():
            field, _, text = line.partition(": ")
            if field == "event":
                named = text
            elif field == "data" and named == "progress":
                values.append(json.loads(text)["progress"])
    return values


def test_each_of_32_callers_at_once_hears_the_progress_of_its_own_call(make: Make) -> None:
    system = make({"chaos": CHAOS}, worker_concurrency=str(AT_ONCE)).start()
    system.until_ready("chaos")
    bases = [1000 * number for number in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [submitted(system, base) for base in bases]
        told = list(pool.map(lambda task_id: heard(system, task_id), tasks))
    spans = []
    for base, task_id, values in zip(bases, tasks, told, strict=True):
        assert values, "it heard of nothing"
        assert values == sorted(set(values))
        assert set(values) <= {base + number for number in range(1, REPORTS + 1)}
        task = system.finished(task_id)
        assert task["result"]["content"][0]["text"] == str(base)
        spans.append((task["started_at"], task["finished_at"]))
    assert max(start for start, _ in spans) < min(end for _, end in spans), "not all at once"
