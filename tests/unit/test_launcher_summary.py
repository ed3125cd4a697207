"""A cycle's summary, and its comparison with the exchange's own books."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from core.domain.cycle import (
    CloseReason,
    Cycle,
    EndedBy,
    Fill,
    Kind,
    Ledger,
    Leg,
    OrderState,
    OrderStatus,
    Phase,
    PositionSide,
    Role,
    Side,
)
from core.domain.settings import Policy
from launcher.summary import AGREED, compare, duration, exchange_books, reconciliation, summary
from tests.unit.samples import sample_rules, sample_settings

D = Decimal
ACCEPTED_MS = 1_780_000_000_000


def fill(trade_id: int, side: Side, price: str, fee: str, quantity: str = "0.004") -> Fill:
    """Return an execution on LONG."""
    return Fill(
        trade_id=trade_id,
        client_order_id=f"order-{trade_id}",
        side=side,
        position_side=PositionSide.LONG,
        price=D(price),
        quantity=D(quantity),
        commission=D(fee),
        commission_asset="USDT",
        is_maker=side is Side.SELL,
        time_ms=ACCEPTED_MS + trade_id,
    )


def order(number: int, **changes: object) -> OrderState:
    """Return an order that was placed and filled."""
    placed = OrderState(
        client_order_id=f"order-{number}",
        role=Role.LEVEL,
        number=number,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=D(60_000),
        quantity=D("0.004"),
        status=OrderStatus.OVER,
        executed=D("0.004"),
    )
    return replace(placed, **changes)  # type: ignore[arg-type]  # a builder's shorthand


BOUGHT = fill(11, Side.BUY, "60000.0", "0.12")
SOLD = fill(12, Side.SELL, "60300.0", "0.04824")


def a_cycle(**changes: object) -> Cycle:
    """Return a cycle that bought at 60000, sold at 60300, and ended."""
    cycle = Cycle(
        cycle_id=1,
        key="k1",
        symbol="BTCUSDT",
        settings=sample_settings(),
        rules=sample_rules(),
        policy=Policy(),
        accepted_at_ms=ACCEPTED_MS,
        phase=Phase.ENDED,
        close_reason=CloseReason.TAKE_PROFIT,
        orders=(order(11), order(12)),
        fills=(BOUGHT, SOLD),
        ledger=Ledger(realised=D("1.2"), commissions=D("0.16824")),
        ended_at_ms=ACCEPTED_MS + 66_000,
    )
    return replace(cycle, **changes)  # type: ignore[arg-type]  # a builder's shorthand


def told(one: Fill, *, realised: str = "0", **changes: object) -> dict[str, Any]:
    """Return an execution as the exchange's ledger tells it."""
    return {
        "trade_id": one.trade_id,
        "symbol": "BTCUSDT",
        "side": one.side.value,
        "position_side": one.position_side.value,
        "price": f"{one.price:f}",
        "quantity": f"{one.quantity:f}",
        "realised": realised,
        "commission": f"{one.commission:f}",
        "time_ms": one.time_ms,
        **changes,
    }


