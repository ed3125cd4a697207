"""REST: market data and general questions."""

from decimal import Decimal
from typing import Any

from paper.desk import Desk
from paper.params import Params
from paper.state import ZERO

Body = dict[str, Any] | list[dict[str, Any]]
DEPTH = Decimal(1000)  # what the best price is said to hold: the book itself is not modelled

ORDER_LIMITS = (
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
)
WEIGHT_LIMIT = {
    "rateLimitType": "REQUEST_WEIGHT",
    "interval": "MINUTE",
    "intervalNum": 1,
    "limit": 2400,
}


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
        "rateLimits": [dict(WEIGHT_LIMIT), *(dict(limit) for limit in ORDER_LIMITS)],
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
    """GET /fapi/v1/depth: one price on each side."""
    rules = desk.rules(params)
    market = desk.state.markets[rules.symbol]
    size = rules.rest_quantity(DEPTH)
    return {
        "lastUpdateId": market.next_trade_id,
        "E": now_ms,
        "T": now_ms,
        "bids": [[rules.rest_price(market.bid), size]],
        "asks": [[rules.rest_price(market.ask), size]],
    }


def order_limits(_desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/rateLimit/order."""
    return [dict(limit) for limit in ORDER_LIMITS]


def _one_or_all(params: Params, rows: list[dict[str, Any]]) -> Body:
    return rows if params.text("symbol") is None else rows[0]


def _price(desk: Desk, symbol: str, now_ms: int) -> dict[str, Any]:
    rules, market = desk.state.rules[symbol], desk.state.markets[symbol]
    return {"symbol": symbol, "price": rules.rest_price(market.last or ZERO), "time": now_ms}


def _book(desk: Desk, symbol: str, now_ms: int) -> dict[str, Any]:
    rules, market = desk.state.rules[symbol], desk.state.markets[symbol]
    size = rules.rest_quantity(DEPTH)
    return {
        "symbol": symbol,
        "bidPrice": rules.rest_price(market.bid),
        "bidQty": size,
        "askPrice": rules.rest_price(market.ask),
        "askQty": size,
        "time": now_ms,
        "lastUpdateId": market.next_trade_id,
    }


def _premium(desk: Desk, symbol: str, now_ms: int) -> dict[str, Any]:
    market = desk.state.markets[symbol]
    mark = f"{market.mark or ZERO:.8f}"
    return {
        "symbol": symbol,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": f"{market.funding_rate:f}",
        "interestRate": "0.00010000",
        "nextFundingTime": desk.next_funding_ms(now_ms),
        "time": now_ms,
    }
