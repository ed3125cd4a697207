"""What the market did lately: trades and candles, in market time; not kept over restarts."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from paper.state import ZERO

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS
INTERVALS = {  # fixed lengths; weeks and months follow the calendar
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
    "1M": 0,
}
MONDAY_MS = 4 * DAY_MS  # the first Monday of 1970
KEPT = 200_000  # trades of all symbols together; at least 1,000 and at most 10,000 of each
KEPT_MINUTES, KEPT_HOURS = 1600, 24 * 93


class AggTrade(NamedTuple):
    """One aggregated trade of the market."""

    number: int
    price: Decimal
    quantity: Decimal
    first: int
    last: int
    time_ms: int
    is_buyer_maker: bool


@dataclass(slots=True)
class Candle:
    """One candle. `first` is −1 while nothing was traded in it."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    quote: Decimal = ZERO
    taker_volume: Decimal = ZERO
    taker_quote: Decimal = ZERO
    count: int = 0
    first: int = -1
    last: int = -1

    def add(self, trade: AggTrade) -> None:
        """Take in one trade."""
        price, quote = trade.price, trade.price * trade.quantity
        if price > self.high:
            self.high = price
        if price < self.low:
            self.low = price
        self.close = price
        self.volume += trade.quantity
        self.quote += quote
        if not trade.is_buyer_maker:
            self.taker_volume += trade.quantity
            self.taker_quote += quote
        self.count += trade.last - trade.first + 1
        self.first = trade.first if self.first < 0 else self.first
        self.last = trade.last

    def join(self, later: "Candle") -> None:
        """Take in the candle that follows."""
        self.high, self.low = max(self.high, later.high), min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.quote += later.quote
        self.taker_volume += later.taker_volume
        self.taker_quote += later.taker_quote
        self.count += later.count
        self.first = later.first if self.first < 0 else self.first
        self.last = later.last if later.last >= 0 else self.last


class Tape:
    """The recent past of every symbol."""

    def __init__(self, symbols: int) -> None:
        self._kept = max(1_000, min(10_000, KEPT // max(1, symbols)))
        self._trades: dict[str, deque[AggTrade]] = {}
        self._minutes: dict[str, deque[Candle]] = {}
        self._hours: dict[str, deque[Candle]] = {}

    def record(self, symbol: str, trade: AggTrade) -> None:
        """Write down one trade."""
        trades = self._trades.get(symbol)
        if trades is None:
            trades = self._trades[symbol] = deque(maxlen=self._kept)
            self._minutes[symbol] = deque(maxlen=KEPT_MINUTES)
            self._hours[symbol] = deque(maxlen=KEPT_HOURS)
        trades.append(trade)
        _record(self._minutes[symbol], trade, MINUTE_MS)
        _record(self._hours[symbol], trade, HOUR_MS)

    def trades(self, symbol: str) -> deque[AggTrade]:
        """Return the latest trades, oldest first."""
        return self._trades.get(symbol) or deque()

    def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the candles that begin in the range, those without a trade too, oldest first."""
        length = INTERVALS[interval]
        is_fine = 0 < length < HOUR_MS
        source = (self._minutes if is_fine else self._hours).get(symbol)
        if not source:
            return []
        found: list[Candle] = []
        begin = candle_start(interval, max(start_ms, source[0].start_ms))
        if begin < start_ms:
            begin = _next_start(interval, begin)
        pieces = [c for c in source if c.start_ms >= begin]
        earlier = [c for c in source if c.start_ms < begin]
        price = earlier[-1].close if earlier else (pieces[0].open if pieces else None)
        place = 0
        while begin <= end_ms and price is not None:
            following = _next_start(interval, begin)
            candle: Candle | None = None
            while place < len(pieces) and pieces[place].start_ms < following:
                candle = _joined(candle, pieces[place], begin)
                place += 1
            candle = candle or Candle(begin, price, price, price, price)
            price = candle.close
            found.append(candle)
            begin = following
        return found

    def current(self, symbol: str, interval: str, now_ms: int) -> Candle | None:
        """Return the candle that is being made."""
        begin = candle_start(interval, now_ms)
        found = self.candles(symbol, interval, begin, begin)
        return found[-1] if found else None

    def day(self, symbol: str, now_ms: int) -> Candle | None:
        """Return the last 24 hours as one candle."""
        since = now_ms - DAY_MS
        hour = (since // HOUR_MS + 1) * HOUR_MS
        whole: Candle | None = None
        for candle in self._minutes.get(symbol, ()):
            if since <= candle.start_ms < hour:
                whole = _joined(whole, candle, since)
        for candle in self._hours.get(symbol, ()):
            if candle.start_ms >= hour:
                whole = _joined(whole, candle, since)
        if whole is None and symbol in self._hours:
            price = self._hours[symbol][-1].close
            whole = Candle(since, price, price, price, price)
        return whole


def candle_start(interval: str, time_ms: int) -> int:
    """Return when the candle that holds this time began."""
    if interval == "1M":
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        month = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return round(month.timestamp() * 1000)
    length = INTERVALS[interval]
    shift = MONDAY_MS if interval == "1w" else 0
    return (time_ms - shift) // length * length + shift


def candle_end(interval: str, start_ms: int) -> int:
    """Return the last millisecond of the candle that began at `start_ms`."""
    return _next_start(interval, start_ms) - 1


def starts_back(interval: str, end_ms: int, count: int) -> int:
    """Return the start of the candle `count` candles before the end of the range."""
    length = INTERVALS[interval] or 31 * DAY_MS
    return candle_start(interval, max(0, end_ms - length * (count - 1)))


def _next_start(interval: str, start_ms: int) -> int:
    if interval == "1M":
        moment = datetime.fromtimestamp(start_ms / 1000, UTC) + timedelta(days=32)
        return candle_start(interval, round(moment.timestamp() * 1000))
    return start_ms + INTERVALS[interval]


def _record(candles: deque[Candle], trade: AggTrade, length_ms: int) -> None:
    start, price = trade.time_ms // length_ms * length_ms, trade.price
    if not candles or candles[-1].start_ms < start:
        candles.append(Candle(start, price, price, price, price))
    candles[-1].add(trade)  # a feed that steps back in time goes on in the last candle


def _joined(candle: Candle | None, piece: Candle, start_ms: int) -> Candle:
    if candle is None:
        candle = Candle(start_ms, piece.open, piece.high, piece.low, piece.close)
    candle.join(piece)
    return candle
