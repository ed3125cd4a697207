"""Three independent clients of Binance, each called by one set of words. Only addresses are ours.

`call(word, **params)` uses the client's own function for it, where it has one; the official SDK
parses every answer with its pydantic models, so an answer that they do not accept is an error.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from binance.async_client import AsyncClient
from binance.error import ClientError, ServerError
from binance.exceptions import BinanceAPIException
from binance.um_futures import UMFutures
from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import Error as SdkError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)

from paper.server import DEFAULT_KEY, DEFAULT_SECRET


class RefusedByExchange(Exception):
    """What a client made of an error answer."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Client(Protocol):
    """A client library behind our words."""

    async def call(self, word: str, **params: Any) -> Any:
        """Return the answer; raise RefusedByExchange with its code."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How each client says one thing. A pair is method and path of its generic signed request."""

    python_binance: str
    connector: str | tuple[str, str]
    sdk: str


WAYS = {
    "ping": _Way("futures_ping", "ping", "test_connectivity"),
    "time": _Way("futures_time", "time", "check_server_time"),
    "exchange_info": _Way("futures_exchange_info", "exchange_info", "exchange_information"),
    "depth": _Way("futures_order_book", "depth", "order_book"),
    "klines": _Way("futures_klines", "klines", "kline_candlestick_data"),
    "agg_trades": _Way(
        "futures_aggregate_trades", "agg_trades", "compressed_aggregate_trades_list"
    ),
    "trades": _Way("futures_recent_trades", "trades", "recent_trades_list"),
    "premium": _Way("futures_mark_price", "mark_price", "mark_price"),
    "price": _Way("futures_symbol_ticker", "ticker_price", "symbol_price_ticker_v2"),
    "book_ticker": _Way("futures_orderbook_ticker", "book_ticker", "symbol_order_book_ticker"),
    "day": _Way("futures_ticker", "ticker_24hr_price_change", "ticker24hr_price_change_statistics"),
    "funding": _Way("futures_funding_rate", "funding_rate", "get_funding_rate_history"),
    "mode": _Way("futures_get_position_mode", "get_position_mode", "get_current_position_mode"),
    "set_mode": _Way(
        "futures_change_position_mode", "change_position_mode", "change_position_mode"
    ),
    "leverage": _Way("futures_change_leverage", "change_leverage", "change_initial_leverage"),
    "margin_type": _Way("futures_change_margin_type", "change_margin_type", "change_margin_type"),
    "balance": _Way("futures_account_balance", "balance", "futures_account_balance_v3"),
    "account": _Way("futures_account", "account", "account_information_v3"),
    "account_v2": _Way("", ("GET", "/fapi/v2/account"), "account_information_v2"),
    "positions": _Way(
        "futures_position_information",
        ("GET", "/fapi/v3/positionRisk"),
        "position_information_v3",
    ),
    "positions_v2": _Way("", ("GET", "/fapi/v2/positionRisk"), "position_information_v2"),
    "account_config": _Way(
        "futures_account_config", "futures_account_configuration", "futures_account_configuration"
    ),
    "symbol_config": _Way("futures_symbol_config", "symbol_configuration", "symbol_configuration"),
    "brackets": _Way(
        "futures_leverage_bracket", "leverage_brackets", "notional_and_leverage_brackets"
    ),
    "commission": _Way("futures_commission_rate", "commission_rate", "user_commission_rate"),
    "order_limits": _Way("", "query_user_rate_limit", "query_user_rate_limit"),
    "place": _Way("futures_create_order", "new_order", "new_order"),
    "test": _Way("futures_create_test_order", "new_order_test", "test_order"),
    "amend": _Way("futures_modify_order", "modify_order", "modify_order"),
    "cancel": _Way("futures_cancel_order", "cancel_order", "cancel_order"),
    "cancel_all": _Way(
        "futures_cancel_all_open_orders", "cancel_open_orders", "cancel_all_open_orders"
    ),
    "query": _Way("futures_get_order", "query_order", "query_order"),
    "query_open": _Way("", "get_open_orders", "query_current_open_order"),
    "open_orders": _Way("futures_get_open_orders", "get_orders", "current_all_open_orders"),
    "all_orders": _Way("futures_get_all_orders", "get_all_orders", "all_orders"),
    "batch": _Way("futures_place_batch_order", "new_batch_order", "place_multiple_orders"),
    "cancel_batch": _Way("futures_cancel_orders", "cancel_batch_order", "cancel_multiple_orders"),
    "countdown": _Way(
        "futures_countdown_cancel_all", "countdown_cancel_order", "auto_cancel_all_open_orders"
    ),
    "my_trades": _Way("futures_account_trades", "get_account_trades", "account_trade_list"),
    "income": _Way("futures_income_history", "get_income_history", "get_income_history"),
    "place_algo": _Way(
        "futures_create_algo_order", ("POST", "/fapi/v1/algoOrder"), "new_algo_order"
    ),
    "cancel_algo": _Way(
        "futures_cancel_algo_order", ("DELETE", "/fapi/v1/algoOrder"), "cancel_algo_order"
    ),
    "query_algo": _Way("futures_get_algo_order", ("GET", "/fapi/v1/algoOrder"), "query_algo_order"),
    "open_algos": _Way(
        "futures_get_open_algo_orders",
        ("GET", "/fapi/v1/openAlgoOrders"),
        "current_all_algo_open_orders",
    ),
    "all_algos": _Way(
        "futures_get_all_algo_orders", ("GET", "/fapi/v1/allAlgoOrders"), "query_all_algo_orders"
    ),
    "cancel_all_algos": _Way(
        "futures_cancel_all_algo_open_orders",
        ("DELETE", "/fapi/v1/algoOpenOrders"),
        "cancel_all_algo_open_orders",
    ),
    "listen_key": _Way("futures_stream_get_listen_key", "new_listen_key", "start_user_data_stream"),
    "keep_key": _Way("futures_stream_keepalive", "renew_listen_key", "keepalive_user_data_stream"),
    "close_key": _Way("futures_stream_close", "close_listen_key", "close_user_data_stream"),
}
# python-binance has no function for these; its own way to any path and version is used
_PATHS = {
    "account_v2": ("get", "account", 2),
    "positions_v2": ("get", "positionRisk", 2),
    "order_limits": ("get", "rateLimit/order", 1),
    "query_open": ("get", "openOrder", 1),
}


