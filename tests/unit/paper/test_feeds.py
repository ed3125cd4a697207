"""Feeds: what is asked for, what recordings say, what scenarios visit."""

import gzip
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
import zstandard

from paper.feeds import FeedError, FeedPlan, Holding, Tick, parse_plan, parse_time
from paper.replay import replay, symbols_of
from paper.rules import BUILT_IN
from paper.scenarios import PATHS, scenario

D = Decimal
MINUTE = 60_000
START = 1_700_000_040_000

CANDLES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore\n"
    f"{START},4.000,4.020,3.990,4.010,40.0,{START + MINUTE - 1},160,9,1,4,0\n"
    f"{START + MINUTE},4.010,4.030,3.980,4.000,80.0,{START + 2 * MINUTE - 1},320,9,1,4,0\n"
    f"{START + 2 * MINUTE},4.000,4.000,4.000,4.000,0,{START + 3 * MINUTE - 1},0,0,0,0,0\n"
)
TRADES = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
    f"1,60000.10,0.5,1,1,{START},true\n"
    f"2,60000.20,0.004,2,4,{START + 250},False\n"
)


def _plan(*paths: Path, from_text: str = "", to_text: str = "") -> FeedPlan:
    return parse_plan(f"replay:{','.join(map(str, paths))}", from_text, to_text)


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# --- what is asked for ---------------------------------------------------------------------


def test_plans() -> None:
    assert parse_plan("manual", "", "").kind == "manual"
    assert parse_plan("scenario", "", "").scenario == "tour"
    assert parse_plan("scenario:crash", "", "").scenario == "crash"
    assert parse_plan("replay:a.csv,b.csv", "", "").paths == (Path("a.csv"), Path("b.csv"))


@pytest.mark.parametrize("text", ["", "tea", "live:x", "replay", "replay:", "manual:x"])
def test_unknown_feeds(text: str) -> None:
    with pytest.raises(FeedError, match="unknown feed"):
        parse_plan(text, "", "")


def test_times() -> None:
    assert parse_time("FROM", "") is None
    assert parse_time("FROM", "1700000040000") == START
    assert parse_time("FROM", "2023-11-14T22:14:00") == START
    assert parse_time("FROM", "2023-11-14T23:14:00+01:00") == START
    with pytest.raises(FeedError, match="FROM 'noon' is neither"):
        parse_time("FROM", "noon")
    with pytest.raises(FeedError, match="is not before"):
        parse_plan("replay:x.csv", "2023-11-15", "2023-11-14")


# --- recordings ----------------------------------------------------------------------------


def _shown(ticks: Iterator[Tick]) -> list[tuple[str, str, int]]:
    return [(f"{t.price:f}", f"{t.quantity:f}", round(t.at_ms)) for t in ticks]


CANDLE_TICKS = [
    ("4.000", "10.0", 0),  # rising: open, low, high, close
    ("3.990", "10.0", 15_000),
    ("4.020", "10.0", 30_000),
    ("4.010", "10.0", 45_000),
    ("4.010", "20.0", 60_000),  # falling: open, high, low, close
    ("4.030", "20.0", 75_000),
    ("3.980", "20.0", 90_000),
    ("4.000", "20.0", 105_000),
]


def test_candles_become_four_trades(tmp_path: Path) -> None:
    path = _file(tmp_path, "FILUSDT-1m-2023-11.csv", CANDLES)
    ticks = list(replay(_plan(path), BUILT_IN, ()))
    assert _shown(iter(ticks)) == CANDLE_TICKS
    assert ticks[0].time_ms == START
    assert [t.is_buyer_maker for t in ticks[1:4]] == [True, False, True]
    assert symbols_of(_plan(path)) == ["FILUSDT"]


def test_dumps_without_header_and_packed_read_the_same(tmp_path: Path) -> None:
    bare = CANDLES.partition("\n")[2]
    plain = _file(tmp_path, "FILUSDT-1m.csv", bare)
    gz, zst, packed = (tmp_path / f"FILUSDT-1m.{end}" for end in ("csv.gz", "csv.zst", "zip"))
    gz.write_bytes(gzip.compress(bare.encode()))
    zst.write_bytes(zstandard.ZstdCompressor().compress(bare.encode()))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("FILUSDT-1m.csv", bare)
    for path in (plain, gz, zst, packed):
        assert _shown(replay(_plan(path), BUILT_IN, ())) == CANDLE_TICKS


