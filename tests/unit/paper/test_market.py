"""Market data: candles, trades, tickers, and the streams that are made on demand."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from paper.matching import Ids
from paper.tape import AggTrade, Tape, candle_end, candle_start
from tests.unit.paper.bench import BTC, START_MS, Bench

D = Decimal
MINUTE_MS = 60_000


def _minutes(bench: Bench, *prices: str) -> None:
    """Trade once a minute."""
    for price in prices:
        bench.now_ms += MINUTE_MS - 1000
        bench.trade(price, "2")


# --- REST ----------------------------------------------------------------------------------


def test_candles_of_every_minute_also_of_quiet_ones() -> None:
    bench = Bench()
    bench.now_ms = START_MS // MINUTE_MS * MINUTE_MS + MINUTE_MS
    bench.trade("60100", "1")
    bench.trade("60050", "2", buyer_maker=True)
    bench.now_ms += 2 * MINUTE_MS
    bench.trade("60200", "1")
    rows = bench.get("v1/klines", symbol=BTC, interval="1m", limit=3)
    begin = bench.now_ms // MINUTE_MS * MINUTE_MS
    assert [row[0] for row in rows] == [begin - 2 * MINUTE_MS, begin - MINUTE_MS, begin]
    first, quiet, last = rows
    assert first[1:6] == ["60100.00", "60100.00", "60050.00", "60050.00", "3.000"]
    assert first[6:] == [first[0] + MINUTE_MS - 1, "180200", 2, "1.000", "60100", "0"]
    assert quiet[1:6] == ["60050.00"] * 4 + ["0.000"]
    assert last[4] == "60200.00"


@pytest.mark.parametrize(("interval", "count"), [("3m", 2), ("1h", 1), ("1w", 1), ("1M", 1)])
def test_longer_candles_are_made_of_the_short_ones(interval: str, count: int) -> None:
    bench = Bench(price=None)
    bench.now_ms = 1_790_000_640_000  # 14:24 UTC, a full three minutes
    _minutes(bench, "60000", "60100", "59900", "60050")
    rows = bench.get("v1/klines", symbol=BTC, interval=interval)
    assert len(rows) == count
    assert sum(D(row[5]) for row in rows) == 8
    assert (rows[0][1], rows[-1][4]) == ("60000.00", "60050.00")


def test_the_calendar_of_long_candles() -> None:
    assert candle_start("1w", START_MS) == 1_789_948_800_000  # Monday 2026-09-21
    assert candle_start("1M", START_MS) == 1_788_220_800_000  # 2026-09-01
    assert candle_end("1M", candle_start("1M", START_MS)) == 1_790_812_800_000 - 1


def test_candles_that_are_refused() -> None:
    bench = Bench()
    assert bench.code("GET", "v1/klines", symbol=BTC, interval="7m") == -1120
    assert bench.code("GET", "v1/klines", symbol=BTC, interval="1m", limit=1501) == -1130
    more = {"startTime": 2, "endTime": 1}
    assert bench.code("GET", "v1/klines", symbol=BTC, interval="1m", **more) == -1023


def test_aggregated_trades_by_number_and_by_time() -> None:
    bench = Bench()
    for price in ("60001", "60002", "60003"):
        bench.trade(price, "0.5")
    rows = bench.get("v1/aggTrades", symbol=BTC)
    assert [row["p"] for row in rows] == ["60000", "60001", "60002", "60003"]
    assert set(rows[0]) == {"a", "p", "q", "nq", "f", "l", "T", "m"}
    second = rows[1]
    found = bench.get("v1/aggTrades", symbol=BTC, fromId=second["a"], limit=2)
    assert found == rows[1:3]
    span = {"startTime": second["T"], "endTime": second["T"] + 1000}
    assert bench.get("v1/aggTrades", symbol=BTC, **span) == rows[1:3]
    assert len(bench.get("v1/trades", symbol=BTC)) == 4


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"fromId": 1, "startTime": 1}, -1128),
        ({"startTime": 1, "endTime": 3_600_002}, -1127),
        ({"startTime": 2, "endTime": 1}, -1023),
    ],
)
def test_trades_that_cannot_be_looked_up(params: dict[str, int], code: int) -> None:
    assert Bench().code("GET", "v1/aggTrades", symbol=BTC, **params) == code


def test_a_recorded_trade_keeps_its_numbers() -> None:
    bench = Bench()
    ids = Ids(1_700_000_001, 3_500_000_001, 3_500_000_004)
    when = {"time_ms": 1_680_652_800_123, "now_ms": bench.now_ms}
    bench.world.trade(BTC, D("28133.60"), D("0.020"), is_buyer_maker=True, **when, ids=ids)
    (event,) = (e.data for e in bench.world.drain())
    keys = ("a", "p", "q", "f", "l", "T", "m")
    assert [event[key] for key in keys] == [
        1_700_000_001, "28133.60", "0.020", 3_500_000_001, 3_500_000_004, 1_680_652_800_123, True,
    ]  # fmt: skip
    bench.buy_long("0.010")
    (fill,) = bench.get("v1/userTrades", symbol=BTC)
    assert fill["id"] > 3_500_000_004


def test_the_last_day_as_a_ticker() -> None:
    bench = Bench(price=None)
    _minutes(bench, "60000", "61000", "59000", "60600")
    ticker = bench.get("v1/ticker/24hr", symbol=BTC)
    assert (ticker["openPrice"], ticker["lastPrice"]) == ("60000.00", "60600.00")
    assert (ticker["highPrice"], ticker["lowPrice"]) == ("61000.00", "59000.00")
    assert (ticker["priceChangePercent"], ticker["count"]) == ("1.000", 4)
    assert len(bench.get("v1/ticker/24hr")) == len(bench.world.state.rules)


def test_a_day_later_the_day_is_quiet() -> None:
    tape = Tape(1)
    tape.record(BTC, AggTrade(1, D(5), D(1), 1, 1, START_MS, False))
    day = tape.day(BTC, START_MS + 26 * 3_600_000)
    assert day is not None
    assert (day.open, day.volume) == (D(5), D(0))
    assert tape.day("ETHUSDT", START_MS) is None


# --- streams -------------------------------------------------------------------------------


def _told(bench: Bench, name: str) -> list[dict[str, Any]]:
    return [e for e in bench.events if isinstance(e, dict) and e["e"] == name]


def test_nothing_is_made_that_nobody_listens_to() -> None:
    bench = Bench()
    bench.listen()
    bench.trade("60010")
    bench.pulse(1000)
    assert [e["e"] for e in bench.events] == ["aggTrade"]


def test_single_trades_and_best_prices() -> None:
    bench = Bench()
    bench.listen("btcusdt@trade", "btcusdt@bookTicker", "ETHUSDT@trade", "nope@trade")
    bench.trade("60010")
    bench.trade("60010")
    assert [e["p"] for e in _told(bench, "trade")] == ["60010"] * 4  # on both routes
    (touch,) = _told(bench, "bookTicker")  # the second trade moved nothing
    assert (touch["b"], touch["a"], touch["ps"], touch["st"]) == ("60010.00", "60010.00", BTC, 1)
    bench.buy_long("0.004", price="60009", id="below")
    assert len(_told(bench, "bookTicker")) == 1


def test_candles_grow_and_close() -> None:
    bench = Bench()
    bench.now_ms = START_MS // MINUTE_MS * MINUTE_MS + MINUTE_MS
    bench.trade("60000")
    bench.listen("btcusdt@kline_1m", "btcusdt_perpetual@continuousKline_1m", "btcusdt@kline_9m")
    bench.pulse(250)
    bench.trade("60010")
    bench.pulse(250)
    bench.pulse(250)  # nothing new
    bench.now_ms += MINUTE_MS
    bench.trade("60020")
    bench.pulse(250)
    told = [(e["k"]["c"], e["k"]["x"]) for e in _told(bench, "kline")]
    assert told == [
        ("60000.00", False),
        ("60010.00", False),
        ("60010.00", True),
        ("60020.00", False),
    ]
    continuous = _told(bench, "continuous_kline")
    assert len(continuous) == 4
    assert (continuous[0]["ps"], continuous[0]["ct"]) == (BTC, "PERPETUAL")


def _apply(book: dict[str, str], rows: list[list[str]]) -> None:
    for price, quantity in rows:
        if D(quantity):
            book[price] = quantity
        else:
            book.pop(price, None)


def test_a_client_builds_the_book_from_snapshot_and_differences() -> None:
    bench = Bench(book="model", spread_ticks=1)
    bench.listen("btcusdt@depth@100ms")
    bench.trade("60010")
    bench.pulse(100)
    bench.trade("60100")  # not told yet when the snapshot is asked for
    snapshot = bench.get("v1/depth", symbol=BTC, limit=1000)
    bids, asks = dict(snapshot["bids"]), dict(snapshot["asks"])
    for price in ("60111", "59990", "60000"):
        bench.trade(price)
        bench.buy_long("0.5", id=f"taker-{price}")
        bench.buy_long("0.01", price="59800", id=f"own-{price}")
        bench.pulse(100)
    events = _told(bench, "depthUpdate")
    for before, after in pairwise(events):
        assert after["pu"] == before["u"]
    later = [e for e in events if e["u"] >= snapshot["lastUpdateId"]]
    assert later[0]["U"] <= snapshot["lastUpdateId"] <= later[0]["u"]
    for event in later:
        _apply(bids, event["b"])
        _apply(asks, event["a"])
    now = bench.get("v1/depth", symbol=BTC, limit=1000)
    assert (bids, asks) == (dict(now["bids"]), dict(now["asks"]))


def test_the_top_of_the_book_is_told_whole() -> None:
    bench = Bench(book="model")
    bench.listen("btcusdt@depth5@500ms", "btcusdt@depth20")
    bench.trade("60010")
    bench.pulse(0)
    bench.trade("60020")
    bench.now_ms -= 1000  # the trade's second
    bench.pulse(250)
    told = [len(e["b"]) for e in _told(bench, "depthUpdate")]
    assert sorted(told) == [5, 20, 20]  # after 250 ms only the faster one


def test_tickers_once_a_second_and_all_of_them_in_one() -> None:
    bench = Bench()
    bench.listen("btcusdt@ticker", "btcusdt@miniTicker", "!ticker@arr", "!miniTicker@arr")
    bench.trade("60600")
    bench.tick()
    bench.tick()  # no trade since: not told again
    assert [e["c"] for e in _told(bench, "24hrTicker")] == ["60600.00"]
    assert [e["P"] for e in _told(bench, "24hrTicker")] == ["1.000"]
    assert len(_told(bench, "24hrMiniTicker")) == 1
    arrays = [e for e in bench.events if isinstance(e, list)]
    assert [[row["s"] for row in rows] for rows in arrays] == [[BTC], [BTC]]


def test_mark_prices_every_third_second_without_suffix() -> None:
    bench = Bench()
    bench.listen("btcusdt@markPrice", "!markPrice@arr", "!markPrice@arr@1s", "!bookTicker")
    for _ in range(6):
        bench.tick()
    assert len(_told(bench, "markPriceUpdate")) == 6 + 2
    assert len([e for e in bench.events if isinstance(e, list)]) == 6 + 2
    bench.trade("60100")
    assert [e["s"] for e in _told(bench, "bookTicker")] == [BTC]


def test_a_liquidation_is_told_to_the_public() -> None:
    bench = Bench(wallet=D(1000))
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=100)
    bench.buy_long("1")
    bench.listen("btcusdt@forceOrder", "!forceOrder@arr")
    bench.trade("59000")
    told = _told(bench, "forceOrder")
    assert [e["o"]["S"] for e in told] == ["SELL", "SELL"]
