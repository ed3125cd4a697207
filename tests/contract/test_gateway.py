"""What every gateway promises, as numbered cases; each runs in memory and over sockets."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from core.domain.cycle import Kind, OrderState, PositionSide, ReportedStatus, Request, Role, Side
from core.errors import (
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    RequestTooLate,
)
from core.ports import AccountGateway, Balance, BestPrices, SymbolConfig
from tests.contract.rigs import Case, Rig, WorldOptions, run_case

BTC = "BTCUSDT"
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
BUY, SELL = Side.BUY, Side.SELL

CASES: dict[str, tuple[Case, WorldOptions]] = {}


def case(name: str, **options: Any) -> Callable[[Case], Case]:
    """Register a case under its number and sentence; `options` are the world's."""

    def register(function: Case) -> Case:
        CASES[name] = (function, options)
        return function

    return register


# --- the exchange as it is ---


@case("G01 the clock is the exchange's")
async def clock(rig: Rig) -> None:
    gateway: AccountGateway = rig.gateway  # the whole protocol is there
    await gateway.sync_clock()
    assert abs(rig.gateway.now_ms() - rig.now_ms()) < 500


@case("G02 rules carry filters, brackets and the account's own rates", maker_fee=D("0.00015"))
async def rules(rig: Rig) -> None:
    found = await rig.gateway.rules(BTC)
    assert (found.symbol, found.base_asset, found.quote_asset) == (BTC, "BTC", "USDT")
    assert (found.tick_size, found.step_size) == (D("0.1"), D("0.001"))
    assert (found.maker_rate, found.taker_rate) == (D("0.00015"), D("0.0005"))
    assert found.status == "TRADING"
    assert found.max_leverage == 125
    assert [b.notional_cap for b in found.brackets] == sorted(
        b.notional_cap for b in found.brackets
    )
    assert found.multiplier_down < 1 < found.multiplier_up


@case("G03 rules of a symbol that is not listed are not known")
async def rules_unknown(rig: Rig) -> None:
    with pytest.raises((ExchangeUnavailable, RequestRefused)):
        await rig.gateway.rules("NOPEUSDT")


@case("G04 all rules: of all perpetuals, or of those named")
async def all_rules(rig: Rig) -> None:
    assert {r.symbol for r in await rig.gateway.all_rules(None)} == {BTC, "ETHUSDT"}
    (one,) = await rig.gateway.all_rules(["ETHUSDT"])
    assert one.symbol == "ETHUSDT"
    assert one.brackets


@case("G05 prices: best bid and ask, mark", spread_ticks=1)
async def prices(rig: Rig) -> None:
    rig.trade("60000")
    best = await rig.gateway.best_prices(BTC)
    assert best.ask - best.bid == D("0.1")
    assert isinstance(best, BestPrices)
    assert await rig.gateway.mark_price(BTC) == D(60000)


@case("G06 a market without a price is no price of 0")
async def no_price(rig: Rig) -> None:
    with pytest.raises((ExchangeUnavailable, RequestRefused)):
        await rig.gateway.best_prices(BTC)
    with pytest.raises((ExchangeUnavailable, RequestRefused)):
        await rig.gateway.mark_price(BTC)


@case("G07 the balance of an asset; of one that is not listed: unavailable", wallet=D("1234.5"))
async def balance(rig: Rig) -> None:
    assert await rig.gateway.balance("USDT") == Balance(wallet=D("1234.5"), available=D("1234.5"))
    with pytest.raises(ExchangeUnavailable):
        await rig.gateway.balance("NOPE")


@case("G08 leverage and margin type are set and read back; the same again is success")
async def settings(rig: Rig) -> None:
    for leverage, margin_type in ((7, "ISOLATED"), (10, "CROSSED"), (10, "CROSSED")):
        await rig.gateway.set_leverage(BTC, leverage)
        await rig.gateway.set_margin_type(BTC, margin_type)
        config = await rig.gateway.symbol_config(BTC)
        assert config == SymbolConfig(leverage=leverage, margin_type=margin_type)
    with pytest.raises(RequestRefused) as refused:
        await rig.gateway.set_leverage(BTC, 126)
    assert refused.value.code == -4028


@case("G09 a one-way account is switched to Hedge Mode; the same again is success", dual_side=False)
async def hedge_mode(rig: Rig) -> None:
    assert not await rig.gateway.is_hedge_mode()
    await rig.gateway.set_hedge_mode()
    await rig.gateway.set_hedge_mode()
    assert await rig.gateway.is_hedge_mode()


