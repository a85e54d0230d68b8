"""Looking at a part to say how it is."""

from typing import Protocol

from domain.model.health import Finding


class Probe(Protocol):
    """One part of the system that health reports on."""

    async def look(self) -> Finding:
        """Look now and say what was found; the caller bounds the time.

        Raises nothing of its own: a part that cannot be reached is a finding.
        """
        ...
