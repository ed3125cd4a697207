"""The modelled order book, makers that wait for more than a touch, self-trade prevention."""

from decimal import Decimal
from typing import Any

import pytest

from paper import depth
from paper.state import Side
from tests.unit.paper.bench import BTC, Bench

D = Decimal


def _model(**options: Any) -> Bench:
    bench = Bench(book="model", spread_ticks=1, price=None, wallet=D(10_000_000), **options)
    bench.trade("60000", buyer_maker=True)
    return bench


def test_an_order_that_the_market_has_passed_does_not_cross_the_book() -> None:
    bench = _model(maker_fill="through")
    bench.buy_long("5", price="59990", id="bid")
    bench.order("SELL", "SHORT", "5", price="60010", id="ask")
    bench.trade("59980", "1", buyer_maker=True)  # too little to fill it
    for price in ("59980", "60020"):
        bench.trade(price, "1")
        book = bench.get("v1/depth", symbol=BTC, limit=50)
        bids, asks = ([D(row[0]) for row in book[side]] for side in ("bids", "asks"))
        assert bids[0] < asks[0]
        assert (D(59990) in bids, D(60010) in asks) == (price == "60020", price == "59980")
    assert {o["clientOrderId"] for o in bench.get("v1/openOrders")} == {"bid", "ask"}


def test_a_large_market_order_slips_and_a_small_one_does_not() -> None:
    bench = _model()
    bench.buy_long("0.3", id="small")
    assert bench.get("v1/order", symbol=BTC, origClientOrderId="small")["avgPrice"] == "60000.10000"
    bench.trade("60000", buyer_maker=True)
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=50)
    bench.buy_long("100", id="large")
    large = bench.get("v1/order", symbol=BTC, origClientOrderId="large")
    assert D("60050") < D(large["avgPrice"]) < D("60200")
    fills = [e["o"] for e in bench.seen("ORDER_TRADE_UPDATE") if e["o"]["x"] == "TRADE"]
    prices = [D(fill["L"]) for fill in fills if fill["c"] == "large"]
    assert prices == sorted(prices)
    assert prices[:2] == [D("60000.1"), D("60003.2")]


def test_what_was_taken_comes_back_with_the_next_trade() -> None:
    bench = _model()
    before = bench.get("v1/depth", symbol=BTC, limit=5)
    bench.buy_long("0.5")
    taken = bench.get("v1/depth", symbol=BTC, limit=5)
    assert taken["asks"][0][0] == "60003.20"
    assert taken["bids"] == before["bids"]
    bench.trade("60000", buyer_maker=True)
    again = bench.get("v1/depth", symbol=BTC, limit=5)
    assert again["asks"] == before["asks"]
    assert again["lastUpdateId"] > taken["lastUpdateId"] > before["lastUpdateId"]


def test_the_depth_has_prices_in_order_and_our_own_orders() -> None:
    bench = _model()
    bench.buy_long("7.777", price="59990.1", id="own")
    bench.buy_long("5", price="59991.1", timeInForce="RPI", id="hidden")
    book = bench.get("v1/depth", symbol=BTC, limit=20)
    bids, asks = ([D(price) for price, _ in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert len(bids) == len(asks) == 20
    assert ["59990.10", "7.777"] in book["bids"]
    assert D("59991.1") not in bids  # retail price improvement is not public
    assert bench.code("GET", "v1/depth", symbol=BTC, limit=7) == -1130


def test_a_market_order_stops_at_the_take_bound() -> None:
    bench = _model(depth_quote=D(100))
    bench.buy_long("10", id="entry")
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="entry")
    assert found["status"] == "EXPIRED"
    assert 0 < D(found["executedQty"]) < 10
    last = bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]
    assert last["er"] == "9"


@pytest.mark.parametrize(("quantity", "taken"), [("0.3", True), ("5", False)])
def test_fill_or_kill_looks_at_the_depth(quantity: str, taken: bool) -> None:
    bench = _model()
    answer = bench.order("BUY", "LONG", quantity, price="60003", timeInForce="FOK")
    assert (answer.status == 200) == taken
    if not taken:
        assert answer.body["code"] == -5021
        assert bench.events[-1]["e"] == "aggTrade"  # no order, no event


def test_a_gtc_takes_what_is_there_and_rests() -> None:
    bench = _model()
    bench.buy_long("1", price="60000.1", id="a")
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="a")
    assert (found["status"], found["executedQty"]) == ("PARTIALLY_FILLED", "0.333")
    bench.trade("59999", "5")
    assert bench.order_story("a")[-1] == ("TRADE", "FILLED")


@pytest.mark.parametrize(("rule", "filled"), [("touched", True), ("through", False)])
def test_a_maker_waits_for_a_trade_through_its_price(rule: str, filled: bool) -> None:
    bench = Bench(maker_fill=rule)
    bench.buy_long("0.010", price="59900", id="a")
    bench.trade("59900")
    assert bool(bench.long()) == filled
    bench.trade("59899.9")
    assert bench.long() == D("0.010")


# --- self-trade prevention -----------------------------------------------------------------


def _meeting(mode: str, **more: str) -> Bench:
    """A resting take-profit of LONG at the best ask, and a buy that would meet it."""
    bench = _model(self_trade_prevention=True)
    bench.buy_long("0.2")
    bench.order("SELL", "LONG", "0.2", price="60000.1", id="maker")
    bench.buy_long("0.1", id="taker", selfTradePreventionMode=mode, **more)
    return bench


def test_by_default_the_maker_expires() -> None:
    bench = _meeting("EXPIRE_MAKER")
    assert bench.order_story("maker")[-1] == ("EXPIRED", "EXPIRED_IN_MATCH")
    events = [e["o"] for e in bench.seen("ORDER_TRADE_UPDATE") if e["o"]["c"] == "maker"]
    assert events[-1]["er"] == "1"
    assert bench.order_story("taker")[-1] == ("TRADE", "FILLED")


def test_the_taker_may_expire_instead() -> None:
    bench = _meeting("EXPIRE_TAKER")
    assert bench.order_story("maker") == [("NEW", "NEW")]
    assert bench.order_story("taker")[-1] == ("EXPIRED", "EXPIRED_IN_MATCH")


def test_or_both() -> None:
    bench = _meeting("EXPIRE_BOTH")
    assert bench.order_story("maker")[-1][1] == "EXPIRED_IN_MATCH"
    assert bench.order_story("taker")[-1][1] == "EXPIRED_IN_MATCH"


def test_without_prevention_they_trade_with_each_other() -> None:
    bench = _meeting("NONE")
    assert bench.order_story("maker")[-1] == ("TRADE", "PARTIALLY_FILLED")
    assert bench.order_story("taker")[-1] == ("TRADE", "FILLED")
    assert bench.long() == D("0.2")


def test_orders_that_do_not_meet_are_left_alone() -> None:
    bench = _model(self_trade_prevention=True)
    bench.buy_long("0.2")
    bench.order("SELL", "LONG", "0.2", price="60300", id="maker")
    bench.buy_long("0.1")
    assert bench.order_story("maker") == [("NEW", "NEW")]


def test_an_exact_book_holds_everything_at_one_price() -> None:
    bench = Bench()
    state = bench.world.state
    assert depth.best(state, BTC, Side.BUY) == D(60000)
    book = bench.get("v1/depth", symbol=BTC, limit=5)
    assert book["asks"] == [["60000.00", "1000.000"]]
    empty = Bench(price=None)
    assert empty.get("v1/depth", symbol=BTC, limit=5)["bids"] == []
    assert empty.get("v1/ticker/bookTicker", symbol=BTC)["bidPrice"] == "0.00"
