"""The deep check: which differences between the exchange's books and ours are found."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.alarms import AlarmKind
from core.domain.cycle import (
    Cycle,
    Fill,
    Kind,
    Leg,
    OrderReported,
    OrderStatus,
    Phase,
    PositionChecked,
    PositionSide,
    ReportedStatus,
    Request,
    Side,
    SideReport,
)
from core.domain.ledger import fold
from core.ports import IncomeRecord
from core.reconciliation import ExchangeBooks, Finding, as_alarms, findings
from tests.builders import T0, a_fill, begun, dec

BTC = "BTCUSDT"
ENTRY, EXIT = "tb-c1-en0-1", "tb-c1-cl0-1"
BOUGHT = a_fill(11, ENTRY, "0.004", "60000", time_ms=T0 + 1_000)
SOLD = a_fill(12, EXIT, "0.004", "60300", side=Side.SELL, time_ms=T0 + 60_000)
MINE = a_fill(13, "web_7", "0.001", "60100", time_ms=T0 + 30_000)
EARLIER = a_fill(9, "tb-c0-tp0-1", "0.004", "60000", side=Side.SELL)
ENDED_MS = T0 + 63_000
NOW_MS = T0 + 3_600_000
DAY_MS = 24 * 3_600_000
FUNDED = IncomeRecord(
    kind="FUNDING_FEE",
    transaction_id=900,
    trade_id=None,
    asset="USDT",
    amount=dec("-0.02"),
    time_ms=T0 + 40_000,
)


def booked(*fills: Fill, **changes: Any) -> Cycle:
    """Return an open cycle with these fills and the ledger that they make."""
    cycle = begun()
    (entry,) = cycle.orders
    done = replace(
        entry, request=Request.NONE, status=OrderStatus.OVER, executed=dec("0.004"), attempt=1
    )
    cycle = replace(cycle, orders=(done,), fills=fills, phase=Phase.TRADING)
    return replace(cycle, ledger=fold(cycle.orders, fills, cycle.rules, {}), **changes)


def ended(*fills: Fill, **changes: Any) -> Cycle:
    """Return the same cycle, ended."""
    return booked(*fills, **{"phase": Phase.ENDED, "ended_at_ms": ENDED_MS} | changes)


def income_of(*fills: Fill, realised: str = "1.2") -> tuple[IncomeRecord, ...]:
    """Return what the exchange posts for fills; the last of them realised all."""
    fees = [
        IncomeRecord(
            kind="COMMISSION",
            transaction_id=100 + fill.trade_id,
            trade_id=fill.trade_id,
            asset=fill.commission_asset,
            amount=-fill.commission,
            time_ms=fill.time_ms,
        )
        for fill in fills
    ]
    gained = replace(fees[-1], kind="REALIZED_PNL", asset="USDT", amount=dec(realised))
    return (*fees, gained)


def held(long: str = "0", short: str = "0") -> PositionChecked:
    sides = [SideReport(quantity=dec(q), entry=dec(0), updated_at_ms=0) for q in (long, short)]
    return PositionChecked(at_ms=NOW_MS, asked_at_ms=NOW_MS, long=sides[0], short=sides[1])


def resting(name: str) -> OrderReported:
    return OrderReported(
        at_ms=NOW_MS,
        client_order_id=name,
        status=ReportedStatus.OPEN,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=dec("59700"),
        quantity=dec("0.006"),
        executed=dec(0),
        average_price=None,
    )


def books(**changes: Any) -> ExchangeBooks:
    """Return the exchange's books of one ended cycle."""
    listed = ExchangeBooks(
        symbol=BTC,
        since_ms=T0 - DAY_MS,
        asked_at_ms=NOW_MS,
        fills=(BOUGHT, SOLD),
        income=income_of(BOUGHT, SOLD),
        position=held(),
        orders=(),
    )
    return replace(listed, **changes)


WHOLE = ended(BOUGHT, SOLD)
OPEN = booked(BOUGHT)
OPEN_BOOKS = books(fills=(BOUGHT,), income=income_of(BOUGHT), position=held("0.004"))
LEVEL = replace(
    OPEN.orders[0], client_order_id="tb-c1-lv1-1", status=OrderStatus.OPEN, executed=dec(0)
)
LAST_WORD = (NOW_MS - 59_000, NOW_MS - 9 * 60_000)
YOUNG = replace(SOLD, trade_id=15, time_ms=LAST_WORD[0])