def test_agg_trades_keep_their_times(tmp_path: Path) -> None:
    path = _file(tmp_path, "BTCUSDT-aggTrades.csv", TRADES)
    ticks = list(replay(_plan(path), BUILT_IN, ("BTCUSDT",)))
    assert _shown(iter(ticks)) == [("60000.10", "0.5", 0), ("60000.20", "0.004", 250)]
    assert [t.is_buyer_maker for t in ticks] == [True, False]


def test_microseconds_are_understood(tmp_path: Path) -> None:
    path = _file(tmp_path, "BTCUSDT.csv", f"1,60000,1,1,1,{START * 1000 + 7},true\n")
    assert next(replay(_plan(path), BUILT_IN, ())).time_ms == START


def test_a_range_is_cut_out(tmp_path: Path) -> None:
    path = _file(tmp_path, "FILUSDT-1m.csv", CANDLES)
    plan = _plan(path, from_text=str(START + 30_000), to_text=str(START + 75_000))
    assert [t.price for t in replay(plan, BUILT_IN, ())] == [D("4.020"), D("4.010"), D("4.010")]


def test_several_recordings_share_one_clock(tmp_path: Path) -> None:
    fil = _file(tmp_path, "FILUSDT-1m.csv", CANDLES)
    btc = _file(tmp_path, "BTCUSDT-aggTrades.csv", TRADES)
    ticks = list(replay(_plan(fil, btc), BUILT_IN, ()))
    assert [t.symbol for t in ticks[:4]] == ["FILUSDT", "BTCUSDT", "BTCUSDT", "FILUSDT"]
    assert [t.at_ms for t in ticks] == sorted(t.at_ms for t in ticks)