class PythonBinance:
    """python-binance: asynchronous, answers as they come."""

    def __init__(self, address: str) -> None:
        self.client = AsyncClient(DEFAULT_KEY, DEFAULT_SECRET)
        self.client.FUTURES_URL = f"{address}/fapi"

    async def call(self, word: str, **params: Any) -> Any:
        way = WAYS[word].python_binance
        try:
            if word in _PATHS:
                method, path, version = _PATHS[word]
                return await self.client._request_futures_api(
                    method, path, True, version=version, data=params
                )
            if word == "batch":
                params["batchOrders"] = params.pop("orders")
            if word == "cancel_batch":  # its own spelling
                names = {"origClientOrderIdList", "orderIdList"} & params.keys()
                params |= {name.lower(): params.pop(name) for name in names}
            return await getattr(self.client, way)(**params)
        except BinanceAPIException as error:
            raise RefusedByExchange(error.code) from error

    async def close(self) -> None:
        await self.client.close_connection()


class Connector:
    """binance-futures-connector: synchronous, its generic signed request where it lacks a call."""

    def __init__(self, address: str) -> None:
        self.client = UMFutures(DEFAULT_KEY, DEFAULT_SECRET, base_url=address, timeout=5)

    async def call(self, word: str, **params: Any) -> Any:
        way = WAYS[word].connector
        if word == "batch":
            params = {"batchOrders": params["orders"]}
        if word == "cancel_batch":
            params = {"origClientOrderIdList": [], "orderIdList": []} | params
            params = {name: value for name, value in params.items() if value}
            lists = {n: v for n, v in params.items() if n.endswith("List")}
            texts = {n: json.dumps(v, separators=(",", ":")) for n, v in lists.items()}
            send = self.client.sign_request
            return await self._run(send, "DELETE", "/fapi/v1/batchOrders", {**params, **texts})
        if isinstance(way, tuple):
            return await self._run(self.client.sign_request, *way, dict(params))
        return await self._run(getattr(self.client, way), **params)

    async def _run(self, act: Callable[..., Any], *args: Any, **params: Any) -> Any:
        try:
            return await asyncio.to_thread(act, *args, **params)
        except ClientError as error:
            raise RefusedByExchange(error.error_code) from error
        except ServerError as error:
            raise RefusedByExchange(json.loads(error.message)["code"]) from error

    async def close(self) -> None:
        self.client.session.close()


class OfficialSdk:
    """The official SDK: synchronous REST, each answer checked by a pydantic model."""

    def __init__(self, address: str) -> None:
        configuration = ConfigurationRestAPI(
            api_key=DEFAULT_KEY, api_secret=DEFAULT_SECRET, base_path=address, retries=0,
            timeout=5000,
        )  # fmt: skip
        self.client: Any = DerivativesTradingUsdsFutures(config_rest_api=configuration)

    async def call(self, word: str, **params: Any) -> Any:
        if word == "batch":
            params = {"batch_orders": params["orders"]}
        if word in ("keep_key", "close_key"):
            params = {}
        act = getattr(self.client.rest_api, WAYS[word].sdk)
        arguments = {_snake(name): _number(name, value) for name, value in params.items()}
        try:
            data = (await asyncio.to_thread(act, **arguments)).data()
        except SdkError as error:
            found = re.search(r"-\d{4}", str(error))
            raise RefusedByExchange(int(found.group()) if found else 0) from error
        return _plain(data)

    async def close(self) -> None:
        self.client.rest_api._session.close()


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _number(name: str, value: Any) -> Any:
    """Return amounts as the numbers that the SDK's annotations ask for."""
    amounts = ("quantity", "price", "triggerPrice", "callbackRate", "activatePrice")
    return float(Decimal(value)) if name in amounts and value != "" else value


def _plain(data: Any) -> Any:
    """Return a model as the JSON that it was made of."""
    if isinstance(data, list):
        return [_plain(one) for one in data]
    if hasattr(data, "actual_instance"):
        return _plain(data.actual_instance)
    return data.to_dict() if hasattr(data, "to_dict") else data
