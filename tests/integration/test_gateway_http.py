"""The HTTP side of the gateway against servers that misbehave: what leaves, and what it means."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal as D
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from pydantic import SecretStr

from core.clients import binance_rest
from core.clients.binance import BinanceGateway
from core.clients.binance_rest import connect_gateway
from core.domain.cycle import Kind, OrderState, PositionSide, Request, Role, Side
from core.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
)
from paper.exchange import wall_ms
from paper.world import World
from tests.contract.rigs import API_KEY, API_SECRET, paper_exchange

BTC = "BTCUSDT"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """Requests as a server received them, and what it answers."""

    answer: Handler
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = f"{request.query_string}&{await request.text()}"
        self.requests.append((request.method, request.path, dict(parse_qsl(text))))
        return await self.answer(request)


@asynccontextmanager
async def server(answer: Handler) -> AsyncIterator[tuple[Seen, BinanceGateway]]:
    seen = Seen(answer)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", seen.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gateway = gateway_at(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield seen, gateway
    finally:
        await gateway.close()
        await runner.cleanup()


def gateway_at(url: str) -> BinanceGateway:
    return connect_gateway(
        base_url=url, api_key=API_KEY, api_secret=SecretStr(API_SECRET), share_percent=100
    )


def limit(gateway: BinanceGateway, *, name: str = "tb-h-lv1-1") -> OrderState:
    now_ms = gateway.now_ms()
    return OrderState(
        client_order_id=name,
        role=Role.LEVEL,
        number=1,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=D("59000.0"),
        quantity=D("0.010"),
        target_price=D("59000.0"),
        target_quantity=D("0.010"),
        request=Request.PLACE,
        requested_at_ms=now_ms,
        created_at_ms=now_ms,
    )


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def html(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>busy</html>", content_type="text/html")


async def half(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"symbol":"BTCUSDT","orderId":', content_type="application/json")


NO_ANSWERS = {"silence": never, "reset": drop, "html": html, "half a body": half}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
async def test_an_order_without_a_readable_answer_is_sent_once_and_its_outcome_unknown(
    answer: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance_rest, "TIMEOUT_SECONDS", 0.2)
    async with server(answer) as (seen, gateway):
        order = limit(gateway)
        for call in (gateway.place, gateway.amend, gateway.cancel):
            with pytest.raises(OutcomeUnknown):
                await call(BTC, order)
        assert [method for method, _, _ in seen.requests] == ["POST", "PUT", "DELETE"]


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
async def test_a_read_without_a_readable_answer_tells_nothing(
    answer: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance_rest, "TIMEOUT_SECONDS", 0.2)
    async with server(answer) as (_, gateway):
        with pytest.raises(ExchangeUnavailable):
            await gateway.positions(BTC)
        with pytest.raises(ExchangeUnavailable):
            await gateway.find(BTC, limit(gateway))


async def test_without_a_connection_an_order_was_certainly_not_sent() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    gateway = gateway_at(f"http://127.0.0.1:{port}")
    try:
        with pytest.raises(ExchangeUnavailable):
            await gateway.place(BTC, limit(gateway))
    finally:
        await gateway.close()


async def test_an_order_carries_the_time_of_its_intent_and_the_documented_window() -> None:
    async with server(html) as (seen, gateway):
        order = replace(limit(gateway), requested_at_ms=gateway.now_ms() - 1_500)
        with pytest.raises(OutcomeUnknown):
            await gateway.place(BTC, order)
        ((_, path, sent),) = seen.requests
    assert path == "/fapi/v1/order"
    assert sent.pop("signature")
    assert sent == {
        "symbol": BTC,
        "side": "BUY",
        "positionSide": "LONG",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "59000.0",
        "quantity": "0.010",
        "newClientOrderId": "tb-h-lv1-1",
        "newOrderRespType": "RESULT",
        "recvWindow": "5000",
        "timestamp": str(order.requested_at_ms),
    }


async def test_no_error_shows_the_secret_the_key_or_a_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binance_rest, "TIMEOUT_SECONDS", 0.2)
    for answer in NO_ANSWERS.values():
        async with server(answer) as (seen, gateway):
            with pytest.raises(ExchangeError) as raised:
                await gateway.find(BTC, limit(gateway))
            shown = f"{raised.value!r} {raised.value} {raised.value.__cause__}"
            assert API_SECRET not in shown
            assert API_KEY not in shown
            assert seen.requests[0][2]["signature"] not in shown


async def test_ids_with_any_character_are_signed_as_they_are_sent() -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with paper_exchange(world) as (_, url):
        gateway = gateway_at(url)
        try:
            await gateway.sync_clock()
            now_ms = wall_ms()
            world.trade(BTC, D(60000), D(1), time_ms=now_ms, now_ms=now_ms)
            order = limit(gateway, name="web:a/b.c_d-e")
            await gateway.place(BTC, order)
            found = await gateway.find(BTC, order)
            assert found is not None
            assert found.client_order_id == "web:a/b.c_d-e"
            await gateway.cancel(BTC, order)
        finally:
            await gateway.close()


async def test_a_wrong_clock_is_set_and_the_read_signed_again() -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with paper_exchange(world) as (_, url):
        gateway = gateway_at(url)
        try:
            _clock_of(gateway).measured(server_ms=wall_ms() - 60_000, sent_ms=0, received_ms=0)
            now_ms = wall_ms()
            world.trade(BTC, D(60000), D(1), time_ms=now_ms, now_ms=now_ms)
            assert abs(gateway.now_ms() - wall_ms()) > 30_000
            assert not (await gateway.positions(BTC)).long.quantity
            assert abs(gateway.now_ms() - wall_ms()) < 1_000
        finally:
            await gateway.close()


async def test_a_wrong_clock_refuses_the_order_and_is_set_for_the_next() -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with paper_exchange(world) as (_, url):
        gateway = gateway_at(url)
        try:
            now_ms = wall_ms()
            world.trade(BTC, D(60000), D(1), time_ms=now_ms, now_ms=now_ms)
            await gateway.sync_clock()
            _clock_of(gateway)._offset_ms -= 60_000
            with pytest.raises(RequestRefused) as refused:
                await gateway.place(BTC, limit(gateway))
            assert refused.value.code == -1021
            assert await gateway.find(BTC, limit(gateway)) is None
            await gateway.place(BTC, limit(gateway))
        finally:
            await gateway.close()


async def test_after_a_stop_nothing_leaves_until_the_time_given() -> None:
    async def too_many(request: web.Request) -> web.StreamResponse:
        body = '{"code":-1003,"msg":"Too many requests."}'
        return web.Response(status=429, headers={"Retry-After": "7"}, text=body)

    async with server(too_many) as (seen, gateway):
        for _ in range(3):
            with pytest.raises(RateLimited) as limited:
                await gateway.place(BTC, limit(gateway))
            assert 6_000 < limited.value.retry_after_ms <= 7_000
        assert len(seen.requests) == 1


async def test_what_others_used_of_the_limit_counts_and_closing_keeps_its_part() -> None:
    used = 1_900  # of 2400; more than 70 %

    async def busy(request: web.Request) -> web.StreamResponse:
        return web.Response(
            headers={"x-mbx-used-weight-1m": str(used)},
            text='{"symbol":"BTCUSDT","markPrice":"1.5"}',
        )

    async with server(busy) as (seen, gateway):
        half_past = 60_000 * 29_833_333 + 30_000  # no new minute begins while we look
        now = time.monotonic() * 1000
        _clock_of(gateway).measured(server_ms=half_past, sent_ms=now, received_ms=now)
        await gateway.mark_price(BTC)
        with pytest.raises(RateLimited):
            await gateway.balance("USDT")
        with pytest.raises(RateLimited):
            await gateway.best_prices(BTC)
        await gateway.mark_price(BTC)  # asked for a close that a price bound refused
        with pytest.raises(OutcomeUnknown):  # it left, and this server's answer says nothing
            await gateway.cancel(BTC, limit(gateway))
        assert [path for _, path, _ in seen.requests] == [
            "/fapi/v1/premiumIndex",
            "/fapi/v1/premiumIndex",
            "/fapi/v1/order",
        ]


def _clock_of(gateway: BinanceGateway) -> binance_rest.ExchangeClock:
    transport = gateway._transport
    assert isinstance(transport, binance_rest.BinanceRest)
    return transport._clock
