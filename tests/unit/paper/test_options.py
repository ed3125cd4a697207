"""The switches for what the documentation leaves unconfirmed: each default, and the other way."""

from decimal import Decimal
from typing import Any

import pytest

from paper.options import Options, changed
from paper.routes import ROUTES
from tests.unit.paper.bench import BTC, Bench

D = Decimal


def test_options_are_changed_by_name_and_may_be_text() -> None:
    options = changed(Options(), {"v2_weight": "10", "shared_ids": "false", "taker_fee": "0.0004"})
    assert (options.v2_weight, options.shared_ids) == (10, False)
    assert options.taker_fee == D("0.0004")
    assert options == changed(options, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "no option colour; there are maker_fee, taker_fee"),
        ({"over_close": "maybe"}, "over_close"),
        ({"v2_weight": "many"}, "v2_weight"),
        ({"taker_fee": "-0.1"}, "taker_fee must be at least 0, not -0.1"),
        ({"taker_fee": "NaN"}, "taker_fee must be at least 0, not NaN"),
        ({"funding_interval_ms": 0}, "funding_interval_ms must be at least 1, not 0"),
    ],
)
def test_options_that_do_not_exist_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        changed(Options(), changes)


def test_weights_that_sources_disagree_on() -> None:
    other = changed(Options(), {"v2_weight": 10, "amend_weight": 1})
    for path in ("balance", "account", "positionRisk"):
        route = ROUTES["GET", f"/fapi/v2/{path}"]
        assert (route.weigh({}, Options()), route.weigh({}, other)) == (5, 10)
    amend = ROUTES["PUT", "/fapi/v1/order"]
    assert (amend.weigh({}, Options()), amend.weigh({}, other)) == (0, 1)


@pytest.mark.parametrize(("holds", "status"), [(True, 400), (False, 200)])
def test_conditional_orders_and_the_position_mode(holds: bool, status: int) -> None:
    bench = Bench(algos_hold_mode=holds)
    bench.stop("SELL", "SHORT", "57000", quantity="0.01")
    answer = bench.ask("POST", "v1/positionSide/dual", dualSidePosition="false")
    assert answer.status == status


@pytest.mark.parametrize(("sign", "shown"), [("plus", "0.30000000"), ("minus", "-0.30000000")])
def test_the_sign_of_a_commission(sign: str, shown: str) -> None:
    bench = Bench(commission_sign=sign)
    bench.buy_long("0.01")
    assert bench.get("v1/userTrades", symbol=BTC)[0]["commission"] == shown


@pytest.mark.parametrize("shows", [True, False])
def test_whether_a_close_says_that_it_only_reduces(shows: bool) -> None:
    bench = Bench(closes_show_reduce_only=shows)
    bench.buy_long("0.01")
    placed = bench.order("SELL", "LONG", "0.01", price="61000", id="tp").body
    found = bench.get("v1/order", symbol=BTC, origClientOrderId="tp")
    assert (placed["reduceOnly"], found["reduceOnly"]) == (shows, shows)
    assert bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]["R"] is True  # seen live
    bench.trade("61000")
    bench.ok("POST", "v1/positionSide/dual", dualSidePosition="false")
    bench.order("BUY", "BOTH", "0.01")
    asked = bench.order("SELL", "BOTH", "0.01", price="62000", reduceOnly="true").body
    assert asked["reduceOnly"] is True


@pytest.mark.parametrize(("way", "status"), [("ignore", 200), ("refuse", 400)])
def test_reduce_only_that_is_false_in_hedge_mode(way: str, status: int) -> None:
    bench = Bench(false_reduce_only=way)
    assert bench.order("BUY", "LONG", "0.01", reduceOnly="false").status == status


@pytest.mark.parametrize(("origin", "kind"), [("plain", "MARKET"), ("algo", "STOP_MARKET")])
def test_the_original_type_of_a_triggered_order(origin: str, kind: str) -> None:
    bench = Bench(child_origin=origin)
    bench.stop("SELL", "SHORT", "57000", quantity="0.01", id="hedge")
    bench.trade("56990")
    order = bench.get("v1/order", symbol=BTC, origClientOrderId="hedge")
    assert (order["type"], order["origType"]) == ("MARKET", kind)
    told = bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (told["o"], told["ot"]) == ("MARKET", kind)


@pytest.mark.parametrize("code", [-2022, -4118])
def test_a_close_that_resting_closes_leave_no_room_for(code: int) -> None:
    bench = Bench(covered_close=str(code))
    bench.buy_long("0.01")
    bench.order("SELL", "LONG", "0.01", price="61000")
    assert bench.order("SELL", "LONG", "0.01", price="62000").body["code"] == code
    assert bench.order("SELL", "LONG", "0.02", price="62000").body["code"] == -2022


@pytest.mark.parametrize(("counts", "status"), [("leg", 200), ("both", 400)])
def test_what_the_cap_of_the_leverage_counts(counts: str, status: int) -> None:
    bench = Bench(bracket_counts=counts, wallet=D(1_000_000))
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=125)
    bench.buy_long("0.5")
    assert bench.order("SELL", "SHORT", "0.5").status == status


@pytest.mark.parametrize(("posting", "told"), [("legs", ["-0.12", "0.06"]), ("net", ["-0.06"])])
def test_the_funding_of_two_legs(posting: str, told: list[str]) -> None:
    bench = Bench(funding_posting=posting)
    bench.buy_long("0.02")
    bench.order("SELL", "SHORT", "0.01")
    bench.world.funding(BTC, D("0.0001"), bench.now_ms)
    bench.tick()
    updates = [e["a"] for e in bench.seen("ACCOUNT_UPDATE") if e["a"]["m"] == "FUNDING_FEE"]
    assert [update["B"][0]["bc"] for update in updates] == told
    rows = bench.get("v1/income", incomeType="FUNDING_FEE")
    assert [D(row["income"]) for row in rows] == [D(amount) for amount in told]
    assert D(bench.world.ledger()["funding"]) == D("-0.06")  # the books know both either way


@pytest.mark.parametrize(("shared", "status"), [(True, 400), (False, 200)])
def test_whether_plain_and_conditional_orders_share_ids(shared: bool, status: int) -> None:
    bench = Bench(shared_ids=shared)
    bench.stop("SELL", "SHORT", "57000", quantity="0.01", id="one")
    assert bench.order("BUY", "LONG", "0.01", price="59000", id="one").status == status
    again = bench.stop("SELL", "SHORT", "57000", quantity="0.01", id="one")
    assert again.body["code"] == -4116


@pytest.mark.parametrize(("ack", "status"), [("new", "NEW"), ("filled", "FILLED")])
def test_what_the_acknowledgement_of_a_market_order_says(ack: str, status: str) -> None:
    bench = Bench(market_ack=ack)
    assert bench.buy_long("0.01")["status"] == status


@pytest.mark.parametrize(("longest", "code"), [(60_000, None), (5_000, -1131)])
def test_the_longest_window(longest: int, code: int | None) -> None:
    bench = Bench(longest_window_ms=longest)
    asked = {"timestamp": bench.now_ms, "recvWindow": 6000}
    assert bench.ask("GET", "v1/time", **asked).status == (200 if code is None else 400)
