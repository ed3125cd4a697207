"""The market streams over sockets: routes, books, and how long a socket lives."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from paper.exchange import Exchange, wall_ms
from paper.rules import BUILT_IN
from paper.world import World
from tests.integration.paper_wire import BTC, BUY, Wire, is_silent, next_of, running


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    world = World(now_ms=wall_ms(), book="model", spread_ticks=1)
    async with running(Exchange(world)) as one:
        yield one


async def test_each_stream_is_heard_on_its_route_only(wire: Wire) -> None:
    names = "btcusdt@bookTicker/btcusdt@depth5@100ms/btcusdt@kline_1m/btcusdt@miniTicker"
    public = await wire.listen(f"/public/stream?streams={names}")
    market = await wire.listen(f"/market/stream?streams={names}")
    await wire.trade("60010")
    wire.exchange.pulse(is_second=True)
    assert (await next_of(public))["stream"] == "btcusdt@bookTicker"
    assert (await next_of(public))["stream"] == "btcusdt@depth5@100ms"
    heard = {(await next_of(market))["stream"] for _ in range(2)}
    assert heard == {"btcusdt@kline_1m", "btcusdt@miniTicker"}
    assert await is_silent(public)


async def test_an_address_without_route_still_gets_the_public_streams(wire: Wire) -> None:
    plain = await wire.listen("/ws/btcusdt@bookTicker/btcusdt@aggTrade")
    await wire.trade("60010")
    assert (await next_of(plain))["e"] == "bookTicker"
    assert await is_silent(plain)


async def test_a_subscription_starts_and_ends_what_is_made(wire: Wire) -> None:
    socket = await wire.listen("/public/ws")
    names = ["btcusdt@bookTicker", "!bookTicker"]
    await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
    assert await next_of(socket) == {"result": None, "id": 1}
    await wire.trade("60010")
    assert [(await next_of(socket))["s"] for _ in range(2)] == [BTC, BTC]
    await socket.send_json({"method": "UNSUBSCRIBE", "params": names, "id": 2})
    assert (await next_of(socket))["id"] == 2
    await wire.trade("60020")
    assert await is_silent(socket)


def _apply(book: dict[str, str], rows: list[list[str]]) -> None:
    for price, quantity in rows:
        if float(quantity):
            book[price] = quantity
        else:
            book.pop(price, None)


async def test_a_book_is_built_by_the_documented_steps(wire: Wire) -> None:
    socket = await wire.listen("/public/ws/btcusdt@depth@100ms")
    await wire.trade("60010")
    wire.exchange.pulse(is_second=False)
    _, snapshot = await wire.send_raw("GET", "v1/depth", f"symbol={BTC}&limit=1000")
    book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
    await wire.trade("60100")
    await wire.send("POST", "v1/order", **BUY)
    wire.exchange.world.pulse(wall_ms() + 1000)
    wire.exchange.flush()
    last: dict[str, Any] = {}
    for _ in range(2):
        event = await next_of(socket)
        assert not last or event["pu"] == last["u"]
        last = event
        if event["u"] >= snapshot["lastUpdateId"]:
            _apply(book["bids"], event["b"])
            _apply(book["asks"], event["a"])
    _, now = await wire.send_raw("GET", "v1/depth", f"symbol={BTC}&limit=1000")
    assert book == {side: dict(now[side]) for side in ("bids", "asks")}


async def test_a_ping_is_answered_and_a_pong_is_taken(wire: Wire) -> None:
    session = wire.session
    async with session.ws_connect(f"{wire.address}/market/ws", autoping=False) as socket:
        await socket.ping(b"hello")
        answer = await socket.receive(timeout=5)
        assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"hello")
        await socket.pong(b"unasked")
        assert await is_silent(socket)


async def test_a_socket_lives_its_time_and_no_longer() -> None:
    exchange = Exchange(World(now_ms=wall_ms()), socket_life_s=0.1)
    async with running(exchange) as wire:
        socket = await wire.listen("/market/ws/btcusdt@aggTrade")
        message = await socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001
        async with asyncio.timeout(5):
            while exchange.hub.report():
                await wire.control("faults")


async def test_too_many_streams_on_one_socket(wire: Wire) -> None:
    socket = await wire.listen("/market/ws")
    names = [f"s{number}@aggTrade" for number in range(1025)]
    await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
    while not socket.closed:
        await socket.receive(timeout=5)
    assert socket.close_code == 1008


async def test_a_symbol_in_chinese_is_traded_and_heard() -> None:
    symbol = "币安人生USDT"
    rules = replace(BUILT_IN["XRPUSDT"], symbol=symbol, base="币安人生")
    world = World(now_ms=wall_ms(), symbols=[BUILT_IN[BTC], rules])
    async with running(Exchange(world)) as wire:
        name = f"{symbol.lower()}@aggTrade"
        by_address = await wire.listen(f"/market/ws/{quote(name)}")
        by_message = await wire.listen("/market/ws")
        await by_message.send_json({"method": "SUBSCRIBE", "params": [name], "id": 1})
        assert (await next_of(by_message))["id"] == 1
        await wire.control("trade", {"symbol": symbol, "price": "0.5"})
        assert [(await next_of(one))["s"] for one in (by_address, by_message)] == [symbol] * 2
        order = {**BUY, "symbol": symbol, "quantity": "20"}
        status, body = await wire.send("POST", "v1/order", **order, in_body=True)
        assert (status, body["symbol"]) == (200, symbol)