# --- orders ---


@case("G10 a MARKET order answers with its total; its average is in its record")
async def market_order(rig: Rig) -> None:
    rig.trade("60000")
    order = rig.order("tb-c-en0-1", role=Role.ENTRY)
    report = await rig.gateway.place(BTC, order)
    assert report.status is ReportedStatus.FILLED
    assert (report.executed, report.average_price) == (D("0.010"), None)
    assert report.answers is Request.PLACE
    assert report.asked_at_ms is None
    found = await rig.gateway.find(BTC, order)
    assert found is not None
    assert (found.status, found.average_price) == (ReportedStatus.FILLED, D(60000))
    assert found.exchange_order_id == report.exchange_order_id
    assert found.asked_at_ms is not None
    assert found.asked_at_ms <= found.at_ms


@case("G11 a LIMIT order rests, is amended to a new total, and cancelled")
async def limit_order(rig: Rig) -> None:
    rig.trade("60000")
    order = rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0", quantity="0.010")
    placed = await rig.gateway.place(BTC, order)
    assert (placed.status, placed.executed, placed.average_price) == (
        ReportedStatus.OPEN,
        D(0),
        None,
    )
    assert (placed.kind, placed.price, placed.quantity) == (Kind.LIMIT, D(59000), D("0.010"))
    wish = rig.order(
        "tb-c-lv1-1", kind=Kind.LIMIT, price="58900.0", quantity="0.020", request=Request.AMEND
    )
    amended = await rig.gateway.amend(BTC, wish)
    assert (amended.price, amended.quantity) == (D(58900), D("0.020"))
    assert amended.answers is Request.AMEND
    cancelled = await rig.gateway.cancel(BTC, order)
    assert cancelled.status is ReportedStatus.CANCELED
    assert cancelled.answers is Request.CANCEL
    with pytest.raises(RequestRefused) as refused:
        await rig.gateway.cancel(BTC, order)
    assert refused.value.code == -2011


@case("G12 an amendment that changes nothing is success")
async def amend_nothing(rig: Rig) -> None:
    rig.trade("60000")
    order = rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0")
    await rig.gateway.place(BTC, order)
    report = await rig.gateway.amend(BTC, order)
    assert (report.status, report.answers) == (ReportedStatus.OPEN, Request.AMEND)
    assert (report.price, report.quantity) == (D(59000), D("0.010"))


@case("G13 an IOC order that finds too little expires with what it got")
async def ioc(rig: Rig) -> None:
    rig.trade("60000")
    rig.world.set_liquidity(BTC, D("0.004"))
    order = rig.order("tb-c-cl0-1", kind=Kind.LIMIT_IOC, price="60000.0", quantity="0.010")
    report = await rig.gateway.place(BTC, order)
    assert (report.status, report.executed) == (ReportedStatus.EXPIRED, D("0.004"))
    assert report.kind is Kind.LIMIT_IOC


@case("G14 a stop rests in the algo service and is found there")
async def stop_order(rig: Rig) -> None:
    rig.trade("60000")
    placed = await rig.gateway.place(BTC, stop := _hedge(rig))
    assert (placed.status, placed.kind) == (ReportedStatus.OPEN, Kind.STOP_MARKET)
    assert (placed.price, placed.quantity, placed.executed) == (D(59000), D("0.100"), D(0))
    assert placed.exchange_order_id is None
    found = await rig.gateway.find(BTC, stop)
    assert found is not None
    assert (found.status, found.price) == (ReportedStatus.OPEN, D(59000))


@case("G15 a stop is found by the lists when its own record is denied", forgetful_algo_query=True)
async def stop_forgotten(rig: Rig) -> None:
    rig.trade("60000")
    await rig.gateway.place(BTC, stop := _hedge(rig))
    found = await rig.gateway.find(BTC, stop)
    assert found is not None
    assert found.status is ReportedStatus.OPEN
    rig.trade("58990")
    found = await rig.gateway.find(BTC, stop)
    assert found is not None
    assert (found.status, found.executed) == (ReportedStatus.FILLED, D("0.100"))


