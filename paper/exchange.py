"""The running exchange: one world, its listeners, its faults and its state file."""

import asyncio
import logging
import os
import time
from decimal import Decimal
from pathlib import Path

import msgspec

from paper import ledger, narrate
from paper.faults import Faults
from paper.feeds import Holding, Tick
from paper.hub import Hub
from paper.player import Player
from paper.state import PositionSide
from paper.world import World

SAVE_EVERY_S = 0.5
SAVE_PRICES_EVERY_S = 5.0  # where nothing but prices moved
TICK_EVERY_S = 1.0

log = logging.getLogger("paper")


class StateFileError(Exception):
    """A state file that cannot be used; the text is one line for the operator."""


def wall_ms() -> int:
    """Return the present in milliseconds."""
    return time.time_ns() // 1_000_000


class Exchange:
    """Carries events from the world to the sockets and the world to its file."""

    def __init__(self, world: World, *, state_path: Path | None = None) -> None:
        self.world = world
        self.hub = Hub()
        self.faults = Faults()
        self.player: Player | None = None
        self._state_path = state_path
        self._dirty = True
        self._saved_at = 0.0

    def flush(self, *, changed: bool = False) -> None:
        """Send out what has happened. Call it after everything that changes the world.

        `changed`: also something that no event tells, so that the state must be written soon.
        """
        self._dirty = self._dirty or changed
        for event in self.world.drain():
            key = self.world.listen_key
            if event.channel == "account":
                self._dirty = True
                text = narrate.line(event)
                if text is not None:
                    log.info("%s", text)
            self.hub.publish(event, key)

    def play(self, tick: Tick) -> None:
        """Let the market trade."""
        now_ms = wall_ms()
        self.world.trade(
            tick.symbol,
            tick.price,
            tick.quantity,
            is_buyer_maker=tick.is_buyer_maker,
            time_ms=now_ms if tick.time_ms is None else tick.time_ms,
            now_ms=now_ms,
        )
        self.flush()

    def look(self, symbol: str) -> Holding:
        """Return what the account holds, for scenarios."""
        books = self.world.state.books
        held = ledger.leg(books, symbol, PositionSide.LONG)
        return Holding(
            long=held.amount,
            short=-ledger.leg(books, symbol, PositionSide.SHORT).amount,
            long_entry=held.entry,
        )

    def known_prices(self) -> dict[str, Decimal]:
        """Return the last price of every symbol that has one."""
        markets = self.world.state.markets.items()
        return {symbol: market.last for symbol, market in markets if market.last is not None}

    async def beat(self) -> None:
        """Send mark prices and expire what runs out, every second, for ever."""
        while True:
            await asyncio.sleep(TICK_EVERY_S)
            market_ms = None if self.player is None else self.player.market_ms()
            self.world.tick(wall_ms(), market_ms)
            self.flush()

    async def keep_saving(self) -> None:
        """Write the state down twice a second while the account changes, for ever."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            if self._dirty or time.monotonic() - self._saved_at >= SAVE_PRICES_EVERY_S:
                self.save()

    def save(self) -> None:
        """Write the state down; a reader sees the old file or the new one."""
        if self._state_path is None:
            return
        self._dirty, self._saved_at = False, time.monotonic()
        beside = self._state_path.with_name(self._state_path.name + ".new")
        beside.write_bytes(msgspec.json.encode(self.world.snapshot()))
        os.replace(beside, self._state_path)


def load_world(path: Path) -> World | None:
    """Return the world of a state file, None when there is no file yet.

    Raises:
        StateFileError: the file is there and cannot be used.
    """
    try:
        return World.restore(msgspec.json.decode(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise StateFileError(f"state file {path} cannot be read: {error}") from error
