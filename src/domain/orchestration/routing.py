"""One request's way to its server: its turn, the open session, and what its outcome means."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from domain.errors import Failure
from domain.model.servers import SERVING, Remote
from domain.model.tasks import TaskProgress
from domain.model.tools import CallInterrupted, CallTimedOut, PeerRefused
from domain.orchestration.gate import Gate
from domain.orchestration.life import LAST_WORDS_S
from domain.orchestration.runner import Runner
from domain.ports.mcp import ProgressSink, SessionClosed
from domain.ports.system import Clock

LONGEST_CALL = timedelta(hours=1)
# However much progress is reported.
MOST_CALLS, MOST_WAITING = 512, 2048
# Of all servers together: what one process answers within a second, and a few seconds' worth more.


class Router:
    """Sends requests; never repeats one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gate = Gate("This system", MOST_CALLS, MOST_WAITING)

    @property
    def waiting(self) -> int:
        """How many calls wait because the system has enough of them."""
        return self._gate.waiting

    async def ask(
        self,
        runner: Runner,
        method: str,
        params: Mapping[str, Any],
        deadline: float,
        progress: ProgressSink | None,
    ) -> msgspec.Raw:
        """Send a request by `deadline` (monotonic) and return its result's JSON text.

        Raises Busy, WaitedTooLong, ServerDown: nothing was sent; CallTimedOut, CallInterrupted:
        it may have had an effect; PeerRefused: the server's own error.
        """
        own, shared = runner.gate, self._gate
        if not own.try_enter():
            await own.enter(deadline - self._clock.monotonic())
        if not shared.try_enter():
            await self._wait_for_turn(runner, deadline)
        longest, reported = LONGEST_CALL, partial(_reported, runner, progress)
        try:
            while True:
                session = runner.session or await runner.serving(deadline)
                now = self._clock.monotonic()
                left = timedelta(seconds=max(0.0, deadline - now))
                try:
                    result = await session.request(
                        method, params, timeout=left, longest=longest, progress=reported
                    )
                except Failure as failure:
                    await self._take_in(runner, failure, now)
                else:
                    runner.vitals.used(now)
                    return result
        finally:
            shared.leave()
            own.leave()

    async def _wait_for_turn(self, runner: Runner, deadline: float) -> None:
        try:
            await self._gate.enter(deadline - self._clock.monotonic())
        except BaseException:
            runner.gate.leave()
            raise

    async def _take_in(self, runner: Runner, failure: Failure, asked_at: float) -> None:
        """Note what a failure says of the server and raise it; return where nothing was sent."""
        if isinstance(failure, CallTimedOut):
            runner.vitals.timed_out()
        elif isinstance(failure, PeerRefused):
            runner.vitals.used(asked_at)
        elif isinstance(failure, SessionClosed):
            if failure.sent:
                runner.vitals.doubted.set()
                await runner.out_of_service(LAST_WORDS_S)  # the reason is known a moment later
                raise _interrupted(runner, failure) from failure
            if not runner.coming_up:
                raise runner.down() from failure
            return  # it went to rest in the same moment
        raise failure


def _reported(runner: Runner, progress: ProgressSink | None, report: TaskProgress) -> None:
    runner.vitals.answered()
    if progress is not None:
        progress(report)


def _interrupted(runner: Runner, failure: SessionClosed) -> CallInterrupted:
    record = runner.record
    name, reason = record.spec.name, record.reason or failure.message
    if record.state in SERVING and isinstance(record.spec.recipe, Remote):
        # Over HTTP an exchange may fail alone.
        return CallInterrupted(f"The server {name!r} failed: {failure.message}.", server=name)
    return CallInterrupted(f"The server {name!r} ended during the call: {reason}.", server=name)
