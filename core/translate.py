"""Pure conversions between the exchange's wire and the domain.

In: schemas of `core.schemas.binance_rest` and `core.schemas.binance_stream` become facts and
values of the domain. Out: an `OrderState` whose request is under way becomes the parameters of
one HTTP request. Nothing here does I/O or knows the time: `at_ms` is when the news reached us, on
the exchange's clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from core.domain.cycle import (
    Fill,
    Kind,
    OrderReported,
    OrderState,
    PositionChecked,
    PositionSide,
    ReportedStatus,
    Request,
    Side,
    SideReport,
)
from core.domain.settings import Bracket, SymbolRules
from core.money import ZERO, to_wire
from core.ports import Balance, FundingRecord, IncomeRecord
from core.schemas import binance_rest as rest
from core.schemas import binance_stream as stream


class Untranslatable(ValueError):
    """The exchange said something that has no meaning for us."""


# --- orders ---

_PLAIN_STATUS = {
    "NEW": ReportedStatus.OPEN,
    "PARTIALLY_FILLED": ReportedStatus.OPEN,
    "NEW_INSURANCE": ReportedStatus.OPEN,  # liquidation taken over by the insurance fund
    "NEW_ADL": ReportedStatus.OPEN,
    "FILLED": ReportedStatus.FILLED,
    "CANCELED": ReportedStatus.CANCELED,
    "EXPIRED": ReportedStatus.EXPIRED,
    "EXPIRED_IN_MATCH": ReportedStatus.EXPIRED,
    "REJECTED": ReportedStatus.REJECTED,
}

# FINISHED says that the child order is filled or cancelled, but not which: only the child's own
# record ends the order (`BinanceGateway.find`).
_ALGO_STATUS = {
    "NEW": ReportedStatus.OPEN,
    "TRIGGERING": ReportedStatus.TRIGGERED,
    "TRIGGERED": ReportedStatus.TRIGGERED,
    "FINISHED": ReportedStatus.TRIGGERED,
    "CANCELED": ReportedStatus.CANCELED,
    "EXPIRED": ReportedStatus.EXPIRED,
    "REJECTED": ReportedStatus.REJECTED,
}


def plain_order(
    order: rest.PlainOrder,
    *,
    at_ms: int,
    asked_at_ms: int | None = None,
    answers: Request | None = None,
) -> OrderReported:
    """Return the news in an ordinary order's answer or record."""
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=_status(_PLAIN_STATUS, order.status),
        side=_side(order.side),
        position_side=_position_side(order.position_side, order.side),
        kind=_plain_kind(order.type, order.time_in_force),
        price=order.price or None,
        quantity=order.orig_qty,
        executed=order.executed_qty,
        average_price=_average(order.avg_price, order.executed_qty),
        exchange_order_id=order.order_id,
        asked_at_ms=asked_at_ms,
        answers=answers,
    )


def algo_order(
    order: rest.AlgoOrder,
    *,
    at_ms: int,
    asked_at_ms: int | None = None,
    answers: Request | None = None,
) -> OrderReported:
    """Return the news in a conditional order's answer or record.

    `exchange_order_id` is its child order's, once it has one; never the algo service's own number.
    """
    status = _status(_ALGO_STATUS, order.algo_status)
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_algo_id,
        status=status,
        side=_side(order.side),
        position_side=_position_side(order.position_side, order.side),
        kind=Kind.STOP_MARKET,
        price=order.trigger_price or None,
        quantity=None if order.close_position else order.quantity,
        # What rests or ended untriggered has executed nothing; else the child order knows.
        executed=None if status is ReportedStatus.TRIGGERED else ZERO,
        average_price=None,
        exchange_order_id=child_order_id(order.actual_order_id),
        asked_at_ms=asked_at_ms,
        answers=answers,
    )


