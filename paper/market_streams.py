"""The market streams that are made only while somebody listens: all but aggTrade, markPrice@1s."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from paper import depth, events
from paper.book import Book
from paper.events import Event
from paper.rest_history import day_of
from paper.rest_market import depth_rows
from paper.state import PlainOrder, State
from paper.tape import DAY_MS, INTERVALS, AggTrade, Tape, candle_end

DEPTH_LEVELS = 1000  # all that there is, as in the REST answer
SLOW_MS, FAST_MS = 250, 100
_DEPTH = re.compile(r"(?P<symbol>[^@]+)@depth(?P<levels>5|10|20)?(@(?P<speed>100|250|500)ms)?")
_KLINE = re.compile(r"(?P<symbol>[^@]+)@kline_(?P<interval>\w+)")
_CONTINUOUS = re.compile(r"(?P<symbol>[^@]+)_perpetual@continuousKline_(?P<interval>\w+)")


@dataclass(slots=True)
class _DepthStream:
    """One depth stream and what its listeners know of the book."""

    name: str
    symbol: str
    levels: int  # 0: differences of the whole book
    every_ms: int
    due_ms: int = 0
    known: tuple[dict[str, str], dict[str, str]] | None = None
    update_id: int = 0


@dataclass(slots=True)
class _KlineStream:
    name: str
    symbol: str
    interval: str
    pair: str = ""  # of continuous klines
    told: tuple[int, int, int] = (0, -1, 0)  # start, last trade and count of what was told
    due_ms: int = 0


@dataclass(slots=True)
class _Wanted:
    """The streams that somebody listens to, by kind; symbols in upper case."""

    names: frozenset[str] = frozenset()
    trade: set[str] = field(default_factory=set)
    touch: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    mark: set[str] = field(default_factory=set)
    ticker: set[str] = field(default_factory=set)
    mini: set[str] = field(default_factory=set)
    depths: dict[str, _DepthStream] = field(default_factory=dict)
    klines: dict[str, _KlineStream] = field(default_factory=dict)


class MarketStreams:
    """Makes the events of the wanted streams out of state and tape."""

    def __init__(self, state: State, book: Book, tape: Tape, emit: Callable[[Event], None]) -> None:
        self._state = state
        self._book = book
        self._tape = tape
        self._emit = emit
        self._wanted = _Wanted()
        self._touches: dict[str, tuple[str, str, str, str]] = {}
        self._ticked: dict[str, int] = {}  # symbol: last trade when its day was told

    def want(self, names: Iterable[str]) -> None:
        """Say which streams somebody listens to; what is known of the others is forgotten."""
        before, self._wanted = self._wanted, _Wanted(names=frozenset(names))
        for name in self._wanted.names:
            self._sort(name, before)

    def traded(self, symbol: str, trade: AggTrade, event_ms: int) -> None:
        """Tell a trade; documents name no route for this stream, clients use both."""
        if symbol not in self._wanted.trade:
            return
        data = {
            "e": "trade",
            "E": event_ms,
            "T": trade.time_ms,
            "s": symbol,
            "t": trade.last,
            "p": f"{trade.price:f}",
            "q": f"{trade.quantity:f}",
            "X": "MARKET",
            "m": trade.is_buyer_maker,
            "st": 1,
        }
        name = f"{symbol.lower()}@trade"
        self._emit(Event(channel="public", stream=name, data=data))
        self._emit(Event(channel="market", stream=name, data=data))

    def book_moved(self, symbols: Iterable[str], time_ms: int) -> None:
        """Tell the best prices where they changed."""
        every = "!bookTicker" in self._wanted.names
        for symbol in symbols:
            if every or symbol in self._wanted.touch:
                self._tell_touch(symbol, time_ms, every=every)

    def pulse(self, now_ms: int, time_ms: int) -> None:
        """Tell what is told at intervals; call it every 100 ms. `time_ms` is the market's time."""
        for stream in self._wanted.depths.values():
            if now_ms >= stream.due_ms:
                stream.due_ms = now_ms + stream.every_ms
                self._tell_depth(stream, time_ms)
        for kline in self._wanted.klines.values():
            if now_ms >= kline.due_ms:
                kline.due_ms = now_ms + SLOW_MS
                self._tell_kline(kline, time_ms)

    def settle(self, time_ms: int) -> None:
        """Tell the difference streams at once what they have not told yet."""
        for stream in self._wanted.depths.values():
            if not stream.levels:
                self._tell_depth(stream, time_ms)

    def second(self, time_ms: int, next_funding_ms: Callable[[str], int], *, third: bool) -> None:
        """Tell what is told every second (mark prices without suffix: every third)."""
        names = self._wanted.names
        for kind, wanted, all_name in (
            ("24hrTicker", self._wanted.ticker, "!ticker@arr"),
            ("24hrMiniTicker", self._wanted.mini, "!miniTicker@arr"),
        ):
            if wanted or all_name in names:
                self._tell_days(kind, wanted, all_name, time_ms)
        marks = [name for name in ("!markPrice@arr@1s", "!markPrice@arr") if name in names]
        if not marks and not (third and self._wanted.mark):
            return
        rows = {
            symbol: events.mark_price(symbol, market, next_funding_ms(symbol), time_ms).data
            for symbol, market in self._state.markets.items()
            if market.mark is not None
        }
        for name in marks:
            if third or name.endswith("@1s"):
                self._emit(Event(channel="market", stream=name, data=list(rows.values())))
        if third:
            for symbol in self._wanted.mark & rows.keys():
                one = f"{symbol.lower()}@markPrice"
                self._emit(Event(channel="market", stream=one, data=rows[symbol]))

    def forced(self, order: PlainOrder, now_ms: int) -> None:
        """Tell a liquidation order to the public."""
        every = "!forceOrder@arr" in self._wanted.names
        if not every and order.symbol not in self._wanted.forced:
            return
        detail = {
            "s": order.symbol,
            "S": order.side.value,
            "o": "LIMIT",
            "f": "IOC",
            "q": events.trim(order.quantity),
            "p": events.trim(order.price),
            "ap": events.trim(order.average),
            "X": order.status.value,
            "l": events.trim(order.executed),
            "z": events.trim(order.executed),
            "T": now_ms,
        }
        data = {"e": "forceOrder", "E": now_ms, "o": detail, "st": 1}
        for name in (f"{order.symbol.lower()}@forceOrder", "!forceOrder@arr"):
            self._emit(Event(channel="market", stream=name, data=data))

    # --- step by step ----------------------------------------------------------------------

    def _sort(self, name: str, before: _Wanted) -> None:
        """Put a stream name where its kind is looked for; strange ones stay silent."""
        head, _, kind = name.partition("@")
        symbol = head.upper()
        plain = {
            "trade": self._wanted.trade,
            "bookTicker": self._wanted.touch,
            "forceOrder": self._wanted.forced,
            "markPrice": self._wanted.mark,
            "ticker": self._wanted.ticker,
            "miniTicker": self._wanted.mini,
        }
        if head != head.lower():
            return
        if kind in plain and symbol in self._state.rules:
            plain[kind].add(symbol)
        elif found := _DEPTH.fullmatch(name):
            self._sort_depth(name, symbol, found, before)
        elif found := _CONTINUOUS.fullmatch(name) or _KLINE.fullmatch(name):
            symbol, interval = found["symbol"].upper(), found["interval"]
            if symbol in self._state.rules and interval in INTERVALS:
                pair = symbol if "continuous" in name else ""
                made = _KlineStream(name, symbol, interval, pair)
                self._wanted.klines[name] = before.klines.get(name) or made

    def _sort_depth(self, name: str, symbol: str, found: re.Match[str], before: _Wanted) -> None:
        if symbol not in self._state.rules:
            return
        levels, every_ms = int(found["levels"] or 0), int(found["speed"] or SLOW_MS)
        stream = before.depths.get(name) or _DepthStream(name, symbol, levels, every_ms)
        if stream.known is None and not levels:
            stream.known = self._shown(symbol, DEPTH_LEVELS)
            stream.update_id = self._state.markets[symbol].update_id
        self._wanted.depths[name] = stream

    def _tell_touch(self, symbol: str, time_ms: int, *, every: bool) -> None:
        bids, asks = self._rows(symbol, 1)
        if not bids or not asks:
            return
        touch = (bids[0][0], bids[0][1], asks[0][0], asks[0][1])
        if self._touches.get(symbol) == touch:
            return
        self._touches[symbol] = touch
        data = {
            "e": "bookTicker",
            "u": self._state.markets[symbol].update_id,
            "s": symbol,
            "ps": symbol,
            "b": touch[0],
            "B": touch[1],
            "a": touch[2],
            "A": touch[3],
            "T": time_ms,
            "E": time_ms,
            "st": 1,
        }
        if symbol in self._wanted.touch:
            name = f"{symbol.lower()}@bookTicker"
            self._emit(Event(channel="public", stream=name, data=data))
        if every:
            self._emit(Event(channel="public", stream="!bookTicker", data=data))

    def _tell_depth(self, stream: _DepthStream, time_ms: int) -> None:
        market = self._state.markets[stream.symbol]
        if market.update_id == stream.update_id:
            return
        shown = self._shown(stream.symbol, stream.levels or DEPTH_LEVELS)
        if stream.levels:
            if shown == stream.known:
                return
            rows = [[list(level) for level in side.items()] for side in shown]
        else:
            known = stream.known or ({}, {})
            rows = [_changes(old, new) for old, new in zip(known, shown, strict=True)]
            if not any(rows):
                return
        data = {
            "e": "depthUpdate",
            "E": time_ms,
            "T": time_ms,
            "s": stream.symbol,
            "ps": stream.symbol,
            "U": stream.update_id + 1,
            "u": market.update_id,
            "pu": stream.update_id,
            "b": rows[0],
            "a": rows[1],
            "st": 1,
        }
        stream.known, stream.update_id = shown, market.update_id
        self._emit(Event(channel="public", stream=stream.name, data=data))

    def _tell_kline(self, stream: _KlineStream, time_ms: int) -> None:
        candle = self._tape.current(stream.symbol, stream.interval, time_ms)
        if candle is None:
            return
        start, told_last, _ = stream.told
        if start and start < candle.start_ms:
            for over in self._tape.candles(stream.symbol, stream.interval, start, start):
                self._emit_kline(stream, over, time_ms, is_closed=True)
        if (candle.start_ms, candle.last, candle.count) == stream.told and told_last >= 0:
            return
        stream.told = (candle.start_ms, candle.last, candle.count)
        self._emit_kline(stream, candle, time_ms, is_closed=False)

    def _emit_kline(
        self, stream: _KlineStream, candle: Any, time_ms: int, *, is_closed: bool
    ) -> None:
        rules = self._state.rules[stream.symbol]
        detail: dict[str, Any] = {
            "t": candle.start_ms,
            "T": candle_end(stream.interval, candle.start_ms),
            "s": stream.symbol,
            "i": stream.interval,
            "f": candle.first,
            "L": candle.last,
            "o": rules.rest_price(candle.open),
            "c": rules.rest_price(candle.close),
            "h": rules.rest_price(candle.high),
            "l": rules.rest_price(candle.low),
            "v": rules.rest_quantity(candle.volume),
            "n": candle.count,
            "x": is_closed,
            "q": f"{candle.quote:f}",
            "V": rules.rest_quantity(candle.taker_volume),
            "Q": f"{candle.taker_quote:f}",
            "B": "0",
        }
        data: dict[str, Any] = {"e": "kline", "E": time_ms, "s": stream.symbol, "k": detail}
        if stream.pair:
            del detail["s"], data["s"]
            data |= {"e": "continuous_kline", "ps": stream.pair, "ct": "PERPETUAL"}
        self._emit(Event(channel="market", stream=stream.name, data=data))

    def _tell_days(self, kind: str, wanted: set[str], all_name: str, time_ms: int) -> None:
        """Tell the days of symbols that traded since they were told."""
        rows = []
        symbols = self._state.rules if all_name in self._wanted.names else wanted
        for symbol in symbols:
            trades = self._tape.trades(symbol)
            key = f"{kind} {symbol}"
            if not trades or self._ticked.get(key) == trades[-1].number:
                continue
            self._ticked[key] = trades[-1].number
            row = self._day(kind, symbol, trades[-1], time_ms)
            rows.append(row)
            if symbol in wanted:
                suffix = "ticker" if kind == "24hrTicker" else "miniTicker"
                name = f"{symbol.lower()}@{suffix}"
                self._emit(Event(channel="market", stream=name, data=row))
        if rows and all_name in self._wanted.names:
            self._emit(Event(channel="market", stream=all_name, data=rows))

    def _day(self, kind: str, symbol: str, last: AggTrade, time_ms: int) -> dict[str, Any]:
        rules = self._state.rules[symbol]
        day = day_of(rules, self._tape.day(symbol, time_ms))
        row = {
            "e": kind,
            "E": time_ms,
            "s": symbol,
            "c": day["lastPrice"],
            "o": day["openPrice"],
            "h": day["highPrice"],
            "l": day["lowPrice"],
            "v": day["volume"],
            "q": day["quoteVolume"],
            "st": 1,
            "ps": symbol,
        }
        if kind == "24hrMiniTicker":
            return row
        return row | {
            "p": day["priceChange"],
            "P": day["priceChangePercent"],
            "w": day["weightedAvgPrice"],
            "Q": rules.rest_quantity(last.quantity),
            "O": time_ms - DAY_MS,
            "C": time_ms,
            "F": day["firstId"],
            "L": day["lastId"],
            "n": day["count"],
        }

    def _rows(self, symbol: str, count: int) -> tuple[list[list[str]], list[list[str]]]:
        own = self._book.open_orders(symbol)
        bids, asks = depth.shown(self._state, symbol, own, count)
        rules = self._state.rules[symbol]
        return depth_rows(rules, bids), depth_rows(rules, asks)

    def _shown(self, symbol: str, count: int) -> tuple[dict[str, str], dict[str, str]]:
        bids, asks = self._rows(symbol, count)
        return {row[0]: row[1] for row in bids}, {row[0]: row[1] for row in asks}


def _changes(old: dict[str, str], new: dict[str, str]) -> list[list[str]]:
    """Return what changed from one side of the book to the next; gone levels have no quantity."""
    changed = [[price, quantity] for price, quantity in new.items() if old.get(price) != quantity]
    return changed + [[price, "0"] for price in old if price not in new]