@case("G16 a triggered stop is found with the end and totals of its child order")
async def stop_triggered(rig: Rig) -> None:
    rig.trade("60000")
    await rig.gateway.place(BTC, stop := _hedge(rig))
    rig.trade("58990")
    found = await rig.gateway.find(BTC, stop)
    assert found is not None
    assert (found.status, found.executed) == (ReportedStatus.FILLED, D("0.100"))
    assert (found.average_price, found.price) == (D(58990), D(59000))
    assert found.kind is Kind.STOP_MARKET
    assert found.exchange_order_id is not None
    with pytest.raises(RequestRefused) as refused:
        await rig.gateway.cancel(BTC, stop)
    assert refused.value.code == -2011


@case("G17 a stop whose child finds no margin is rejected when it triggers", wallet=D(100))
async def stop_rejected(rig: Rig) -> None:
    rig.trade("60000")
    await rig.gateway.place(BTC, stop := _hedge(rig))
    rig.trade("58990")
    found = await rig.gateway.find(BTC, stop)
    assert found is not None
    assert (found.status, found.executed) == (ReportedStatus.REJECTED, D(0))


@case("G18 a close-position stop has no quantity and is cancelled as an algo order")
async def stop_close(rig: Rig) -> None:
    rig.trade("60000")
    await rig.gateway.place(BTC, rig.order("tb-c-en0-1", role=Role.ENTRY))
    guard = rig.order(
        "tb-c-gd0-1",
        kind=Kind.STOP_MARKET,
        side=SELL,
        price="59500.0",
        quantity=None,
        role=Role.GUARD,
    )
    placed = await rig.gateway.place(BTC, guard)
    assert (placed.quantity, placed.price) == (None, D(59500))
    cancelled = await rig.gateway.cancel(BTC, guard)
    assert (cancelled.status, cancelled.executed) == (ReportedStatus.CANCELED, D(0))
    assert cancelled.answers is Request.CANCEL
    found = await rig.gateway.find(BTC, guard)
    assert found is not None
    assert found.status is ReportedStatus.CANCELED


@case("G19 what was never placed is nowhere")
async def find_nothing(rig: Rig) -> None:
    rig.trade("60000")
    assert (
        await rig.gateway.find(BTC, rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="1.0")) is None
    )
    assert await rig.gateway.find(BTC, _hedge(rig)) is None