def triggered_order(
    algo: rest.AlgoOrder,
    child: rest.PlainOrder,
    *,
    at_ms: int,
    asked_at_ms: int | None = None,
    answers: Request | None = None,
) -> OrderReported:
    """Return a conditional order's news with the totals and the end of its child order."""
    status = _status(_PLAIN_STATUS, child.status)
    return OrderReported(
        at_ms=at_ms,
        client_order_id=algo.client_algo_id,
        status=ReportedStatus.TRIGGERED if status is ReportedStatus.OPEN else status,
        side=_side(algo.side),
        position_side=_position_side(algo.position_side, algo.side),
        kind=Kind.STOP_MARKET,
        price=algo.trigger_price or None,
        quantity=child.orig_qty,  # also of close-position orders: known since it triggered
        executed=child.executed_qty,
        average_price=_average(child.avg_price, child.executed_qty),
        exchange_order_id=child.order_id,
        asked_at_ms=asked_at_ms,
        answers=answers,
    )


def triggered_from_child(
    order: OrderState, child: rest.PlainOrder, *, at_ms: int, asked_at_ms: int
) -> OrderReported:
    """Return a conditional order's news where only its child order could be found."""
    status = _status(_PLAIN_STATUS, child.status)
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=ReportedStatus.TRIGGERED if status is ReportedStatus.OPEN else status,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=child.orig_qty,
        executed=child.executed_qty,
        average_price=_average(child.avg_price, child.executed_qty),
        exchange_order_id=child.order_id,
        asked_at_ms=asked_at_ms,
    )


def algo_cancelled(order: OrderState, *, at_ms: int) -> OrderReported:
    """Return the news in the success answer to our cancel of a conditional order.

    The answer names the order and nothing else; only an untriggered one can be cancelled this way.
    """
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=ReportedStatus.CANCELED,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=order.quantity,
        executed=ZERO,
        average_price=None,
        answers=Request.CANCEL,
    )


def amendment_unchanged(order: OrderState, *, at_ms: int) -> OrderReported:
    """Return the news in -5027 (no need to modify): the order already is as asked for."""
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=ReportedStatus.OPEN,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.target_price,
        quantity=order.target_quantity,
        executed=None,
        average_price=None,
        exchange_order_id=order.exchange_order_id,
        answers=Request.AMEND,
    )


def place_parameters(symbol: str, order: OrderState) -> dict[str, str]:
    """Return the parameters of POST /fapi/v1/order or /fapi/v1/algoOrder for the order's targets.

    `reduceOnly` is never among them: with Hedge Mode the exchange refuses it (-1106).
    """
    parameters = {
        "symbol": symbol,
        "side": order.side.value,
        "positionSide": order.position_side.value,
        "newOrderRespType": "RESULT",
    }
    price, quantity = order.target_price, order.target_quantity
    if order.is_algo:
        assert price is not None, f"{order.client_order_id}: a stop needs a trigger"
        parameters |= {
            "algoType": "CONDITIONAL",
            "type": "STOP_MARKET",
            "clientAlgoId": order.client_order_id,
            "triggerPrice": to_wire(price),
            "workingType": "CONTRACT_PRICE",
        }
        if order.close_position:
            return parameters | {"closePosition": "true"}
    else:
        parameters |= {"newClientOrderId": order.client_order_id}
        parameters |= _plain_type(order.kind, price)
    assert quantity is not None, f"{order.client_order_id}: an order needs a quantity"
    return parameters | {"quantity": to_wire(quantity)}


def amend_parameters(symbol: str, order: OrderState) -> dict[str, str]:
    """Return the parameters of PUT /fapi/v1/order; the quantity is the order's new total."""
    assert order.target_price is not None
    assert order.target_quantity is not None
    return {
        "symbol": symbol,
        "side": order.side.value,
        "origClientOrderId": order.client_order_id,
        "price": to_wire(order.target_price),
        "quantity": to_wire(order.target_quantity),
    }


def child_order_id(text: str | int | None) -> int | None:
    """Return the number of a conditional order's child order, None before it has one."""
    return int(text) if text else None


# --- positions, fills, money ---


ONE_WAY_MODE = (
    "the account is in one-way mode; switch it back to Hedge Mode (Binance: Preferences, Position "
    "Mode)"
)


