"""How the gateway finds orders, fills and funding when one answer is not enough."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from core.clients.binance import BinanceGateway
from core.clients.rest_call import Call
from core.domain.cycle import (
    Kind,
    OrderReported,
    OrderState,
    PositionSide,
    ReportedStatus,
    Role,
    Side,
)
from core.errors import ExchangeUnavailable, RequestRefused
from core.ports import FundingRecord
from tests.unit.test_translate import ALGO, PLAIN

BTC = "BTCUSDT"
DAY = 24 * 3600 * 1000
WEEK = 7 * DAY
NOW = 1_790_000_000_000


@dataclass
class Script:
    """`RestTransport` that answers by path, and remembers what it was asked."""

    answers: dict[str, Callable[[dict[str, str]], Any]]
    asked: list[Call] = field(default_factory=list)

    def now_ms(self) -> int:
        return NOW

    async def sync_clock(self) -> None:
        """Nothing to measure."""

    async def close(self) -> None:
        """Nothing to close."""

    async def send(self, call: Call) -> bytes:
        self.asked.append(call)
        return msgspec.json.encode(self.answers[call.path](call.parameters))

    def paths(self) -> list[str]:
        return [call.path for call in self.asked]


def absent(parameters: dict[str, str]) -> Any:
    raise RequestRefused(code=-2013, text="Order does not exist.", http_status=400)


def nothing(parameters: dict[str, str]) -> Any:
    return []


def ask(
    question: Callable[[BinanceGateway], Coroutine[Any, Any, Any]], **answers: Any
) -> tuple[Any, Script]:
    script = Script({"order": absent, "algoOrder": absent} | answers)
    return asyncio.run(question(BinanceGateway(script))), script


def stop(*, created_at_ms: int = NOW - 1_000) -> OrderState:
    return OrderState(
        client_order_id="tb-1-hg1-1",
        role=Role.HEDGE,
        number=1,
        attempt=1,
        side=Side.SELL,
        position_side=PositionSide.SHORT,
        kind=Kind.STOP_MARKET,
        price=D(57805),
        quantity=D("0.103"),
        created_at_ms=created_at_ms,
    )


CHILD = PLAIN | {
    "clientOrderId": "tb-1-hg1-1",
    "orderId": 5,
    "type": "MARKET",
    "price": "0.00",
    "side": "SELL",
    "positionSide": "SHORT",
    "status": "FILLED",
    "origQty": "0.103",
    "executedQty": "0.103",
    "avgPrice": "57800.0",
}
TRIGGERED = ALGO | {"algoStatus": "FINISHED", "actualOrderId": "5", "updateTime": NOW - 500}


def find_stop(wanted: OrderState | None = None, /, **answers: Any) -> tuple[Any, Script]:
    lists = {"openAlgoOrders": nothing, "allAlgoOrders": nothing}
    return ask(lambda gateway: gateway.find(BTC, wanted or stop()), **(lists | answers))


def test_a_stop_s_own_record_is_enough_while_it_rests() -> None:
    report, script = find_stop(algoOrder=lambda p: ALGO)
    assert report.status is ReportedStatus.OPEN
    assert script.paths() == ["algoOrder"]
    assert script.asked[0].parameters == {"clientAlgoId": "tb-1-hg1-1"}


def test_of_a_finished_stop_the_child_is_asked_by_its_number() -> None:
    def child(parameters: dict[str, str]) -> Any:
        assert parameters == {"symbol": BTC, "orderId": "5"}
        return CHILD

    report, script = find_stop(algoOrder=lambda p: TRIGGERED, order=child)
    assert (report.status, report.executed) == (ReportedStatus.FILLED, D("0.103"))
    assert script.paths() == ["algoOrder", "order"]


def test_a_stop_that_is_just_triggering_has_a_child_under_its_own_name() -> None:
    triggering = ALGO | {"algoStatus": "TRIGGERING"}
    report, script = find_stop(algoOrder=lambda p: triggering, order=lambda p: CHILD)
    assert report.status is ReportedStatus.FILLED
    assert script.asked[-1].parameters["origClientOrderId"] == "tb-1-hg1-1"


def test_a_triggered_stop_without_a_visible_child_stays_triggered() -> None:
    report, _ = find_stop(algoOrder=lambda p: TRIGGERED)
    assert (report.status, report.executed) == (ReportedStatus.TRIGGERED, None)


def test_a_finished_stop_whose_child_is_forgotten_shows_nothing() -> None:
    old = TRIGGERED | {"createTime": NOW - 9 * DAY, "updateTime": NOW - 4 * DAY}
    report, _ = find_stop(algoOrder=lambda p: old)
    assert report is None


def test_a_denied_record_is_looked_for_in_all_lists_and_the_newest_counts() -> None:
    past = [
        ALGO | {"algoStatus": "CANCELED", "createTime": NOW - 9_000},
        TRIGGERED | {"createTime": NOW - 5_000},
        ALGO | {"clientAlgoId": "tb-1-hg2-1", "createTime": NOW},
    ]
    report, script = find_stop(allAlgoOrders=lambda p: past, order=lambda p: CHILD)
    assert report.status is ReportedStatus.FILLED
    assert script.paths() == ["algoOrder", "openAlgoOrders", "allAlgoOrders", "order"]


def test_only_the_child_left_is_enough() -> None:
    report, script = find_stop(order=lambda p: CHILD)
    assert isinstance(report, OrderReported)
    assert (report.status, report.kind) == (ReportedStatus.FILLED, Kind.STOP_MARKET)
    assert (report.price, report.average_price) == (D(57805), D(57800))
    assert script.paths() == ["algoOrder", "openAlgoOrders", "allAlgoOrders", "order"]


def test_absence_needs_every_read() -> None:
    report, script = find_stop()
    assert report is None
    assert script.paths() == ["algoOrder", "openAlgoOrders", "allAlgoOrders", "order"]

    def failing(parameters: dict[str, str]) -> Any:
        raise ExchangeUnavailable("no answer")

    for path in ("algoOrder", "openAlgoOrders", "allAlgoOrders", "order"):
        with pytest.raises(ExchangeUnavailable):
            find_stop(**{path: failing})


@pytest.mark.parametrize(
    ("age_ms", "window"),
    [
        (DAY, {}),
        (
            30 * DAY,
            {
                "startTime": str(NOW - 30 * DAY - 60_000),
                "endTime": str(NOW - 23 * DAY - 60_001),
            },
        ),
    ],
)
def test_past_stops_are_listed_around_their_creation(age_ms: int, window: dict[str, str]) -> None:
    _, script = find_stop(stop(created_at_ms=NOW - age_ms))
    asked = script.asked[2].parameters
    assert asked == {"symbol": BTC, "limit": "1000"} | window


def test_an_ordinary_order_without_a_record_is_looked_for_among_the_open_ones() -> None:
    order = OrderState(
        client_order_id="tb-1-lv1-1",
        role=Role.LEVEL,
        number=1,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=D(60000),
        quantity=D("0.010"),
    )
    report, script = ask(lambda g: g.find(BTC, order), openOrders=lambda p: [CHILD, PLAIN])
    assert report.client_order_id == "tb-1-lv1-1"
    assert script.paths() == ["order", "openOrders"]
    report, _ = ask(lambda g: g.find(BTC, order), openOrders=nothing)
    assert report is None


def test_an_order_in_both_lists_has_triggered_and_is_told_once() -> None:
    child = CHILD | {"status": "NEW", "executedQty": "0.000", "avgPrice": "0.0"}
    found, _ = ask(
        lambda g: g.open_orders(BTC),
        openOrders=lambda p: [PLAIN, child],
        openAlgoOrders=lambda p: [ALGO, ALGO | {"clientAlgoId": "tb-1-hs1-1"}],
    )
    assert [(symbol, r.client_order_id, r.status) for symbol, r in found] == [
        (BTC, "tb-1-lv1-1", ReportedStatus.OPEN),
        (BTC, "tb-1-hg1-1", ReportedStatus.TRIGGERED),
        (BTC, "tb-1-hs1-1", ReportedStatus.OPEN),
    ]


def test_orders_of_weeks_are_read_by_windows_and_a_full_page_by_its_halves() -> None:
    def listed(parameters: dict[str, str]) -> list[dict[str, Any]]:
        start, end = int(parameters["startTime"]), int(parameters["endTime"])
        times = [NOW - 10 * DAY + second * 1_000 for second in range(1_500)]
        found = [t for t in times if start <= t <= end][-int(parameters["limit"]) :]
        return [PLAIN | {"clientOrderId": f"tb-1-lv1-{t}", "time": t} for t in found]

    found, script = ask(
        lambda g: g.orders_since(BTC, since_ms=NOW - 12 * DAY),
        allOrders=listed,
        allAlgoOrders=nothing,
    )
    assert len({report.client_order_id for report in found}) == 1_500
    assert [report.client_order_id for report in found] == sorted(r.client_order_id for r in found)
    assert script.paths().count("allAlgoOrders") == 2
    longest = max(
        int(c.parameters["endTime"]) - int(c.parameters["startTime"]) for c in script.asked
    )
    assert longest < WEEK


def test_nothing_is_asked_of_a_time_that_the_exchange_has_forgotten() -> None:
    for question in (
        lambda g: g.orders_since(BTC, since_ms=NOW - 400 * DAY),
        lambda g: g.fills(BTC, since_ms=NOW - 400 * DAY, after_trade_id=None),
        lambda g: g.funding(BTC, since_ms=NOW - 400 * DAY),
    ):
        _, script = ask(
            question, allOrders=nothing, allAlgoOrders=nothing, userTrades=nothing, income=nothing
        )
        assert min(int(call.parameters["startTime"]) for call in script.asked) > NOW - 90 * DAY


# --- fills ---


def trade(number: int, *, time: int = NOW - 120_000, order_id: int = 5) -> dict[str, Any]:
    return {
        "symbol": BTC,
        "id": number,
        "orderId": order_id,
        "side": "BUY",
        "positionSide": "LONG",
        "price": "60000",
        "qty": "0.001",
        "commission": "0.012",
        "commissionAsset": "USDT",
        "time": time,
        "maker": True,
    }


class Trades:
    """The exchange's list: by window or from an id on, the oldest thousand."""

    def __init__(self, *trades: dict[str, Any]) -> None:
        self.trades = trades

    def __call__(self, asked: dict[str, str]) -> Any:
        assert asked["limit"] == "1000"
        if "fromId" in asked:
            assert "startTime" not in asked, "the exchange refuses both"
            found = [t for t in self.trades if t["id"] >= int(asked["fromId"])]
        else:
            start, end = int(asked["startTime"]), int(asked["endTime"])
            assert end - start < WEEK
            found = [t for t in self.trades if start <= t["time"] <= end]
        return found[:1000]


