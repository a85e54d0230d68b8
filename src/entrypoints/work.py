"""`sutazai work`: carries out the tasks of a system, beside its API or without it."""

import asyncio
import gc
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta

import uvloop

from domain.errors import Failure, Unavailable
from domain.tasks.worker import Worker
from entrypoints.claim import installation_id, worker_claim
from entrypoints.given import given_servers
from entrypoints.log import write_log
from entrypoints.settings.folder import make_data_folder
from entrypoints.settings.values import Settings
from entrypoints.stopping import Stopping
from entrypoints.wiring.node import Node, node_name
from entrypoints.wiring.work import open_worker


class WorkerBroke(Unavailable):
    """The worker ended by itself, by a fault that the log tells of."""


def work(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code: 0 stopped on request, 1 refused.

    The first signal drains; another one hands back at once what still runs.
    """
    write_log(settings.log_level)
    try:
        make_data_folder(settings.data_dir)
        given = given_servers(settings, environ)
        with worker_claim(settings.data_dir) as number:
            node = Node(
                name=node_name(installation_id(settings.data_dir), f"work-{number}"),
                environ=environ,
                given=given,
                concurrency=settings.worker_concurrency,
                eager=False,
            )
            uvloop.run(_main(settings, node, f"Worker {number} of {settings.data_dir}"))
    except Failure as failure:
        sys.stderr.write(f"error: {failure.message}\n")
        return 1
    return 0


async def _main(settings: Settings, node: Node, title: str) -> None:
    drain = timedelta(seconds=settings.drain_s)
    async with AsyncExitStack() as stack:
        stopping = stack.enter_context(Stopping())
        worker = await stopping.entered(stack, open_worker(settings, node))
        if worker is None:
            return
        gc.freeze()
        gc.enable()
        _say(
            f"{title} carries out up to {node.concurrency} tasks at a time "
            f"from {settings.database_url}  (pid {os.getpid()})"
        )
        stopped = asyncio.ensure_future(stopping.asked.wait())
        broken = asyncio.ensure_future(worker.ended())
        await asyncio.wait({stopped, broken}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.asked.is_set():
            stopped.cancel()
            raise WorkerBroke("The worker ended by a fault of its own; the log tells which.")
        await _drain(worker, drain, stopping.hasty)
        await broken
    _say(f"{title} has stopped: it took {worker.taken} tasks and handed back {worker.handed_back}.")


async def _drain(worker: Worker, drain: timedelta, hasty: asyncio.Event) -> None:
    """Claim nothing, and give what runs its time to end, unless somebody is in haste."""
    draining = asyncio.ensure_future(worker.stop(drain))
    hastened = asyncio.ensure_future(hasty.wait())
    await asyncio.wait({draining, hastened}, return_when=asyncio.FIRST_COMPLETED)
    hastened.cancel()
    if not draining.done():
        await worker.stop(timedelta())
    await draining


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()
