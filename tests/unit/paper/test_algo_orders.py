"""Conditional orders: from placement through the trigger to the order that they become."""

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.paper.bench import BTC, Bench

D = Decimal


def _hedge(bench: Bench, quantity: str = "0.103", trigger: str = "57805.0") -> Any:
    answer = bench.stop("SELL", "SHORT", trigger, quantity=quantity, id="hedge")
    assert answer.status == 200, answer.body
    return answer.body


def test_a_stop_opens_short_under_the_same_id_with_a_new_order() -> None:
    bench = Bench()
    placed = _hedge(bench)
    assert (placed["algoStatus"], placed["orderType"]) == ("NEW", "STOP_MARKET")
    assert bench.code("GET", "v1/order", symbol=BTC, origClientOrderId="hedge") == -2013
    bench.trade("57800")
    assert bench.short() == D("0.103")
    assert bench.algo_story("hedge") == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert bench.order_story("hedge") == [("NEW", "NEW"), ("TRADE", "FILLED")]
    child = bench.get("v1/order", symbol=BTC, origClientOrderId="hedge")
    (algo,) = bench.get("v1/allAlgoOrders", symbol=BTC)
    assert algo["actualOrderId"] == str(child["orderId"])
    assert (child["type"], child["avgPrice"]) == ("MARKET", "57800.00000")
    assert bench.get("v1/openAlgoOrders") == []
    assert bench.code("DELETE", "v1/algoOrder", clientAlgoId="hedge") == -2011


def test_fills_may_come_before_the_news_of_the_trigger() -> None:
    bench = Bench(child_first=True)
    _hedge(bench)
    bench.events.clear()
    bench.trade("57800")
    names = [(e["e"], e["o"]["X"]) for e in bench.events if "o" in e]
    assert names == [
        ("ALGO_UPDATE", "TRIGGERING"),
        ("ORDER_TRADE_UPDATE", "NEW"),
        ("ORDER_TRADE_UPDATE", "FILLED"),
        ("ALGO_UPDATE", "TRIGGERED"),
        ("ALGO_UPDATE", "FINISHED"),
    ]


def test_margin_is_looked_at_only_when_it_triggers() -> None:
    bench = Bench(wallet=D(100))
    _hedge(bench, quantity="10")
    bench.trade("57800")
    assert bench.algo_story("hedge") == ["NEW", "TRIGGERING", "REJECTED"]
    assert bench.seen("ALGO_UPDATE")[-1]["o"]["rm"] == "Margin is insufficient."
    assert bench.short() == 0


PASSED = {
    "a stop sell above the market": ("SELL", "SHORT", "STOP_MARKET", "60000.1"),
    "a stop sell at the market": ("SELL", "SHORT", "STOP_MARKET", "60000"),
    "a stop buy below the market": ("BUY", "LONG", "STOP_MARKET", "59999.9"),
    "a take-profit buy above the market": ("BUY", "LONG", "TAKE_PROFIT_MARKET", "60000.1"),
}


@pytest.mark.parametrize(("side", "leg", "kind", "trigger"), PASSED.values(), ids=PASSED.keys())
def test_a_trigger_already_passed_is_refused(side: str, leg: str, kind: str, trigger: str) -> None:
    answer = Bench().stop(side, leg, trigger, quantity="0.01", type=kind)
    assert answer.body == {"code": -2021, "msg": "Order would immediately trigger."}


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "another algo type": ({"algoType": "VP"}, -1130),
    "no trigger": ({"triggerPrice": ""}, -1102),
    "a trigger of zero": ({"triggerPrice": "0"}, -4006),
    "a trigger above the range": ({"triggerPrice": "4529765"}, -4007),
    "a trigger between ticks": ({"triggerPrice": "57805.05"}, -4014),
    "a plain type": ({"type": "LIMIT"}, -1116),
    "an opening closePosition": ({"closePosition": "true", "quantity": ""}, -2022),
    "closePosition with a quantity": ({"closePosition": "true"}, -4137),
    "closePosition on a stop limit": ({"closePosition": "true", "type": "STOP"}, -1130),
    "no quantity": ({"quantity": ""}, -1102),
    "too small": ({"quantity": "0.001"}, -4164),
    "a stop limit without price": ({"type": "STOP"}, -1102),
    "a strange working type": ({"workingType": "INDEX"}, -4031),
    "one way": ({"positionSide": "BOTH"}, -4061),
}