def read_fills(trades: Trades, **which: Any) -> tuple[list[int], Script]:
    which = {"since_ms": NOW - DAY, "after_trade_id": None} | which
    fills, script = ask(
        lambda gateway: gateway.fills(BTC, **which),
        userTrades=trades,
        order=lambda p: CHILD | {"orderId": int(p["orderId"])},
    )
    assert {fill.client_order_id for fill in fills} <= {"tb-1-hg1-1"}
    return [fill.trade_id for fill in fills], script


def test_fills_beyond_one_page_are_read_on_by_their_numbers() -> None:
    numbers, script = read_fills(Trades(*(trade(n) for n in range(1, 2_501))))
    assert numbers == list(range(1, 2_501))
    assert script.paths() == ["userTrades"] * 3 + ["order"]  # the name of the order is asked once


def test_fills_of_weeks_ago_are_read_by_windows_until_the_first_is_found() -> None:
    early, late = trade(1, time=NOW - 20 * DAY), trade(2, time=NOW - DAY)
    numbers, script = read_fills(Trades(early, late), since_ms=NOW - 30 * DAY)
    assert numbers == [1, 2]
    assert script.paths() == ["userTrades"] * 3 + ["order"]


def test_fills_after_a_trade_are_asked_by_number_alone() -> None:
    numbers, script = read_fills(Trades(trade(1), trade(2), trade(3)), after_trade_id=1)
    assert numbers == [2, 3]
    assert "startTime" not in script.asked[0].parameters


