"""Which path is answered by whom, how it is secured, and whether it reads account data."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from paper import (
    rest_account,
    rest_algos,
    rest_batch,
    rest_history,
    rest_market,
    rest_more,
    rest_orders,
)
from paper.desk import Desk
from paper.options import Options
from paper.params import Params

Body = dict[str, Any] | list[dict[str, Any]] | list[list[Any]]
Handler = Callable[[Desk, Params, int], Body]
Weight = int | Callable[[Mapping[str, str], Options], int]


class Security(StrEnum):
    """What a request must carry: nothing, the API key, or the key and a signature."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Route(NamedTuple):
    """One endpoint: its IP weight, and as how many orders it counts in ten seconds and a minute."""

    security: Security
    handler: Handler
    weight: Weight
    is_account_read: bool
    orders: tuple[int, int] = (0, 0)
    shares_funding_limit: bool = False

    def weigh(self, params: Mapping[str, str], options: Options) -> int:
        """Return the IP weight of a request."""
        return self.weight if isinstance(self.weight, int) else self.weight(params, options)


def by_symbol(one: int, every: int) -> Weight:
    """Weigh a request by whether it names a symbol."""
    return lambda params, _options: one if params.get("symbol") else every


def by_depth(params: Mapping[str, str], _options: Options) -> int:
    """Weigh a request for the order book."""
    limit = _limit(params, 500)
    return next((w for top, w in ((50, 2), (100, 5), (500, 10)) if limit <= top), 20)


def by_klines(params: Mapping[str, str], _options: Options) -> int:
    """Weigh a request for candles."""
    limit = _limit(params, 500)
    return next((w for top, w in ((99, 1), (499, 2), (1000, 5)) if limit <= top), 10)


def by_version(_params: Mapping[str, str], options: Options) -> int:
    """Weigh a read of the account in its second version."""
    return options.v2_weight


def by_amendment(_params: Mapping[str, str], options: Options) -> int:
    """Weigh an amendment."""
    return options.amend_weight


def _limit(params: Mapping[str, str], default: int) -> int:
    text = params.get("limit", "")
    return int(text) if text.isdigit() and len(text) < 6 else default


def _open(handler: Handler, weight: Weight = 1) -> Route:
    return Route(Security.NONE, handler, weight, is_account_read=False)


def _funding(handler: Handler) -> Route:
    """Return a question that has no weight but a limit of its own."""
    return _open(handler, 0)._replace(shares_funding_limit=True)


def _key(handler: Handler, weight: Weight = 1) -> Route:
    return Route(Security.KEY, handler, weight, is_account_read=False)


def _read(handler: Handler, weight: Weight = 1) -> Route:
    return Route(Security.SIGNED, handler, weight, is_account_read=True)


