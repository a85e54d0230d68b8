"""Tool calls put together from the pieces in which servers send them."""

from typing import Any

import msgspec

from domain.model.conversations import ToolCall
from domain.ports.models import ModelUnavailable


class FunctionDelta(msgspec.Struct, frozen=True):
    """`arguments` is a piece of JSON text, or with some servers the object itself."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallDelta(msgspec.Struct, frozen=True):
    """A piece of one call. Some servers leave out `index` or `id`, or give them twice."""

    index: int | None = None
    id: str | int | None = None
    function: FunctionDelta | None = None


class _Call:
    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.written = ""

    def whole(self) -> bool:
        """Whether its arguments already are an object: what follows belongs to another call."""
        try:
            return isinstance(msgspec.json.decode(self.written), dict)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False


class CallAssembly:
    """The calls of one answer, in the order in which they began."""

    def __init__(self, model: str, used_ids: frozenset[str]) -> None:
        self._model = model
        self._used = set(used_ids)
        self._calls: list[_Call] = []

    def take(self, delta: CallDelta) -> None:
        """Add a piece to its call: the one of its index and id, unless it must be another's."""
        function = delta.function or FunctionDelta()
        call_id = "" if delta.id is None else str(delta.id)
        name, arguments = function.name or "", function.arguments
        call = self._present(delta.index, call_id)
        if call is None or _begins_another(call, call_id, name, arguments):
            call = _Call(delta.index)
            self._calls.append(call)
        call.id = call.id or call_id
        call.name = call.name or name
        if isinstance(arguments, dict):
            call.written = msgspec.json.encode(arguments).decode()
        else:
            call.written += arguments or ""

    def finish(self) -> tuple[ToolCall, ...]:
        """All calls, each id unique. Raises ModelUnavailable where one cannot be made."""
        return tuple(self._finished(call) for call in self._calls)

    def _present(self, index: int | None, call_id: str) -> _Call | None:
        alike = [call for call in self._calls if index is None or call.index == index]
        named = [call for call in alike if call_id and call.id == call_id]
        present = named or alike
        return present[-1] if present else None

    def _finished(self, call: _Call) -> ToolCall:
        if not call.name:
            raise ModelUnavailable(
                f"Model {self._model} called a tool without a name.", model=self._model
            )
        try:
            arguments = msgspec.json.decode(call.written or "{}", type=dict[str, Any] | None)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ModelUnavailable(
                f"Model {self._model} called {call.name} with arguments that are no JSON object.",
                model=self._model,
                tool=call.name,
            ) from error
        return ToolCall(call_id=self._unique(call.id), name=call.name, arguments=arguments or {})

    def _unique(self, given: str) -> str:
        count = len(self._used)
        call_id = given
        while not call_id or call_id in self._used:
            count += 1
            call_id = f"{given or 'call'}_{count}"
        self._used.add(call_id)
        return call_id


def _begins_another(call: _Call, call_id: str, name: str, arguments: object) -> bool:
    """Whether a piece with the same index is a call of its own, not the rest of `call`.

    Servers that give every parallel call the index 0 differ in the id, else in the name; the same
    name again is the same call unless that one is whole already.
    """
    if call_id and call.id and call_id != call.id:
        return True
    if not name or not call.name:
        return False
    return name != call.name or (arguments not in (None, "") and call.whole())
