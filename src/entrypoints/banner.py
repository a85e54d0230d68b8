"""What a person at the terminal is told once the system answers."""

from collections.abc import Iterable

from domain.model.servers import ServerRecord
from entrypoints.settings.values import Settings


def banner(settings: Settings, address: str, pid: int, records: Iterable[ServerRecord]) -> str:
    """The address, the process, the database and every server with its state."""
    lines = [
        f"SutazAI answers at {address}  (pid {pid})",
        f"  database  {settings.database_url}",
        f"  docs      {address}/docs",
    ]
    if settings.admin_key is None:
        lines.append("  access    open to this machine only, without a key")
    lines.append("  servers")
    lines.extend(
        f"    {record.spec.name:<20} {record.state.value}"
        + (f"  {record.reason}" if record.reason else "")
        for record in records
    )
    return "\n".join(lines)
