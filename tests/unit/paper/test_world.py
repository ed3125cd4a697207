"""The world as a whole: the worked example, its books, its memory, its lies."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper.errors import InconsistentError, RefusedError
from paper.state import PositionSide
from paper.world import World
from tests.unit.paper.bench import BTC, START_MS, Bench

D = Decimal


def _worked_example() -> Bench:
    bench = Bench()
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=10)
    bench.buy_long("0.004", id="entry")
    for number, (price, quantity) in enumerate(
        [("59700", "0.006"), ("59103", "0.012"), ("57920.9", "0.024")], start=1
    ):
        bench.buy_long(quantity, price=price, id=f"level-{number}")
    bench.stop("SELL", "SHORT", "57805.0", quantity="0.103", id="hedge")
    for price in ("59700", "59103", "57920.9", "57800"):
        bench.trade(price)
    return bench


def test_the_worked_example_costs_what_it_should() -> None:
    bench = _worked_example()
    books = bench.world.ledger()
    assert D(books["commission"]) == D("3.58820752")
    entries = {leg["positionSide"]: leg["entry"] for leg in books["legs"]}
    assert entries == {"LONG": "58642.1217391304", "SHORT": "57800.0"}
    bench.trade("56953.2")
    bench.order("SELL", "LONG", "0.046")
    bench.order("BUY", "SHORT", "0.103")
    books = bench.world.ledger()
    assert D(books["realised"]) == D("9.53")  # 0.046 × 56953.2 − 2697.5376 + 0.103 × 846.8
    assert D(books["wallet"]) == 10000 + D(books["realised"]) - D(books["commission"])


def test_the_hedge_stopped_out_at_a_gap() -> None:
    bench = _worked_example()
    bench.stop("BUY", "SHORT", "58089.0", id="hedge-stop")
    bench.trade("58090")
    short = next(x for x in bench.world.ledger()["legs"] if x["positionSide"] == "SHORT")
    assert (D(short["realised"]), D(short["commission"])) == (D("-29.870"), D("5.9683350"))


def test_the_last_close_releases_what_rounding_left_over() -> None:
    bench = Bench()
    bench.buy_long("0.004")
    bench.trade("60000.1")
    bench.buy_long("0.003")
    for _ in range(7):
        bench.order("SELL", "LONG", "0.001")
    fills = bench.world.state.books.fills
    cash = sum(f.quote if f.side == "SELL" else -f.quote for f in fills)
    assert sum(f.realised for f in fills) == cash == D("0.0004")


def test_a_delisted_symbol_is_settled_at_its_mark_and_takes_no_order() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.order("SELL", "LONG", "0.010", price="61000")
    bench.world.settle(BTC, bench.now_ms)
    assert bench.world.position(BTC, "LONG") == 0
    report = bench.world.ledger()
    assert not any(order["status"] == "NEW" for order in report["orders"])
    assert report["orders"][-1]["clientOrderId"].startswith("settlement_autoclose-")
    with pytest.raises(RefusedError, match="-4141"):
        bench.world.outside_market(BTC, "BUY", "LONG", D("0.01"), bench.now_ms)
    bench.world.check()


def test_books_that_do_not_add_up_are_noticed() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.world.state.books.balances["wallet"] += D("0.00000001")
    with pytest.raises(InconsistentError):
        bench.world.check()


def test_a_leg_that_does_not_follow_from_its_fills_is_noticed() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.world.state.books.legs[BTC][PositionSide.LONG].amount += D("0.001")
    with pytest.raises(InconsistentError):
        bench.world.check()


# --- memory --------------------------------------------------------------------------------


def test_a_world_comes_back_from_its_snapshot_and_goes_on_alike() -> None:
    bench = _worked_example()
    bench.order("SELL", "LONG", "0.046", price="59000", id="tp")
    text = json.dumps(bench.world.snapshot())
    copy = World.restore(json.loads(text))
    copy.check()
    assert copy.snapshot() == bench.world.snapshot()
    for world in (bench.world, copy):
        world.trade(BTC, D(59_100), D("0.02"), time_ms=START_MS, now_ms=bench.now_ms)
    assert copy.drain() == bench.world.drain()
    assert copy.ledger() == bench.world.ledger()


@pytest.mark.parametrize(
    "snapshot",
    [{}, {"version": 2, "state": {}}, {"version": 1}, {"version": 1, "state": {"now_ms": "x"}}],
)
def test_what_is_no_snapshot_is_refused(snapshot: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        World.restore(snapshot)


def test_the_same_calls_give_the_same_events() -> None:
    assert _worked_example().events == _worked_example().events


# --- time and lies -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_ms", "window", "code"),
    [
        (0, {}, None),
        (5000, {}, None),
        (5001, {}, -1021),
        (1001, {"recvWindow": "1000"}, -1021),
        (-999, {}, None),
        (-1000, {}, -1021),
        (0, {"recvWindow": "60001"}, -1131),
        (0, {"recvWindow": "x"}, -1102),
    ],
)
def test_a_request_that_was_too_long_on_its_way_is_refused(
    age_ms: int, window: dict[str, str], code: int | None
) -> None:
    bench = Bench()
    params = {"timestamp": str(START_MS + 60_000 - age_ms), **window}
    answer = bench.world.request("GET", "/fapi/v1/openOrders", params, START_MS + 60_000)
    assert (answer.body["code"] if answer.status == 400 else None) == code


def test_stale_reads_show_the_past_until_their_time_is_over() -> None:
    bench = Bench()
    bench.buy_long("0.010")
    bench.world.freeze_reads(bench.now_ms + 10_000)
    bench.buy_long("0.005", price="59000", id="new")
    assert bench.code("GET", "v1/order", symbol=BTC, origClientOrderId="new") == -2013
    assert bench.get("v1/openOrders") == []
    assert bench.get("v1/ticker/price", symbol=BTC)["time"] == bench.now_ms
    bench.now_ms += 10_000
    assert len(bench.get("v1/openOrders")) == 1


def test_thawed_reads_are_true_again() -> None:
    bench = Bench()
    bench.world.freeze_reads(bench.now_ms + 10_000)
    bench.buy_long("0.010")
    assert bench.get("v3/positionRisk") == []
    bench.world.thaw_reads()
    assert len(bench.get("v3/positionRisk")) == 1


# --- a person's hand -----------------------------------------------------------------------


def test_what_a_person_does_bears_web_ids() -> None:
    bench = Bench()
    bought = bench.world.outside_market(BTC, "BUY", "LONG", D("0.010"), bench.now_ms)
    offered = bench.world.outside_limit(BTC, "SELL", "LONG", D("0.004"), D(60_300), bench.now_ms)
    assert bought.startswith("web_")
    assert bench.order("SELL", "LONG", "0.010").body["code"] == -2022
    bench.world.outside_cancel(offered, bench.now_ms)
    bench.order("SELL", "LONG", "0.010")
    with pytest.raises(RefusedError):
        bench.world.outside_cancel(offered, bench.now_ms)


def test_what_the_exchange_ends() -> None:
    bench = Bench()
    bench.buy_long("0.010", price="59000", id="level")
    bench.buy_long("0.010", price="59100", id="other")
    bench.stop("SELL", "SHORT", "58000", quantity="0.01", id="hedge")
    bench.world.expire("level", bench.now_ms, self_trade=True)
    bench.world.expire("other", bench.now_ms)
    bench.world.expire("hedge", bench.now_ms)
    bench.trade("60000")
    assert bench.order_story("level")[-1] == ("EXPIRED", "EXPIRED_IN_MATCH")
    assert bench.order_story("other")[-1] == ("EXPIRED", "EXPIRED")
    assert bench.algo_story("hedge")[-1] == "EXPIRED"


def test_adl_closes_a_part_at_the_mark_price() -> None:
    bench = Bench()
    bench.order("SELL", "SHORT", "0.010")
    bench.world.adl(BTC, "SHORT", D("0.004"), bench.now_ms)
    bench.trade("60000")
    forced = bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]
    assert forced["c"].startswith("adl_autoclose")
    assert (bench.short(), forced["n"]) == (D("0.006"), "0")


# --- property ------------------------------------------------------------------------------

_PRICES = st.integers(-30, 30).map(lambda n: str(60_000 + n * 100))
_QUANTITIES = st.integers(2, 60).map(lambda n: str(D(n) / 1000))
_SIDES = st.sampled_from([("BUY", "LONG"), ("SELL", "LONG"), ("BUY", "SHORT"), ("SELL", "SHORT")])
_STEPS = st.one_of(
    st.tuples(st.just("trade"), _PRICES, _QUANTITIES),
    st.tuples(st.just("market"), _SIDES, _QUANTITIES),
    st.tuples(st.just("limit"), _SIDES, _QUANTITIES, _PRICES),
    st.tuples(st.just("amend"), st.integers(0, 9), _QUANTITIES, _PRICES),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("stop"), _SIDES, st.one_of(st.none(), _QUANTITIES), _PRICES),
    st.tuples(st.just("stop limit"), _SIDES, _QUANTITIES, _PRICES),
    st.tuples(st.just("adl"), st.sampled_from(["LONG", "SHORT"]), _QUANTITIES),
    st.tuples(st.just("liquidity"), st.integers(0, 40)),
)


def _carry_out(bench: Bench, step: tuple[Any, ...]) -> None:
    match step:
        case ("trade", price, quantity):
            bench.trade(price, quantity)
        case ("market", (side, leg), quantity):
            bench.order(side, leg, quantity)
        case ("limit", (side, leg), quantity, price):
            bench.order(side, leg, quantity, price=price)
        case ("stop", (side, leg), quantity, price):
            bench.stop(side, leg, price, **({"quantity": quantity} if quantity else {}))
        case ("stop limit", (side, leg), quantity, price):
            bench.stop(side, leg, price, quantity=quantity, type="STOP", price=price)
        case ("adl", leg, quantity):
            with contextlib.suppress(ValueError):  # nothing to close
                bench.world.adl(BTC, leg, D(quantity), bench.now_ms)
        case ("liquidity", thousandths):
            bench.world.set_liquidity(BTC, D(thousandths) / 1000)
        case (name, index, *change):
            _change_one(bench, name, index, change)


def _change_one(bench: Bench, name: str, index: int, change: list[str]) -> None:
    orders = bench.get("v1/openOrders", symbol=BTC)
    if not orders:
        return
    order = orders[index % len(orders)]
    asked = {"symbol": BTC, "orderId": order["orderId"]}
    if name == "cancel":
        bench.ok("DELETE", "v1/order", **asked)
    else:
        quantity, price = change
        bench.ask("PUT", "v1/order", **asked, side=order["side"], quantity=quantity, price=price)


@settings(max_examples=150, deadline=None)
@given(st.lists(_STEPS, max_size=25), st.sampled_from(["reject", "cut"]), st.booleans())
def test_whatever_is_done_the_books_add_up(
    steps: list[tuple[Any, ...]], over_close: str, child_first: bool
) -> None:
    """`Bench` checks money, legs and reservations after each step; here: what REST shows, too."""
    bench = Bench(over_close=over_close, child_first=child_first)
    for step in steps:
        _carry_out(bench, step)
    income = sum(D(row["income"]) for row in bench.get("v1/income", limit=1000))
    assert D(bench.get("v3/balance")[0]["balance"]) == income
    for client_id in {e["o"]["c"] for e in bench.seen("ORDER_TRADE_UPDATE")}:
        story = [s for _, s in bench.order_story(client_id)]
        over = [s for s in story if s not in ("NEW", "PARTIALLY_FILLED")]
        assert len(over) <= 1  # an order ends once
        assert story[-1:] == over or not over
    assert World.restore(bench.world.snapshot()).snapshot() == bench.world.snapshot()
