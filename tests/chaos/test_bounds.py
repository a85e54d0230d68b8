"""Long runs in short: they keep their bounds, and a broken bound shows."""

import subprocess
import sys

import pytest

from tests.bounds import Bound, told


def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_broken_bound_is_told_and_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    kept = Bound(what="calls lost", measured=0, most=0)
    broken = Bound(what="files left", measured=3, most=2)
    assert told([kept]) == 0
    assert told([kept, broken]) == 1
    assert "BROKEN  files left" in capsys.readouterr().out


def test_a_short_churn_leaves_nothing() -> None:
    ended = run("tests.churn", "--lives", "3", "--calls", "10")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("kept") == 3
