"""The paper world's events on their way to us: translated, delayed, swapped, doubled or lost."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from core.domain.band import Band
from core.ports import Clock
from core.schemas import binance_stream as stream
from core.translate.events import AccountEvent, account_events
from paper.world import World

# Timers of one moment run in no particular order.
_APART_SECONDS = 1e-6

OnAccountEvent = Callable[[AccountEvent], None]
OnTrade = Callable[[str, Decimal, int], None]


@dataclass(slots=True, kw_only=True)
class Weather:
    """How the account stream treats its events; may be changed at any time."""

    delay_ms: tuple[int, int] = (5, 20)
    keeps_order: bool = True  # False: delays may let events overtake each other
    doubled: float = 0.0  # part of the events that arrives twice
    lost: float = 0.0  # part that never arrives


@dataclass(slots=True, kw_only=True)
class SimulatedStreams:
    """Both connections of a monitor, on a `World`. `pump` is to be called after every change."""

    world: World
    clock: Clock
    on_event: OnAccountEvent
    on_trade: OnTrade = lambda symbol, price, time_ms: None
    bands: dict[str, Band] = field(default_factory=dict)
    weather: Weather = field(default_factory=Weather)
    is_connected: bool = True  # False: what happens meanwhile is never told
    seed: int = 0
    _random: random.Random = field(init=False)
    _last_due: float = field(default=0.0, init=False)
    _on_their_way: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Start the dice."""
        self._random = random.Random(self.seed)

    def trade(self, symbol: str, price: Decimal, quantity: Decimal = Decimal(1000)) -> None:
        """Let the market trade, and tell it."""
        now_ms = self.clock.now_ms()
        self.world.trade(symbol, price, quantity, time_ms=now_ms, now_ms=now_ms)
        self.pump()

    def pump(self) -> None:
        """Send off what the world has emitted since the last call."""
        for event in self.world.drain():
            if not self.is_connected:
                continue
            if event.channel == "account":
                message = msgspec.convert(event.data, type=stream.AccountMessage)
                self._send_account(message)
            elif event.data["e"] == "aggTrade":
                self._send_trade(msgspec.convert(event.data, type=stream.AggregateTrade))

    def _send_account(self, message: stream.AccountMessage) -> None:
        weather = self.weather
        if self._random.random() < weather.lost:
            return
        for _ in range(2 if self._random.random() < weather.doubled else 1):
            loop = asyncio.get_running_loop()
            due = loop.time() + self._random.randint(*weather.delay_ms) / 1000
            if weather.keeps_order:
                due = self._last_due = max(due, self._last_due + _APART_SECONDS)
            self._on_their_way += 1
            loop.call_at(due, self._tell, message)

    @property
    def is_still(self) -> bool:
        """Return whether no account event is on its way."""
        return not self._on_their_way

    def _tell(self, message: stream.AccountMessage) -> None:
        self._on_their_way -= 1
        for event in account_events(message, at_ms=self.clock.now_ms()):
            self.on_event(event)

    def _send_trade(self, trade: stream.AggregateTrade) -> None:
        band = self.bands.get(trade.symbol)
        if band is not None and band.holds(trade.price):
            return
        self.on_trade(trade.symbol, Decimal(trade.price), trade.trade_time)
