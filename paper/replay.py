"""Replays of Binance's public dumps: aggTrades and klines, csv plain, .gz, .zip or .zst."""

import csv
import gzip
import heapq
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TextIO

import zstandard

from paper.feeds import FeedError, FeedPlan, Tick, Ticks, to_step
from paper.rules import SymbolRules

_SYMBOL = re.compile(r"(?<![A-Z0-9])([A-Z0-9]{2,20}(?:USDT|USDC))(?![A-Z0-9])")
_MICROSECONDS = 10**14  # dumps of some markets give times in microseconds
_TRADE_COLUMNS = ("price", "quantity", "transact_time", "is_buyer_maker")
_ID_COLUMNS = ("agg_trade_id", "first_trade_id", "last_trade_id")
_CANDLE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")
_AGG_TRADE_ORDER = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
)
_CANDLE_ORDER = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a dump, by column name."""

    where: str
    values: Mapping[str, str]

    def decimal(self, column: str) -> Decimal:
        text = self.values[column]
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise self._bad(column, text) from error
        if not value.is_finite() or value < 0:
            raise self._bad(column, text)
        return value

    def time_ms(self, column: str) -> int:
        value = int(self.decimal(column))
        return value // 1000 if value >= _MICROSECONDS else value

    def ids(self) -> tuple[int, int, int] | None:
        """Return the trade's numbers, None where the dump leaves one out."""
        texts = [self.values.get(column, "") for column in _ID_COLUMNS]
        if not all(text.isascii() and text.isdigit() for text in texts):
            return None
        own, first, last = map(int, texts)
        return own, first, last

    def flag(self, column: str) -> bool:
        text = self.values[column].strip().lower()
        if text not in ("true", "false"):
            raise self._bad(column, text)
        return text == "true"

    def _bad(self, column: str, text: str) -> FeedError:
        return FeedError(f"{self.where}: column {column} cannot be read: {text!r}")


def replay(plan: FeedPlan, symbols: Mapping[str, SymbolRules], wanted: Sequence[str]) -> Ticks:
    """Return the ticks of one or several dumps on one clock, which starts at the first of them.

    `wanted` are the symbols that the person asked for; a file says its symbol by its name, and one
    that says none is taken for the only wanted symbol.

    Raises:
        FeedError: a file is missing, unreadable, of another symbol, or has nothing in the range.
            Lines further down are judged when the replay gets there.
    """
    streams = []
    for path in plan.paths:
        if not path.is_file():
            raise FeedError(f"{path}: no such file")
        rules = _rules_for(path, symbols, wanted)
        stream = _in_range(_read(path, rules), plan)
        first = next(stream, None)
        if first is None:
            raise FeedError(f"{path}: no trades between FROM and TO")
        streams.append(_chain(first, stream))
    return _on_one_clock(heapq.merge(*streams, key=lambda tick: tick.time_ms or 0))


def symbols_of(plan: FeedPlan) -> list[str]:
    """Return the symbols that the names of the files say."""
    found = [_SYMBOL.search(path.name) for path in plan.paths]
    return list(dict.fromkeys(match.group(1) for match in found if match))


def _rules_for(
    path: Path, symbols: Mapping[str, SymbolRules], wanted: Sequence[str]
) -> SymbolRules:
    match = _SYMBOL.search(path.name)
    if match is None and len(wanted) != 1:
        raise FeedError(f"{path}: its name says no symbol; name exactly one with SYMBOL")
    symbol = match.group(1) if match else wanted[0]
    if wanted and symbol not in wanted:
        raise FeedError(f"{path}: holds {symbol}, but {', '.join(wanted)} was asked for")
    if symbol not in symbols:
        raise FeedError(f"{path}: {symbol} is not a symbol of the paper exchange")
    return symbols[symbol]


def _chain(first: Tick, rest: Iterable[Tick]) -> Iterator[Tick]:
    yield first
    yield from rest


def _on_one_clock(ticks: Iterable[Tick]) -> Iterator[Tick]:
    start: int | None = None
    for tick in ticks:
        time_ms = tick.time_ms or 0
        start = time_ms if start is None else start
        yield Tick(
            at_ms=float(time_ms - start),
            symbol=tick.symbol,
            price=tick.price,
            quantity=tick.quantity,
            is_buyer_maker=tick.is_buyer_maker,
            time_ms=time_ms,
            ids=tick.ids,
        )


