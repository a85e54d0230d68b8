"""Ends an engine of the tests, so that nothing of it outlives them however they end.

It runs as a program, `python -I -S undertaker.py FOLDER`, and waits for the end of its input, which
the death of the tests is too. Where they have not cleared up by then it does.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

DOWN_S = 30.0
LOOK_S = 0.05


def end_others(folder: Path, word: str = "") -> None:
    """Kill what was started for an engine's folder and has `word` on its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text("utf-8", "replace")
        except OSError:
            continue
        own = int(process.name) == os.getpid()
        if f"{folder}/" in command and word in command and not own:
            os.kill(int(process.name), signal.SIGKILL)


def bury(folder: Path) -> None:
    """An engine has ended: kill the keepers of its containers, unmount what it had, remove it."""
    end_others(folder)
    for line in reversed(Path("/proc/mounts").read_text("utf-8").splitlines()):
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=True)
    shutil.rmtree(folder)


def end_orderly(folder: Path) -> None:
    """Ask the engine to end, with its containers, and wait for it."""
    with suppress(OSError, ValueError):
        pid = int((folder / "pid").read_text("ascii"))
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + DOWN_S
        while time.monotonic() < until:
            os.kill(pid, 0)  # an OSError once it is no more
            time.sleep(LOOK_S)


def main() -> None:
    """Wait, and clear up what is left."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    if folder.exists():
        end_orderly(folder)
        bury(folder)


if __name__ == "__main__":
    main()