def _signed(handler: Handler, weight: Weight = 1, *, orders: tuple[int, int] = (0, 0)) -> Route:
    return Route(Security.SIGNED, handler, weight, is_account_read=False, orders=orders)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): _open(rest_market.ping),
    ("GET", "/fapi/v1/time"): _open(rest_market.time),
    ("GET", "/fapi/v1/exchangeInfo"): _open(rest_market.exchange_info),
    ("GET", "/fapi/v1/depth"): _open(rest_market.depth, by_depth),
    ("GET", "/fapi/v1/ticker/price"): _open(rest_market.price, by_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): _open(rest_market.price, by_symbol(1, 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): _open(rest_market.book_ticker, by_symbol(2, 5)),
    ("GET", "/fapi/v1/premiumIndex"): _open(rest_market.premium_index, by_symbol(1, 10)),
    ("GET", "/fapi/v1/aggTrades"): _open(rest_history.agg_trades, 20),
    ("GET", "/fapi/v1/trades"): _open(rest_history.trades, 5),
    ("GET", "/fapi/v1/klines"): _open(rest_history.klines, by_klines),
    ("GET", "/fapi/v1/ticker/24hr"): _open(rest_history.day_ticker, by_symbol(1, 40)),
    ("GET", "/fapi/v1/fundingRate"): _funding(rest_history.funding_rates),
    ("GET", "/fapi/v1/fundingInfo"): _funding(rest_history.funding_info),
    ("POST", "/fapi/v1/listenKey"): _key(rest_account.create_listen_key),
    ("PUT", "/fapi/v1/listenKey"): _key(rest_account.extend_listen_key),
    ("DELETE", "/fapi/v1/listenKey"): _key(rest_account.close_listen_key),
    ("POST", "/fapi/v1/order"): _signed(rest_orders.place, 0, orders=(1, 1)),
    ("POST", "/fapi/v1/order/test"): _signed(rest_orders.test, 0),
    ("PUT", "/fapi/v1/order"): _signed(rest_orders.amend, by_amendment, orders=(1, 1)),
    ("DELETE", "/fapi/v1/order"): _signed(rest_orders.cancel),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(rest_orders.cancel_all),
    ("GET", "/fapi/v1/continuousKlines"): _open(rest_more.continuous_klines, by_klines),
    ("GET", "/fapi/v1/historicalTrades"): _key(rest_history.trades, 20),
    ("GET", "/fapi/v1/multiAssetsMargin"): _read(rest_more.multi_assets, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(rest_more.change_multi_assets),
    ("GET", "/fapi/v1/feeBurn"): _read(rest_more.fee_burn, 30),
    ("POST", "/fapi/v1/feeBurn"): _signed(rest_more.change_fee_burn),
    ("GET", "/fapi/v1/adlQuantile"): _read(rest_more.adl_quantile, 5),
    ("GET", "/fapi/v1/forceOrders"): _read(rest_more.force_orders, by_symbol(20, 50)),
    ("POST", "/fapi/v1/positionMargin"): _signed(rest_more.change_position_margin),
    ("POST", "/fapi/v1/stock/contract"): _signed(rest_more.sign_stock_contract, 50),
    ("POST", "/fapi/v1/batchOrders"): _signed(rest_batch.place, 5, orders=(5, 1)),
    ("PUT", "/fapi/v1/batchOrders"): _signed(rest_batch.amend, 5, orders=(5, 1)),
    ("DELETE", "/fapi/v1/batchOrders"): _signed(rest_batch.cancel),
    ("POST", "/fapi/v1/countdownCancelAll"): _signed(rest_batch.countdown, 10),
    ("GET", "/fapi/v1/order"): _read(rest_orders.query),
    ("GET", "/fapi/v1/openOrder"): _read(rest_orders.query_open),
    ("GET", "/fapi/v1/openOrders"): _read(rest_orders.open_orders, by_symbol(1, 40)),
    ("GET", "/fapi/v1/allOrders"): _read(rest_orders.all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): _read(rest_orders.user_trades, 5),
    ("POST", "/fapi/v1/algoOrder"): _signed(rest_algos.place_algo, 0, orders=(1, 1)),
    ("DELETE", "/fapi/v1/algoOrder"): _signed(rest_algos.cancel_algo),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(rest_algos.cancel_all_algos),
    ("GET", "/fapi/v1/algoOrder"): _read(rest_algos.query_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): _read(rest_algos.open_algos, by_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): _read(rest_algos.all_algos, 5),
    ("GET", "/fapi/v1/rateLimit/order"): _read(rest_market.order_limits),
    ("GET", "/fapi/v1/positionSide/dual"): _read(rest_account.position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(rest_account.change_position_mode),
    ("POST", "/fapi/v1/leverage"): _signed(rest_account.change_leverage),
    ("POST", "/fapi/v1/marginType"): _signed(rest_account.change_margin_type),
    ("GET", "/fapi/v1/symbolConfig"): _read(rest_account.symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): _read(rest_account.account_config, 5),
    ("GET", "/fapi/v1/leverageBracket"): _read(rest_account.leverage_brackets),
    ("GET", "/fapi/v1/commissionRate"): _read(rest_account.commission_rate, 20),
    ("GET", "/fapi/v2/balance"): _read(rest_account.balance, by_version),
    ("GET", "/fapi/v3/balance"): _read(rest_account.balance, 5),
    ("GET", "/fapi/v2/account"): _read(rest_account.account_v2, by_version),
    ("GET", "/fapi/v3/account"): _read(rest_account.account_v3, 5),
    ("GET", "/fapi/v2/positionRisk"): _read(rest_account.position_risk_v2, by_version),
    ("GET", "/fapi/v3/positionRisk"): _read(rest_account.position_risk_v3, 5),
    ("GET", "/fapi/v1/income"): _read(rest_account.income, 30),
}