@pytest.mark.parametrize(("change", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(change: dict[str, Any], code: int) -> None:
    params = {"quantity": "0.103", "id": "hedge"} | change
    assert Bench().stop("SELL", "SHORT", "57805.0", **params).body["code"] == code


def test_a_close_position_stop_takes_the_quantity_of_the_moment() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    assert bench.stop("SELL", "LONG", "59500", id="guard").status == 200
    bench.buy_long("0.005")
    bench.order("SELL", "LONG", "0.015", price="60300", id="tp")  # a stop reserves nothing
    bench.trade("59500")
    assert bench.long() == 0
    assert bench.order_story("guard") == [("NEW", "NEW"), ("TRADE", "FILLED")]
    assert bench.order_story("tp")[-1] == ("EXPIRED", "EXPIRED")


def test_a_stop_that_finds_too_little_still_outranks_resting_closes() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.010", price="60300", id="tp")
    bench.stop("SELL", "LONG", "59500", id="guard")
    bench.world.set_liquidity(BTC, D("0.003"))
    bench.trade("59500")
    assert bench.order_story("tp")[-1] == ("EXPIRED", "EXPIRED")
    assert bench.order_story("guard")[1:] == [
        ("TRADE", "PARTIALLY_FILLED"),
        ("EXPIRED", "EXPIRED"),
    ]
    assert bench.long() == D("0.007")


def test_a_closing_stop_limit_takes_only_what_is_left_to_close() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.006", price="60300", id="tp")
    stop = {"quantity": "0.010", "type": "STOP", "price": "59600"}
    bench.stop("SELL", "LONG", "59500", id="stop", **stop)
    bench.trade("59500")
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="stop")
    assert (found["origQty"], found["status"]) == ("0.004", "NEW")


def test_a_close_position_stop_expires_with_its_position() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.stop("SELL", "LONG", "59500", id="guard")
    bench.order("SELL", "LONG", "0.010")
    assert bench.algo_story("guard") == ["NEW", "EXPIRED"]


def test_one_close_position_stop_per_direction() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "SHORT", "0.010")
    bench.stop("SELL", "LONG", "59500", id="one")
    assert bench.stop("SELL", "LONG", "59400", id="two").body["code"] == -4130
    take = bench.stop("SELL", "LONG", "60500", id="three", type="TAKE_PROFIT_MARKET")
    assert take.status == 200
    assert bench.stop("BUY", "SHORT", "60500", id="four").status == 200


def test_cancelling_answers_with_a_code_that_is_text() -> None:
    bench = Bench()
    _hedge(bench)
    answer = bench.ok("DELETE", "v1/algoOrder", clientAlgoId="hedge")
    assert (answer["code"], answer["clientAlgoId"]) == ("200", "hedge")
    assert bench.algo_story("hedge") == ["NEW", "CANCELED"]
    assert bench.code("DELETE", "v1/algoOrder", clientAlgoId="hedge") == -2011
    assert bench.code("GET", "v1/algoOrder", clientAlgoId="other") == -2013
    assert bench.get("v1/algoOrder", clientAlgoId="hedge")["algoStatus"] == "CANCELED"


def test_cancelling_all_plain_orders_leaves_conditional_ones() -> None:
    bench = Bench()
    _hedge(bench)
    bench.ok("DELETE", "v1/allOpenOrders", symbol=BTC)
    assert len(bench.get("v1/openAlgoOrders", symbol=BTC)) == 1
    assert bench.ok("DELETE", "v1/algoOpenOrders", symbol=BTC)["code"] == 200
    assert bench.get("v1/openAlgoOrders", symbol=BTC) == []


