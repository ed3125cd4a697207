"""Feeds over sockets: a second exchange in the place of Binance, and recordings as they were."""

import asyncio
import contextlib
import csv
import gzip
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from paper.exchange import Exchange, wall_ms
from paper.feeds import FeedPlan
from paper.live import LiveFeed
from paper.player import Player
from paper.replay import replay
from paper.world import World
from tests.integration.paper_wire import BTC, BUY, Wire, next_of, running

D = Decimal


@contextlib.asynccontextmanager
async def _following(binance: Wire) -> AsyncIterator[tuple[Exchange, LiveFeed]]:
    exchange = Exchange(World(now_ms=wall_ms(), symbols=[BTC]))
    streams = binance.address.replace("http", "ws")
    feed = LiveFeed(exchange, [BTC], streams=streams)
    task = asyncio.create_task(feed.run())
    try:
        await _until(lambda: feed.connections == 1)
        yield exchange, feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  (what is waited for happens behind a socket)
            await asyncio.sleep(0.005)


async def test_real_prices_and_paper_money() -> None:
    async with running() as binance, _following(binance) as (exchange, feed):
        await binance.trade("61000.10", "0.5")
        await _until(lambda: exchange.world.last(BTC) == D("61000.10"))
        theirs = binance.exchange.world.request(
            "GET", "/fapi/v1/aggTrades", {"symbol": BTC, "limit": "1"}, wall_ms()
        )
        ours = exchange.world.request("GET", "/fapi/v1/aggTrades", {"symbol": BTC}, wall_ms())
        assert ours.body == theirs.body
        binance.exchange.world.set_mark(BTC, D("60999.5"), wall_ms())
        binance.exchange.pulse(is_second=True)
        await _until(lambda: exchange.world.state.markets[BTC].mark == D("60999.5"))
        answer = exchange.world.request("POST", "/fapi/v1/order", BUY, wall_ms())
        assert answer.status == 200
        assert exchange.world.position(BTC, "LONG") == D("0.004")
        assert binance.exchange.world.position(BTC, "LONG") == 0
        assert feed.report()["skipped"] == 0
        assert feed.report()["connected"]


async def test_the_control_interface_tells_of_a_live_feed() -> None:
    async with running() as binance:
        exchange = Exchange(World(now_ms=wall_ms(), symbols=[BTC]))
        feed = LiveFeed(exchange, [BTC], streams=binance.address.replace("http", "ws"))
        async with running(exchange) as ours:
            assert await ours.control("feed") == feed.report()
            assert (await ours.control("state"))["feed"]["connected"] is False
            async with ours.session.post(f"{ours.address}/paper/feed/pause") as answer:
                assert "the feed is live" in (await answer.json())["error"]


async def test_it_connects_again_and_skips_what_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("paper.live.FIRST_PAUSE_S", 0.01)
    async with running() as binance, _following(binance) as (exchange, feed):
        binance.exchange.hub.drop("")
        await _until(lambda: feed.connections == 2)
        await binance.trade("61000")
        await _until(lambda: exchange.world.last(BTC) == D("61000"))
        feed._take({"e": "somethingNew"})
        with pytest.raises(KeyError):
            feed._take({"e": "aggTrade"})


async def test_funding_follows_the_other_exchange() -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC], funding_schedule=True)
    now = wall_ms()
    world.trade(BTC, D(60000), D(1), time_ms=now, now_ms=now)
    world.request("POST", "/fapi/v1/order", BUY, now)
    world.set_index(BTC, D(60000), D("0.0003"), now + 1000, now)
    world.set_index(BTC, D(60000), D("0.0001"), now + 8 * 3600_000, now + 1500)
    assert D(world.ledger()["funding"]) == D("-0.072")
    rate = world.request("GET", "/fapi/v1/premiumIndex", {"symbol": BTC}, now).body
    assert (rate["lastFundingRate"], rate["nextFundingTime"]) == ("0.00010000", now + 8 * 3600_000)


# --- recordings ----------------------------------------------------------------------------

HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
BITCOIN: list[tuple[str, ...]] = [
    ("1700000001", "28133.6", "0.020", "3500000001", "3500000004", "1680652800123", "true"),
    ("1700000002", "28133.70", "1.5", "3500000005", "3500000005", "1680652800123", "false"),
    ("1700000003", "28130.0", "0.001", "3500000006", "3500000009", "1680652800523", "true"),
]
RIPPLE: list[tuple[str, ...]] = [
    ("800000001", "0.5001", "120.5", "900000001", "900000002", "1680652800200", "false"),
    ("800000002", "0.5000", "7", "900000003", "900000003", "1680652800500", "true"),
]


def _write(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with gzip.open(path, "wt", newline="") as file:
        file.write(HEADER + "\n")
        csv.writer(file).writerows(rows)
    return path


async def test_a_client_hears_the_recordings_as_they_are_in_the_files(tmp_path: Path) -> None:
    paths = (
        _write(tmp_path / "BTCUSDT-aggTrades-2023-04-05.csv.gz", BITCOIN),
        _write(tmp_path / "XRPUSDT-aggTrades-2023-04-05.csv.gz", RIPPLE),
    )
    exchange = Exchange(World(now_ms=wall_ms()))
    async with running(exchange) as wire:
        socket = await wire.listen("/market/ws/btcusdt@aggTrade/xrpusdt@aggTrade")
        plan = FeedPlan(kind="replay", paths=paths)
        ticks = replay(plan, exchange.world.state.rules, [])
        await Player(ticks, speed=1000.0, play=exchange.play, held=False).run()
        heard = [await next_of(socket) for _ in range(5)]
    merged = sorted(BITCOIN + RIPPLE, key=lambda row: int(row[5]))
    assert [_row(event) for event in heard] == merged
    assert [event["s"] for event in heard] == [BTC, BTC, "XRPUSDT", "XRPUSDT", BTC]


def _row(event: dict[str, object]) -> tuple[str, ...]:
    maker = str(event["m"]).lower()
    return (*(str(event[key]) for key in ("a", "p", "q", "f", "l", "T")), maker)
