"""A deliberate fault: one function of the real code is another while a run lasts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

Function = Callable[..., Any]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`wrong` makes the faulty function of the right one; each of `owners` holds it by name."""

    name: str
    what: str
    owners: tuple[Any, ...]
    function: str
    wrong: Callable[[Function], Function]

    @contextmanager
    def made(self) -> Iterator[None]:
        """Be wrong within the block."""
        with ExitStack() as stack:
            for owner in self.owners:
                right = getattr(owner, self.function)
                stack.callback(setattr, owner, self.function, right)
                setattr(owner, self.function, self.wrong(right))
            yield


class Faults:
    """A list of faults, filled by decorating what makes the faulty function."""

    def __init__(self) -> None:
        self.all: dict[str, Fault] = {}

    def __call__(
        self, name: str, what: str, function: str, *owners: Any
    ) -> Callable[[Callable[[Function], Function]], None]:
        """Add one."""

        def add(wrong: Callable[[Function], Function]) -> None:
            self.all[name] = Fault(
                name=name, what=what, function=function, owners=owners, wrong=wrong
            )

        return add