def test_a_query_of_an_open_algo_order_may_find_nothing() -> None:
    bench = Bench(forgetful_algo_query=True)
    _hedge(bench)
    assert bench.code("GET", "v1/algoOrder", clientAlgoId="hedge") == -2013
    assert len(bench.get("v1/openAlgoOrders")) == 1


def test_conditional_orders_are_capped_over_all_symbols() -> None:
    bench = Bench(max_open_algos=2)
    for number in range(2):
        bench.stop("SELL", "SHORT", "57805", quantity="0.01", id=f"hedge-{number}")
    assert bench.stop("SELL", "SHORT", "57805", quantity="0.01").body["code"] == -4045


def test_a_mark_price_stop_waits_for_the_mark_price() -> None:
    bench = Bench()
    bench.world.set_mark(BTC, D(60_000), bench.now_ms)
    bench.stop("SELL", "SHORT", "59000", quantity="0.01", id="mark", workingType="MARK_PRICE")
    bench.trade("58900")
    assert bench.algo_story("mark") == ["NEW"]
    bench.world.set_mark(BTC, D(59_000), bench.now_ms)
    bench.trade("58900")
    assert bench.algo_story("mark")[-1] == "FINISHED"


def test_a_stop_limit_becomes_a_limit() -> None:
    bench = Bench()
    bench.stop("BUY", "LONG", "60100", quantity="0.01", id="stop", type="STOP", price="60050")
    bench.trade("60100")
    (order,) = bench.get("v1/openOrders", symbol=BTC)
    assert (order["clientOrderId"], order["type"], order["price"]) == ("stop", "LIMIT", "60050.00")
    assert bench.algo_story("stop") == ["NEW", "TRIGGERING", "TRIGGERED"]
    bench.ok("DELETE", "v1/order", symbol=BTC, origClientOrderId="stop")
    assert bench.algo_story("stop")[-1] == "FINISHED"


def test_a_gap_fills_levels_on_the_way_and_the_hedge_at_the_end() -> None:
    bench = Bench()
    bench.buy_long("0.004")
    for number, (price, quantity) in enumerate(
        [("59700", "0.006"), ("59103", "0.012"), ("57920.9", "0.024")], start=1
    ):
        bench.buy_long(quantity, price=price, id=f"level-{number}")
    _hedge(bench)
    bench.events.clear()
    bench.trade("57000")
    fills = [
        (e["o"]["c"], e["o"]["L"]) for e in bench.seen("ORDER_TRADE_UPDATE") if e["o"]["l"] != "0"
    ]
    assert fills == [
        ("level-1", "59700"),
        ("level-2", "59103"),
        ("level-3", "57920.9"),
        ("hedge", "57000"),
    ]
    assert bench.long() == D("0.046")


def test_a_stop_on_the_way_frees_no_margin_for_what_lies_behind_it() -> None:
    """Guard at 59500, level at 59000: the guard closes first, the level opens anew."""
    bench = Bench()
    bench.buy_long("0.010")
    bench.stop("SELL", "LONG", "59500", id="guard")
    bench.buy_long("0.020", price="59000", id="level")
    bench.trade("58900")
    assert bench.long() == D("0.020")
    assert bench.order_story("guard")[-1] == ("TRADE", "FILLED")


DAY_MS = 24 * 3600 * 1000


def test_a_conditional_order_is_kept_as_long_as_a_plain_one() -> None:
    bench = Bench()
    bench.stop("SELL", "SHORT", "57000", quantity="0.01", id="gone")
    bench.ok("DELETE", "v1/algoOrder", clientAlgoId="gone")
    _hedge(bench)
    bench.trade("57800")
    bench.now_ms += 3 * DAY_MS
    assert bench.code("GET", "v1/algoOrder", clientAlgoId="gone") == -2013
    assert bench.get("v1/algoOrder", clientAlgoId="hedge")["algoStatus"] == "FINISHED"
    bench.now_ms += 87 * DAY_MS
    assert bench.code("GET", "v1/algoOrder", clientAlgoId="hedge") == -2013
