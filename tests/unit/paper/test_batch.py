"""Several orders at once, price match, amendments by it, and the dead man's switch."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.paper.bench import BTC, Bench

D = Decimal


def _limit(name: str, price: str, **more: Any) -> dict[str, Any]:
    order = {"symbol": BTC, "side": "BUY", "positionSide": "LONG", "type": "LIMIT"}
    order |= {"timeInForce": "GTC", "quantity": "0.004", "price": price, "newClientOrderId": name}
    return order | more


def test_a_batch_answers_in_order_and_refuses_one_by_one() -> None:
    bench = Bench()
    orders = [
        _limit("a", "59000"),
        _limit("b", "59000.05"),
        _limit("c", "58000", quantity=0.004),
        _limit("d", "59000", type="STOP_MARKET"),
    ]
    rows = bench.ok("POST", "v1/batchOrders", batchOrders=json.dumps(orders))
    assert [row.get("clientOrderId", row.get("code")) for row in rows] == ["a", -4014, "c", -4120]
    changes = [
        {"symbol": BTC, "side": "BUY", "origClientOrderId": "a", "price": "59100", "quantity": 1},
        {"symbol": BTC, "side": "BUY", "origClientOrderId": "z", "price": "59100", "quantity": 1},
    ]
    rows = bench.ok("PUT", "v1/batchOrders", batchOrders=json.dumps(changes))
    assert [row.get("price", row.get("code")) for row in rows] == ["59100.00", -2013]
    names = json.dumps(["a", "z", "c"])
    rows = bench.ok("DELETE", "v1/batchOrders", symbol=BTC, origClientOrderIdList=names)
    assert [row.get("status", row.get("code")) for row in rows] == ["CANCELED", -2011, "CANCELED"]


def test_a_batch_is_cancelled_by_numbers_too() -> None:
    bench = Bench()
    placed = bench.ok("POST", "v1/order", **_limit("a", "59000"))
    rows = bench.ok("DELETE", "v1/batchOrders", symbol=BTC, orderIdList=f"[{placed['orderId']}]")
    assert [row["status"] for row in rows] == ["CANCELED"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("POST", {"batchOrders": "[]"}, -4082),
        ("POST", {"batchOrders": json.dumps([{}] * 6)}, -4082),
        ("POST", {"batchOrders": "[1]"}, -1130),
        ("POST", {"batchOrders": "{}"}, -1130),
        ("POST", {"batchOrders": "no json"}, -1130),
        ("POST", {}, -1102),
        ("DELETE", {"symbol": BTC}, -1102),
        ("DELETE", {"symbol": BTC, "orderIdList": json.dumps([1] * 11)}, -4032),
    ],
)
def test_batches_that_make_no_sense(method: str, params: dict[str, str], code: int) -> None:
    assert Bench().code(method, "v1/batchOrders", **params) == code


def test_the_dead_mans_switch_cancels_unless_it_is_held() -> None:
    bench = Bench()
    bench.buy_long("0.004", price="59000", id="a")
    bench.stop("SELL", "LONG", "58000", quantity="0.004", id="stop")
    path = "v1/countdownCancelAll"
    answer = bench.ok("POST", path, symbol=BTC, countdownTime=5000)
    assert answer == {"symbol": BTC, "countdownTime": "5000"}
    bench.pulse(4000)
    bench.ok("POST", path, symbol=BTC, countdownTime=5000)
    bench.pulse(4000)
    assert bench.order_story("a") == [("NEW", "NEW")]
    bench.pulse(2000)
    assert bench.order_story("a")[-1] == ("CANCELED", "CANCELED")
    assert bench.algo_story("stop") == ["NEW"]  # a switch says whether these go too
    bench.world.change_options(countdown_cancels_algos=True)
    bench.ok("POST", path, symbol=BTC, countdownTime=1000)
    bench.pulse(2000)
    assert bench.algo_story("stop") == ["NEW", "CANCELED"]


def test_a_stopped_switch_cancels_nothing() -> None:
    bench = Bench()
    bench.buy_long("0.004", price="59000", id="a")
    bench.ok("POST", "v1/countdownCancelAll", symbol=BTC, countdownTime=1000)
    bench.ok("POST", "v1/countdownCancelAll", symbol=BTC, countdownTime=0)
    bench.pulse(5000)
    assert bench.order_story("a") == [("NEW", "NEW")]
    assert bench.code("POST", "v1/countdownCancelAll", symbol=BTC) == -1102


@pytest.mark.parametrize(
    ("match", "price"),
    [
        ("OPPONENT", "60000.10"),
        ("OPPONENT_5", "60012.50"),
        ("QUEUE", "60000.00"),
        ("QUEUE_10", "59973.00"),
    ],
)
def test_a_price_is_taken_from_the_book(match: str, price: str) -> None:
    bench = Bench(book="model", spread_ticks=1, price=None)
    bench.trade("60000", buyer_maker=True)
    order = _limit("a", "", priceMatch=match)
    answer = bench.ok("POST", "v1/order", **order)
    assert (answer["price"], answer["priceMatch"]) == (price, match)
    assert bench.seen("ORDER_TRADE_UPDATE")[0]["o"]["pm"] == match


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"priceMatch": "OPPONENT_20", "price": ""}, -5037),
        ({"priceMatch": "QUEUE"}, -1128),
        ({"priceMatch": "QUEUE", "price": "", "type": "MARKET", "timeInForce": ""}, -5038),
    ],
)
def test_price_matches_that_are_refused(more: dict[str, str], code: int) -> None:
    assert Bench().code("POST", "v1/order", **(_limit("a", "59000") | more)) == code


@pytest.mark.parametrize("book", ["exact", "model"])
@pytest.mark.parametrize("match", ["OPPONENT", "QUEUE_5"])
def test_there_is_no_price_to_match_before_the_first_trade(book: str, match: str) -> None:
    bench = Bench(book=book, price=None)
    assert bench.code("POST", "v1/order", **_limit("a", "", priceMatch=match)) == -5041


def test_an_amendment_takes_its_price_from_the_book() -> None:
    bench = Bench()
    bench.buy_long("0.004", price="59000", id="a")
    asked = {"symbol": BTC, "side": "BUY", "origClientOrderId": "a", "quantity": "0.004"}
    answer = bench.ok("PUT", "v1/order", **asked, priceMatch="QUEUE_5", modifyId=7)
    assert (answer["price"], answer["modifyId"], answer["pair"]) == ("59999.60", 7, BTC)
    assert bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]["M"] == 7
    code = bench.code("PUT", "v1/order", **asked, price="58000", reduceOnly="true")
    assert code == -5047


def test_a_symbol_that_does_not_trade() -> None:
    bench = Bench()
    bench.buy_long("0.004", price="59000", id="a")
    bench.world.set_status(BTC, "TRADING_HALT")
    assert bench.code("POST", "v1/order", **_limit("b", "59000")) == -4140
    bench.world.set_status(BTC, "CLOSE")
    assert bench.code("POST", "v1/order", **_limit("b", "59000")) == -4141
    asked = {"symbol": BTC, "side": "BUY", "origClientOrderId": "a", "quantity": "0.005"}
    assert bench.code("PUT", "v1/order", **asked, price="59000") == -5024


def test_the_length_of_client_ids_is_a_switch() -> None:
    name = "x" * 36
    assert Bench().ok("POST", "v1/order", **_limit(name, "59000"))["clientOrderId"] == name
    bench = Bench(client_id_limit=35)
    assert bench.code("POST", "v1/order", **_limit(name, "59000")) == -4015
