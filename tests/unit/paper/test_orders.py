"""Plain orders: what is taken, how it fills, what is refused."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from paper.rules import BUILT_IN
from tests.unit.paper.bench import BTC, Bench

D = Decimal


# --- filling -------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_last_price_as_taker() -> None:
    bench = Bench()
    answer = bench.buy_long("0.004", id="entry")
    assert (answer["status"], answer["executedQty"]) == ("NEW", "0.000")  # ACK
    assert "avgPrice" not in answer
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="entry")
    assert (found["status"], found["avgPrice"], found["cumQuote"]) == (
        "FILLED",
        "60000.00000",
        "240.000",
    )
    (trade,) = bench.get("v1/userTrades", symbol=BTC)
    assert (trade["commission"], trade["maker"], trade["buyer"]) == ("0.12000000", False, True)


def test_a_result_answer_tells_the_final_state() -> None:
    assert Bench().buy_long("0.004", newOrderRespType="RESULT")["status"] == "FILLED"


def test_a_spread_of_one_tick_lies_on_the_side_of_the_aggressor() -> None:
    bench = Bench(spread_ticks=1)
    bench.trade("60000", buyer_maker=True)
    book = bench.get("v1/ticker/bookTicker", symbol=BTC)
    assert (book["bidPrice"], book["askPrice"]) == ("60000.00", "60000.10")
    bench.trade("60000", buyer_maker=False)
    book = bench.get("v1/ticker/bookTicker", symbol=BTC)
    assert (book["bidPrice"], book["askPrice"]) == ("59999.90", "60000.00")


def test_a_resting_limit_fills_in_parts_at_its_own_price_as_maker() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59900", id="level")
    bench.trade("59900.1")
    assert bench.order_story("level") == [("NEW", "NEW")]
    bench.trade("59890", "0.004")
    bench.trade("59900", "0.004")
    bench.trade("59880", "0.004")
    assert bench.order_story("level")[1:] == [
        ("TRADE", "PARTIALLY_FILLED"),
        ("TRADE", "PARTIALLY_FILLED"),
        ("TRADE", "FILLED"),
    ]
    trades = bench.get("v1/userTrades", symbol=BTC)
    assert [(t["price"], t["qty"], t["maker"]) for t in trades] == [
        ("59900.00", "0.004", True),
        ("59900.00", "0.004", True),
        ("59900.00", "0.002", True),
    ]
    assert trades[0]["commission"] == "0.04792000"


def test_one_trade_is_shared_by_price_priority() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59800", id="far")
    bench.buy_long("0.010", price="59900", id="near")
    bench.trade("59700", "0.015")
    assert bench.order_story("near")[-1] == ("TRADE", "FILLED")
    assert bench.order_story("far")[-1] == ("TRADE", "PARTIALLY_FILLED")
    assert bench.long() == D("0.015")


def test_an_amended_order_goes_to_the_back_of_its_price() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59900", id="first")
    bench.buy_long("0.010", price="59900", id="second")
    bench.ok("PUT", "v1/order", symbol=BTC, side="BUY", origClientOrderId="first",
             price="59900", quantity="0.011")  # fmt: skip
    bench.trade("59900", "0.010")
    assert bench.order_story("second")[-1] == ("TRADE", "FILLED")


def test_a_trade_finer_than_the_step_fills_whole_steps_only() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59900", id="level")
    bench.trade("59900", "0.0009")
    assert bench.long() == 0
    bench.trade("59900", "0.0039")
    assert bench.long() == D("0.003")


def test_a_crossing_limit_takes_at_the_better_price() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="60100", id="cross")
    (trade,) = bench.get("v1/userTrades", symbol=BTC)
    assert (trade["price"], trade["maker"]) == ("60000.00", False)


@pytest.mark.parametrize(
    ("params", "status", "reason"),
    [
        ({}, "EXPIRED", "9"),
        ({"price": "60000", "timeInForce": "IOC"}, "EXPIRED", "2"),
        ({"price": "60000"}, "PARTIALLY_FILLED", "0"),
    ],
    ids=["a market order expires", "an IOC expires", "a GTC rests"],
)
def test_what_the_book_does_not_hold(params: dict[str, Any], status: str, reason: str) -> None:
    bench = Bench()
    bench.world.set_liquidity(BTC, D("0.003"))
    bench.buy_long("0.010", id="big", **params)
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="big")
    assert (found["status"], found["executedQty"]) == (status, "0.003")
    assert bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]["er"] == reason


def test_an_empty_book_fills_nothing_and_ends_the_market_order() -> None:
    bench = Bench()
    bench.world.set_liquidity(BTC, D(0))
    bench.buy_long("0.010", id="entry")
    assert bench.order_story("entry") == [("NEW", "NEW"), ("EXPIRED", "EXPIRED")]
    assert bench.long() == 0


# --- events --------------------------------------------------------------------------------


def test_a_fill_is_told_three_times_in_order() -> None:
    bench = Bench()
    bench.events.clear()
    bench.buy_long("0.004", id="entry")
    assert [event["e"] for event in bench.events] == [
        "ORDER_TRADE_UPDATE",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE",
    ]
    account, order = bench.events[2], bench.events[3]
    assert account["T"] == order["T"]
    assert [(row["ps"], row["pa"], row["ep"]) for row in account["a"]["P"]] == [
        ("BOTH", "0", "0"),
        ("LONG", "0.004", "60000"),
    ]
    assert account["a"]["B"][0] == {"a": "USDT", "wb": "9999.88", "cw": "9999.88", "bc": "0"}
    detail = order["o"]
    assert (detail["ap"], detail["n"], detail["rp"], detail["R"]) == ("60000", "0.12", "0", False)
    assert detail["i"] > 2**53


def test_closing_reports_profit_and_the_short_leg_is_negative() -> None:
    bench = Bench()
    bench.order("SELL", "SHORT", "0.010", id="open")
    assert bench.seen("ACCOUNT_UPDATE")[-1]["a"]["P"][1]["pa"] == "-0.01"
    bench.trade("59000")
    bench.order("BUY", "SHORT", "0.010", id="close")
    last = bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (last["rp"], last["R"]) == ("10", True)


def test_the_market_sees_each_trade_once() -> None:
    bench = Bench(price=None)
    bench.trade("60000.1", "0.5", buyer_maker=True)
    (event,) = bench.events
    assert {k: event[k] for k in ("e", "s", "p", "q", "m", "st")} == {
        "e": "aggTrade",
        "s": "BTCUSDT",
        "p": "60000.1",
        "q": "0.5",
        "m": True,
        "st": 1,
    }


# --- refusals ------------------------------------------------------------------------------

LIMIT = {"type": "LIMIT", "timeInForce": "GTC", "price": "59000"}
REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no symbol": ({"symbol": ""}, -1102),
    "an unknown symbol": ({"symbol": "NOPEUSDT"}, -1121),
    "an unknown side": ({"side": "HOLD"}, -1117),
    "an unknown type": ({"type": "ICEBERG"}, -1116),
    "a conditional type": ({"type": "STOP_MARKET"}, -4120),
    "a quantity that is no number": ({"quantity": "1e-3"}, -1102),
    "no quantity": ({"quantity": ""}, -1102),
    "a limit without price": ({"type": "LIMIT", "timeInForce": "GTC"}, -1102),
    "a limit without time in force": ({"type": "LIMIT", "price": "59000"}, -1102),
    "a strange time in force": (LIMIT | {"timeInForce": "DAY"}, -1115),
    "a price on a market order": ({"price": "59000"}, -1106),
    "no position side in hedge mode": ({"positionSide": ""}, -4061),
    "a strange position side": ({"positionSide": "UP"}, -4060),
    "reduceOnly in hedge mode": ({"reduceOnly": "true"}, -1106),
    "more decimals than the quantity has": ({"quantity": "0.0041"}, -1111),
    "more decimals than the price has": (LIMIT | {"price": "59000.001"}, -1111),
    "a price between ticks": (LIMIT | {"price": "59000.05"}, -4014),
    "a price below the range": (LIMIT | {"price": "1.00"}, -4013),
    "a price above the range": (LIMIT | {"price": "4529765"}, -4002),
    "a price of zero": (LIMIT | {"price": "0"}, -4001),
    "no quantity at all": ({"quantity": "0"}, -4003),
    "more than the market maximum": ({"quantity": "121"}, -4005),
    "too little money": ({"quantity": "0.001"}, -4164),
    "a buy above the percent price": (LIMIT | {"price": "63000.1"}, -4016),
    "an id that is too long": ({"newClientOrderId": "x" * 37}, -4015),
    "an id with a space": ({"newClientOrderId": "a b"}, -1100),
    "more than the margin": ({"quantity": "10"}, -2019),
    "a post-only that would take": (LIMIT | {"timeInForce": "GTX", "price": "60000"}, -5022),
    "a fill-or-kill that cannot fill": (LIMIT | {"timeInForce": "FOK"}, -5021),
    "a close without position": ({"side": "SELL"}, -2022),
    "a strange self-trade prevention": ({"selfTradePreventionMode": "SOME"}, -5039),
    "a strange response type": ({"newOrderRespType": "FULL"}, -1136),
}


@pytest.mark.parametrize(("params", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(params: dict[str, Any], code: int) -> None:
    bench = Bench()
    wanted = {"symbol": BTC, "side": "BUY", "positionSide": "LONG", "type": "MARKET"}
    assert bench.code("POST", "v1/order", **(wanted | {"quantity": "0.004"} | params)) == code
    assert not bench.seen("ORDER_TRADE_UPDATE")
    assert bench.get("v1/allOrders", symbol=BTC) == []


def test_more_than_the_bracket_carries_at_this_leverage_is_refused() -> None:
    bench = Bench(wallet=D(10**6))
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=125)
    bench.buy_long("0.5")
    bench.buy_long("0.3", price="59000")
    assert bench.order("BUY", "LONG", "0.1").body["code"] == -2027
    assert bench.order("SELL", "SHORT", "0.5").status == 200  # the other leg has its own room


def test_less_than_the_minimum_and_more_orders_than_the_maximum() -> None:
    rules = replace(BUILT_IN[BTC], min_quantity=D("0.005"), max_orders=2)
    bench = Bench(symbols=[rules])
    assert bench.order("BUY", "LONG", "0.004").body["code"] == -4004
    for _ in range(2):
        bench.buy_long("0.005", price="59000")
    assert bench.order("BUY", "LONG", "0.005", price="59000").body["code"] == -2025


def test_lists_reach_over_seven_days_and_remember_three_months() -> None:
    bench = Bench()
    bench.buy_long("0.004")
    week, begun = 7 * 24 * 3600 * 1000, bench.now_ms - 1
    for path in ("v1/userTrades", "v1/allOrders"):
        asked = {"symbol": BTC, "startTime": begun}
        assert len(bench.get(path, **asked, endTime=begun + week)) == 1
        assert bench.code("GET", path, **asked, endTime=begun + week + 1) == -4165
    bench.now_ms += 89 * 24 * 3600 * 1000
    assert len(bench.get("v1/userTrades", symbol=BTC, fromId=1)) == 1
    assert len(bench.get("v1/income", startTime=begun)) == 1
    bench.now_ms += 24 * 3600 * 1000
    assert bench.get("v1/userTrades", symbol=BTC, fromId=1) == []
    assert bench.get("v1/income", startTime=begun) == []


def test_a_sell_below_the_percent_price_is_refused() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    answer = bench.order("SELL", "LONG", "0.010", price="56999.9")
    assert answer.body == {"code": -4024, "msg": "Limit price can't be lower than 57000.00."}


def test_a_market_order_far_from_the_mark_price_is_refused() -> None:
    bench = Bench()
    bench.world.set_mark(BTC, D(50_000), bench.now_ms)
    answer = bench.order("BUY", "LONG", "0.010")
    assert answer.body["code"] == -4131


def test_before_the_first_trade_there_is_no_book() -> None:
    assert Bench(price=None).order("BUY", "LONG", "0.010").body["code"] == -1112


def test_a_client_id_is_unique_among_open_orders_of_both_kinds() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59000", id="same")
    assert bench.order("BUY", "LONG", "0.010", id="same").body["code"] == -4116
    assert bench.stop("BUY", "SHORT", "61000", id="same").body["code"] == -4116
    bench.ok("DELETE", "v1/order", symbol=BTC, origClientOrderId="same")
    bench.buy_long("0.010", id="same")
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="same")
    assert found["status"] == "FILLED"


def test_order_test_checks_and_places_nothing() -> None:
    bench = Bench()
    wanted = {"symbol": BTC, "side": "BUY", "positionSide": "LONG", "type": "MARKET"}
    bench.ok("POST", "v1/order/test", **wanted, quantity="0.004")
    assert bench.code("POST", "v1/order/test", **wanted, quantity="0.001") == -4164
    assert bench.get("v1/allOrders", symbol=BTC) == []


# --- closing in hedge mode -----------------------------------------------------------------


def test_resting_closes_reserve_the_leg() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.006", price="60300", id="tp")
    assert bench.order("SELL", "LONG", "0.005").body["code"] == -2022
    bench.order("SELL", "LONG", "0.004")
    assert bench.long() == D("0.006")
    assert bench.order("SELL", "LONG", "0.001").body["code"] == -2022


def test_a_close_may_be_cut_instead_where_the_world_says_so() -> None:
    bench = Bench(over_close="cut")
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.015", id="close")
    assert bench.long() == 0
    assert bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]["q"] == "0.01"


def test_a_tiny_close_needs_no_minimum_notional() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    assert bench.order("SELL", "LONG", "0.001").status == 200


def test_a_leg_that_shrinks_knocks_out_the_newest_closes() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.004", price="60300", id="old")
    bench.order("SELL", "LONG", "0.006", price="60400", id="new")
    bench.world.adl(BTC, "LONG", D("0.005"), bench.now_ms)
    bench.trade("60000")
    assert bench.order_story("new")[-1] == ("EXPIRED", "EXPIRED")
    assert bench.order_story("old") == [("NEW", "NEW")]
    ended = [e["o"] for e in bench.seen("ORDER_TRADE_UPDATE") if e["o"]["c"] == "new"]
    assert ended[-1]["er"] == "4"


# --- amending and cancelling ---------------------------------------------------------------


def test_an_amendment_takes_the_total_quantity() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.010", price="60300", id="tp")
    bench.trade("60300", "0.003")
    bench.buy_long("0.012")
    asked = {"symbol": BTC, "side": "SELL", "origClientOrderId": "tp"}
    answer = bench.ok("PUT", "v1/order", **asked, price="60310", quantity="0.022", modifyId=7)
    assert (answer["origQty"], answer["executedQty"], answer["modifyId"]) == ("0.022", "0.003", 7)
    detail = bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (detail["x"], detail["X"], detail["M"]) == ("AMENDMENT", "PARTIALLY_FILLED", 7)
    assert bench.code("PUT", "v1/order", **asked, price="60310", quantity="0.023") == -2022
    bench.trade("60310")
    assert bench.long() == 0


def test_amendments_that_are_refused_leave_the_order_alone() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59000", id="level")
    asked = {"symbol": BTC, "side": "BUY", "origClientOrderId": "level"}
    cases: dict[int, dict[str, str]] = {
        -5027: {"price": "59000", "quantity": "0.010"},
        -4014: {"price": "59000.05", "quantity": "0.010"},
        -4016: {"price": "63000.1", "quantity": "0.010"},
        -5029: {"price": "59000", "quantity": "0.001"},
        -2019: {"price": "59000", "quantity": "9"},
        -1102: {"price": "59000", "quantity": ""},
    }
    for code, change in cases.items():
        assert bench.code("PUT", "v1/order", **asked, **change) == code
    assert bench.code("PUT", "v1/order", **(asked | {"origClientOrderId": "x"}),
                      price="1", quantity="1") == -2013  # fmt: skip
    (order,) = bench.get("v1/openOrders", symbol=BTC)
    assert (order["price"], order["origQty"]) == ("59000.00", "0.010")


def test_an_amendment_down_to_what_is_executed_cancels() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59900", id="level")
    bench.trade("59900", "0.004")
    asked = {"symbol": BTC, "side": "BUY", "origClientOrderId": "level"}
    answer = bench.ok("PUT", "v1/order", **asked, price="59900", quantity="0.004")
    assert answer["status"] == "CANCELED"


def test_an_amendment_across_the_market_fills() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59900", id="level")
    bench.ok("PUT", "v1/order", symbol=BTC, side="BUY", origClientOrderId="level",
             price="60010", quantity="0.010")  # fmt: skip
    assert bench.order_story("level")[-2:] == [("AMENDMENT", "NEW"), ("TRADE", "FILLED")]


def test_cancelling() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59000", id="one")
    bench.buy_long("0.010", price="59100", id="two")
    by_id = {"symbol": BTC, "origClientOrderId": "one"}
    assert bench.ok("DELETE", "v1/order", **by_id)["status"] == "CANCELED"
    assert bench.code("DELETE", "v1/order", **by_id) == -2011
    assert bench.code("DELETE", "v1/order", symbol=BTC) == -1102
    assert bench.code("GET", "v1/openOrder", **by_id) == -2013
    assert bench.ok("DELETE", "v1/allOpenOrders", symbol=BTC)["code"] == 200
    assert bench.get("v1/openOrders") == []


def test_an_order_cancelled_unfilled_is_forgotten_after_three_days() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59000", id="gone")
    bench.ok("DELETE", "v1/order", symbol=BTC, origClientOrderId="gone")
    bench.now_ms += 3 * 24 * 3600 * 1000
    assert bench.code("GET", "v1/order", symbol=BTC, origClientOrderId="gone") == -2013


def test_a_good_till_date_order_runs_out() -> None:
    bench = Bench()
    until = bench.now_ms + 700_000
    bench.buy_long("0.01", price="59000", id="gtd", timeInForce="GTD", goodTillDate=until)
    bench.world.tick(until + 1000)
    bench.trade("60000")
    assert bench.order_story("gtd")[-1] == ("EXPIRED", "EXPIRED")


def test_user_trades_page_from_the_oldest() -> None:
    bench = Bench()
    for _ in range(3):
        bench.buy_long("0.004")
    first, second, third = (t["id"] for t in bench.get("v1/userTrades", symbol=BTC))
    assert [t["id"] for t in bench.get("v1/userTrades", symbol=BTC, limit=2)] == [first, second]
    assert [t["id"] for t in bench.get("v1/userTrades", symbol=BTC, fromId=third)] == [third]
    assert bench.code("GET", "v1/userTrades", symbol=BTC, fromId=1, startTime=1) == -1128
    assert len(bench.get("v1/allOrders", symbol=BTC, limit=2)) == 2