def position_checked(
    rows: Iterable[rest.PositionRow], symbol: str, *, at_ms: int, asked_at_ms: int
) -> PositionChecked:
    """Return both sides of `symbol`.

    Raises Untranslatable if a side is missing: that never means flat.
    """
    sides = {row.position_side: row for row in rows if row.symbol == symbol}
    if sides.keys() == {"BOTH"}:
        raise Untranslatable(ONE_WAY_MODE)
    if not {"LONG", "SHORT"} <= sides.keys():
        raise Untranslatable(f"{symbol}: the answer lists {sorted(sides) or 'no side'}")
    return PositionChecked(
        at_ms=at_ms,
        asked_at_ms=asked_at_ms,
        long=_side_report(sides["LONG"]),
        short=_side_report(sides["SHORT"]),
    )


def user_trade(trade: rest.UserTrade, client_order_id: str) -> Fill:
    """Return an execution from the exchange's list, which knows its order's number only."""
    return Fill(
        trade_id=trade.id,
        client_order_id=client_order_id,
        side=_side(trade.side),
        position_side=_position_side(trade.position_side, trade.side),
        price=trade.price,
        quantity=trade.qty,
        # The sources disagree about the sign in this list; without a rebate a fee is always paid.
        commission=abs(trade.commission),
        commission_asset=trade.commission_asset,
        is_maker=trade.maker,
        time_ms=trade.time,
    )


def balance(rows: Iterable[rest.BalanceRow], asset: str) -> Balance:
    """Return the balance of one asset. Raises Untranslatable if it is not listed."""
    for row in rows:
        if row.asset == asset:
            return Balance(wallet=row.balance, available=row.available_balance)
    raise Untranslatable(f"no balance of {asset} in the answer")


def funding_record(row: rest.IncomeRow) -> FundingRecord:
    """Return one funding payment; negative is paid, as on the wire."""
    return FundingRecord(
        transaction_id=row.tran_id, symbol=row.symbol, amount=row.income, time_ms=row.time
    )


def income_record(row: rest.IncomeRow) -> IncomeRecord:
    """Return one change of the account's money, signed as on the wire."""
    return IncomeRecord(
        kind=row.income_type,
        transaction_id=row.tran_id,
        trade_id=int(row.trade_id) if row.trade_id.isdecimal() else None,
        asset=row.asset,
        amount=row.income,
        time_ms=row.time,
    )


# --- symbols ---


def symbol_rules(
    info: rest.SymbolInfo,
    *,
    brackets: rest.SymbolBrackets | None,
    maker_rate: Decimal,
    taker_rate: Decimal,
) -> SymbolRules:
    """Return the trading rules of one symbol.

    Raises Untranslatable where a filter is missing, or where `minPrice` or `minQty` is not itself
    on the grid, from which the exchange counts: our rounding starts at 0.
    Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition
    """
    filters = {entry.filter_type: entry for entry in info.filters}
    try:
        price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
        market_lot = filters["MARKET_LOT_SIZE"]
        notional, percent = filters["MIN_NOTIONAL"], filters["PERCENT_PRICE"]
    except KeyError as missing:
        raise Untranslatable(f"{info.symbol}: no filter {missing}") from None
    rules = SymbolRules(
        symbol=info.symbol,
        base_asset=info.base_asset,
        quote_asset=info.quote_asset,
        status=info.status,
        tick_size=_positive(price.tick_size, info.symbol, "tickSize"),
        min_price=_known(price.min_price, info.symbol, "minPrice"),
        max_price=_positive(price.max_price, info.symbol, "maxPrice"),
        step_size=_positive(lot.step_size, info.symbol, "stepSize"),
        min_quantity=_known(lot.min_qty, info.symbol, "minQty"),
        max_quantity=_positive(lot.max_qty, info.symbol, "maxQty"),
        market_min_quantity=_known(market_lot.min_qty, info.symbol, "market minQty"),
        market_max_quantity=_positive(market_lot.max_qty, info.symbol, "market maxQty"),
        market_step_size=_positive(market_lot.step_size, info.symbol, "market stepSize"),
        min_notional=_known(notional.notional, info.symbol, "notional"),
        multiplier_up=_positive(percent.multiplier_up, info.symbol, "multiplierUp"),
        multiplier_down=_known(percent.multiplier_down, info.symbol, "multiplierDown"),
        maker_rate=maker_rate,
        taker_rate=taker_rate,
        brackets=_brackets(brackets),
    )
    _check_grid(rules)
    return rules


