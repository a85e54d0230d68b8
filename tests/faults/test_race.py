"""Twenty workers race for ten thousand tasks, and nobody dies: each runs once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from adapters.sql.tables import task_events, tasks
from domain.model.tasks import EventKind, TaskStatus
from tests.faults.cluster import Cluster, Job
from tests.faults.conftest import everywhere
from tests.system.crew import ROOT
from tests.system.running import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

RACERS = [sys.executable, "-m", "tests.faults.racers"]
WORKERS, TASKS = 20, 10_000
AT_ONCE = 500
LONGEST_S = 300.0


@everywhere
def test_twenty_workers_run_each_of_ten_thousand_tasks_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    journal, begun = tmp_path / "journal", time.monotonic()
    for first in range(0, TASKS, AT_ONCE):
        cluster.submit(*(Job(name=f"{n:05}") for n in range(first, first + AT_ONCE)))
    submitted = time.monotonic()
    racers = subprocess.Popen(
        [*RACERS, str(WORKERS), cluster.url, cluster.redis_url, str(journal)],
        cwd=ROOT,
        start_new_session=True,
    )
    left = select(func.count()).where(tasks.c.status != TaskStatus.SUCCEEDED)

    def all_done() -> bool:
        assert racers.poll() is None
        return bool(cluster.rows(left)[0][0] == 0)

    try:
        eventually(all_done, LONGEST_S)
        drained = time.monotonic()
        racers.send_signal(signal.SIGTERM)
        assert racers.wait(30) == 0
    finally:
        if racers.poll() is None:
            os.killpg(racers.pid, signal.SIGKILL)
            racers.wait()
    print(f"submitted in {submitted - begun:.1f} s, drained in {drained - submitted:.1f} s")

    ran = [line.split() for line in journal.read_text("ascii").splitlines()]
    assert sorted(name for name, _ in ran) == [f"{n:05}" for n in range(TASKS)]
    shares = Counter(racer for _, racer in ran)
    assert len(shares) == WORKERS, shares
    assert cluster.rows(select(tasks.c.task_id).where(tasks.c.attempt != 1)) == []
    kept = select(func.count()).select_from(task_events)
    assert cluster.rows(kept.where(task_events.c.kind == EventKind.DONE))[0][0] == TASKS
    assert cluster.rows(kept)[0][0] == cluster.rows(select(func.sum(tasks.c.last_seq)))[0][0]
