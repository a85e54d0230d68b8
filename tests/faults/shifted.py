"""`sutazai` on a machine whose clock is wrong: `python -P shifted.py SECONDS WORD ...`.

Shifted is all by which this system, its libraries and its log read the time of day: `time.time`,
`time.time_ns` and the system's own clock. The database's clock, which decides, is not.
"""

import sys
import time
from datetime import datetime, timedelta

from adapters.system import SystemClock
from entrypoints.cli.main import main


def shift(seconds: float) -> None:
    """Let the time of day be another one for this process."""
    right_time, right_ns, right_now = time.time, time.time_ns, SystemClock.now
    time.time = lambda: right_time() + seconds
    time.time_ns = lambda: right_ns() + int(seconds * 1e9)

    def now(self: SystemClock) -> datetime:
        return right_now(self) + timedelta(seconds=seconds)

    SystemClock.now = now  # type: ignore[method-assign]


if __name__ == "__main__":
    shift(float(sys.argv.pop(1)))
    main()
