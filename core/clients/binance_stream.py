"""The exchange's streams, read for as long as the process lives.

`MarketStream` carries the trades and mark prices of all symbols over one connection, and drops
the trades that cannot matter after one comparison. `AccountStream` carries everything that happens
to the account. Callbacks are called from the reader: they must return at once.
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Protocol

import msgspec
import structlog

from core.clients.socket_runner import Socket, SocketRunner, Waits
from core.domain.band import Band
from core.errors import ExchangeError, RequestRefused
from core.ports import Clock
from core.schemas import binance_stream as stream
from core.translate.events import AccountEvent, ListenKeyExpired, account_events
from core.translate.words import Untranslatable

# A name in the address costs its length; beyond this many, the rest is subscribed by message.
_STREAMS_IN_ADDRESS = 100
_STREAMS_PER_MESSAGE = 200
_ACCOUNT_PING_SECONDS = 20.0  # aiohttp waits half of it for the answer
_KEEP_KEY_AGAIN_SECONDS = 60.0
_TEXT_LIMIT = 300
_LOGGED_BAD_MESSAGES = 20

_log = structlog.get_logger(__name__)

Sleep = Callable[[float], Awaitable[None]]
Chance = Callable[[], float]


class BadMessages:
    """Counts messages that cannot be read; they never end a connection."""

    def __init__(self, name: str) -> None:
        self.count = 0
        self._name = name

    def add(self, frame: bytes, error: Exception) -> None:
        """Log the text of the first few, and count."""
        self.count += 1
        if self.count <= _LOGGED_BAD_MESSAGES:
            text = frame[:_TEXT_LIMIT].decode(errors="replace")
            _log.error(
                "message not understood", stream=self._name, error=str(error), text=text,
                count=self.count,
            )  # fmt: skip


@dataclass(slots=True)
class _Watch:
    """One symbol on the market connection."""

    band: Band
    seen_at: float = 0.0  # loop time of its last message
    last_id: int = -1
    is_given_up: bool = False  # silent after a new connection, too, while others are heard


class MarketStream:
    """Trades at or outside each symbol's band, and mark prices, in the order of the exchange.

    on_trade(symbol, price, trade_time_ms): a trade that its band does not hold.
    on_mark(symbol, price, event_time_ms): about once a second.
    on_connect(), on_disconnect(reason): trades in between are not told; the next one is.
    """

    def __init__(
        self,
        *,
        base_url: str,
        bands: Mapping[str, Band],
        on_trade: Callable[[str, Decimal, int], None],
        on_mark: Callable[[str, Decimal, int], None] = lambda symbol, price, time_ms: None,
        on_connect: Callable[[], None] = lambda: None,
        on_disconnect: Callable[[str], None] = lambda reason: None,
        silence_seconds: float = 30.0,
        waits: Waits | None = None,
        sleep: Sleep = asyncio.sleep,
        chance: Chance = random.random,
    ) -> None:
        """Prepare; `base_url` is the host alone, e.g. wss://fstream.binance.com.

        A symbol without a message for `silence_seconds` means a dead line: its mark price is due
        every second.
        """
        self.is_connected = False
        self.bad_messages = BadMessages("market")
        self._base_url = base_url.rstrip("/")
        self._watches = {symbol: _Watch(band) for symbol, band in bands.items()}
        self._on_trade = on_trade
        self._on_mark = on_mark
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._silence_seconds = silence_seconds
        self._decode = msgspec.json.Decoder(stream.MarketEnvelope).decode
        names = [symbol.lower() for symbol in bands]
        self._streams = [
            f"{name}@{kind}" for name in names for kind in ("aggTrade", "markPrice@1s")
        ]
        waits = waits or Waits(check=min(5.0, silence_seconds / 6))
        self._runner = SocketRunner(self, name="market", waits=waits, sleep=sleep, chance=chance)
        self._now: Callable[[], float] = lambda: 0.0

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._now = asyncio.get_running_loop().time
        self._runner.start()

    async def close(self) -> None:
        """Disconnect; nothing is called afterwards."""
        await self._runner.close()

    async def wait(self) -> None:
        """Wait until closed. Raises what ended it otherwise: a bug in a callback."""
        await self._runner.wait()

    def leave_out(self, symbol: str) -> None:
        """Expect nothing of a symbol any more: it is not traded, and its silence says nothing."""
        self._watches.pop(symbol, None)

    def reconnect(self, reason: str) -> None:
        """Make a new connection at once."""
        self._runner.reconnect(reason)

    def is_heard(self, symbol: str) -> bool:
        """Return whether the symbol's trades are told now."""
        watch = self._watches.get(symbol)
        return self.is_connected and watch is not None and not watch.is_given_up

    # --- what the runner asks and tells ---

    async def address(self) -> str:
        """Return the routed address; on a wrong route the exchange stays silent."""
        names = "/".join(self._streams[:_STREAMS_IN_ADDRESS])
        return f"{self._base_url}/market/stream?streams={names}"

    async def opened(self, socket: Socket) -> None:
        """Subscribe to what did not fit into the address."""
        rest = self._streams[_STREAMS_IN_ADDRESS:]
        for start in range(0, len(rest), _STREAMS_PER_MESSAGE):
            names = rest[start : start + _STREAMS_PER_MESSAGE]
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": start + 1})

    def connected(self) -> None:
        """Expect messages of every symbol from now on."""
        for watch in self._watches.values():
            watch.seen_at = self._now()
            watch.last_id = -1
        self.is_connected = True
        self._on_connect()

    def disconnected(self, reason: str) -> None:
        """Hand on the news."""
        self.is_connected = False
        self._on_disconnect(reason)

    def silence(self) -> str | None:
        """Return which symbol has been silent for too long.

        One that stays silent on a new connection, too, is not traded (halted, delisted): the others
        are not to lose their connection for it again.
        """
        oldest = self._now() - self._silence_seconds
        silent = [symbol for symbol, watch in self._watches.items() if watch.seen_at < oldest]
        if len(silent) < len(self._watches):
            silent = [symbol for symbol in silent if not self._watches[symbol].is_given_up]
            for symbol in silent:
                self._watches[symbol].is_given_up = True
        if not silent:
            return None
        return f"no message of {', '.join(silent[:5])} for {self._silence_seconds:g} s"

    def received(self, frame: bytes) -> None:
        """Take one message: the hot path."""
        try:
            message = self._decode(frame).data
            if message is None:
                return  # the answer to a SUBSCRIBE
            watch = self._watches.get(message.symbol)
            if watch is None:
                return
            watch.seen_at, watch.is_given_up = self._now(), False
            if type(message) is stream.AggregateTrade:
                # While one connection replaces another, both tell the same trades.
                if message.aggregate_id <= watch.last_id:
                    return
                watch.last_id = message.aggregate_id
                if watch.band.holds(message.price):
                    return
            price = _positive(message.price)
        except (msgspec.DecodeError, ValueError) as error:
            self.bad_messages.add(frame, error)
            return
        if isinstance(message, stream.AggregateTrade):
            self._on_trade(message.symbol, price, message.trade_time)
        else:
            self._on_mark(message.symbol, price, message.event_time)


