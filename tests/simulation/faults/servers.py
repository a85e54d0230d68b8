"""Faults in running servers and calling them."""

from datetime import timedelta
from typing import Any

import msgspec

from adapters.mcp.session import StreamSession
from adapters.mcp.wire import Message
from domain.model.servers import ServerState
from domain.orchestration import supervision
from domain.orchestration.gate import Gate
from domain.orchestration.runner import Runner
from tests.simulation.faults.fault import Faults, Function

faults = Faults()


@faults("backoff-without-end", "A server that failed is never started again.", "_back_off", Runner)
def _(right: Function) -> Function:
    async def back_off(runner: Any) -> None:
        await runner._nudge.wait()
        await right(runner)

    return back_off


@faults("quarantine-without-probe", "A quarantine has no end.", "failed", supervision)
def _(right: Function) -> Function:
    def failed(*args: Any) -> Any:
        record = right(*args)
        if record.state is not ServerState.QUARANTINED:
            return record
        return msgspec.structs.replace(record, retry_at=record.retry_at + timedelta(days=1))

    return failed


@faults(
    "answer-to-another-caller", "Of two requests the other is answered.", "receive", StreamSession
)
def _(right: Function) -> Function:
    def receive(session: Any, message: Message) -> None:
        others = [number for number in session._pending if number != message.id]
        if message.method is None and message.id in session._pending and others:
            message = msgspec.structs.replace(message, id=others[0])
        right(session, message)

    return receive


@faults("no-cap-on-calls", "A server is given any number of calls at once.", "try_enter", Gate)
def _(right: Function) -> Function:
    def try_enter(gate: Any) -> bool:
        if not right(gate):
            gate.inside += 1
        return True

    return try_enter


@faults("call-without-deadline", "A call waits as long as it takes.", "_expire", StreamSession)
def _(right: Function) -> Function:
    return lambda session, number: right(session, -number)


@faults(
    "session-end-untold",
    "Requests under way are not told of their session's end.",
    "ended",
    StreamSession,
)
def _(right: Function) -> Function:
    def ended(session: Any, reason: str) -> None:
        waiting, session._pending = session._pending, {}
        right(session, reason)
        session._pending = waiting

    return ended
