"""REST: what the market did: trades, candles, the last day, funding."""

from decimal import Decimal
from typing import Any

from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params
from paper.rules import SymbolRules
from paper.state import ZERO
from paper.tape import (
    DAY_MS,
    HOUR_MS,
    INTERVALS,
    Candle,
    candle_end,
    starts_back,
)

Body = dict[str, Any] | list[dict[str, Any]] | list[list[Any]]

KEPT_MS = 48 * HOUR_MS


def agg_trades(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/aggTrades: of the last 48 hours, by number or by a time span below one hour."""
    symbol, limit = desk.rules(params).symbol, params.limit(500, 1000)
    first, start, end = (params.integer(name) for name in ("fromId", "startTime", "endTime"))
    if first is not None and (start is not None or end is not None):
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    if start is not None and end is not None:
        if end < start:
            raise RefusedError(-1023, "Start time is greater than end time.")
        if end - start > HOUR_MS:
            raise RefusedError(-1127, "Lookup interval is too big.")
    oldest = desk.market_ms(now_ms) - KEPT_MS
    rows = [one for one in desk.tape.trades(symbol) if one.time_ms >= oldest]
    if first is not None:
        rows = [one for one in rows if one.number >= first][:limit]
    elif start is not None:
        rows = [one for one in rows if start <= one.time_ms <= (end or one.time_ms)][:limit]
    else:
        rows = [one for one in rows if end is None or one.time_ms <= end][-limit:]
    return [
        {
            "a": one.number,
            "p": f"{one.price:f}",
            "q": f"{one.quantity:f}",
            "nq": f"{one.quantity:f}",
            "f": one.first,
            "l": one.last,
            "T": one.time_ms,
            "m": one.is_buyer_maker,
        }
        for one in rows
    ]


def trades(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/trades: one trade stands for each aggregated one."""
    symbol, limit = desk.rules(params).symbol, params.limit(500, 1000)
    return [
        {
            "id": one.last,
            "price": f"{one.price:f}",
            "qty": f"{one.quantity:f}",
            "quoteQty": f"{one.price * one.quantity:f}",
            "time": one.time_ms,
            "isBuyerMaker": one.is_buyer_maker,
            "isRPITrade": False,
        }
        for one in list(desk.tape.trades(symbol))[-limit:]
    ]


def klines(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/klines."""
    rules, interval = desk.rules(params), params.required("interval")
    if interval not in INTERVALS:
        raise RefusedError(-1120, "Invalid interval.")
    limit = params.limit(500, 1500)
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and end < start:
        raise RefusedError(-1023, "Start time is greater than end time.")
    now = desk.market_ms(now_ms)
    last = now if end is None else min(end, now)
    begin = starts_back(interval, last, limit) if start is None else start
    found = desk.tape.candles(rules.symbol, interval, begin, last)
    chosen = found[-limit:] if start is None else found[:limit]
    return [_row(rules, interval, candle) for candle in chosen]


def day_ticker(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/ticker/24hr."""
    now = desk.market_ms(now_ms)
    rows = [_day(desk, symbol, now) for symbol in desk.symbols(params)]
    return rows if params.text("symbol") is None else rows[0]


def funding_rates(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/fundingRate: the settlements so far, oldest first."""
    limit = params.limit(100, 1000)
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and end < start:
        raise RefusedError(-1023, "Start time is greater than end time.")
    rows = [
        {
            "symbol": symbol,
            "fundingRate": f"{one.rate:.8f}",
            "fundingTime": one.time_ms,
            "markPrice": f"{one.mark:.8f}",
            "rateType": "Regular",
        }
        for symbol in desk.symbols(params)
        for one in desk.state.markets[symbol].fundings
        if (start is None or one.time_ms >= start) and (end is None or one.time_ms <= end)
    ]
    rows.sort(key=lambda row: int(str(row["fundingTime"])))
    return rows[-limit:] if start is None else rows[:limit]


def funding_info(desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/fundingInfo: only symbols whose interval is not eight hours."""
    hours = desk.state.options.funding_interval_ms // HOUR_MS
    if hours == 8:
        return []
    return [
        {
            "symbol": symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": hours,
            "disclaimer": False,
        }
        for symbol in desk.state.rules
    ]


def day_of(rules: SymbolRules, candle: Candle | None) -> dict[str, Any]:
    """Return the numbers of a day, by the names of the REST answer."""
    if candle is None:
        candle = Candle(0, ZERO, ZERO, ZERO, ZERO)
    change = candle.close - candle.open
    percent = change / candle.open * 100 if candle.open else ZERO
    average = candle.quote / candle.volume if candle.volume else candle.close
    return {
        "priceChange": rules.rest_price(change),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": rules.rest_price(average),
        "lastPrice": rules.rest_price(candle.close),
        "openPrice": rules.rest_price(candle.open),
        "highPrice": rules.rest_price(candle.high),
        "lowPrice": rules.rest_price(candle.low),
        "volume": rules.rest_quantity(candle.volume),
        "quoteVolume": f"{candle.quote:.2f}",
        "firstId": candle.first,
        "lastId": candle.last,
        "count": candle.count,
    }


def _day(desk: Desk, symbol: str, now: int) -> dict[str, Any]:
    rules, last = desk.state.rules[symbol], desk.tape.trades(symbol)
    quantity = last[-1].quantity if last else Decimal(0)
    return {
        "symbol": symbol,
        **day_of(rules, desk.tape.day(symbol, now)),
        "lastQty": rules.rest_quantity(quantity),
        "openTime": now - DAY_MS,
        "closeTime": now,
    }


def _row(rules: SymbolRules, interval: str, candle: Candle) -> list[Any]:
    return [
        candle.start_ms,
        rules.rest_price(candle.open),
        rules.rest_price(candle.high),
        rules.rest_price(candle.low),
        rules.rest_price(candle.close),
        rules.rest_quantity(candle.volume),
        candle_end(interval, candle.start_ms),
        f"{candle.quote:f}",
        candle.count,
        rules.rest_quantity(candle.taker_volume),
        f"{candle.taker_quote:f}",
        "0",
    ]