# --- stream events ---


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNews:
    """Something happened to an order of `symbol`."""

    symbol: str
    report: OrderReported
    text: str = ""  # why a conditional order was rejected at its trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionNews:
    """The exchange pushed one or both sides of a symbol; None: that side was not mentioned."""

    symbol: str
    at_ms: int
    long: SideReport | None
    short: SideReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingNews:
    """Funding was booked; the income list has the amount. None: the symbol was not named."""

    symbol: str | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageNews:
    """Somebody changed a symbol's leverage."""

    symbol: str
    leverage: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginCallNews:
    """The exchange warns that these symbols are close to liquidation."""

    symbols: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenKeyExpired:
    """The account connection is silent from now on."""

    at_ms: int


AccountEvent = (
    OrderNews | PositionNews | FundingNews | LeverageNews | MarginCallNews | ListenKeyExpired
)


def account_events(message: stream.AccountMessage, *, at_ms: int) -> tuple[AccountEvent, ...]:
    """Return what an account message tells; nothing for what is told better elsewhere.

    Raises Untranslatable for a status, side or type that we do not know.
    """
    match message:
        case stream.OrderTradeUpdate():
            return (_order_news(message.order, at_ms),)
        case stream.AlgoUpdate():
            return (_algo_news(message.order, at_ms),)
        case stream.AccountUpdate():
            return _account_news(message, at_ms)
        case stream.AccountConfigUpdate(leverage=stream.LeverageDetail() as changed):
            return (LeverageNews(symbol=changed.symbol, leverage=changed.leverage, at_ms=at_ms),)
        case stream.MarginCall():
            symbols = tuple(sorted({row.symbol for row in message.positions}))
            return (MarginCallNews(symbols=symbols, at_ms=at_ms),)
        case stream.ListenKeyExpired():
            return (ListenKeyExpired(at_ms=at_ms),)
        case _:
            return ()


def _order_news(order: stream.OrderDetail, at_ms: int) -> OrderNews:
    return OrderNews(
        symbol=order.symbol,
        report=OrderReported(
            at_ms=at_ms,
            client_order_id=order.client_order_id,
            status=_status(_PLAIN_STATUS, order.status),
            side=_side(order.side),
            position_side=_position_side(order.position_side, order.side),
            kind=_plain_kind(order.type, order.time_in_force),
            price=order.price or None,
            quantity=order.quantity,
            executed=order.executed,
            average_price=_average(order.average_price, order.executed),
            exchange_order_id=order.order_id,
            fill=_stream_fill(order),
        ),
    )


def _stream_fill(order: stream.OrderDetail) -> Fill | None:
    # Liquidations are also told by events without a quantity.
    if not order.trade_id or not order.last_quantity:
        return None
    return Fill(
        trade_id=order.trade_id,
        client_order_id=order.client_order_id,
        side=_side(order.side),
        position_side=_position_side(order.position_side, order.side),
        price=order.last_price,
        quantity=order.last_quantity,
        commission=order.commission or ZERO,
        commission_asset=order.commission_asset or "",
        is_maker=order.is_maker,
        time_ms=order.trade_time,
    )


def _algo_news(order: stream.AlgoDetail, at_ms: int) -> OrderNews:
    status = _status(_ALGO_STATUS, order.status)
    executed = order.executed if status is ReportedStatus.TRIGGERED else ZERO
    report = OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_algo_id,
        status=status,
        side=_side(order.side),
        position_side=_position_side(order.position_side, order.side),
        kind=Kind.STOP_MARKET,
        price=order.trigger_price or None,
        quantity=None if order.close_position else order.quantity,
        executed=executed,
        average_price=_average(order.average_price, executed),
        exchange_order_id=child_order_id(order.order_id),
    )
    return OrderNews(symbol=order.symbol, report=report, text=order.reason)


def _account_news(message: stream.AccountUpdate, at_ms: int) -> tuple[AccountEvent, ...]:
    told: dict[str, dict[str, SideReport]] = {}
    for row in message.account.positions:
        if row.position_side == "BOTH":  # pushed along in Hedge Mode, always empty
            continue
        told.setdefault(row.symbol, {})[row.position_side] = SideReport(
            quantity=abs(row.amount),
            entry=row.entry_price,
            updated_at_ms=message.transaction_time,
        )
    news: list[AccountEvent] = [
        PositionNews(symbol=symbol, at_ms=at_ms, long=s.get("LONG"), short=s.get("SHORT"))
        for symbol, s in told.items()
    ]
    if message.account.reason == "FUNDING_FEE":
        news.append(FundingNews(symbol=message.account.symbol, at_ms=at_ms))
    return tuple(news)


