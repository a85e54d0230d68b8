"""One process of a system: what it is called, and which servers it may run."""

from collections.abc import Mapping

import msgspec

from domain.model.servers import ServerSpec
from domain.model.tasks import WorkerId


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """`name` marks the processes of its servers and the tasks that it holds.

    No two live processes have one name, and a process has that of its earlier life. `environ` is
    what its servers inherit a stated part of; those that are to start with the system do so where
    `eager`, else on their first use. `concurrency` is how many tasks it carries out at a time.
    """

    name: WorkerId
    environ: Mapping[str, str]
    given: tuple[ServerSpec, ...]
    concurrency: int
    eager: bool = True


def node_name(installation: str, place: str) -> WorkerId:
    """The name of the process that holds a place (`serve`, `work-1`) in an installation."""
    return WorkerId(f"{installation}/{place}")
