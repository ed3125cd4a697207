"""REST: market data and general questions."""

from typing import Any

from paper import depth as order_book
from paper.desk import Desk
from paper.params import Params, invalid
from paper.rules import SymbolRules
from paper.state import ZERO

Body = dict[str, Any] | list[dict[str, Any]]
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


def ping(_desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/ping."""
    return {}


def time(_desk: Desk, _params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/time."""
    return {"serverTime": now_ms}


def exchange_info(desk: Desk, _params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, desk.state.options.weight_limit),
            *_order_limits(desk),
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [rules.exchange_info() for rules in desk.state.rules.values()],
    }


def price(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1 and v2 ticker/price."""
    return _one_or_all(params, [_price(desk, s, now_ms) for s in desk.symbols(params)])


def book_ticker(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/ticker/bookTicker."""
    return _one_or_all(params, [_book(desk, s, now_ms) for s in desk.symbols(params)])


def premium_index(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/premiumIndex."""
    return _one_or_all(params, [_premium(desk, s, now_ms) for s in desk.symbols(params)])


def depth(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/depth."""
    rules, limit = desk.rules(params), params.integer("limit") or 500
    if limit not in DEPTHS:
        raise invalid("limit")
    desk.settle_streams()
    market = desk.state.markets[rules.symbol]
    # an update without content, so that the next one that the streams tell begins here
    market.update_id += 1
    own = desk.matching.book.open_orders(rules.symbol)
    bids, asks = order_book.shown(desk.state, rules.symbol, own, limit)
    time_ms = desk.market_ms(now_ms)
    return {
        "lastUpdateId": market.update_id,
        "E": time_ms,
        "T": time_ms,
        "bids": depth_rows(rules, bids),
        "asks": depth_rows(rules, asks),
    }


def depth_rows(rules: SymbolRules, levels: list[order_book.Level]) -> list[list[str]]:
    """Return the levels as price and quantity, both as text."""
    return [[rules.rest_price(x.price), rules.rest_quantity(x.quantity)] for x in levels]


def touch(desk: Desk, symbol: str) -> tuple[order_book.Level, order_book.Level]:
    """Return the best bid and the best ask, both 0 where there is none."""
    own = desk.matching.book.open_orders(symbol)
    bids, asks = order_book.shown(desk.state, symbol, own, 1)
    nothing = order_book.Level(ZERO, ZERO)
    return (bids or [nothing])[0], (asks or [nothing])[0]


def order_limits(desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/rateLimit/order."""
    return _order_limits(desk)


def _order_limits(desk: Desk) -> list[dict[str, Any]]:
    options = desk.state.options
    return [
        _limit("ORDERS", "MINUTE", 1, options.orders_minute),
        _limit("ORDERS", "SECOND", 10, options.orders_ten_seconds),
    ]


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _one_or_all(params: Params, rows: list[dict[str, Any]]) -> Body:
    return rows if params.text("symbol") is None else rows[0]


def _price(desk: Desk, symbol: str, now_ms: int) -> dict[str, Any]:
    rules, market = desk.state.rules[symbol], desk.state.markets[symbol]
    return {
        "symbol": symbol,
        "price": rules.rest_price(market.last or ZERO),
        "time": desk.market_ms(now_ms),
    }


def _book(desk: Desk, symbol: str, now_ms: int) -> dict[str, Any]:
    rules, (bid, ask) = desk.state.rules[symbol], touch(desk, symbol)
    return {
        "symbol": symbol,
        "bidPrice": rules.rest_price(bid.price),
        "bidQty": rules.rest_quantity(bid.quantity),
        "askPrice": rules.rest_price(ask.price),
        "askQty": rules.rest_quantity(ask.quantity),
        "time": desk.market_ms(now_ms),
        "lastUpdateId": desk.state.markets[symbol].update_id,
    }


def _premium(desk: Desk, symbol: str, now_ms: int) -> dict[str, Any]:
    market = desk.state.markets[symbol]
    mark = f"{market.mark or ZERO:.8f}"
    return {
        "symbol": symbol,
        "markPrice": mark,
        "indexPrice": mark if market.index is None else f"{market.index:.8f}",
        "estimatedSettlePrice": mark,
        "lastFundingRate": f"{market.funding_rate:.8f}",
        "interestRate": "0.00010000",
        "nextFundingTime": market.next_funding_ms or desk.next_funding_ms(desk.market_ms(now_ms)),
        "time": desk.market_ms(now_ms),
    }