def _status(table: Mapping[str, ReportedStatus], text: str) -> ReportedStatus:
    try:
        return table[text]
    except KeyError:
        raise Untranslatable(f"order status {text!r}") from None


def _side(text: str) -> Side:
    try:
        return Side(text)
    except ValueError:
        raise Untranslatable(f"side {text!r}") from None


def _position_side(text: str, side: str) -> PositionSide:
    if text == "BOTH":  # an account not (yet) in Hedge Mode; only ever a person's order
        return PositionSide.LONG if side == "BUY" else PositionSide.SHORT
    try:
        return PositionSide(text)
    except ValueError:
        raise Untranslatable(f"position side {text!r}") from None


def _plain_kind(order_type: str, time_in_force: str) -> Kind:
    # People's orders may be of kinds that we never send; they are over or cancelled like these.
    if order_type in ("MARKET", "LIQUIDATION"):
        return Kind.MARKET
    if order_type == "LIMIT":
        return Kind.LIMIT_IOC if time_in_force in ("IOC", "FOK") else Kind.LIMIT
    if order_type in _CONDITIONAL_TYPES:  # a child order told under its parent's type
        return Kind.MARKET if order_type.endswith("MARKET") else Kind.LIMIT
    raise Untranslatable(f"order type {order_type!r}")


_CONDITIONAL_TYPES = frozenset(
    {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
)


def _plain_type(kind: Kind, price: Decimal | None) -> dict[str, str]:
    if kind is Kind.MARKET:
        return {"type": "MARKET"}
    assert price is not None, "a limit order needs a price"
    time_in_force = "IOC" if kind is Kind.LIMIT_IOC else "GTC"
    return {"type": "LIMIT", "timeInForce": time_in_force, "price": to_wire(price)}


def _average(price: Decimal | None, executed: Decimal | None) -> Decimal | None:
    # "0" stands for "nothing executed yet", and may lag behind the quantity.
    return price if price and executed else None


def _side_report(row: rest.PositionRow) -> SideReport:
    return SideReport(
        quantity=abs(row.position_amt),
        entry=row.entry_price,
        updated_at_ms=row.update_time,
        liquidation_price=_liquidation_price(row.liquidation_price),
    )


def _liquidation_price(told: str | float | None) -> Decimal:
    """Return the price, or 0 for whatever is none."""
    try:
        price = Decimal(str(told))
    except InvalidOperation:
        return ZERO
    return price if price.is_finite() and price > 0 else ZERO


def _brackets(listed: rest.SymbolBrackets | None) -> tuple[Bracket, ...]:
    rows = () if listed is None else listed.brackets
    return tuple(
        Bracket(
            initial_leverage=row.initial_leverage,
            # JSON may write the amount as 1e5; in the database and on screen it should not.
            notional_cap=Decimal(to_wire(row.notional_cap)),
            maintenance_rate=Decimal(to_wire(row.maint_margin_ratio)),
            cumulative=Decimal(to_wire(row.cum)),
        )
        for row in sorted(rows, key=lambda row: row.notional_cap)
    )


def _known(value: Decimal | None, symbol: str, name: str) -> Decimal:
    if value is None or not value.is_finite() or value < 0:
        raise Untranslatable(f"{symbol}: {name} is {value}")
    return value


def _positive(value: Decimal | None, symbol: str, name: str) -> Decimal:
    known = _known(value, symbol, name)
    if known == 0:
        raise Untranslatable(f"{symbol}: {name} is 0")
    return known


def _check_grid(rules: SymbolRules) -> None:
    for value, grid, name in (
        (rules.min_price, rules.tick_size, "minPrice"),
        (rules.min_quantity, rules.step_size, "minQty"),
        (rules.market_min_quantity, rules.market_step_size, "market minQty"),
    ):
        if value % grid:
            raise Untranslatable(f"{rules.symbol}: {name} {value} is not a multiple of {grid}")
