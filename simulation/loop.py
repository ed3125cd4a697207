"""An event loop whose time jumps: hours of waiting pass in milliseconds, in the same order.

Only what waits by asyncio works here; sockets and threads do not. What belongs to a `Process` can
be frozen, at whatever it waits for.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

# Far more than any moment needs; what turns this often without time passing never stops.
MOST_TURNS_AT_ONE_MOMENT = 100_000
START_MS = 1_790_000_000_000  # any moment will do; it is the same in every run

T = TypeVar("T")


class NothingLeftError(RuntimeError):
    """Everything waits for something that nobody is going to do: a deadlock."""


class NoTimePassesError(RuntimeError):
    """Something is busy for ever at one moment."""


class Process:
    """What a process of the operating system is: code that can be stopped, and go on, anywhere.

    Frozen, none of its callbacks runs: no task takes a step, timers run out unnoticed. Thawed, all
    that was due happens, in that order, by the clock of then. One that is killed stays frozen.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.is_frozen = False
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)
        self._held: list[Callable[[], None]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work`, and all that it starts, as a part of this process."""
        loop = asyncio.get_running_loop()
        return loop.create_task(work, context=self._context.copy())

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Let the process do something: it hears of what comes from outside."""
        loop = asyncio.get_running_loop()
        loop.call_soon(callback, *args, context=self._context.copy())

    def freeze(self) -> None:
        """Stop it (SIGSTOP)."""
        self.is_frozen = True

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self.is_frozen = False
        held, self._held = self._held, []
        for act in held:
            act()

    def hold(self, act: Callable[[], None]) -> None:
        """Keep what would have happened."""
        self._held.append(act)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def this_process() -> Process | None:
    """Return the process that the running code belongs to; None: to none."""
    return _PROCESS.get()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for the next timer, moves its clock there."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._seconds = 0.0
        self._start_ms = start_ms
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._seconds

    def now_ms(self) -> int:
        """Return the virtual time as the exchange counts it."""
        return self._start_ms + round(self._seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Move the clock forward; called by the selector where another loop would sleep."""
        self._seconds += seconds

    def call_soon(  # type: ignore[override] # the stubs' variadic types cannot be written in 3.11
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Do as every loop does, unless it is for a frozen process."""
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is None or not process.is_frozen:
            return super().call_soon(callback, *args, context=context)
        within = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, within)
        process.hold(lambda: self._go_on(handle, callback, args, within))
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Do as every loop does; a timer of a process that is frozen by then is held."""
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        within = copy_context() if context is None else context

        def fall_due() -> None:
            if process.is_frozen:
                process.hold(lambda: self._go_on(handle, callback, args, within))
            else:
                callback(*args)

        handle = super().call_at(when, fall_due, context=within)
        return handle

    def _go_on(
        self, handle: asyncio.Handle, callback: Callable[..., object], args: Any, context: Context
    ) -> None:
        """Do what was held, unless it is cancelled before its turn."""

        def act() -> None:
            if not handle.cancelled():
                callback(*args)

        self.call_soon(act, context=context)


class VirtualClock:
    """`Clock` of the running virtual loop."""

    def now_ms(self) -> int:
        """Return the virtual time, milliseconds UTC."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "no virtual loop is running"
        return loop.now_ms()


def run(main: Coroutine[Any, Any, T], *, start_ms: int = START_MS) -> T:
    """Run to the end in virtual time and return the result.

    Tasks still running are cancelled then. Raises NothingLeftError on a deadlock,
    NoTimePassesError on a busy loop.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_ms)) as runner:
        return runner.run(main)


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftError("all tasks wait, and no timer is set")
        self._turns += 1
        if timeout > 0:
            self._loop.jump(timeout)
            self._turns = 0
        if self._turns > MOST_TURNS_AT_ONE_MOMENT:
            raise NoTimePassesError("a busy loop: time does not pass any more")
        return []
