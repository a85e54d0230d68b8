"""Small servers for the tests, as programs that need nothing but an interpreter."""

import sys
from collections.abc import Mapping

from domain.model.servers import Command

PREAMBLE = "import os, signal, sys, time\n"

ECHO = "while data := os.read(0, 65536):\n    os.write(1, data)\n"

LEAVER = "os.write(1, b'bye'); sys.exit(3)"

STAYER = "os.write(1, b'ready'); signal.pause()"

STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYER

NOISY = """
for number in range(5000):
    sys.stderr.write(f"line {number}\\n")
sys.stderr.flush()
for _ in range(40):
    os.write(2, 'é'.encode() * 10_000)
os.write(1, b'done')
while os.read(0, 65536):
    pass
"""

ESCAPING = """
# A grandchild in a session of its own that ignores what can be ignored and holds the pipes.
def detach():
    if os.fork():
        signal.pause()
    os.setsid()
detach()
if os.fork():
    os._exit(0)
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b'%d\\n' % os.getpid())
while True:
    signal.pause()
"""

LEAVING_ONE_BEHIND = """
if os.fork() == 0:
    os.setsid()
    os.write(1, b'%d\\n' % os.getpid())
    signal.pause()
os.read(0, 1)
"""

DESCRIPTORS = """
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
os.write(1, ' '.join(str(fd) for fd in range(4096) if is_open(fd)).encode())
"""


def python(source: str, *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> Command:
    return Command(
        command=sys.executable, args=("-I", "-S", "-c", PREAMBLE + source), env=env or {}, cwd=cwd
    )