BAD = {
    "two columns": ("BTCUSDT.csv", "1,2\n", "2 columns: neither aggTrades nor klines"),
    "a header that lacks one": ("BTCUSDT.csv", "open_time,open\n1,2\n", "column high, low"),
    "a price that is no number": (
        "BTCUSDT.csv",
        f"1,abc,1,1,1,{START},true\n",
        "BTCUSDT.csv:1: column price cannot be read: 'abc'",
    ),
    "a short line": (
        "BTCUSDT.csv",
        TRADES.partition("\n")[0] + "\n1,2\n",
        ":2: 2 columns instead of 7",
    ),
    "an empty file": ("BTCUSDT.csv", "", "no trades between FROM and TO"),
    "another symbol": ("ETHUSDT.csv", TRADES, "holds ETHUSDT, but BTCUSDT was asked for"),
    "no gzip": ("BTCUSDT.csv.gz", "plain", "Not a gzipped file"),
    "no zip": ("BTCUSDT.zip", "plain", "not a zip file"),
    "no zstd": ("BTCUSDT.csv.zst", "plain text", "zstd"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD.values(), ids=BAD.keys())
def test_unusable_files_say_why_in_one_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = _file(tmp_path, name, text)
    with pytest.raises(FeedError) as caught:
        replay(_plan(path), BUILT_IN, ("BTCUSDT",))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no such file"):
        replay(_plan(tmp_path / "none.csv"), BUILT_IN, ())
    nameless = _file(tmp_path, "trades.csv", TRADES)
    with pytest.raises(FeedError, match="name exactly one with SYMBOL"):
        replay(_plan(nameless), BUILT_IN, ())
    assert len(list(replay(_plan(nameless), BUILT_IN, ("BTCUSDT",)))) == 2
    stranger = _file(tmp_path, "NOPEUSDT.csv", TRADES)
    with pytest.raises(FeedError, match="NOPEUSDT is not a symbol"):
        replay(_plan(stranger), BUILT_IN, ())


def test_a_broken_line_further_down_ends_the_replay_with_its_number(tmp_path: Path) -> None:
    path = _file(tmp_path, "BTCUSDT.csv", TRADES + "3,1,1,1,1,x,true\n")
    ticks = replay(_plan(path), BUILT_IN, ())
    assert len(list(islice(ticks, 2))) == 2
    with pytest.raises(FeedError, match=r"BTCUSDT\.csv:4: column transact_time"):
        next(ticks)


# --- scenarios -----------------------------------------------------------------------------


class _Account:
    """Opens a LONG after `wait_s` seconds of feed, and closes when told."""

    def __init__(self) -> None:
        self.holding = Holding(D(0), D(0), D(0))

    def look(self, _symbol: str) -> Holding:
        return self.holding


def _run(name: str, account: _Account, *, seed: int = 1, seconds: float = 150) -> list[Tick]:
    """Play a scenario whose account buys at the price of the fifth second."""
    seen: list[Tick] = []
    rules = {"BTCUSDT": BUILT_IN["BTCUSDT"]}
    for tick in scenario(name, rules, seed=seed, look=account.look, start={}):
        if tick.at_ms > (5 + seconds) * 1000:
            break
        seen.append(tick)
        if tick.at_ms > 5000 and not account.holding.long and tick.at_ms < 5500:
            account.holding = Holding(D("0.004"), D(0), tick.price)
    return seen


def _percents(ticks: list[Tick], entry: Decimal) -> list[float]:
    return [float(tick.price / entry - 1) * 100 for tick in ticks if tick.at_ms > 5500]


@pytest.mark.parametrize("seed", range(5))
def test_the_tour_visits_every_level_the_hedge_and_its_profit(seed: int) -> None:
    account = _Account()
    ticks = _run("tour", account, seed=seed, seconds=70)
    entry = account.holding.long_entry
    percents = _percents(ticks, entry)
    hedged_at = next(i for i, p in enumerate(percents) if p < -3.66)
    assert max(percents[:hedged_at]) < 0.3  # the take-profit of the bare entry is not reached
    for level in (-0.5, -1.495, -3.465):
        below = [p for p in percents[:hedged_at] if p <= level]
        assert len(below) >= 5  # long enough to fill in parts
    assert max(percents[hedged_at:]) < -3.3  # the hedge's stop-loss at −3.18 % is not reached
    assert min(percents) < -5.3  # net PNL is positive from −5.08 % down


def test_the_tour_goes_on_gently_after_the_close() -> None:
    account = _Account()
    ticks: list[Tick] = []
    rules = {"BTCUSDT": BUILT_IN["BTCUSDT"]}
    for tick in scenario("tour", rules, seed=1, look=account.look, start={}):
        ticks.append(tick)
        if tick.at_ms > 5000 and not account.holding.long and tick.at_ms < 5500:
            account.holding = Holding(D("0.004"), D(0), tick.price)
        if tick.at_ms > 60_000:
            account.holding = Holding(D(0), D(0), D(0))
        if tick.at_ms > 1_000_000:
            break
    after = [tick.price for tick in ticks if 61_000 < tick.at_ms < 181_000]
    assert max(after) / min(after) < D("1.01")
    assert ticks[-1].price > after[0] * D("1.01")  # on its slow way back to where it began


def test_a_tour_taken_up_half_way_down_goes_further_down() -> None:
    account = _Account()
    account.holding = Holding(D("0.046"), D("0.103"), D(60_000))
    rules = {"BTCUSDT": BUILT_IN["BTCUSDT"]}
    start = {"BTCUSDT": D(57_600)}  # −4 %
    ticks = scenario("tour", rules, seed=1, look=account.look, start=start)
    assert max(tick.price for tick in islice(ticks, 80)) < D(57_650)


def test_recovering_reaches_the_take_profit() -> None:
    account = _Account()
    percents = _percents(_run("dip-and-recover", account, seconds=70), account.holding.long_entry)
    assert min(percents) < -1.5
    assert max(percents) > 1.0


def test_a_rally_only_rises_and_a_crash_falls_deep() -> None:
    rally = _Account()
    assert max(_percents(_run("rally", rally, seconds=75), rally.holding.long_entry)) > 2.5
    crash = _Account()
    assert min(_percents(_run("crash", crash, seconds=95), crash.holding.long_entry)) < -11


@pytest.mark.parametrize("name", sorted(PATHS))
def test_scenarios_are_seeded_and_sit_on_tick_and_step(name: str) -> None:
    rules = {s: BUILT_IN[s] for s in ("BTCUSDT", "XRPUSDT")}
    runs = [
        list(islice(scenario(name, rules, seed=seed, look=_Account().look, start={}), 300))
        for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1] != runs[2]
    for tick in runs[0]:
        assert tick.price % rules[tick.symbol].tick == 0
        assert tick.quantity % rules[tick.symbol].step == 0
    assert {tick.symbol for tick in runs[0]} == set(rules)


def test_an_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(FeedError, match="chop, crash, dip-and-recover, rally, tour"):
        next(scenario("moon", BUILT_IN, seed=1, look=_Account().look, start={}))
