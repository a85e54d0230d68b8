"""Starts one server that leaves a descendant behind, tells the pid, and waits to be killed."""

import asyncio
import os
import sys

from adapters.processes.launcher import ProcessLauncher
from domain.model.servers import ServerName
from tests.processes.programs import ESCAPING, python


async def main(installation: str) -> None:
    launcher = ProcessLauncher(installation, os.environ)
    child = await launcher.launch(ServerName("escaping"), python(ESCAPING))
    sys.stdout.buffer.write(await child.stream.read())
    sys.stdout.flush()
    await child.wait()


asyncio.run(main(sys.argv[1]))
