"""Plays a feed against the wall clock: start, pause, step, faster than life."""

import asyncio
from collections.abc import Callable
from typing import Any

from paper.feeds import Tick, Ticks

LOT_S = 0.004


class Player:
    """Hands each tick to `play` when it is due; `speed` feed seconds pass in one real second."""

    def __init__(
        self, ticks: Ticks, *, speed: float, play: Callable[[Tick], None], held: bool
    ) -> None:
        self._ticks = ticks
        self._speed = speed
        self._play = play
        self._paused = held
        self._steps = 1 if held else 0  # a held feed still shows its first price
        self._wake = asyncio.Event()
        self._position_ms = 0.0  # feed time reached when the clock was last set
        self._set_at = 0.0
        self._recording_ms: int | None = None
        self._recording_at_ms = 0.0
        self.played = 0
        self.finished = False

    def start(self) -> None:
        """Let the feed's clock run."""
        if self._paused:
            self._paused = False
            self._set_at = self._now()
            self._wake.set()

    def pause(self) -> None:
        """Stop the feed's clock."""
        if not self._paused:
            self._position_ms = self._reached_ms()
            self._paused = True
            self._wake.set()

    def step(self, count: int) -> None:
        """Play the next ticks at once, without waiting for their time."""
        self._steps += count
        self._wake.set()

    def market_ms(self) -> int | None:
        """Return the recording's time now, None where the market lives in the present."""
        if self._recording_ms is None:
            return None
        passed = 0.0 if self.finished else self._reached_ms() - self._recording_at_ms
        return self._recording_ms + max(0, round(passed))

    def report(self) -> dict[str, Any]:
        """Return how far the feed is, JSON-able."""
        return {
            "running": not self._paused and not self.finished,
            "finished": self.finished,
            "played": self.played,
            "market_ms": self.market_ms(),
        }

    async def run(self) -> None:
        """Play until the feed ends."""
        self._set_at = self._now()
        for tick in self._ticks:
            await self._until(tick.at_ms)
            self._play(tick)
            self.played += 1
            self._recording_ms, self._recording_at_ms = tick.time_ms, tick.at_ms
            if not self.played % 50:
                await asyncio.sleep(0)  # a feed that is behind must not starve the requests
        self.finished = True

    async def _until(self, at_ms: float) -> None:
        while True:
            self._wake.clear()
            if self._steps:
                self._steps -= 1
                self._position_ms = max(self._reached_ms(), at_ms)
                self._set_at = self._now()
                return
            wait_s = None if self._paused else (at_ms - self._reached_ms()) / self._speed / 1000
            if wait_s is not None:
                if wait_s <= 0:
                    return
                # a busy feed goes in small lots: a timer for each trade costs more than the trade
                wait_s = max(wait_s, LOT_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _reached_ms(self) -> float:
        if self._paused:
            return self._position_ms
        return self._position_ms + (self._now() - self._set_at) * 1000 * self._speed

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