@case("G20 a refusal keeps the exchange's code and text")
async def refusals(rig: Rig) -> None:
    rig.trade("60000")
    passed = rig.order(
        "tb-c-hg1-1", kind=Kind.STOP_MARKET, side=SELL, position_side=SHORT, price="60100.0"
    )
    for order, code in (
        (passed, -2021),
        (rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.05"), -4014),
        (rig.order("tb-c-lv1-2", kind=Kind.LIMIT, price="59000.0", quantity="0.001"), -4164),
        (rig.order("tb-c-en0-1", quantity="100"), -2019),
        (rig.order("tb-c-cl0-1", side=SELL), -2022),
    ):
        with pytest.raises(RequestRefused) as refused:
            await rig.gateway.place(BTC, order)
        assert (order.client_order_id, refused.value.code) == (order.client_order_id, code)
        assert refused.value.text


@case("G21 open orders: ordinary and algo ones, ours and a person's, of a symbol or of all")
async def open_orders(rig: Rig) -> None:
    rig.trade("60000")
    rig.trade("3000", symbol="ETHUSDT")
    await rig.gateway.place(BTC, rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0"))
    await rig.gateway.place(BTC, _hedge(rig))
    now_ms = rig.now_ms()
    web = rig.world.outside_limit("ETHUSDT", "BUY", "LONG", D("0.1"), D(2900), now_ms)
    found = await rig.gateway.open_orders(None)
    assert {(symbol, report.client_order_id, report.kind) for symbol, report in found} == {
        (BTC, "tb-c-lv1-1", Kind.LIMIT),
        (BTC, "tb-c-hg1-1", Kind.STOP_MARKET),
        ("ETHUSDT", web, Kind.LIMIT),
    }
    assert all(report.status is ReportedStatus.OPEN for _, report in found)
    assert {symbol for symbol, _ in await rig.gateway.open_orders("ETHUSDT")} == {"ETHUSDT"}


@case("G21b orders since a time: whatever became of them, triggered stops with their totals")
async def orders_since(rig: Rig) -> None:
    rig.trade("60000")
    start_ms = rig.gateway.now_ms()
    level = rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0")
    for order in (level, rig.order("tb-c-lv2-1", kind=Kind.LIMIT, price="58000.0"), _hedge(rig)):
        await rig.gateway.place(BTC, order)
    await rig.gateway.cancel(BTC, replace(level, requested_at_ms=rig.gateway.now_ms()))
    assert await rig.gateway.orders_since("ETHUSDT", since_ms=start_ms - 1000) == ()
    rig.trade("57000")
    found = await rig.gateway.orders_since(BTC, since_ms=start_ms - 1000)
    by_name = {report.client_order_id: report for report in found}
    assert {name: (r.status, r.executed) for name, r in by_name.items()} == {
        "tb-c-lv1-1": (ReportedStatus.CANCELED, D(0)),
        "tb-c-lv2-1": (ReportedStatus.FILLED, D("0.010")),
        "tb-c-hg1-1": (ReportedStatus.FILLED, D("0.100")),
    }
    assert by_name["tb-c-hg1-1"].kind is Kind.STOP_MARKET
    assert await rig.gateway.orders_since(BTC, since_ms=rig.gateway.now_ms() + 5_000) == ()


# --- positions and fills ---


@case("G22 both sides are reported, flat ones too, SHORT without a sign")
async def positions(rig: Rig) -> None:
    rig.trade("60000")
    assert await rig.gateway.all_positions_flat()
    flat = await rig.gateway.positions(BTC)
    assert (flat.long.quantity, flat.short.quantity) == (D(0), D(0))
    await rig.gateway.place(BTC, rig.order("tb-c-hm1-1", side=SELL, position_side=SHORT))
    held = await rig.gateway.positions(BTC)
    assert (held.long.quantity, held.short.quantity) == (D(0), D("0.010"))
    assert held.short.entry == D(60000)
    assert held.short.updated_at_ms > 0
    assert flat.at_ms <= held.asked_at_ms <= held.at_ms
    assert not await rig.gateway.all_positions_flat()


@case("G23 fills name their orders, a person's too, and are read on from a trade")
async def fills(rig: Rig) -> None:
    rig.trade("60000")
    start_ms = rig.gateway.now_ms() - 1000
    await rig.gateway.place(BTC, rig.order("tb-c-en0-1", role=Role.ENTRY))
    level = rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0")
    await rig.gateway.place(BTC, level)
    rig.trade("59000", quantity="0.004")
    rig.trade("58999", quantity="5")
    web = rig.world.outside_market(BTC, "SELL", "LONG", D("0.005"), rig.now_ms())
    found = await rig.gateway.fills(BTC, since_ms=start_ms, after_trade_id=None)
    assert [(f.client_order_id, f.quantity, f.is_maker) for f in found] == [
        ("tb-c-en0-1", D("0.010"), False),
        ("tb-c-lv1-1", D("0.004"), True),
        ("tb-c-lv1-1", D("0.006"), True),
        (web, D("0.005"), False),
    ]
    assert found[0].commission == D("0.010") * 60000 * D("0.0005")
    assert found[0].commission_asset == "USDT"
    assert [f.trade_id for f in found] == sorted({f.trade_id for f in found})
    later = await rig.gateway.fills(BTC, since_ms=0, after_trade_id=found[1].trade_id)
    assert later == found[2:]
    assert await rig.gateway.fills(BTC, since_ms=0, after_trade_id=found[-1].trade_id) == ()


@case("G24 funding is read with its sign")
async def funding(rig: Rig) -> None:
    rig.trade("60000")
    start_ms = rig.gateway.now_ms() - 1000
    await rig.gateway.place(BTC, rig.order("tb-c-en0-1", role=Role.ENTRY))
    rig.world.funding(BTC, D("0.0001"), rig.now_ms())
    (paid,) = await rig.gateway.funding(BTC, since_ms=start_ms)
    assert paid.amount == -D("0.010") * 60000 * D("0.0001")
    assert paid.symbol == BTC


# --- when things go wrong ---


@case("G25 an order whose answer is lost has an unknown outcome, and is found")
async def lost_answer(rig: Rig) -> None:
    rig.trade("60000")
    for order, method, path in (
        (rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0"), "post", "order"),
        (_hedge(rig), "post", "algoOrder"),
    ):
        rig.lose_answer(method, path)
        fresh = _again(rig, order)
        with pytest.raises(OutcomeUnknown):
            await rig.gateway.place(BTC, fresh)
        found = await rig.gateway.find(BTC, fresh)
        assert found is not None
        assert found.status is ReportedStatus.OPEN


@case("G26 an amendment and a cancellation whose answers are lost have unknown outcomes")
async def lost_changes(rig: Rig) -> None:
    rig.trade("60000")
    order = rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="59000.0")
    await rig.gateway.place(BTC, order)
    rig.lose_answer("put", "order")
    wish = rig.order("tb-c-lv1-1", kind=Kind.LIMIT, price="58900.0", request=Request.AMEND)
    with pytest.raises(OutcomeUnknown):
        await rig.gateway.amend(BTC, wish)
    found = await rig.gateway.find(BTC, order)
    assert found is not None
    assert found.price == D(58900)
    rig.lose_answer("delete", "order")
    with pytest.raises(OutcomeUnknown):
        await rig.gateway.cancel(BTC, _again(rig, order))
    found = await rig.gateway.find(BTC, order)
    assert found is not None
    assert found.status is ReportedStatus.CANCELED


@case("G27 a read without an answer tells nothing")
async def lost_read(rig: Rig) -> None:
    rig.trade("60000")
    rig.lose_answer("get", "positionRisk")
    with pytest.raises(ExchangeUnavailable):
        await rig.gateway.positions(BTC)
    assert (await rig.gateway.positions(BTC)).long.quantity == D(0)


@case("G28 a request is not started late, and nothing arrives")
async def too_late(rig: Rig) -> None:
    rig.trade("60000")
    order = rig.order("tb-c-en0-1", role=Role.ENTRY)
    stale = _again(rig, order, age_ms=2_500)
    with pytest.raises(RequestTooLate):
        await rig.gateway.place(BTC, stale)
    assert await rig.gateway.find(BTC, order) is None


UNKNOWN = "Unknown error, please check your request or try again later."
REFUSED_PLACEMENTS = {  # what the exchange answers: what it means for an order
    (503, -1000, UNKNOWN): OutcomeUnknown,
    (503, 0, "Service Unavailable."): RequestRefused,
    (503, -1008, "Request throttled by system-level protection."): RequestRefused,
    (503, -1001, "Internal error; unable to process your request."): OutcomeUnknown,
    (400, -1006, "Execution status unknown."): OutcomeUnknown,
    (408, -1007, "Timeout waiting for response from backend server."): OutcomeUnknown,
    (500, 0, "oops"): OutcomeUnknown,
    (429, -1003, "Too many requests."): RateLimited,
    (400, -1021, "Timestamp for this request is outside of the recvWindow."): RequestRefused,
}


@case("G29 each kind of failure calls for its own next step")
async def failures(rig: Rig) -> None:
    rig.trade("60000")
    for (status, code, text), error in REFUSED_PLACEMENTS.items():
        if error is RateLimited:
            continue
        rig.refuse("order", status, code, text)
        with pytest.raises(error) as raised:
            await rig.gateway.place(BTC, rig.order("tb-c-en0-1", role=Role.ENTRY))
        assert text in str(raised.value)
    assert await rig.gateway.find(BTC, rig.order("tb-c-en0-1")) is None


@case("G30 too many requests: nothing is sent, and for how long is said")
async def rate_limit(rig: Rig) -> None:
    rig.trade("60000")
    until_ms = rig.gateway.now_ms() + 60_000
    text = f"Way too many requests; IP banned until {until_ms}."
    rig.refuse("bookTicker", 418, -1003, text)
    with pytest.raises(RateLimited) as limited:
        await rig.gateway.best_prices(BTC)
    assert 50_000 < limited.value.retry_after_ms <= 60_000


@case("G31 the listen key is one, and can be prolonged")
async def listen_key(rig: Rig) -> None:
    key = await rig.gateway.start_listen_key()
    assert await rig.gateway.start_listen_key() == key
    await rig.gateway.keep_listen_key()


def _hedge(rig: Rig) -> OrderState:
    return rig.order(
        "tb-c-hg1-1",
        kind=Kind.STOP_MARKET,
        side=SELL,
        position_side=SHORT,
        price="59000.0",
        quantity="0.100",
        role=Role.HEDGE,
    )


def _again(rig: Rig, order: OrderState, *, age_ms: int = 0) -> OrderState:
    return replace(order, requested_at_ms=rig.gateway.now_ms() - age_ms)


@pytest.mark.parametrize("kind", ["memory", "sockets"])
@pytest.mark.parametrize("name", CASES.keys())
def test_gateway(name: str, kind: str) -> None:
    function, options = CASES[name]
    run_case(kind, function, options)
