"""The running exchange: one world, its listeners, its faults and its state file."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from paper import ledger, narrate
from paper.events import Event
from paper.faults import Fault, Faults
from paper.feeds import Holding, Tick
from paper.hub import LIFE_S, PRIVATE, ROUTES, Hub
from paper.journal import Journal
from paper.limits import Limits
from paper.matching import Ids
from paper.player import Player
from paper.state import PositionSide
from paper.world import World

SYNC_EVERY_S = 0.5
SAVE_EVERY_S = 5.0
MAX_JOURNAL = 4 * 1024 * 1024  # bytes; a longer one is folded into a snapshot before its time
TICK_EVERY_S = 1.0
UNWRITTEN = 1_000_000  # far more trades and book changes than there are between two snapshots
PULSES_PER_TICK = 10

log = logging.getLogger("paper")


class StateFileError(Exception):
    """A state file that cannot be used; the text is one line for the operator."""


def wall_ms() -> int:
    """Return the present in milliseconds."""
    return time.time_ns() // 1_000_000


class Exchange:
    """Carries events from the world to the sockets and the world to its file."""

    def __init__(
        self,
        world: World,
        *,
        state_path: Path | None = None,
        limits: Limits | None = None,
        socket_life_s: float = LIFE_S,
    ) -> None:
        self.world = world
        self.hub = Hub(life_s=socket_life_s, on_wanted=self._listen)
        self.limits = limits or Limits()
        self.faults = Faults()
        self.skew_ms = 0  # how far the exchange's clock is ahead of ours
        self.closed_until_ms = 0  # maintenance
        self._held_back: dict[str, Event] = {}
        self.player: Player | None = None
        self.live_report: Callable[[], dict[str, Any]] | None = None  # of a live feed
        self._state_path = state_path
        self._journal = None if state_path is None else Journal(state_path)
        self._generation = 0
        self._dirty = True
        self._saved_at = 0.0

    def now_ms(self) -> int:
        """Return the time on the exchange's clock."""
        return wall_ms() + self.skew_ms

    def flush(self, *, changed: bool = False, symbol: str = "") -> None:
        """Send out what has happened. Call it after everything that changes the world.

        `changed`: also something that no event tells, of `symbol` if it is named.
        """
        happened = self.world.drain()
        account = [event for event in happened if event.channel == "account"]
        if changed or account:
            self._dirty = True
            if self._journal is not None:  # before anybody hears of it
                with self._on_disk():
                    self._journal.append(self.world.state, account, [symbol])
        for event in account:
            text = narrate.line(event)
            if text is not None:
                log.info("%s", text)
        for event in happened:
            self._publish(event)

    def _publish(self, event: Event) -> None:
        """Send one event out, unless a fault says otherwise."""
        if not self._held_back and not self.faults.disturbs_streams:
            self._send(event)
            return
        route = PRIVATE if event.channel == "account" else event.channel
        fault = self.faults.take_stream(route, event.stream, self.now_ms())
        behind = self._held_back.pop(route, None)
        match None if fault is None else fault.action:
            case "drop":
                pass
            case "duplicate":
                self._send(event)
                self._send(event)
            case "late" if fault is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(fault.delay_ms / 1000, self._send, event, self.world.listen_key)
            case "reorder":
                self._held_back[route] = event  # it goes out after the next one
            case _:
                self._send(event)
        if behind is not None:
            self._send(behind)

    def _send(self, event: Event, key: str = "") -> None:
        """Hand an event to its listeners; `key`: the listen key of when it happened."""
        by_event = self.world.state.options.private_stream == "event"
        self.hub.publish(event, key or self.world.listen_key, by_event=by_event)

    def do(self, fault: Fault) -> None:
        """Do now what a fault says that concerns nobody's request."""
        log.info("fault  %s", fault.action)
        match fault.action:
            case "close":
                self.hub.drop(fault.route)
            case "silence":
                for route in [fault.route] if fault.route else ROUTES:
                    self.hub.mute(route)
                if fault.delay_ms:
                    loop = asyncio.get_running_loop()
                    loop.call_later(fault.delay_ms / 1000, self.hub.unmute, fault.route)
            case "expire-key":
                self.world.expire_listen_key(self.now_ms())
            case "skew":
                self.skew_ms = fault.delay_ms
            case "maintenance":
                self.closed_until_ms = self.now_ms() + fault.delay_ms
                self.hub.drop("")
            case _:
                raise ValueError(f"{fault.action} waits for a request or a message")

    def end_faults(self) -> None:
        """Bring everything that a fault changed back to normal."""
        self.faults.clear()
        self.world.thaw_reads()
        self.hub.unmute()
        self.skew_ms = self.closed_until_ms = 0

    def play(self, tick: Tick) -> None:
        """Let the market trade."""
        now_ms = self.now_ms()
        self.world.trade(
            tick.symbol,
            tick.price,
            tick.quantity,
            is_buyer_maker=tick.is_buyer_maker,
            time_ms=now_ms if tick.time_ms is None else tick.time_ms,
            now_ms=now_ms,
            ids=None if tick.ids is None else Ids(*tick.ids),
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
        """Let the exchange's time pass, ten times a second, for ever."""
        loop, pulses = asyncio.get_running_loop(), 0
        begin = loop.time()
        while True:
            pulses += 1
            await asyncio.sleep(begin + pulses * TICK_EVERY_S / PULSES_PER_TICK - loop.time())
            self.pulse(is_second=not pulses % PULSES_PER_TICK)

    def pulse(self, *, is_second: bool) -> None:
        """Let a tenth of a second pass: faults, streams at intervals, a full second's tick."""
        now_ms = self.now_ms()
        for fault in self.faults.due(now_ms):
            self.do(fault)
        market_ms = None if self.player is None else self.player.market_ms()
        if is_second:
            self.world.tick(now_ms, market_ms)
        else:
            self.world.pulse(now_ms, market_ms)
        self.flush()

    async def keep_saving(self) -> None:
        """Keep what is on disk close to what is, for ever."""
        while True:
            await asyncio.sleep(SYNC_EVERY_S)
            if self._journal is None:
                continue
            if self._dirty:
                self._dirty = False
                with self._on_disk():
                    self._journal.sync()
            is_due = time.monotonic() - self._saved_at >= SAVE_EVERY_S
            if is_due or self._journal.size > MAX_JOURNAL:
                self.save()

    def save(self) -> None:
        """Write the whole state down; a reader sees the old file or the new one.

        Raises:
            StateFileError: the disk did not take it; what was written before is still good.
        """
        if self._state_path is None or self._journal is None:
            return
        self._dirty, self._saved_at = False, time.monotonic()
        self._generation = max(self._generation + 1, wall_ms())
        whole = self.world.snapshot() | {"generation": self._generation}
        beside = self._state_path.with_name(self._state_path.name + ".new")
        with self._on_disk():
            with beside.open("wb") as file:
                file.write(msgspec.json.encode(whole))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._state_path)
            self._journal.begin(self._generation, self.world.state)

    def close(self) -> None:
        """Write everything down for the last time."""
        self.save()
        if self._journal is not None:
            self._journal.close()

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        """Turn what a disk refuses into one line for the operator."""
        try:
            yield
        except OSError as error:
            raise StateFileError(
                f"state file {self._state_path} cannot be written: {error.strerror}; the account "
                "on disk is as it was before"
            ) from error

    def _listen(self, names: Iterable[str]) -> None:
        self.world.listen(names)


def load_world(path: Path) -> World | None:
    """Return the world of a state file, None when there is no file yet.

    Raises:
        StateFileError: the file is there and cannot be used.
    """
    try:
        snapshot = msgspec.json.decode(path.read_bytes())
        if "generation" in snapshot:
            added = Journal(path).read_into(snapshot)
            log.info("state %s and %d changes after it", path, added)
        world = World.restore(snapshot)
        world.skip_market_numbers(UNWRITTEN)
        return world
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise StateFileError(f"state file {path} cannot be read: {error}") from error