AGREED: dict[str, tuple[ExchangeBooks, tuple[Cycle, ...]]] = {
    "an ended cycle": (books(), (WHOLE,)),
    "an open cycle": (OPEN_BOOKS, (OPEN,)),
    "nothing at all": (books(fills=(), income=()), ()),
    "another's execution while no cycle was open": (
        books(fills=(BOUGHT, SOLD, replace(MINE, time_ms=ENDED_MS + 1))),
        (WHOLE,),
    ),
    "an execution of this minute, not written down yet": (
        books(fills=(BOUGHT, SOLD, YOUNG)),
        (WHOLE,),
    ),
    "one of this minute that the exchange does not list yet": (
        OPEN_BOOKS,
        (replace(OPEN, fills=(BOUGHT, YOUNG)),),
    ),
    "executions before the time that is looked at": (
        books(since_ms=T0 + 2_000, fills=(SOLD,), income=()),
        (WHOLE,),
    ),
    "an order whose name the exchange has forgotten": (
        books(fills=(replace(BOUGHT, client_order_id="order-5"), SOLD)),
        (WHOLE,),
    ),
    "amounts rounded to the 8th decimal": (
        books(income=income_of(BOUGHT, SOLD, realised="1.20000002")),
        (WHOLE,),
    ),
    "funding booked once": (
        books(income=(*income_of(BOUGHT, SOLD), FUNDED)),
        (replace(WHOLE, funding=dec("-0.02"), funding_ids=(900,)),),
    ),
    "income that may come yet": (
        books(income=()),
        (replace(WHOLE, ended_at_ms=LAST_WORD[1]),),
    ),
    "what an outside change realised is not known": (
        books(income=income_of(BOUGHT), fills=(BOUGHT,)),
        (ended(BOUGHT, replace(SOLD, is_adjustment=True, trade_id=11)),),
    ),
    "less than one step left over": (books(position=held("0.0009")), (WHOLE,)),
    "the end of an earlier cycle that is not looked at": (
        books(since_ms=T0, fills=(replace(EARLIER, time_ms=T0 - 1), BOUGHT, SOLD)),
        (WHOLE,),
    ),
    "an order that is known": (
        replace(OPEN_BOOKS, orders=(resting("tb-c1-lv1-1"),)),
        (replace(OPEN, orders=(*OPEN.orders, LEVEL)),),
    ),
    "an order that is being placed": (
        OPEN_BOOKS,
        (replace(OPEN, orders=(*OPEN.orders, replace(LEVEL, request=Request.CANCEL))),),
    ),
    "an order of somebody else": (books(orders=(resting("web_8"),)), (WHOLE,)),
}


@pytest.mark.parametrize(("listed", "cycles"), AGREED.values(), ids=AGREED.keys())
def test_no_difference(listed: ExchangeBooks, cycles: tuple[Cycle, ...]) -> None:
    assert findings(listed, cycles) == ()


BOUGHT_NAME = f"trade 11 (BUY LONG 0.004 at 60000, order {ENTRY})"
SOLD_NAME = f"trade 12 (SELL LONG 0.004 at 60300, order {EXIT})"
MINE_NAME = "trade 13 (BUY LONG 0.001 at 60100, order web_7)"
FILLS, POSITION = AlarmKind.FILLS_DIFFER, AlarmKind.POSITION_DIFFERS
ORDERS, LEDGER = AlarmKind.ORDERS_DIFFER, AlarmKind.LEDGER_DIFFERS
CHEAPER = replace(SOLD, price=dec("60299"))