def _in_range(ticks: Iterable[Tick], plan: FeedPlan) -> Iterator[Tick]:
    for tick in ticks:
        time_ms = tick.time_ms or 0
        if plan.to_ms is not None and time_ms >= plan.to_ms:
            return
        if plan.from_ms is None or time_ms >= plan.from_ms:
            yield tick


def _read(path: Path, rules: SymbolRules) -> Iterator[Tick]:
    with ExitStack() as stack:
        try:
            lines = _open(path, stack)
            rows = csv.reader(lines)
            yield from _parse(path, rows, rules)
        except (OSError, EOFError, zipfile.BadZipFile, zstandard.ZstdError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise FeedError(f"{path}: {reason}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise FeedError(f"{path}: not a csv file: {error}") from error


def _open(path: Path, stack: ExitStack) -> TextIO:
    if path.suffix == ".gz":
        return stack.enter_context(gzip.open(path, "rt", encoding="utf-8", newline=""))
    if path.suffix == ".zst":
        raw = stack.enter_context(path.open("rb"))
        reader = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(raw))
        return io.TextIOWrapper(reader, encoding="utf-8", newline="")
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = [name for name in archive.namelist() if name.endswith(".csv")]
        if not members:
            raise FeedError(f"{path}: holds no csv file")
        member = stack.enter_context(archive.open(members[0]))
        return io.TextIOWrapper(member, encoding="utf-8", newline="")
    return stack.enter_context(path.open(encoding="utf-8", newline=""))


def _parse(path: Path, rows: Iterator[list[str]], rules: SymbolRules) -> Iterator[Tick]:
    columns: list[str] | None = None
    previous: Decimal | None = None
    for number, cells in enumerate(rows, start=1):
        if not cells:
            continue
        if columns is None:
            columns = _columns(path, cells)
            if not _is_number(cells[0]):
                continue
        if len(cells) < len(columns):
            raise FeedError(f"{path}:{number}: {len(cells)} columns instead of {len(columns)}")
        row = _Row(f"{path}:{number}", dict(zip(columns, cells, strict=False)))
        ticks = _trade(row, rules) if "price" in columns else _candle(row, rules, previous)
        for tick in ticks:
            previous = tick.price
            yield tick


def _columns(path: Path, cells: list[str]) -> list[str]:
    """Return the column names, from the header or from the number of columns."""
    if _is_number(cells[0]):
        orders = {7: _AGG_TRADE_ORDER, 8: _AGG_TRADE_ORDER, 12: _CANDLE_ORDER}
        order = orders.get(len(cells))
        if order is None:
            raise FeedError(f"{path}: {len(cells)} columns: neither aggTrades nor klines")
        return list(order)
    names = [cell.strip().lower() for cell in cells]
    if all(name in names for name in _TRADE_COLUMNS):
        return names
    if all(name in names for name in _CANDLE_COLUMNS):
        return names
    wanted = _CANDLE_COLUMNS if "open_time" in names else _TRADE_COLUMNS
    lacking = [name for name in wanted if name not in names]
    raise FeedError(f"{path}: column {', '.join(lacking)} is missing")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text.strip()) is not None


def _trade(row: _Row, rules: SymbolRules) -> Iterator[Tick]:
    price, quantity = row.decimal("price"), row.decimal("quantity")
    if price and quantity:
        yield Tick(
            at_ms=0.0,
            symbol=rules.symbol,
            price=price,
            quantity=quantity,
            is_buyer_maker=row.flag("is_buyer_maker"),
            time_ms=row.time_ms("transact_time"),
            ids=row.ids(),
        )


def _candle(row: _Row, rules: SymbolRules, previous: Decimal | None) -> Iterator[Tick]:
    """Yield open, low, high, close of a rising candle, open, high, low, close of a falling one."""
    opened, high, low = row.decimal("open"), row.decimal("high"), row.decimal("low")
    closed, volume = row.decimal("close"), row.decimal("volume")
    if not volume or not low:
        return
    middle = (low, high) if closed >= opened else (high, low)
    begin, end = row.time_ms("open_time"), row.time_ms("close_time")
    quarter_ms = (end - begin + 1) // 4
    for place, price in enumerate((opened, *middle, closed)):
        yield Tick(
            at_ms=0.0,
            symbol=rules.symbol,
            price=price,
            quantity=to_step(volume / 4, rules),
            is_buyer_maker=previous is not None and price < previous,
            time_ms=begin + place * quarter_ms,
        )
        previous = price