def funding(amount: str, at_ms: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    """Return a posting of the exchange's ledger."""
    return {"kind": "FUNDING_FEE", "symbol": symbol, "time_ms": at_ms, "amount": amount}


def a_ledger(*fills: dict[str, Any], entries: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Return the exchange's ledger; without fills, the cycle's."""
    return {"fills": list(fills or THEIRS), "entries": list(entries)}


THEIRS = (told(BOUGHT), told(SOLD, realised="1.2"))


def line(cycle: Cycle, ledger: dict[str, Any], **limits: Any) -> str:
    """Return the reconciliation of a cycle with a ledger."""
    return reconciliation(compare(cycle, exchange_books(ledger, cycle, **limits)))


def test_ledgers_that_agree() -> None:
    assert line(a_cycle(), a_ledger()) == AGREED == "cycle ledger = exchange ledger, difference 0"


def test_other_symbols_earlier_trades_and_other_cycles_are_not_this_cycles() -> None:
    foreign = (
        told(SOLD, symbol="ETHUSDT", trade_id=12),
        told(SOLD, trade_id=9, time_ms=ACCEPTED_MS - 5_000),
        told(SOLD, trade_id=13, time_ms=ACCEPTED_MS + 90_000),
    )
    assert line(a_cycle(), a_ledger(*THEIRS, *foreign), not_ours={13}) == AGREED


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "a fill that we have missed": (
        a_ledger(*THEIRS, told(fill(13, Side.BUY, "60100", "0.06", quantity="0.001"))),
        "fills 2 against 3, difference -1, BUY LONG 0.004 against 0.005, difference -0.001, "
        "cash flow 1.2 against -58.9, difference 60.1, fees 0.16824 against 0.22824, "
        "difference -0.06",
    ),
    "a fill that the exchange does not know": (
        a_ledger(told(BOUGHT)),
        "fills 2 against 1, difference 1, SELL LONG 0.004 against 0, difference 0.004, "
        "cash flow 1.2 against -240, difference 241.2, fees 0.16824 against 0.12, "
        "difference 0.04824, realised 1.2 against 0, difference 1.2",
    ),
    "the last digit of a fee": (
        a_ledger(told(BOUGHT, commission="0.12000001"), THEIRS[1]),
        "fees 0.16824 against 0.16824001, difference -0.00000001",
    ),
    "the last digit of the profit": (
        a_ledger(THEIRS[0], told(SOLD, realised="1.20000001")),
        "realised 1.2 against 1.20000001, difference -0.00000001",
    ),
    "funding that we do not know of": (
        a_ledger(*THEIRS, entries=(funding("-0.05", ACCEPTED_MS + 1),)),
        "funding 0 against -0.05, difference 0.05",
    ),
}


@pytest.mark.parametrize(("ledger", "text"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_every_difference_is_shown_with_its_numbers(ledger: dict[str, Any], text: str) -> None:
    assert line(a_cycle(), ledger) == f"cycle ledger ≠ exchange ledger: {text}"


def test_funding_counts_between_this_alert_and_the_next() -> None:
    entries = (
        funding("-0.05", ACCEPTED_MS + 1),
        funding("-9", ACCEPTED_MS - 2_000),
        funding("-9", ACCEPTED_MS + 70_000),
        funding("-9", ACCEPTED_MS + 1, symbol="ETHUSDT"),
    )
    cycle, ledger = a_cycle(funding=D("-0.05")), a_ledger(*THEIRS, entries=entries)
    assert line(cycle, ledger, until_ms=ACCEPTED_MS + 70_000) == AGREED


def test_an_adjustment_is_no_execution() -> None:
    """What nobody could show the fills of makes the two ledgers differ, and is shown so."""
    guessed = replace(SOLD, is_adjustment=True)
    text = line(a_cycle(fills=(BOUGHT, guessed)), a_ledger())
    assert "fills 1 against 2" in text


def test_while_a_side_is_open_the_cash_is_compared_and_not_the_profit() -> None:
    held = Ledger(long=Leg(quantity=D("0.004"), entry=D(60_000)), commissions=D("0.12"))
    cycle = a_cycle(phase=Phase.TRADING, fills=(BOUGHT,), ledger=held, ended_at_ms=None)
    assert line(cycle, a_ledger(told(BOUGHT))) == AGREED


def test_the_summary_of_a_cycle_that_ended() -> None:
    orders = (
        order(1),
        order(2),
        order(3, executed=D(0), ended_by=EndedBy.US),
        order(4, executed=D(0), ended_by=EndedBy.REFUSED, status=OrderStatus.OVER),
        order(5, executed=D(0), status=OrderStatus.INTENDED),
        order(6, role=Role.FOREIGN),
    )
    assert summary(a_cycle(orders=orders), now_ms=0) == [
        "orders    3 placed: 2 filled, 1 ended unfilled, 1 placed outside besides",
        "fills     2 (1 as maker)",
        "realised  +1.2 USDT",
        "fees      -0.16824 USDT",
        "funding   0 USDT",
        "net PNL   +1.03176 USDT",
        "duration  1 min 06 s",
    ]


def test_the_summary_of_a_cycle_that_goes_on() -> None:
    held = Ledger(long=Leg(quantity=D("0.004"), entry=D(60_000)), commissions=D("0.12"))
    open_order = order(2, executed=D(0), status=OrderStatus.OPEN)
    cycle = a_cycle(
        phase=Phase.TRADING,
        orders=(order(1), open_order),
        fills=(BOUGHT,),
        ledger=held,
        ended_at_ms=None,
    )
    lines = summary(cycle, now_ms=ACCEPTED_MS + 9_400)
    assert lines[:2] == [
        "held      LONG 0.004 at 60000, SHORT 0",
        "orders    2 placed: 1 filled, 0 ended unfilled, 1 open",
    ]
    assert lines[-1] == "duration  9 s"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 s"), (59_400, "59 s"), (59_600, "1 min 00 s"), (3_600_000, "1 h 00 min")],
)
def test_spans_of_time(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text
