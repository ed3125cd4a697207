"""Trailing stops, price protection, and what conditional orders are tied to."""

from decimal import Decimal

import pytest

from tests.unit.paper.bench import BTC, Bench

D = Decimal
TRAIL = {"type": "TRAILING_STOP_MARKET", "quantity": "0.010", "id": "trail"}


def _place(bench: Bench, side: str, leg: str, **more: str) -> None:
    answer = bench.stop(side, leg, "", **(TRAIL | {"callbackRate": "1"} | more))
    assert answer.status == 200, answer.body


def test_a_trailing_stop_follows_the_price_up_and_fires_on_the_way_back() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    _place(bench, "SELL", "LONG", activatePrice="61000")
    bench.trade("60900")
    bench.trade("60000")  # not activated: nothing happens
    assert bench.algo_story("trail") == ["NEW"]
    bench.trade("61500")
    told = [e["o"]["ia"] for e in bench.seen("ALGO_UPDATE")]
    assert told == [False, True]
    (resting,) = bench.get("v1/openAlgoOrders", symbol=BTC)
    assert (resting["isActivated"], resting["triggerPrice"]) == (True, "60885.00")
    assert (resting["activatePrice"], resting["callbackRate"]) == ("61000.00", "1")
    bench.trade("62000")
    bench.trade("61380.1")
    assert bench.long() == D("0.010")
    bench.trade("61380")  # 62000 less one percent
    assert bench.long() == 0
    assert bench.algo_story("trail")[-3:] == ["TRIGGERING", "TRIGGERED", "FINISHED"]


def test_without_activation_price_it_starts_at_once() -> None:
    bench = Bench()
    bench.order("SELL", "SHORT", "0.010")
    _place(bench, "BUY", "SHORT")
    bench.trade("59000")
    bench.trade("59590")  # 59000 plus one percent
    assert bench.short() == 0


def test_it_may_watch_the_mark_price() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    _place(bench, "SELL", "LONG", workingType="MARK_PRICE")
    bench.world.set_mark(BTC, D(61_000), bench.now_ms)
    bench.trade("60000")
    assert bench.long() == D("0.010")
    bench.world.set_mark(BTC, D(60_390), bench.now_ms)
    assert bench.long() == 0


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"activatePrice": "59999"}, -2021),
        ({"activatePrice": "60000.05"}, -4014),
        ({"activatePrice": "0"}, -4135),
        ({"callbackRate": "0.05"}, -1130),
        ({"callbackRate": "20.1"}, -1130),
        ({"callbackRate": ""}, -1102),
        ({"closePosition": "true", "quantity": ""}, -1130),
    ],
)
def test_trailing_stops_that_are_refused(more: dict[str, str], code: int) -> None:
    bench = Bench()
    bench.buy_long("0.010")
    answer = bench.stop("SELL", "LONG", "", **(TRAIL | {"callbackRate": "1"} | more))
    assert answer.body["code"] == code


def test_price_protection_refuses_a_trigger_far_from_the_mark_price() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.stop("SELL", "LONG", "56000", id="stop", priceProtect="true")
    bench.world.set_mark(BTC, D(60_000), bench.now_ms)
    bench.trade("55000")
    assert bench.algo_story("stop")[-1] == "REJECTED"
    assert "protection" in bench.seen("ALGO_UPDATE")[-1]["o"]["rm"]
    assert bench.long() == D("0.010")


def test_an_order_tied_to_the_position_ends_with_it() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.stop("SELL", "LONG", "58000", quantity="0.010", timeInForce="GTE_GTC", id="tied")
    bench.stop("SELL", "LONG", "57000", quantity="0.010", id="free")
    bench.order("SELL", "LONG", "0.010")
    assert bench.algo_story("tied") == ["NEW", "EXPIRED"]
    assert bench.algo_story("free") == ["NEW"]


def test_a_conditional_limit_takes_its_price_from_the_book_when_it_fires() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    more = {"type": "STOP", "quantity": "0.010", "priceMatch": "QUEUE", "id": "stop"}
    assert bench.stop("SELL", "LONG", "59000", **more).body["price"] == "0.00"
    bench.trade("58990")
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="stop")
    assert (found["price"], found["status"]) == ("58990.00", "FILLED")


def test_a_conditional_order_is_good_till_its_date() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    until = bench.now_ms + 700_000
    bench.stop("SELL", "LONG", "58000", quantity="0.010", timeInForce="GTD", goodTillDate=until,
               id="dated")  # fmt: skip
    bench.tick(600_000)
    assert bench.algo_story("dated") == ["NEW"]
    bench.tick(200_000)
    assert bench.algo_story("dated") == ["NEW", "EXPIRED"]
