"""An event loop whose time jumps: hours of waiting pass in milliseconds, in the same order.

Only what waits by asyncio works here; sockets and threads do not.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

# Far more than any moment needs; what turns this often without time passing never stops.
MOST_TURNS_AT_ONE_MOMENT = 100_000
START_MS = 1_790_000_000_000  # any moment will do; it is the same in every run

T = TypeVar("T")


class NothingLeftError(RuntimeError):
    """Everything waits for something that nobody is going to do: a deadlock."""


class NoTimePassesError(RuntimeError):
    """Something is busy for ever at one moment."""


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
