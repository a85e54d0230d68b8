"""What a peer's answers and its reports on the way to them mean, without I/O."""

import msgspec

from adapters.mcp.wire import INTERNAL_ERROR, Message, fault_of, read_error
from domain.model.servers import Era
from domain.model.tasks import TaskProgress
from domain.model.tools import PeerRefused


class _Progress(msgspec.Struct, frozen=True):
    progress_token: int = msgspec.field(name="progressToken")
    progress: float
    total: float | None = None
    message: str | None = None


_progress = msgspec.json.Decoder(_Progress)


def outcome_of(message: Message, era: Era) -> msgspec.Raw | PeerRefused:
    """The result that an answer holds, or why there is none."""
    if message.error is not None:
        error = read_error(message.error)
        return PeerRefused(error.code, error.message, error.data)
    if era is Era.MODERN:
        fault = fault_of(message.result)
    else:
        fault = None if message.result else "the server's answer holds no result"
    return message.result if fault is None else PeerRefused(INTERNAL_ERROR, fault)


def read_progress(params: msgspec.Raw) -> tuple[int, TaskProgress] | None:
    """The request that a report is on and what it says, None where it is malformed."""
    try:
        report = _progress.decode(params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return report.progress_token, TaskProgress(
        progress=report.progress, total=report.total, message=report.message
    )
