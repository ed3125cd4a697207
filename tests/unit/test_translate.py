"""The wire in, the domain out, and back: tables of payloads in the documented shape."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from core.domain.cycle import (
    Fill,
    Kind,
    OrderReported,
    OrderState,
    PositionSide,
    ReportedStatus,
    Request,
    Role,
    Side,
    SideReport,
)
from core.schemas import binance_rest as rest
from core.schemas import binance_stream as stream
from core.translate.account import position_checked, user_trade
from core.translate.events import (
    AccountEvent,
    FundingNews,
    LeverageNews,
    ListenKeyExpired,
    MarginCallNews,
    OrderNews,
    PositionNews,
    account_events,
)
from core.translate.orders import algo_order, plain_order, triggered_from_child, triggered_order
from core.translate.requests import amend_parameters, place_parameters
from core.translate.symbols import symbol_rules
from core.translate.words import Untranslatable

AT = 1_790_000_000_500

PLAIN: dict[str, Any] = {  # the answer to a placement, as since June 2026: without avgPrice
    "orderId": 9_007_199_254_741_001,
    "symbol": "BTCUSDT",
    "status": "NEW",
    "clientOrderId": "tb-1-lv1-1",
    "price": "60000.00",
    "origQty": "0.010",
    "executedQty": "0.000",
    "cumQty": "0.000",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "reduceOnly": False,
    "closePosition": False,
    "side": "BUY",
    "positionSide": "LONG",
    "stopPrice": "0.00",
    "workingType": "CONTRACT_PRICE",
    "priceProtect": False,
    "origType": "LIMIT",
    "priceMatch": "NONE",
    "selfTradePreventionMode": "EXPIRE_MAKER",
    "goodTillDate": 0,
    "updateTime": 1_790_000_000_000,
}
ALGO: dict[str, Any] = {
    "algoId": 4_000_001_910_000_001,
    "clientAlgoId": "tb-1-hg1-1",
    "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "positionSide": "SHORT",
    "timeInForce": "GTC",
    "quantity": "0.103",
    "algoStatus": "NEW",
    "triggerPrice": "57805.00",
    "price": "0.000000",
    "icebergQuantity": None,
    "selfTradePreventionMode": "EXPIRE_MAKER",
    "workingType": "CONTRACT_PRICE",
    "priceMatch": "NONE",
    "closePosition": False,
    "priceProtect": False,
    "reduceOnly": False,
    "createTime": 1_790_000_000_000,
    "updateTime": 1_790_000_000_000,
    "triggerTime": 0,
    "goodTillDate": 0,
    "actualOrderId": "",
    "actualPrice": "0.00000",
}
UPDATE: dict[str, Any] = {
    "s": "BTCUSDT",
    "c": "tb-1-lv1-1",
    "S": "BUY",
    "o": "LIMIT",
    "f": "GTC",
    "q": "0.010",
    "p": "60000",
    "ap": "0",
    "sp": "0",
    "x": "NEW",
    "X": "NEW",
    "i": 91_000_000_001,
    "l": "0",
    "z": "0",
    "L": "0",
    "n": "0",
    "N": "USDT",
    "T": 1_790_000_000_001,
    "t": 0,
    "b": "600",
    "a": "0",
    "m": False,
    "R": False,
    "wt": "CONTRACT_PRICE",
    "ot": "LIMIT",
    "ps": "LONG",
    "cp": False,
    "rp": "0",
    "pP": False,
    "si": 0,
    "ss": 0,
    "V": "EXPIRE_MAKER",
    "pm": "NONE",
    "gtd": 0,
    "er": "0",
}
TRADE = UPDATE | {
    "x": "TRADE",
    "X": "PARTIALLY_FILLED",
    "ap": "60000",
    "l": "0.004",
    "z": "0.004",
    "L": "60000",
    "n": "0.048",
    "t": 77,
    "m": True,
}
ALGO_UPDATE: dict[str, Any] = {
    "caid": "tb-1-hg1-1",
    "aid": 4_000_001_910_000_001,
    "at": "CONDITIONAL",
    "o": "STOP_MARKET",
    "s": "BTCUSDT",
    "S": "SELL",
    "ps": "SHORT",
    "f": "GTC",
    "q": "0.103",
    "X": "NEW",
    "ai": "",
    "tp": "57805",
    "p": "0",
    "V": "EXPIRE_MAKER",
    "wt": "CONTRACT_PRICE",
    "pm": "NONE",
    "cp": False,
    "pP": False,
    "R": False,
    "tt": 0,
    "gtd": 0,
    "ia": False,
}


def plain(**changes: Any) -> rest.PlainOrder:
    return msgspec.json.decode(msgspec.json.encode(PLAIN | changes), type=rest.PlainOrder)


def algo(**changes: Any) -> rest.AlgoOrder:
    return msgspec.json.decode(msgspec.json.encode(ALGO | changes), type=rest.AlgoOrder)


def events(message: dict[str, Any]) -> tuple[AccountEvent, ...]:
    decoded = msgspec.json.decode(msgspec.json.encode(message), type=stream.AccountMessage)
    return account_events(decoded, at_ms=AT)


def order_news(detail: dict[str, Any], name: str = "ORDER_TRADE_UPDATE") -> OrderReported:
    (news,) = events({"e": name, "E": AT - 1, "T": AT - 2, "o": detail})
    assert isinstance(news, OrderNews)
    assert news.symbol == "BTCUSDT"
    return news.report


# --- answers and records ---


def test_a_placement_answer_becomes_a_report_without_an_average() -> None:
    assert plain_order(plain(), at_ms=AT, answers=Request.PLACE) == OrderReported(
        at_ms=AT,
        client_order_id="tb-1-lv1-1",
        status=ReportedStatus.OPEN,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=D(60000),
        quantity=D("0.010"),
        executed=D(0),
        average_price=None,
        exchange_order_id=9_007_199_254_741_001,  # beyond 2⁵³: read as an integer
        answers=Request.PLACE,
    )


PLAIN_STATUSES = {
    "NEW": ReportedStatus.OPEN,
    "PARTIALLY_FILLED": ReportedStatus.OPEN,
    "NEW_ADL": ReportedStatus.OPEN,
    "NEW_INSURANCE": ReportedStatus.OPEN,
    "FILLED": ReportedStatus.FILLED,
    "CANCELED": ReportedStatus.CANCELED,
    "EXPIRED": ReportedStatus.EXPIRED,
    "EXPIRED_IN_MATCH": ReportedStatus.EXPIRED,
    "REJECTED": ReportedStatus.REJECTED,
}


@pytest.mark.parametrize(("text", "status"), PLAIN_STATUSES.items())
def test_an_ordinary_order_has_its_status_by_answer_and_by_stream(
    text: str, status: ReportedStatus
) -> None:
    assert plain_order(plain(status=text), at_ms=AT).status is status
    assert order_news(UPDATE | {"X": text}).status is status


AVERAGES = {  # (avgPrice, executed): the average that we may use
    ("60000.5", "0.004"): D("60000.5"),
    ("0", "0.000"): None,
    ("0.00000", "0.000"): None,
    ("0", "0.004"): None,  # the total is there before the average
    ("60000.5", "0.000"): None,
    (None, "0.004"): None,
}


@pytest.mark.parametrize(("average", "executed"), AVERAGES.keys())
def test_an_average_is_only_one_of_something_executed(average: str | None, executed: str) -> None:
    told = {} if average is None else {"avgPrice": average}
    order = plain(executedQty=executed, **told)
    expected = AVERAGES[average, executed]
    assert plain_order(order, at_ms=AT).average_price == expected
    if average is not None:
        assert order_news(UPDATE | {"ap": average, "z": executed}).average_price == expected


KINDS = {
    ("MARKET", "GTC"): Kind.MARKET,
    ("LIQUIDATION", "IOC"): Kind.MARKET,
    ("LIMIT", "GTC"): Kind.LIMIT,
    ("LIMIT", "GTX"): Kind.LIMIT,
    ("LIMIT", "GTD"): Kind.LIMIT,
    ("LIMIT", "IOC"): Kind.LIMIT_IOC,
    ("LIMIT", "FOK"): Kind.LIMIT_IOC,
    ("STOP_MARKET", "GTC"): Kind.MARKET,
    ("TAKE_PROFIT_MARKET", "GTC"): Kind.MARKET,
    ("TRAILING_STOP_MARKET", "GTC"): Kind.MARKET,
    ("STOP", "GTC"): Kind.LIMIT,
    ("TAKE_PROFIT", "GTC"): Kind.LIMIT,
}


@pytest.mark.parametrize(("order_type", "time_in_force"), KINDS.keys())
def test_people_s_orders_have_a_kind_too(order_type: str, time_in_force: str) -> None:
    kind = KINDS[order_type, time_in_force]
    order = plain(type=order_type, timeInForce=time_in_force)
    assert plain_order(order, at_ms=AT).kind is kind
    assert order_news(UPDATE | {"o": order_type, "f": time_in_force}).kind is kind


def test_a_market_order_has_no_price() -> None:
    assert plain_order(plain(type="MARKET", price="0.00"), at_ms=AT).price is None
    assert order_news(UPDATE | {"o": "MARKET", "p": "0"}).price is None


@pytest.mark.parametrize(
    ("side", "position_side"), [("BUY", PositionSide.LONG), ("SELL", PositionSide.SHORT)]
)
def test_an_order_from_before_hedge_mode_counts_by_its_direction(
    side: str, position_side: PositionSide
) -> None:
    order = plain(side=side, positionSide="BOTH")
    assert plain_order(order, at_ms=AT).position_side is position_side


@pytest.mark.parametrize(
    "changes",
    [{"status": "HALF"}, {"side": "HOLD"}, {"positionSide": "UP"}, {"type": "WISH"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_word_that_we_do_not_know_is_said_and_never_guessed(changes: dict[str, Any]) -> None:
    with pytest.raises(Untranslatable, match=next(iter(changes.values()))):
        plain_order(plain(**changes), at_ms=AT)


ALGO_STATUSES = {
    "NEW": (ReportedStatus.OPEN, D(0)),
    "TRIGGERING": (ReportedStatus.TRIGGERED, None),
    "TRIGGERED": (ReportedStatus.TRIGGERED, None),
    "FINISHED": (ReportedStatus.TRIGGERED, None),
    "CANCELED": (ReportedStatus.CANCELED, D(0)),
    "EXPIRED": (ReportedStatus.EXPIRED, D(0)),
    "REJECTED": (ReportedStatus.REJECTED, D(0)),
}


@pytest.mark.parametrize(("text", "expected"), ALGO_STATUSES.items())
def test_a_conditional_order_alone_never_says_how_its_child_ended(
    text: str, expected: tuple[ReportedStatus, D | None]
) -> None:
    report = algo_order(algo(algoStatus=text), at_ms=AT, asked_at_ms=AT - 9)
    assert (report.status, report.executed) == expected
    assert (report.kind, report.price) == (Kind.STOP_MARKET, D(57805))
    assert (report.quantity, report.asked_at_ms) == (D("0.103"), AT - 9)
    pushed = order_news(ALGO_UPDATE | {"X": text}, "ALGO_UPDATE")
    assert (pushed.status, pushed.executed) == expected


def test_a_close_position_order_has_no_quantity() -> None:
    order = algo(closePosition=True, quantity="0.000")
    assert algo_order(order, at_ms=AT).quantity is None
    assert order_news(ALGO_UPDATE | {"cp": True, "q": "0"}, "ALGO_UPDATE").quantity is None


CHILD_IDS = {"": None, "91000000002": 91_000_000_002, 91_000_000_002: 91_000_000_002, None: None}


@pytest.mark.parametrize(("text", "number"), CHILD_IDS.items())
def test_a_conditional_order_is_numbered_by_its_child(
    text: str | int | None, number: int | None
) -> None:
    assert algo_order(algo(actualOrderId=text), at_ms=AT).exchange_order_id == number
    assert order_news(ALGO_UPDATE | {"ai": text}, "ALGO_UPDATE").exchange_order_id == number


CHILD_ENDS = {
    "NEW": ReportedStatus.TRIGGERED,
    "PARTIALLY_FILLED": ReportedStatus.TRIGGERED,
    "FILLED": ReportedStatus.FILLED,
    "EXPIRED": ReportedStatus.EXPIRED,
    "CANCELED": ReportedStatus.CANCELED,
}


@pytest.mark.parametrize(("text", "status"), CHILD_ENDS.items())
def test_a_triggered_order_ends_as_its_child_does(text: str, status: ReportedStatus) -> None:
    child = plain(
        status=text,
        type="MARKET",
        price="0",
        side="SELL",
        positionSide="SHORT",
        clientOrderId="tb-1-hg1-1",
        origQty="0.103",
        executedQty="0.050",
        avgPrice="57800.0",
        orderId=5,
    )
    report = triggered_order(algo(algoStatus="FINISHED"), child, at_ms=AT, asked_at_ms=AT - 9)
    assert report.status is status
    assert (report.executed, report.average_price) == (D("0.050"), D(57800))
    assert (report.kind, report.price, report.quantity) == (
        Kind.STOP_MARKET,
        D(57805),
        D("0.103"),
    )
    assert report.exchange_order_id == 5
    mine = replace(ORDER, kind=Kind.STOP_MARKET, client_order_id="tb-1-hg1-1", price=D(57805))
    alone = triggered_from_child(mine, child, at_ms=AT, asked_at_ms=AT - 9)
    assert (alone.status, alone.executed, alone.price) == (status, D("0.050"), D(57805))
    assert alone.client_order_id == "tb-1-hg1-1"


# --- positions, fills, money ---


def position_row(side: str, amount: str, symbol: str = "BTCUSDT") -> rest.PositionRow:
    return rest.PositionRow(
        symbol=symbol,
        position_side=side,
        position_amt=D(amount),
        entry_price=D("60000.0"),
        update_time=7,
    )


def test_both_sides_are_read_and_a_short_has_no_sign() -> None:
    rows = [
        position_row("BOTH", "0"),
        position_row("LONG", "0.010"),
        position_row("SHORT", "-0.103"),
        position_row("LONG", "9", "ETHUSDT"),
    ]
    checked = position_checked(rows, "BTCUSDT", at_ms=AT, asked_at_ms=AT - 9)
    assert checked.long == SideReport(quantity=D("0.010"), entry=D(60000), updated_at_ms=7)
    assert checked.short == SideReport(quantity=D("0.103"), entry=D(60000), updated_at_ms=7)
    assert (checked.at_ms, checked.asked_at_ms) == (AT, AT - 9)


@pytest.mark.parametrize(
    ("told", "price"),
    [
        ('"52000.5"', "52000.5"),
        ("52000.5", "52000.5"),
        ('"0"', "0"),
        ('"-12"', "0"),
        ('""', "0"),
        ('"NaN"', "0"),
        ('"--"', "0"),
        ("null", "0"),
    ],
)
def test_a_liquidation_price_is_taken_where_it_is_one_and_never_spoils_the_read(
    told: str, price: str
) -> None:
    text = (
        '{"symbol": "BTCUSDT", "positionSide": "%s", "positionAmt": "1", "entryPrice": "60000", '
        '"liquidationPrice": %s}'
    )
    rows = [
        msgspec.json.decode(text % (side, told), type=rest.PositionRow)
        for side in ("LONG", "SHORT")
    ]
    checked = position_checked(rows, "BTCUSDT", at_ms=AT, asked_at_ms=AT)
    assert checked.long.liquidation_price == checked.short.liquidation_price == D(price)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [position_row("BOTH", "0")],
        [position_row("LONG", "0")],
        [position_row("LONG", "0"), position_row("SHORT", "0", "ETHUSDT")],
    ],
    ids=["no row", "one-way", "one side", "the other of another symbol"],
)
def test_a_missing_side_is_never_flat(rows: list[rest.PositionRow]) -> None:
    with pytest.raises(Untranslatable):
        position_checked(rows, "BTCUSDT", at_ms=AT, asked_at_ms=AT)


@pytest.mark.parametrize("commission", ["0.048", "-0.048"])
def test_an_execution_costs_its_commission_whichever_sign_the_list_gives_it(
    commission: str,
) -> None:
    trade = rest.UserTrade(
        symbol="BTCUSDT",
        id=77,
        order_id=5,
        side="BUY",
        position_side="LONG",
        price=D(60000),
        qty=D("0.004"),
        commission=D(commission),
        commission_asset="USDT",
        time=8,
        maker=True,
    )
    assert user_trade(trade, "tb-1-lv1-1") == Fill(
        trade_id=77,
        client_order_id="tb-1-lv1-1",
        side=Side.BUY,
        position_side=PositionSide.LONG,
        price=D(60000),
        quantity=D("0.004"),
        commission=D("0.048"),
        commission_asset="USDT",
        is_maker=True,
        time_ms=8,
    )


# --- stream events ---


def test_a_trade_event_carries_totals_and_the_execution() -> None:
    report = order_news(TRADE)
    assert (report.status, report.executed) == (ReportedStatus.OPEN, D("0.004"))
    assert report.asked_at_ms is None
    assert report.answers is None
    assert report.fill == Fill(
        trade_id=77,
        client_order_id="tb-1-lv1-1",
        side=Side.BUY,
        position_side=PositionSide.LONG,
        price=D(60000),
        quantity=D("0.004"),
        commission=D("0.048"),
        commission_asset="USDT",
        is_maker=True,
        time_ms=1_790_000_000_001,
    )


WITHOUT_FILL = {
    "a new order": UPDATE,
    "a liquidation told without a quantity": TRADE | {"l": "0", "x": "CALCULATED"},
    "an amendment": UPDATE | {"x": "AMENDMENT", "q": "0.020", "M": 3},
    "a cancellation": UPDATE | {"x": "CANCELED", "X": "CANCELED"},
}


@pytest.mark.parametrize("detail", WITHOUT_FILL.values(), ids=WITHOUT_FILL.keys())
def test_what_is_no_execution_has_no_fill(detail: dict[str, Any]) -> None:
    assert order_news(detail).fill is None


def test_a_liquidation_s_execution_counts() -> None:
    detail = TRADE | {"x": "CALCULATED", "c": "autoclose-1", "o": "LIQUIDATION"}
    assert order_news(detail).fill is not None


def test_a_trade_without_a_commission_cost_nothing() -> None:
    detail = {key: value for key, value in TRADE.items() if key not in ("n", "N")}
    fill = order_news(detail).fill
    assert fill is not None
    assert fill.commission == D(0)


def test_a_finished_conditional_order_brings_what_its_child_executed() -> None:
    detail = ALGO_UPDATE | {
        "X": "FINISHED",
        "ai": "5",
        "ap": "57800",
        "aq": "0.103",
        "act": "MARKET",
    }
    report = order_news(detail, "ALGO_UPDATE")
    assert report.status is ReportedStatus.TRIGGERED
    assert (report.executed, report.average_price) == (D("0.103"), D(57800))


def test_the_reason_of_a_rejection_is_kept() -> None:
    (news,) = events(
        {
            "e": "ALGO_UPDATE",
            "E": 1,
            "o": ALGO_UPDATE | {"X": "REJECTED", "rm": "Margin is insufficient."},
        }
    )
    assert isinstance(news, OrderNews)
    assert news.text == "Margin is insufficient."


def account(reason: str, *positions: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    rows = [{"s": s, "ps": ps, "pa": pa, "ep": "60000", "up": "0"} for s, ps, pa in positions]
    return {"e": "ACCOUNT_UPDATE", "E": 2, "T": 1, "a": {"m": reason, "B": [], "P": rows} | more}


def side(quantity: str) -> SideReport:
    return SideReport(quantity=D(quantity), entry=D(60000), updated_at_ms=1)


def test_pushed_positions_are_told_by_symbol_and_what_is_not_mentioned_is_none() -> None:
    message = account(
        "ORDER",
        ("BTCUSDT", "BOTH", "0"),
        ("BTCUSDT", "LONG", "0.01"),
        ("ETHUSDT", "SHORT", "-2"),
        ("BTCUSDT", "SHORT", "-0.103"),
    )
    assert events(message) == (
        PositionNews(symbol="BTCUSDT", at_ms=AT, long=side("0.01"), short=side("0.103")),
        PositionNews(symbol="ETHUSDT", at_ms=AT, long=None, short=side("2")),
    )


def test_funding_is_told_with_its_symbol_where_there_is_one() -> None:
    assert events(account("FUNDING_FEE", S="BTCUSDT")) == (FundingNews(symbol="BTCUSDT", at_ms=AT),)
    assert events(account("FUNDING_FEE")) == (FundingNews(symbol=None, at_ms=AT),)


OTHERS: dict[str, tuple[dict[str, Any], tuple[AccountEvent, ...]]] = {
    "leverage": (
        {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": "BTCUSDT", "l": 25}},
        (LeverageNews(symbol="BTCUSDT", leverage=25, at_ms=AT),),
    ),
    "multi-asset mode": ({"e": "ACCOUNT_CONFIG_UPDATE", "ai": {"j": True}}, ()),
    "margin call": (
        {"e": "MARGIN_CALL", "p": [{"s": "ETHUSDT"}, {"s": "BTCUSDT"}, {"s": "BTCUSDT"}]},
        (MarginCallNews(symbols=("BTCUSDT", "ETHUSDT"), at_ms=AT),),
    ),
    "listen key": (
        {"e": "listenKeyExpired", "E": 1, "listenKey": "k"},
        (ListenKeyExpired(at_ms=AT),),
    ),
    "a fill told early": ({"e": "TRADE_LITE", "s": "BTCUSDT", "t": 1}, ()),
    "a strategy of the app": ({"e": "STRATEGY_UPDATE", "su": {}}, ()),
    "a grid of the app": ({"e": "GRID_UPDATE", "gu": {}}, ()),
    "an event of the past": ({"e": "CONDITIONAL_ORDER_TRIGGER_REJECT", "or": {}}, ()),
}


@pytest.mark.parametrize(("message", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_the_other_messages(message: dict[str, Any], expected: tuple[AccountEvent, ...]) -> None:
    assert events(message) == expected


# --- orders out ---

ORDER = OrderState(
    client_order_id="tb-1-lv1-1",
    role=Role.LEVEL,
    number=1,
    attempt=1,
    side=Side.BUY,
    position_side=PositionSide.LONG,
    kind=Kind.LIMIT,
    price=None,
    quantity=None,
    target_price=D("0.00001230"),
    target_quantity=D("1E+2"),
    request=Request.PLACE,
)
COMMON = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "positionSide": "LONG",
    "newOrderRespType": "RESULT",
}
PLACED = {
    "a limit order, without exponents": (
        ORDER,
        {
            "type": "LIMIT",
            "timeInForce": "GTC",
            "price": "0.00001230",
            "quantity": "100",
            "newClientOrderId": "tb-1-lv1-1",
        },
    ),
    "a limit order that takes or goes": (
        replace(ORDER, kind=Kind.LIMIT_IOC),
        {
            "type": "LIMIT",
            "timeInForce": "IOC",
            "price": "0.00001230",
            "quantity": "100",
            "newClientOrderId": "tb-1-lv1-1",
        },
    ),
    "a market order, whatever price it has": (
        replace(ORDER, kind=Kind.MARKET),
        {"type": "MARKET", "quantity": "100", "newClientOrderId": "tb-1-lv1-1"},
    ),
    "a stop that opens": (
        replace(ORDER, kind=Kind.STOP_MARKET),
        {
            "type": "STOP_MARKET",
            "algoType": "CONDITIONAL",
            "triggerPrice": "0.00001230",
            "workingType": "CONTRACT_PRICE",
            "quantity": "100",
            "clientAlgoId": "tb-1-lv1-1",
        },
    ),
    "a stop that closes the position, without a quantity": (
        replace(ORDER, kind=Kind.STOP_MARKET, close_position=True, target_quantity=None),
        {
            "type": "STOP_MARKET",
            "algoType": "CONDITIONAL",
            "triggerPrice": "0.00001230",
            "workingType": "CONTRACT_PRICE",
            "closePosition": "true",
            "clientAlgoId": "tb-1-lv1-1",
        },
    ),
}


@pytest.mark.parametrize(("order", "expected"), PLACED.values(), ids=PLACED.keys())
def test_what_is_sent_to_place(order: OrderState, expected: dict[str, str]) -> None:
    sent = place_parameters("BTCUSDT", order)
    assert sent == COMMON | expected
    assert "reduceOnly" not in sent  # refused in Hedge Mode (-1106)


def test_what_is_sent_to_amend_is_the_new_total() -> None:
    assert amend_parameters("BTCUSDT", ORDER) == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "origClientOrderId": "tb-1-lv1-1",
        "price": "0.00001230",
        "quantity": "100",
    }


# --- symbols ---

INFO: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "filters": [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": "556.80",
            "maxPrice": "4529764",
            "tickSize": "0.10",
        },
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": "1.0500",
            "multiplierDown": "0.9500",
            "multiplierDecimal": "4",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ],
}
BRACKETS = (
    b'{"symbol":"BTCUSDT","brackets":['
    b'{"bracket":2,"initialLeverage":100,"notionalCap":6e5,"notionalFloor":50000,'
    b'"maintMarginRatio":0.005,"cum":50.0},'
    b'{"bracket":1,"initialLeverage":125,"notionalCap":50000,"notionalFloor":0,'
    b'"maintMarginRatio":0.004,"cum":0.0}]}'
)


def info(**filters: dict[str, Any] | None) -> rest.SymbolInfo:
    """Return the symbol with some filters changed; None takes one away."""
    listed = []
    for entry in INFO["filters"]:
        change = filters.get(entry["filterType"], {})
        if change is not None:
            listed.append(entry | change)
    return msgspec.convert(INFO | {"filters": listed}, type=rest.SymbolInfo)


def rules_of(symbol: rest.SymbolInfo) -> Any:
    brackets = msgspec.json.decode(BRACKETS, type=rest.SymbolBrackets)
    return symbol_rules(symbol, brackets=brackets, maker_rate=D("0.0002"), taker_rate=D("0.0005"))


def test_rules_are_read_from_the_filters() -> None:
    rules = rules_of(info())
    assert (rules.tick_size, rules.min_price, rules.max_price) == (D("0.1"), D("556.8"), D(4529764))
    assert (rules.step_size, rules.min_quantity, rules.max_quantity) == (
        D("0.001"),
        D("0.001"),
        D(1000),
    )
    assert (rules.market_max_quantity, rules.min_notional) == (D(120), D(100))
    assert (rules.multiplier_up, rules.multiplier_down) == (D("1.05"), D("0.95"))
    assert [(b.initial_leverage, str(b.notional_cap)) for b in rules.brackets] == [
        (125, "50000"),
        (100, "600000"),
    ]
    assert (rules.max_leverage, rules.notional_cap(110)) == (125, D(50000))


UNUSABLE: dict[str, dict[str, dict[str, Any] | None]] = {
    "a filter is missing": {"LOT_SIZE": None},
    "the tick is 0": {"PRICE_FILTER": {"tickSize": "0"}},
    "the step is no number": {"LOT_SIZE": {"stepSize": "NaN"}},
    "a bound is missing": {"PRICE_FILTER": {"maxPrice": None}},
    "prices are counted from off the grid": {"PRICE_FILTER": {"minPrice": "556.83"}},
    "quantities are counted from off the grid": {"LOT_SIZE": {"minQty": "0.0015"}},
    "a minimum is negative": {"MIN_NOTIONAL": {"notional": "-5"}},
}


@pytest.mark.parametrize("filters", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_symbol_whose_rules_we_cannot_follow_is_refused(
    filters: dict[str, dict[str, Any] | None],
) -> None:
    with pytest.raises(Untranslatable, match="BTCUSDT"):
        rules_of(info(**filters))