def test_no_fills_is_an_answer() -> None:
    numbers, _ = read_fills(Trades())
    assert numbers == []


def test_a_fresh_fill_whose_order_is_not_told_yet_is_asked_for_later() -> None:
    with pytest.raises(ExchangeUnavailable):
        ask(
            lambda g: g.fills(BTC, since_ms=NOW - DAY, after_trade_id=None),
            userTrades=Trades(trade(1, time=NOW - 5_000)),
        )


def test_an_old_fill_whose_order_nobody_knows_is_a_stranger_s() -> None:
    fills, _ = ask(
        lambda g: g.fills(BTC, since_ms=NOW - DAY, after_trade_id=None),
        userTrades=Trades(trade(1)),
    )
    assert [fill.client_order_id for fill in fills] == ["order-5"]


# --- money and positions ---


def test_funding_is_read_once_by_its_number_over_pages_and_weeks() -> None:
    rows = [
        {
            "symbol": BTC,
            "incomeType": "FUNDING_FEE",
            "income": "-0.01",
            "asset": "USDT",
            "time": NOW - 10 * DAY + n * 3_600,
            "tranId": 1_000 + n,
        }
        for n in range(1_500)
    ]

    def income(asked: dict[str, str]) -> Any:
        start, end = int(asked["startTime"]), int(asked["endTime"])
        return [row for row in rows if start <= row["time"] <= end][:1000]  # type: ignore[operator]

    found, _ = ask(lambda g: g.funding(BTC, since_ms=NOW - 11 * DAY), income=income)
    assert [record.transaction_id for record in found] == list(range(1_000, 2_500))
    assert found[0] == FundingRecord(
        transaction_id=1_000, symbol=BTC, amount=D("-0.01"), time_ms=NOW - 10 * DAY
    )


@pytest.mark.parametrize("rows", [[], [{"symbol": BTC, "positionSide": "LONG"}]])
def test_half_an_answer_about_positions_is_none(rows: list[dict[str, str]]) -> None:
    numbers = {"positionAmt": "0", "entryPrice": "0", "updateTime": 0}
    with pytest.raises(ExchangeUnavailable):
        ask(lambda g: g.positions(BTC), positionRisk=lambda p: [row | numbers for row in rows])


def test_an_empty_list_of_positions_is_not_a_flat_account() -> None:
    with pytest.raises(ExchangeUnavailable):
        ask(lambda g: g.all_positions_flat(), positionRisk=nothing)
