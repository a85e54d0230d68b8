"""An event loop whose time is a number, and nodes that can crash and freeze on it."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

TURN_S = 1e-6
# A turn of the loop takes time, or what waits for a rest below a float's precision waits for ever.
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
HERE: ContextVar["Node | None"] = ContextVar("HERE", default=None)
# On which node the running callback is; None is the world around all nodes.


class NothingHappens(RuntimeError):
    """Every coroutine waits for another: the real system would hang for ever."""


class Node:
    """A process: what was begun in its context dies, freezes and thaws with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.put_off: list[_Step] = []
        self.grave: list[object] = []
        self.context = copy_context()
        self.context.run(HERE.set, self)

    def __repr__(self) -> str:
        return self.name

    def crash(self) -> None:
        """Nothing of it runs any more, no `finally` either; to be called from outside of it."""
        self.dead = True
        self.grave += self.put_off
        self.put_off.clear()

    def freeze(self) -> None:
        """What is due waits until `thaw`."""
        self.frozen = True

    def thaw(self) -> None:
        """Run what was put off, in its order."""
        self.frozen = False
        steps, self.put_off = self.put_off, []
        for step in steps:
            step.again()


class SimulatedTask(asyncio.Task[T]):
    """A task that is the same in every run: sets of tasks have the order of their making."""

    def __init__(
        self,
        loop: "SimulatedLoop",
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        context: Context | None = None,
    ) -> None:
        self._number = next(loop.numbers)
        self.node = HERE.get() if context is None else context.get(HERE)
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[T]):
    def __init__(self, *, loop: "SimulatedLoop") -> None:
        self._number = next(loop.numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Step:
    """One callback of a node."""

    __slots__ = ("args", "callback", "context", "handle", "loop", "node")

    handle: asyncio.Handle

    def __init__(
        self,
        loop: "SimulatedLoop",
        node: Node,
        context: Context | None,
        callback: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        self.loop = loop
        self.node = node
        self.context = copy_context() if context is None else context
        self.callback = callback
        self.args = args

    def __call__(self) -> None:
        if self.node.dead:
            self.node.grave.append(self)
        elif self.node.frozen:
            self.node.put_off.append(self)
        else:
            self.callback(*self.args)

    def again(self) -> None:
        """Be due once more, unless it is called off meanwhile."""
        self.loop.call_plainly(self._unless_cancelled, self.context)

    def _unless_cancelled(self) -> None:
        if not self.handle.cancelled():
            self()


class SimulatedLoop(asyncio.BaseEventLoop):
    """Time jumps to the next timer when nothing is ready; the same run has the same order."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Iterator[int] = itertools.count(1)
        self.turns = 0
        self._now = 0.0
        self._selector = self
        self._clock_resolution = 1e-9
        self._buried = False
        self.set_debug(False)  # its warnings about slow callbacks would read the real clock
        self.set_task_factory(SimulatedTask)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """What a selector is asked: wait for events, at most so long."""
        if timeout is None:
            raise NothingHappens
        self._now += timeout + TURN_S
        self.turns += 1
        return ()

    def _process_events(self, events: tuple[()]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        if not self._buried:
            self.create_task(agen.aclose())

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if self._buried:
            return asyncio.Handle(callback, args, self, context)
        node = HERE.get() if context is None else context.get(HERE)
        if node is None:
            return super().call_soon(callback, *args, context=context)
        step = _Step(self, node, context, callback, args)
        step.handle = super().call_soon(step, context=step.context)
        return step.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        node = HERE.get() if context is None else context.get(HERE)
        if node is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(self, node, context, callback, args)
        step.handle = handle = super().call_at(when, step, context=step.context)
        return handle

    def call_plainly(self, callback: Callable[[], object], context: Context) -> None:
        """Be due now, whatever node this is about."""
        super().call_soon(callback, context=context)

    def bury(self) -> None:
        """End the coroutines that are left without running anything else, and close.

        Left to be collected they would run their `finally` in the midst of a later run.
        """
        self._buried = True
        closed: set[object] = set()
        asyncio._set_running_loop(self)
        try:
            while left := [task for task in asyncio.all_tasks(self) if task not in closed]:
                for task in sorted(left, key=hash):
                    closed.add(task)
                    _close(task)
        finally:
            asyncio._set_running_loop(None)
        self.close()


def _close(task: Any) -> None:
    task._log_destroy_pending = False
    coroutine = task.get_coro()
    while coroutine.cr_frame is not None:
        try:
            coroutine.close()
        except (Exception, BaseExceptionGroup):  # noqa: BLE001, S112
            continue  # it waits in a `finally`


async def run_on(node: Node, coroutine: Coroutine[Any, Any, T]) -> T:
    """Carry out a coroutine on a node and wait for it; for ever where the node dies."""
    loop = asyncio.get_running_loop()
    return await loop.create_task(coroutine, context=node.context.copy())
