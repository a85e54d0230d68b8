"""Which servers are to run: those given to this process, and those that any process has kept."""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any

import msgspec

from domain.model.keys import Once
from domain.model.servers import Origin, ServerName, ServerRecord, ServerSpec
from domain.once import acted_once
from domain.ports.signals import Signals
from domain.ports.storage import StorageUnavailable, Transactions

logger = logging.getLogger(__name__)

SERVERS = "servers"
# The topic: servers were added or removed, or tools kept.
POLL_S = 5.0
# Hints may be lost; a server that another process has added is known here after this at the latest.

Definitions = tuple[Mapping[str, Any], ...]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A server to run; `tools` are those last kept.

    They are None where they are as when last read, or where none were ever kept.
    """

    spec: ServerSpec
    tools: Definitions | None


class Roster:
    """The given servers and the kept ones; every change is kept, and told to other processes.

    Of two with one name a given one goes before a kept one, and that before a known one.
    """

    def __init__(
        self, transactions: Transactions, signals: Signals, given: Iterable[ServerSpec]
    ) -> None:
        self._transactions = transactions
        self._signals = signals
        specs = tuple(given)
        self._known = {spec.name: spec for spec in specs if spec.origin is Origin.KNOWN}
        self._named = {spec.name: spec for spec in specs if spec.origin is not Origin.KNOWN}
        self._hidden: set[ServerName] = set()
        self._revisions: Mapping[str, int] = {}
        self._unsaved: dict[str, Definitions] = {}

    async def read(self, running: Mapping[ServerName, ServerSpec]) -> Mapping[ServerName, Listed]:
        """All servers as they are to run now; the tools of those that run already if kept anew."""
        async with self._transactions.read() as transaction:
            kept = {spec.name: spec for spec in await transaction.servers.list()}
            revisions = await transaction.servers.revisions()
            listed = {}
            for name, spec in (self._known | kept | self._named).items():
                fresh = revisions.get(spec.digest) != self._revisions.get(spec.digest)
                wanted = fresh or running.get(name) != spec
                tools = await transaction.servers.known_tools(spec.digest) if wanted else None
                listed[name] = Listed(spec=spec, tools=tools)
        self._revisions = revisions
        self._tell_hidden(kept.keys() & self._named.keys())
        return listed

    def _tell_hidden(self, names: set[ServerName]) -> None:
        for name in sorted(names - self._hidden):
            logger.warning("%s: the entry of the file hides the one kept", name)
        self._hidden = names

    async def changes(self) -> AsyncGenerator[None, None]:
        """Comes whenever the store may say something else than it did, and every POLL_S."""
        async with self._signals.subscribe(SERVERS) as subscription:
            while True:
                await subscription.next(POLL_S)
                yield

    async def add(
        self, spec: ServerSpec, once: Once | None, begun: Callable[[], ServerRecord]
    ) -> tuple[ServerRecord, Listed | None]:
        """Keep a new server and what `begun` gives; the server with the tools known of its recipe.

        It is None where `once` came before: then the record is what `begun` gave at that time.
        Raises ServerExists, KeyReused, KeyInFlight, and what `begun` raises.
        """
        async with self._transactions.begin() as transaction:

            async def act() -> ServerRecord:
                record = begun()
                await transaction.servers.add(spec)
                return record

            record, anew = await acted_once(transaction, spec.owner, once, ServerRecord, act)
            tools = await transaction.servers.known_tools(spec.digest)
        self._signals.publish(SERVERS, {})
        return record, Listed(spec=spec, tools=tools) if anew else None

    async def remove(self, name: ServerName) -> None:
        """Keep it no longer. Raises ServerNotFound."""
        async with self._transactions.begin() as transaction:
            await transaction.servers.remove(name)
        self._signals.publish(SERVERS, {})

    def keep_tools(self, digest: str, tools: Definitions) -> None:
        """Have `save` keep the tools of a recipe."""
        self._unsaved[digest] = tools

    async def save(self) -> None:
        """Keep all tools that are to be kept, also those that come up meanwhile."""
        while self._unsaved:
            lists, self._unsaved = self._unsaved, {}
            try:
                async with self._transactions.begin() as transaction:
                    for digest, tools in lists.items():
                        await transaction.servers.keep_tools(digest, tools)
            except StorageUnavailable as failure:
                logger.warning("%d lists of tools were not kept: %s", len(lists), failure.message)
            else:
                self._signals.publish(SERVERS, {})
