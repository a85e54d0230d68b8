"""What a server's tools were when they were first seen, and every change since."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from domain.model.servers import OnChange, ServerSpec
from domain.model.tools import Change, ToolAlert

logger = logging.getLogger(__name__)

MOST_ALERTS = 50
# The latest ones; a server that changes without end must not fill the memory.
MOST_LOGGED = 5
# Names in one line of the log.
_TOLD = ("name", "description", "inputSchema", "annotations")

Definitions = tuple[Mapping[str, Any], ...]


def fingerprint(definition: Mapping[str, Any]) -> str:
    """SHA-256 in hex of what a model or a person is told of a tool, keys sorted."""
    told = {key: definition.get(key) for key in _TOLD}
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


def _by_name(definitions: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Of two with one name the first stays, as in the catalogue."""
    named: dict[str, Mapping[str, Any]] = {}
    for definition in definitions:
        name = definition.get("name")
        if isinstance(name, str) and name:
            named.setdefault(name, definition)
    return named


class Trust:
    """One server's tools: the first listing of its recipe is trusted, later ones are compared.

    `known` is what was kept of earlier lives, None where it never listed. `offered` is what may
    be on offer, `kept` what is to be known in the next life, `withheld` the names that await
    approval.
    """

    def __init__(self, spec: ServerSpec, known: Definitions | None) -> None:
        self._spec = spec
        self._here = False
        self.withheld: frozenset[str] = frozenset()
        self.alerts: tuple[ToolAlert, ...] = ()
        self._begin(known)

    def _begin(self, known: Definitions | None) -> None:
        self._listed = self.offered = self.kept = known or ()
        self._trusted = _by_name(self._listed)
        self._first = known is None

    def learned(self, known: Definitions) -> bool:
        """Take what another process kept; whether other tools are on offer for it.

        A server that was not listed here in this life is as the other saw it; of one that was,
        what was listed here counts, and the other's approval of just that.
        """
        before = self.offered
        if not self._here:
            self._begin(known)
        elif self.withheld:
            named = _by_name(self._listed)
            self._trusted |= {
                name: definition
                for name, definition in _by_name(known).items()
                if name in self.withheld and fingerprint(definition) == fingerprint(named[name])
            }
            self._withhold(self._listed)
        return self.offered != before

    def listed(self, definitions: Definitions, now: datetime) -> bool:
        """Take a listing; whether it is the first, or another than the one before."""
        self._here = True
        first, self._first = self._first, False
        if definitions == self._listed and not first:
            return False
        before, self._listed = self._listed, definitions
        if first:
            self.approve()
            return True
        self._alert(_by_name(before), _by_name(definitions), now)
        if self._spec.on_change is OnChange.ALERT:
            self._accept()
        else:
            self._withhold(definitions)
        return True

    def approve(self) -> None:
        """Trust the latest listing whole; its alerts have been seen."""
        self._accept()
        self.alerts = ()

    def _accept(self) -> None:
        self._trusted = _by_name(self._listed)
        self.offered = self.kept = self._listed
        self.withheld = frozenset()

    def _withhold(self, definitions: Definitions) -> None:
        # What is gone stays trusted as it was: coming back as another it is a change.
        named = _by_name(definitions)
        same = {
            name: definition
            for name, definition in named.items()
            if name in self._trusted and fingerprint(self._trusted[name]) == fingerprint(definition)
        }
        self._trusted |= same
        self.withheld = frozenset(named) - frozenset(same)
        self.offered = tuple(same.values())
        self.kept = tuple(self._trusted.values())

    def _alert(
        self,
        before: Mapping[str, Mapping[str, Any]],
        after: Mapping[str, Mapping[str, Any]],
        now: datetime,
    ) -> None:
        changes = [(name, Change.ADDED) for name in after if name not in before]
        changes += [(name, Change.REMOVED) for name in before if name not in after]
        changes += [
            (name, Change.CHANGED)
            for name in after
            if name in before and fingerprint(before[name]) != fingerprint(after[name])
        ]
        if not changes:
            return
        alerts = (ToolAlert(tool=name, change=change, at=now) for name, change in changes)
        self.alerts = (*self.alerts, *alerts)[-MOST_ALERTS:]
        told = ", ".join(f"{name} {change}" for name, change in changes[:MOST_LOGGED])
        more = f" and {left} more" if (left := len(changes) - MOST_LOGGED) > 0 else ""
        logger.warning("%s: its tools are others now: %s%s", self._spec.name, told, more)