class ListenKeys(Protocol):
    """The requests behind an account stream; `BinanceGateway` has them."""

    async def start_listen_key(self) -> str:
        """Return a key that is valid now."""
        ...

    async def keep_listen_key(self) -> None:
        """Prolong it."""
        ...


class AccountStream:
    """Every event of the account, translated, in the order in which it arrived.

    on_event(event): each one, never dropped here; who receives them keeps the queue.
    on_connect(), on_disconnect(reason): events in between are not told; check by REST.
    """

    def __init__(
        self,
        *,
        base_url: str,
        keys: ListenKeys,
        clock: Clock,
        on_event: Callable[[AccountEvent], None],
        on_connect: Callable[[], None] = lambda: None,
        on_disconnect: Callable[[str], None] = lambda reason: None,
        keep_key_seconds: float = 1800.0,
        waits: Waits | None = None,
        sleep: Sleep = asyncio.sleep,
        chance: Chance = random.random,
    ) -> None:
        """Prepare; `base_url` is the host alone, e.g. wss://fstream.binance.com."""
        self.is_connected = False
        self.bad_messages = BadMessages("account")
        self._base_url = base_url.rstrip("/")
        self._keys = keys
        self._clock = clock
        self._on_event = on_event
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._keep_key_seconds = keep_key_seconds
        self._sleep = sleep
        self._decode = msgspec.json.Decoder(stream.AccountMessage).decode
        waits = waits or Waits()
        if waits.ping is None:
            waits = replace(waits, ping=_ACCOUNT_PING_SECONDS)
        self._runner = SocketRunner(self, name="account", waits=waits, sleep=sleep, chance=chance)
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._runner.start()
        self._keeper = asyncio.create_task(self._keep_key(), name="account listen key")

    async def close(self) -> None:
        """Disconnect; the listen key stays, since other processes use it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await self._runner.close()

    async def wait(self) -> None:
        """Wait until closed. Raises what ended it otherwise: a bug in a callback."""
        await self._runner.wait()

    def reconnect(self, reason: str) -> None:
        """Ask for the key and connect anew: when a check found what the stream did not tell."""
        self._runner.reconnect(reason)

    # --- what the runner asks and tells ---

    async def address(self) -> str:
        """Return the address with the account's key, which is made or prolonged by asking."""
        key = await self._keys.start_listen_key()
        return f"{self._base_url}/private/ws/{key}"

    async def opened(self, socket: Socket) -> None:
        """Do nothing: the address says it all."""

    def connected(self) -> None:
        """Hand on the news."""
        self.is_connected = True
        self._on_connect()

    def disconnected(self, reason: str) -> None:
        """Hand on the news."""
        self.is_connected = False
        self._on_disconnect(reason)

    def silence(self) -> None:
        """Return None: an account may be quiet for days; pings watch the line."""

    def received(self, frame: bytes) -> None:
        """Take one message."""
        try:
            message = self._decode(frame)
            events = account_events(message, at_ms=self._clock.now_ms())
        except (msgspec.DecodeError, UnicodeDecodeError, Untranslatable) as error:
            self.bad_messages.add(frame, error)
            return
        for event in events:
            if isinstance(event, ListenKeyExpired):
                self._runner.reconnect("the listen key has expired")
            else:
                self._on_event(event)

    async def _keep_key(self) -> None:
        pause = self._keep_key_seconds
        while True:
            await self._sleep(pause)
            try:
                await self._keys.keep_listen_key()
                pause = self._keep_key_seconds
            except RequestRefused:
                self._runner.reconnect("the listen key is not known any more")
                pause = self._keep_key_seconds
            except ExchangeError as error:
                _log.warning("listen key not prolonged", error=str(error))
                pause = min(_KEEP_KEY_AGAIN_SECONDS, self._keep_key_seconds)


def _positive(price: str | Decimal) -> Decimal:
    with contextlib.suppress(InvalidOperation):
        value = Decimal(price)
        if value.is_finite() and value > 0:
            return value
    raise ValueError(f"a price of {price}")
