"""The paper exchange over real sockets: signatures, python-binance, streams, faults."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from binance.async_client import AsyncClient
from binance.exceptions import BinanceAPIException

from paper.exchange import wall_ms
from paper.server import DEFAULT_KEY, DEFAULT_SECRET
from tests.integration.paper_wire import BTC, BUY, Wire, is_silent, next_of, running, sign


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as one:
        yield one


@pytest.fixture
async def binance(wire: Wire) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(DEFAULT_KEY, DEFAULT_SECRET)
    client.FUTURES_URL = f"{wire.address}/fapi"
    yield client
    await client.close_connection()


# --- security ------------------------------------------------------------------------------


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_signed_order_is_taken_from_query_and_body(wire: Wire, in_body: bool) -> None:
    status, body = await wire.send("POST", "v1/order", in_body=in_body, **BUY)
    assert (status, body["status"]) == (200, "NEW")


async def test_query_and_body_are_signed_together_without_a_separator(wire: Wire) -> None:
    query = urlencode({"symbol": BTC, "side": "BUY", "timestamp": wall_ms()})
    body = urlencode({"positionSide": "LONG", "type": "MARKET", "quantity": "0.004"})
    body += f"&signature={sign(query + body)}"
    status, answer = await wire.send_raw("POST", f"v1/order?{query}", body, in_body=True)
    assert (status, answer["symbol"]) == (200, BTC)


async def test_keys_and_signatures_are_checked(wire: Wire) -> None:
    assert await wire.send("GET", "v1/openOrders", key="") == (
        401,
        {"code": -2014, "msg": "API-key format invalid."},
    )
    status, body = await wire.send("GET", "v1/openOrders", key="other")
    assert (status, body["code"]) == (401, -2015)
    text = urlencode({"timestamp": wall_ms()})
    status, body = await wire.send_raw("GET", "v1/openOrders", f"{text}&signature=00")
    assert (status, body["code"]) == (400, -1022)
    _, body = await wire.send_raw("GET", "v1/openOrders", text)
    assert body["code"] == -1102
    _, body = await wire.send_raw("GET", "v1/openOrders", f"signature={sign('')}")
    assert body["code"] == -1102
    signed = f"{text}&signature={sign(text)}"
    _, body = await wire.send_raw("GET", "v1/openOrders", signed.upper().replace("TIMESTAMP", "x"))
    assert body["code"] == -1102


async def test_nothing_may_follow_the_signature(wire: Wire) -> None:
    text = urlencode({**BUY, "timestamp": wall_ms()})
    signed = f"{text}&signature={sign(text)}"
    status, body = await wire.send_raw("POST", "v1/order", f"{signed}&newClientOrderId=other")
    assert (status, body["code"]) == (400, -1022)
    _, body = await wire.send_raw("POST", "v1/order", f"signature={sign(text)}&{text}")
    assert body["code"] == -1022
    assert wire.exchange.world.position(BTC, "LONG") == 0


async def test_a_parameter_that_is_sent_twice_is_refused(wire: Wire) -> None:
    text = urlencode({**BUY, "timestamp": wall_ms()}) + "&quantity=0.005"
    status, body = await wire.send_raw("POST", "v1/order", f"{text}&signature={sign(text)}")
    assert (status, body["code"]) == (400, -1101)
    status, body = await wire.send_raw("GET", "v1/depth", "symbol=BTCUSDT&symbol=ETHUSDT")
    assert (status, body["code"]) == (400, -1101)


async def test_bytes_that_are_no_text_are_refused_like_any_other_mistake(wire: Wire) -> None:
    url = f"{wire.address}/fapi/v1/order"
    headers = {"X-MBX-APIKEY": DEFAULT_KEY, "Content-Type": "text/plain; charset=nonsense"}
    body = b"symbol=\xff\xfe&timestamp=1&signature=\xff"
    async with wire.session.post(url, data=body, headers=headers) as response:
        assert (await response.json())["code"] == -1022
    asked = urlencode({"timestamp": wall_ms(), "signature": "\xe9"})
    status, answer = await wire.send_raw("GET", "v1/openOrders", asked)
    assert (status, answer["code"]) == (400, -1022)


async def test_old_and_future_timestamps_are_refused(wire: Wire) -> None:
    for drift, code in ((-6000, -1021), (2000, -1021)):
        status, body = await wire.send("POST", "v1/order", **BUY, timestamp=wall_ms() + drift)
        assert (status, body["code"]) == (400, code)
    assert wire.exchange.world.position(BTC, "LONG") == 0


async def test_the_rate_headers_count(wire: Wire) -> None:
    text = urlencode({**BUY, "timestamp": wall_ms()})
    url = f"{wire.address}/fapi/v1/order?{text}&signature={sign(text)}"
    async with wire.session.post(url, headers={"X-MBX-APIKEY": DEFAULT_KEY}) as response:
        assert response.headers["X-MBX-ORDER-COUNT-10S"] == "1"
        assert "X-MBX-USED-WEIGHT-1M" in response.headers


async def test_unknown_paths(wire: Wire) -> None:
    status, body = await wire.send_raw("GET", "v1/unknown", "")
    assert (status, body["code"]) == (404, -5000)


# --- python-binance ------------------------------------------------------------------------


async def test_python_binance_trades_a_whole_cycle(wire: Wire, binance: AsyncClient) -> None:
    info = await binance.futures_exchange_info()
    assert BTC in {symbol["symbol"] for symbol in info["symbols"]}
    changed = await binance.futures_change_leverage(symbol=BTC, leverage=10)
    assert changed["maxNotionalValue"] == "230000000"
    await binance.futures_create_order(**BUY, newClientOrderId="entry")
    found = await binance.futures_get_order(symbol=BTC, origClientOrderId="entry")
    assert (found["status"], found["avgPrice"]) == ("FILLED", "60000.00000")
    await binance.futures_create_order(
        symbol=BTC, side="SELL", positionSide="LONG", type="LIMIT", timeInForce="GTC",
        quantity="0.004", price="60300.0", newClientOrderId="tp",
    )  # fmt: skip
    amended = await binance.futures_modify_order(
        symbol=BTC, side="SELL", origClientOrderId="tp", quantity="0.004", price="60200.0"
    )
    assert amended["price"] == "60200.00"
    stop = await binance.futures_create_order(
        symbol=BTC, side="SELL", positionSide="LONG", type="STOP_MARKET", closePosition="true",
        triggerPrice="59500.0", clientAlgoId="guard",
    )  # fmt: skip
    assert (stop["clientAlgoId"], stop["algoStatus"]) == ("guard", "NEW")
    assert len(await binance.futures_get_open_algo_orders()) == 1
    await wire.trade("60200")
    rows = await binance._request_futures_api(  # the public method asks v3, which omits flat legs
        "get", "positionRisk", True, version=2, data={"symbol": BTC}
    )
    assert [row["positionAmt"] for row in rows] == ["0.000"] * 3
    assert await binance.futures_get_open_algo_orders() == []
    trades = await binance.futures_account_trades(symbol=BTC)
    assert [trade["realizedPnl"] for trade in trades] == ["0.00000000", "0.80000000"]


async def test_python_binance_reads_our_refusals(wire: Wire, binance: AsyncClient) -> None:
    with pytest.raises(BinanceAPIException) as caught:
        await binance.futures_create_order(**(BUY | {"quantity": "0.0001"}))
    assert (caught.value.code, caught.value.status_code) == (-1111, 400)
    with pytest.raises(BinanceAPIException) as caught:
        await binance.futures_change_position_mode(dualSidePosition="true")
    assert caught.value.code == -4059


async def test_python_binance_cancels_and_reads_the_account(
    wire: Wire, binance: AsyncClient
) -> None:
    await binance.futures_create_order(
        **(BUY | {"type": "LIMIT", "timeInForce": "GTC", "price": "59000"})
    )
    (resting,) = await binance.futures_get_open_orders(symbol=BTC)
    cancelled = await binance.futures_cancel_order(symbol=BTC, orderId=resting["orderId"])
    assert cancelled["status"] == "CANCELED"
    assert (await binance.futures_account_balance())[0]["balance"] == "10000.00000000"
    assert (await binance.futures_get_position_mode())["dualSidePosition"] is True
    assert (await binance.futures_position_information()) == []
    assert (await binance.futures_leverage_bracket(symbol=BTC))[0]["brackets"][0]["bracket"] == 1
    assert (await binance.futures_commission_rate(symbol=BTC))["symbol"] == BTC
    assert await binance.futures_stream_get_listen_key() == await wire.listen_key()


# --- streams -------------------------------------------------------------------------------


async def test_account_events_arrive_in_order(wire: Wire) -> None:
    socket = await wire.listen(f"/private/ws/{await wire.listen_key()}")
    await wire.send("POST", "v1/order", **BUY, newClientOrderId="entry")
    events = [await next_of(socket) for _ in range(4)]
    names = ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
    assert [event["e"] for event in events] == names
    assert events[3]["o"]["X"] == "FILLED"
    await socket.close()


async def test_market_streams_plain_and_combined(wire: Wire) -> None:
    plain = await wire.listen("/market/ws/btcusdt@aggTrade")
    both = await wire.listen("/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s")
    await wire.trade("60010.5", "0.25")
    event = await next_of(plain)
    assert (event["e"], event["p"], event["q"]) == ("aggTrade", "60010.5", "0.25")
    assert await next_of(both) == {"stream": "btcusdt@aggTrade", "data": event}
    wire.exchange.world.tick(wall_ms())
    wire.exchange.flush()
    assert (await next_of(both))["stream"] == "btcusdt@markPrice@1s"
    assert await is_silent(plain)


@pytest.mark.parametrize(
    "path",
    [
        "/ws/btcusdt@aggTrade",
        "/stream?streams=btcusdt@aggTrade",
        "/public/ws/btcusdt@aggTrade",
        "/private/ws/btcusdt@aggTrade",
        "/market/ws/BTCUSDT@aggTrade",
        "/private/ws/no-such-key",
        "/market/ws",
    ],
)
async def test_wrong_addresses_connect_and_stay_silent(wire: Wire, path: str) -> None:
    await wire.listen_key()
    socket = await wire.listen(path)
    await wire.trade("60010")
    await wire.send("POST", "v1/order", **BUY)
    assert await is_silent(socket)


async def test_subscribing_and_unsubscribing(wire: Wire) -> None:
    socket = await wire.listen("/market/ws")
    names = ["btcusdt@aggTrade", "ethusdt@aggTrade"]
    await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
    assert await next_of(socket) == {"result": None, "id": 1}
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
    assert (await next_of(socket))["result"] == names
    await wire.trade("60010")
    assert (await next_of(socket))["s"] == BTC
    await socket.send_json({"method": "UNSUBSCRIBE", "params": names[:1], "id": 3})
    assert (await next_of(socket))["id"] == 3
    await wire.trade("60020")
    assert await is_silent(socket)
    await socket.send_json({"method": "SET_PROPERTY", "params": ["combined", True], "id": 4})
    await next_of(socket)
    await socket.send_json({"method": "GET_PROPERTY", "params": ["combined"], "id": 5})
    assert await next_of(socket) == {"result": True, "id": 5}


PROPERTY = '{"method":"SET_PROPERTY","params":%s,"id":6}'
WRONG_MESSAGES = {  # what is sent, the code and the beginning of the answer
    "no json": (3, "Invalid JSON"),
    "[]": (2, "Invalid request: missing field `method`"),
    '{"id":6}': (2, "Invalid request: missing field `method`"),
    '{"method":"FLY","id":6}': (2, "Invalid request: unknown variant FLY, expected one of"),
    '{"method":"SUBSCRIBE","params":1,"id":6}': (2, "Invalid request: params"),
    '{"method":"SUBSCRIBE","params":[1],"id":6}': (2, "Invalid request: stream"),
    '{"method":"LIST_SUBSCRIPTIONS","id":-1}': (2, "Invalid request: request ID"),
    '{"method":"LIST_SUBSCRIPTIONS","id":{}}': (2, "Invalid request: request ID"),
    PROPERTY % "[]": (2, "Invalid request: property name"),
    PROPERTY % '["colour",true]': (0, "Unknown property"),
    PROPERTY % '["combined"]': (1, "Invalid value type: expected Boolean"),
    PROPERTY % '["combined","yes"]': (1, "Invalid value type: expected Boolean"),
}


@pytest.mark.parametrize(("message", "answer"), WRONG_MESSAGES.items(), ids=WRONG_MESSAGES.keys())
async def test_control_messages_that_are_wrong_are_told_so(
    wire: Wire, message: str, answer: tuple[int, str]
) -> None:
    socket = await wire.listen("/market/ws/btcusdt@aggTrade")
    await socket.send_str(message)
    told = await next_of(socket)
    assert told["code"] == answer[0]
    assert told["msg"].startswith(answer[1])
    await wire.trade("60010")
    assert (await next_of(socket))["e"] == "aggTrade"  # and nothing has changed


async def test_the_private_route_takes_keys_in_every_documented_form(wire: Wire) -> None:
    key = await wire.listen_key()
    subscribed = await wire.listen("/private")
    await subscribed.send_json({"method": "SUBSCRIBE", "params": [key], "id": 1})
    await next_of(subscribed)
    filtered = await wire.listen(f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE")
    combined = await wire.listen(f"/private/stream?listenKey={key}")
    await wire.send("POST", "v1/order", **BUY)
    assert (await next_of(subscribed))["e"] == "ORDER_TRADE_UPDATE"
    assert (await next_of(filtered))["e"] == "ACCOUNT_UPDATE"
    first = await next_of(combined)
    assert (first["stream"], first["data"]["e"]) == (key, "ORDER_TRADE_UPDATE")


@pytest.mark.parametrize("way", ["key", "event"])
async def test_the_name_of_a_wrapped_account_event(wire: Wire, way: str) -> None:
    await wire.control("options", {"private_stream": way})
    key = await wire.listen_key()
    socket = await wire.listen(f"/private/stream?listenKey={key}")
    await wire.send("POST", "v1/order", **BUY)
    told = await next_of(socket)
    assert told["stream"] == (key if way == "key" else told["data"]["e"])


async def test_an_expired_key_says_so_and_falls_silent(wire: Wire) -> None:
    key = await wire.listen_key()
    socket = await wire.listen(f"/private/ws/{key}")
    wire.exchange.world.tick(wall_ms() + 61 * 60_000)
    wire.exchange.flush()
    expired = await next_of(socket)
    assert (expired["e"], expired["listenKey"]) == ("listenKeyExpired", key)
    assert await wire.listen_key() != key
    await wire.send("POST", "v1/order", **BUY)
    assert await is_silent(socket)


async def test_talking_too_fast_ends_the_connection(wire: Wire) -> None:
    socket = await wire.listen("/market/ws")
    for number in range(30):
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
    while not socket.closed:
        await socket.receive(timeout=5)
    assert socket.close_code == 1008


async def test_a_listener_that_does_not_read_is_cut_off_and_holds_up_nobody(wire: Wire) -> None:
    await wire.listen("/market/ws/btcusdt@aggTrade")
    good = await wire.listen("/market/ws/ethusdt@aggTrade")
    many = [{"symbol": BTC, "price": "60000", "quantity": "1"}] * 11_000
    await wire.control("trade", many)
    await wire.control("trade", {"symbol": "ETHUSDT", "price": "3000"})
    assert (await next_of(good))["s"] == "ETHUSDT"
    listeners = (await wire.control("state"))["listeners"]
    assert [one["streams"] for one in listeners] == [["ethusdt@aggTrade"]]


async def test_sockets_can_be_dropped_and_muted(wire: Wire) -> None:
    socket = await wire.listen("/market/ws/btcusdt@aggTrade")
    await wire.control("streams", {"action": "mute", "route": "market"})
    await wire.trade("60010")
    assert await is_silent(socket)
    await wire.control("streams", {"action": "unmute"})
    await wire.trade("60020")
    assert (await next_of(socket))["p"] == "60020"
    assert await wire.control("streams", {"action": "drop"}) == {"dropped": 1}
    lost = await socket.receive(timeout=5)
    assert lost.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


# --- faults --------------------------------------------------------------------------------


async def test_an_answer_lost_after_the_order_took_effect(wire: Wire) -> None:
    await wire.control("faults", {"action": "lose", "path": "/order", "client_id": "entry"})
    with pytest.raises(aiohttp.ClientConnectionError):
        await wire.send("POST", "v1/order", **BUY, newClientOrderId="entry-1")
    found = await wire.send("GET", "v1/order", symbol=BTC, origClientOrderId="entry-1")
    assert found[1]["status"] == "FILLED"
    assert (await wire.control("faults"))["waiting"] == []


async def test_an_order_lost_before_it_took_effect(wire: Wire) -> None:
    fault = {"action": "lose", "when": "before", "how": "503", "method": "POST"}
    await wire.control("faults", fault)
    status, body = await wire.send("POST", "v1/order", **BUY)
    assert (status, body["msg"].startswith("Unknown error")) == (503, True)
    assert wire.exchange.world.position(BTC, "LONG") == 0


async def test_a_request_delayed_on_its_way_is_too_late(wire: Wire) -> None:
    fault = {"action": "delay", "when": "before", "delay_ms": 120, "path": "/v1/order"}
    await wire.control("faults", fault)
    status, body = await wire.send("POST", "v1/order", **BUY, recvWindow=50)
    assert (status, body["code"]) == (400, -1021)
    assert wire.exchange.world.position(BTC, "LONG") == 0


async def test_a_delayed_answer_is_late_and_true(wire: Wire) -> None:
    await wire.control("faults", {"action": "delay", "delay_ms": 150, "path": "/v1/order"})
    begun = time.monotonic()
    status, _ = await wire.send("POST", "v1/order", **BUY)
    assert status == 200
    assert time.monotonic() - begun >= 0.15


async def test_a_refusal_is_told_and_nothing_happens(wire: Wire) -> None:
    fault = {"action": "refuse", "when": "before", "status": 503, "code": -1008, "msg": "busy"}
    await wire.control("faults", fault | {"count": 2})
    for _ in range(2):
        assert await wire.send("POST", "v1/order", **BUY) == (503, {"code": -1008, "msg": "busy"})
    assert (await wire.send("POST", "v1/order", **BUY))[0] == 200


async def test_a_held_answer_comes_when_it_is_released(wire: Wire) -> None:
    await wire.control("faults", {"action": "hold", "path": "/v1/order"})
    socket = await wire.listen(f"/private/ws/{await wire.listen_key()}")
    asked = asyncio.create_task(wire.send("POST", "v1/order", **BUY))
    assert (await next_of(socket))["e"] == "ORDER_TRADE_UPDATE"  # it took effect
    assert (await wire.control("faults"))["held"] == 1
    assert not asked.done()
    await wire.control("faults/release", {})
    assert (await asked)[0] == 200


async def test_reads_may_lag_behind_an_order(wire: Wire) -> None:
    fault = {"action": "stale", "delay_ms": 60_000, "method": "POST", "path": "/v1/order"}
    await wire.control("faults", fault)
    await wire.send("POST", "v1/order", **BUY, newClientOrderId="entry")
    ask: dict[str, Any] = {"symbol": BTC, "origClientOrderId": "entry"}
    assert (await wire.send("GET", "v1/order", **ask))[1]["code"] == -2013
    await wire.control("faults", method="DELETE")
    assert (await wire.send("GET", "v1/order", **ask))[1]["status"] == "FILLED"


# --- the control interface -----------------------------------------------------------------


async def test_a_persons_hand_and_the_books(wire: Wire) -> None:
    order = {"action": "order", "symbol": BTC, "side": "BUY", "position_side": "LONG"}
    await wire.control("outside", order | {"quantity": "0.01"})
    close = order | {"side": "SELL", "quantity": "0.01", "price": "60300"}
    offered = (await wire.control("outside", close))["clientOrderId"]
    await wire.control("outside", {"action": "cancel", "client_id": offered})
    await wire.control("mark", {"symbol": BTC, "price": "60000"})
    await wire.control("funding", {"symbol": BTC, "rate": "0.0001"})
    await wire.control("adl", {"symbol": BTC, "position_side": "LONG", "quantity": "0.004"})
    await wire.control("liquidity", {"symbol": BTC, "quantity": "0"})
    await wire.control("liquidate", {})
    books = await wire.control("ledger")
    assert [fill["quantity"] for fill in books["fills"]] == ["0.01", "0.004", "0.006"]
    assert books["funding"] == "-0.06000000"
    wallet = 10_000 + sum(Decimal(books[n]) for n in ("realised", "funding"))
    assert Decimal(books["wallet"]) == wallet - Decimal(books["commission"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("trade", {"symbol": BTC, "price": "x"}),
        ("trade", {"symbol": "NOPE", "price": "1"}),
        ("trade", {"symbol": BTC, "price": "-1"}),
        ("faults", {"action": "explode"}),
        ("faults", {"action": "delay", "dealy_ms": 5}),
        ("outside", {"action": "cancel", "client_id": "nobody"}),
        ("feed/start", {}),
    ],
)
async def test_control_requests_that_make_no_sense(
    wire: Wire, path: str, body: dict[str, Any]
) -> None:
    async with wire.session.post(f"{wire.address}/paper/{path}", json=body) as response:
        assert response.status == 400


async def test_no_web_page_reaches_the_control_interface(wire: Wire) -> None:
    headers = {"Origin": "https://example.org"}
    async with wire.session.post(f"{wire.address}/paper/liquidate", headers=headers) as response:
        assert response.status == 404
