"""The paper exchange's streams as clients of Binance read them, case by case: S01 to S09.

python-binance brings messages as they come; the official SDK checks each with a pydantic model and
hands on what the model made of it. binance-futures-connector is here for REST alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from binance.async_client import AsyncClient
from binance.ws.streams import BinanceSocketManager
from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)

from paper.exchange import Exchange, wall_ms
from paper.server import DEFAULT_KEY, DEFAULT_SECRET
from paper.world import World
from tests.integration.paper_wire import BTC, BUY, Wire, running

D = Decimal
# SDK method, its arguments, and the type of event that it must deliver
MARKET_STREAMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "aggTrade": ("aggregate_trade_streams", {"symbol": "btcusdt"}, "aggTrade"),
    "markPrice": (
        "mark_price_stream",
        {"symbol": "btcusdt", "update_speed": "1s"},
        "markPriceUpdate",
    ),
    "markPrice@arr": ("mark_price_stream_for_all_market", {}, "markPriceUpdate"),
    "kline": ("kline_candlestick_streams", {"symbol": "btcusdt", "interval": "1m"}, "kline"),
    "continuousKline": (
        "continuous_contract_kline_candlestick_streams",
        {"pair": "btcusdt", "contract_type": "perpetual", "interval": "1m"},
        "continuous_kline",
    ),
    "miniTicker": ("individual_symbol_mini_ticker_stream", {"symbol": "btcusdt"}, "24hrMiniTicker"),
    "ticker": ("individual_symbol_ticker_streams", {"symbol": "btcusdt"}, "24hrTicker"),
    "miniTicker@arr": ("all_market_mini_tickers_stream", {}, "24hrMiniTicker"),
    "ticker@arr": ("all_market_tickers_streams", {}, "24hrTicker"),
    "bookTicker": ("individual_symbol_book_ticker_streams", {"symbol": "btcusdt"}, "bookTicker"),
    "!bookTicker": ("all_book_tickers_stream", {}, "bookTicker"),
    "depth": ("diff_book_depth_streams", {"symbol": "btcusdt"}, "depthUpdate"),
    "depth5": ("partial_book_depth_streams", {"symbol": "btcusdt", "levels": 5}, "depthUpdate"),
    "forceOrder": ("liquidation_order_streams", {"symbol": "btcusdt"}, "forceOrder"),
    "forceOrder@arr": ("all_market_liquidation_order_streams", {}, "forceOrder"),
}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    world = World(now_ms=wall_ms(), book="model", spread_ticks=1)
    async with running(Exchange(world)) as one:
        yield one


@contextlib.asynccontextmanager
async def _sdk(wire: Wire) -> AsyncIterator[Any]:
    streams = ConfigurationWebSocketStreams(stream_url=wire.address.replace("http", "ws"))
    rest = ConfigurationRestAPI(
        api_key=DEFAULT_KEY, api_secret=DEFAULT_SECRET, base_path=wire.address
    )
    client: Any = DerivativesTradingUsdsFutures(config_rest_api=rest, config_ws_streams=streams)
    await client.websocket_streams.create_connection()
    try:
        yield client
    finally:
        await client.websocket_streams.close_connection(close_session=True)
        client.rest_api._session.close()


@contextlib.asynccontextmanager
async def _python_binance(wire: Wire) -> AsyncIterator[tuple[AsyncClient, BinanceSocketManager]]:
    client = AsyncClient(DEFAULT_KEY, DEFAULT_SECRET)
    client.FUTURES_URL = f"{wire.address}/fapi"
    manager = BinanceSocketManager(client)
    manager.FSTREAM_URL = wire.address.replace("http", "ws") + "/"
    try:
        yield client, manager
    finally:
        await client.close_connection()


async def _trade_and_get_liquidated(wire: Wire) -> None:
    """Let everything happen that any stream tells."""
    world = wire.exchange.world
    await wire.trade("60010")
    world.request("POST", "/fapi/v1/order", BUY, wall_ms())
    wire.exchange.flush()
    wire.exchange.pulse(is_second=True)
    await wire.control("liquidate", {})
    for _ in range(3):
        wire.exchange.pulse(is_second=True)


async def _collect(queue: "asyncio.Queue[Any]", enough: Callable[[list[Any]], bool]) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(10):
        while not enough(found):
            found.append(await queue.get())
    return found


@pytest.mark.parametrize(
    ("method", "arguments", "event"), MARKET_STREAMS.values(), ids=MARKET_STREAMS.keys()
)
async def test_s01_the_sdk_accepts_every_market_stream(
    wire: Wire, method: str, arguments: dict[str, Any], event: str
) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    async with _sdk(wire) as sdk:
        handle = await getattr(sdk.websocket_streams, method)(**arguments)
        handle.on("message", queue.put_nowait)
        await _trade_and_get_liquidated(wire)
        (message,) = await _collect(queue, lambda found: len(found) == 1)
    first = message[0] if isinstance(message, list) else message
    body = first.to_dict()
    assert body["e"] == event
    unknown = getattr(first, "additional_properties", {})
    assert unknown == {}


async def test_s02_the_sdk_accepts_every_account_event(wire: Wire) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    async with _sdk(wire) as sdk:
        rest = sdk.rest_api
        answer = await asyncio.to_thread(rest.start_user_data_stream)
        handle = await sdk.websocket_streams.user_data(answer.data().listen_key)
        handle.on("message", queue.put_nowait)

        def act() -> None:
            rest.change_initial_leverage(symbol=BTC, leverage=100)
            place = {"symbol": BTC, "side": "BUY", "position_side": "LONG"}
            rest.new_order(**place, type="MARKET", quantity=9)
            rest.new_algo_order(
                algo_type="CONDITIONAL", symbol=BTC, side="SELL", position_side="LONG",
                type="STOP_MARKET", trigger_price=59000, quantity=0.01,
            )  # fmt: skip

        await asyncio.to_thread(act)
        await wire.control("funding", {"symbol": BTC, "rate": "0.0001"})
        for price in range(59400, 58900, -20):  # first near the end, then at it
            await wire.trade(str(price))
        await wire.control("faults", {"action": "expire-key"})
        found = await _collect(queue, lambda found: "ListenKeyExpired" in _types(found))
    assert _types(found) == {
        "AccountConfigUpdate",
        "OrderTradeUpdate",
        "TradeLite",
        "AccountUpdate",
        "AlgoUpdate",
        "MarginCall",
        "ListenKeyExpired",
    }


def _types(events: list[Any]) -> set[str]:
    return {type(event.actual_instance).__name__ for event in events}


async def test_s03_python_binance_reads_its_account(wire: Wire) -> None:
    async with _python_binance(wire) as (client, manager), manager.futures_user_socket() as socket:
        await client.futures_create_order(**BUY, newClientOrderId="entry")
        events = [await asyncio.wait_for(socket.recv(), 10) for _ in range(4)]
    names = [event["e"] for event in events]
    assert names == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
    assert (events[3]["o"]["c"], events[3]["o"]["X"]) == ("entry", "FILLED")


async def test_s04_python_binance_reads_the_market(wire: Wire) -> None:
    async def first_of(socket: Any, made: asyncio.Event) -> Any:
        async with socket:  # its end takes ten seconds: both at a time
            made.set()
            message = await asyncio.wait_for(socket.recv(), 10)
            return message.get("data", message)

    async with _python_binance(wire) as (_, manager):
        ready = [asyncio.Event(), asyncio.Event()]
        sockets = [manager.aggtrade_futures_socket(BTC), manager.futures_depth_socket(BTC)]
        reading = asyncio.gather(*map(first_of, sockets, ready))
        for event in ready:
            await event.wait()
        await wire.trade("60123.4", "0.5")
        wire.exchange.pulse(is_second=False)
        trade, book = await reading
    assert (trade["e"], trade["p"], trade["q"]) == ("aggTrade", "60123.4", "0.5")
    assert (book["e"], len(book["b"])) == ("depthUpdate", 10)
