"""Faults over sockets: each kind does what it says, and the log tells it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from paper.exchange import Exchange, wall_ms
from paper.faults import ERRORS
from paper.limits import Limits
from paper.world import World
from tests.integration.paper_wire import BTC, BUY, Wire, is_silent, next_of, running


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as one:
        yield one


async def _trades(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[str]:
    return [(await next_of(socket))["p"] for _ in range(count)]


# --- requests ------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", [n for n, (_, code, _) in ERRORS.items() if code])
async def test_every_error_before_and_after_the_order_took_effect(
    wire: Wire, name: str, when: str
) -> None:
    await wire.control("faults", {"action": "error", "error": name, "when": when, "seed": 5})
    status, body = await wire.send("POST", "v1/order", **BUY, newClientOrderId="a")
    expected, code, text = ERRORS[name]
    assert (status, body["code"]) == (expected, code)
    assert body["msg"].startswith(text.partition("{until}")[0])
    if name == "banned":
        assert int(body["msg"].split("until ")[1].split(".")[0]) > wall_ms()
    held = wire.exchange.world.position(BTC, "LONG") > 0
    assert held == (when == "after")
    log = (await wire.control("faults"))["log"]
    assert [(row["action"], row["hit"], row["seed"]) for row in log] == [
        (f"error {name}", "POST /fapi/v1/order a", 5)
    ]


async def test_a_firewall_answers_no_json(wire: Wire) -> None:
    for name, status in (("waf", 403), ("gateway", 502)):
        await wire.control("faults", {"action": "error", "error": name, "when": "before"})
        async with wire.session.get(f"{wire.address}/fapi/v1/time") as answer:
            assert (answer.status, answer.content_type) == (status, "text/html")


async def test_a_taker_finds_a_part_of_what_it_asks_for(wire: Wire) -> None:
    await wire.control("faults", {"action": "partial", "part": 0.5, "path": "/order"})
    await wire.send("POST", "v1/order", **BUY, newClientOrderId="a")
    ask: dict[str, Any] = {"symbol": BTC, "origClientOrderId": "a"}
    found = (await wire.send("GET", "v1/order", **ask))[1]
    assert (found["status"], found["executedQty"]) == ("EXPIRED", "0.002")
    await wire.send("POST", "v1/order", **BUY)
    assert str(wire.exchange.world.position(BTC, "LONG")) == "0.006"


async def test_clock_skew_shows_in_time_and_refuses_our_timestamps(wire: Wire) -> None:
    await wire.control("faults", {"action": "skew", "delay_ms": 60_000})
    _, body = await wire.send_raw("GET", "v1/time", "")
    assert body["serverTime"] > wall_ms() + 50_000
    status, body = await wire.send("POST", "v1/order", **BUY)
    assert (status, body["code"]) == (400, -1021)
    ahead = {**BUY, "timestamp": wall_ms() + 60_000}
    assert (await wire.send("POST", "v1/order", **ahead))[0] == 200
    await wire.control("faults", method="DELETE")
    assert (await wire.send("POST", "v1/order", **BUY))[0] == 200


async def test_maintenance_refuses_everything_and_cuts_the_sockets(wire: Wire) -> None:
    socket = await wire.listen("/market/ws/btcusdt@aggTrade")
    await wire.control("faults", {"action": "maintenance", "delay_ms": 60_000})
    status, body = await wire.send_raw("GET", "v1/time", "")
    assert (status, body["code"]) == (503, -1016)
    assert (await socket.receive(timeout=5)).type is not aiohttp.WSMsgType.TEXT
    await wire.control("faults", method="DELETE")
    assert (await wire.send_raw("GET", "v1/time", ""))[0] == 200


# --- streams -------------------------------------------------------------------------------


async def test_messages_are_dropped_doubled_and_swapped(wire: Wire) -> None:
    socket = await wire.listen("/market/ws/btcusdt@aggTrade")
    for action in ("drop", "duplicate", "reorder"):
        await wire.control("faults", {"action": action, "route": "market", "stream": "aggTrade"})
    for price in ("60001", "60002", "60003", "60004", "60005"):
        await wire.trade(price)
    heard = await _trades(socket, 5)
    assert heard == ["60002", "60002", "60004", "60003", "60005"]


async def test_messages_come_late(wire: Wire) -> None:
    socket = await wire.listen("/market/ws/btcusdt@aggTrade")
    await wire.control("faults", {"action": "late", "delay_ms": 50})
    await wire.trade("60001")
    await wire.trade("60002")
    assert await _trades(socket, 2) == ["60002", "60001"]


async def test_one_kind_of_account_event_is_lost(wire: Wire) -> None:
    socket = await wire.listen(f"/private/ws/{await wire.listen_key()}")
    fault = {"action": "drop", "route": "private", "stream": "ACCOUNT_UPDATE", "count": 9}
    await wire.control("faults", fault)
    await wire.send("POST", "v1/order", **BUY)
    heard = [(await next_of(socket))["e"] for _ in range(3)]
    assert heard == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE"]


async def test_sockets_are_closed_silenced_and_lose_their_key(wire: Wire) -> None:
    key = await wire.listen_key()
    private = await wire.listen(f"/private/ws/{key}")
    await wire.control("faults", {"action": "expire-key"})
    assert (await next_of(private))["e"] == "listenKeyExpired"
    assert await wire.listen_key() != key
    market = await wire.listen("/market/ws/btcusdt@aggTrade")
    await wire.control("faults", {"action": "silence", "route": "market", "delay_ms": 50})
    await wire.trade("60001")
    assert await is_silent(market)
    async with asyncio.timeout(5):
        while wire.exchange.hub.muted:
            await wire.control("faults")
    await wire.trade("60002")
    assert (await next_of(market))["p"] == "60002"
    await wire.control("faults", {"action": "close", "route": "market"})
    while not market.closed:
        await market.receive(timeout=5)
    assert not private.closed


# --- schedules -----------------------------------------------------------------------------


async def test_a_schedule_runs_and_is_logged_with_its_seed(wire: Wire) -> None:
    socket = await wire.listen("/market/ws/btcusdt@aggTrade")
    schedule = {"action": "schedule", "seed": 11, "every_ms": 20, "for_ms": 200}
    report = await wire.control("faults", schedule | {"faults": [{"action": "close"}]})
    planned = len(report["waiting"])
    assert planned > 3
    assert report["log"][0]["seed"] == 11
    async with asyncio.timeout(5):
        while (await wire.control("faults"))["waiting"]:
            wire.exchange.pulse(is_second=False)
    while not socket.closed:
        await socket.receive(timeout=5)
    log = (await wire.control("faults"))["log"]
    assert [row["action"] for row in log] == ["schedule"] + ["close"] * planned


@pytest.mark.parametrize(
    "body",
    [
        {"action": "error", "error": "nonsense"},
        {"action": "schedule", "seed": 1, "every_ms": 0, "for_ms": 5, "faults": []},
        {"action": "schedule", "seed": 1},
        [{"action": "drop", "chance": 2}],
    ],
)
async def test_faults_that_make_no_sense_are_refused(wire: Wire, body: object) -> None:
    async with wire.session.post(f"{wire.address}/paper/faults", json=body) as answer:
        assert answer.status == 400


# --- limits and switches -------------------------------------------------------------------


async def test_limits_are_enforced_told_and_lead_to_a_ban() -> None:
    world = World(now_ms=wall_ms(), weight_limit=60, orders_ten_seconds=2, retry_after=True)
    exchange = Exchange(world, limits=Limits(is_enforced=True))
    async with running(exchange) as wire:
        _, info = await wire.send_raw("GET", "v1/exchangeInfo", "")
        assert [row["limit"] for row in info["rateLimits"]] == [60, 1200, 2]
        answers = [await wire.send("POST", "v1/order", **BUY) for _ in range(3)]
        if answers[2][0] == 200:  # ten seconds ended in between
            answers = [await wire.send("POST", "v1/order", **BUY) for _ in range(3)]
        assert (answers[2][0], answers[2][1]["code"]) == (429, -1015)
        statuses = []
        while 418 not in statuses:
            statuses.append((await wire.send("GET", "v1/openOrders"))[0])
            assert len(statuses) < 40
        assert 429 in statuses


async def test_switches_can_be_changed_while_it_runs(wire: Wire) -> None:
    options = await wire.control("options", {"book": "model", "taker_fee": "0"})
    assert (options["book"], options["maker_fill"]) == ("model", "touched")
    async with wire.session.post(f"{wire.address}/paper/options", json={"book": "best"}) as answer:
        assert (answer.status, "book" in (await answer.json())["error"]) == (400, True)
    await wire.control("status", {"symbol": BTC, "status": "TRADING_HALT"})
    assert (await wire.send("POST", "v1/order", **BUY))[1]["code"] == -4140