DIFFER: dict[str, tuple[ExchangeBooks, tuple[Cycle, ...], list[tuple[AlarmKind, str]]]] = {
    "an execution is missing": (
        replace(OPEN_BOOKS, fills=(BOUGHT, SOLD), position=held()),
        (OPEN,),
        [
            (FILLS, f"{SOLD_NAME} is not in the database"),
            (POSITION, "LONG 0, in cycle c1 0.004"),
        ],
    ),
    "an execution of a cycle that the database does not have": (
        books(income=()),
        (),
        [
            (
                FILLS,
                f"{BOUGHT_NAME} is not in the database, nor is its cycle",
            ),
            (
                FILLS,
                f"{SOLD_NAME} is not in the database, nor is its cycle",
            ),
        ],
    ),
    "another's execution while a cycle was open": (
        books(fills=(BOUGHT, MINE, SOLD)),
        (WHOLE,),
        [
            (
                FILLS,
                f"{MINE_NAME} is not in the database, and a cycle was open",
            )
        ],
    ),
    "an execution in two cycles": (
        books(),
        (replace(WHOLE, key="c0", cycle_id=0), WHOLE),
        [
            (FILLS, "trade 11 is in the database 2 times"),
            (FILLS, "trade 12 is in the database 2 times"),
        ],
    ),
    "an execution that the exchange does not know": (
        OPEN_BOOKS,
        (replace(OPEN, fills=(BOUGHT, SOLD)),),
        [
            (
                FILLS,
                f"{SOLD_NAME} of cycle c1 is not on the exchange",
            )
        ],
    ),
    "an execution at another price": (
        books(),
        (ended(BOUGHT, CHEAPER),),
        [
            (FILLS, "trade 12 of cycle c1 has price 60299 (exchange: 60300)"),
            (LEDGER, "cycle c1: realised 1.196, the exchange's income says 1.2"),
        ],
    ),
    "a fee that is not what was paid": (
        books(income=(*income_of(BOUGHT)[:1], *income_of(SOLD)[1:])),
        (WHOLE,),
        [(LEDGER, "cycle c1: fees in USDT 0.2406, the exchange's income says 0.12")],
    ),
    "a ledger that its own executions do not make": (
        books(),
        (replace(WHOLE, ledger=replace(WHOLE.ledger, commissions=dec("0.3"))),),
        [(LEDGER, "cycle c1: fees are 0.3, its executions make 0.2406")],
    ),
    "funding that was never booked": (
        books(income=(*income_of(BOUGHT, SOLD), FUNDED)),
        (WHOLE,),
        [(LEDGER, "cycle c1: funding 0, the exchange's income says -0.02")],
    ),
    "a larger position": (
        replace(OPEN_BOOKS, position=held("0.005", "0.002")),
        (OPEN,),
        [(POSITION, "LONG 0.005, in cycle c1 0.004"), (POSITION, "SHORT 0.002, in cycle c1 0")],
    ),
    "a position that nobody watches": (
        books(position=held(short="0.1")),
        (WHOLE,),
        [(POSITION, "SHORT 0.1, and no cycle is open: nobody watches it")],
    ),
    "an order of ours that no cycle has": (
        books(orders=(resting("tb-c1-lv1-1"), resting("tb-zz-lv1-1"))),
        (WHOLE,),
        [
            (ORDERS, "order tb-c1-lv1-1 rests on the exchange, and no open cycle has it"),
            (ORDERS, "order tb-zz-lv1-1 rests on the exchange, and no open cycle has it"),
        ],
    ),
    "an order of ours that is not there": (
        OPEN_BOOKS,
        (replace(OPEN, orders=(*OPEN.orders, LEVEL)),),
        [(ORDERS, "order tb-c1-lv1-1 is open in the database, and the exchange does not list it")],
    ),
}


@pytest.mark.parametrize(("listed", "cycles", "expected"), DIFFER.values(), ids=DIFFER.keys())
def test_differences(
    listed: ExchangeBooks, cycles: tuple[Cycle, ...], expected: list[tuple[AlarmKind, str]]
) -> None:
    assert [(found.kind, found.text) for found in findings(listed, cycles)] == expected


def test_a_leg_is_compared_whatever_the_fills_say() -> None:
    cycle = replace(OPEN, ledger=replace(OPEN.ledger, long=Leg()))
    (found,) = findings(OPEN_BOOKS, (cycle,))
    assert found.text == "LONG 0.004, in cycle c1 0"


def test_there_is_one_alarm_of_a_kind_for_a_symbol_and_it_tells_the_first_causes() -> None:
    found = [Finding(kind=FILLS, symbol=BTC, text=f"trade {n}") for n in range(5)]
    found += [Finding(kind=ORDERS, symbol=BTC, text="order a")]
    found += [Finding(kind=FILLS, symbol="ETHUSDT", text="trade 9")]
    alarms = as_alarms(found, at_ms=NOW_MS)
    assert [(symbol, alarm.kind, alarm.text) for symbol, alarm in alarms] == [
        (BTC, FILLS, "trade 0; trade 1; trade 2; and 2 more"),
        (BTC, ORDERS, "order a"),
        ("ETHUSDT", FILLS, "trade 9"),
    ]
    assert as_alarms((), at_ms=NOW_MS) == ()
