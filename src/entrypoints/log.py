"""What this process writes of itself, for people: records on standard error."""

import logging

from entrypoints.settings.values import LogLevel


def write_log(level: LogLevel) -> None:
    """Write records of that level and above from now on."""
    logging.basicConfig(
        level=level.value.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("alembic", "httpcore", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
