"""What a person at the terminal is told once the system answers."""

from collections.abc import Iterable

from domain.model.servers import Origin, ServerRecord, ServerState
from entrypoints.settings.values import Settings


def banner(settings: Settings, address: str, pid: int, records: Iterable[ServerRecord]) -> str:
    """The address, the process, the database and every server with its state.

    Known servers that nobody has used or can use yet are only counted.
    """
    lines = [
        f"SutazAI answers at {address}  (pid {pid})",
        f"  database  {settings.database_url}",
        f"  docs      {address}/docs",
    ]
    if settings.admin_key is None:
        lines.append("  access    open to this machine only, without a key")
    every = tuple(records)
    quiet = [
        record
        for record in every
        if record.spec.origin is Origin.KNOWN
        and record.state in {ServerState.IDLE, ServerState.DISABLED}
    ]
    lines.append("  servers")
    lines.extend(
        f"    {record.spec.name:<20} {record.state.value}"
        + (f"  {record.reason}" if record.reason else "")
        for record in every
        if record not in quiet
    )
    if quiet:
        idle = sum(record.state is ServerState.IDLE for record in quiet)
        lacking = len(quiet) - idle
        lines.append(
            f"  catalogue: {idle} known, idle until first used"
            + (f"; {lacking} more lack something" if lacking else "")
        )
    return "\n".join(lines)
