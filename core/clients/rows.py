"""Rows of the database from values of the domain, and back."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import msgspec
from sqlalchemy import RowMapping

from core.clients.clean import clean_text, cleaned
from core.daily_report import EndedCycle
from core.domain import rules as strategy
from core.domain.alarms import Alarm, RaisedAlarm
from core.domain.cycle import (
    Cycle,
    Fact,
    Fill,
    Kind,
    OperatorAction,
    OrderState,
    PositionSide,
    Role,
    Side,
)
from core.domain.guards import Exposure, most_notional
from core.domain.settings import Bracket, SymbolRules
from core.domain.webhook import AlertSecret, Webhook
from core.models import OrderType
from core.ports import Notice, OperatorRequest

Row = RowMapping
Values = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGUN = "Begun"  # kind of the journal's number 0

_CYCLE = msgspec.json.Decoder(Cycle)
_FACTS = {kind.__name__: msgspec.json.Decoder(kind) for kind in get_args(Fact)}
_BRACKETS = tuple[Bracket, ...]

_TYPE_OF_ROLE = {
    Role.ENTRY: OrderType.LONG_MARKET,
    Role.LEVEL: OrderType.LONG_LIMIT,
    Role.TAKE_PROFIT: OrderType.LONG_TAKE_PROFIT,
    Role.GUARD: OrderType.LONG_TRAILING_GUARD,
    Role.HEDGE: OrderType.SHORT_MARKET_STOP_OPEN,
    Role.HEDGE_STOP: OrderType.SHORT_MARKET_STOP_LOSS,
    Role.HEDGE_MARKET: OrderType.SHORT_MARKET,
    Role.HEDGE_STOP_MARKET: OrderType.SHORT_MARKET,
    Role.CLOSE_LONG: OrderType.LONG_MARKET,
    Role.CLOSE_SHORT: OrderType.SHORT_MARKET,
}
# A foreign order is called what an order of ours of its nature would be called.
_TYPE_OF_NATURE = {
    (PositionSide.LONG, Kind.LIMIT, Side.BUY): OrderType.LONG_LIMIT,
    (PositionSide.LONG, Kind.LIMIT, Side.SELL): OrderType.LONG_TAKE_PROFIT,
    (PositionSide.LONG, Kind.LIMIT_IOC, Side.BUY): OrderType.LONG_LIMIT,
    (PositionSide.LONG, Kind.LIMIT_IOC, Side.SELL): OrderType.LONG_TAKE_PROFIT,
    (PositionSide.LONG, Kind.STOP_MARKET, Side.SELL): OrderType.LONG_TRAILING_GUARD,
    (PositionSide.SHORT, Kind.LIMIT, Side.BUY): OrderType.SHORT_LIMIT,
    (PositionSide.SHORT, Kind.LIMIT, Side.SELL): OrderType.SHORT_LIMIT,
    (PositionSide.SHORT, Kind.LIMIT_IOC, Side.BUY): OrderType.SHORT_LIMIT,
    (PositionSide.SHORT, Kind.LIMIT_IOC, Side.SELL): OrderType.SHORT_LIMIT,
    (PositionSide.SHORT, Kind.STOP_MARKET, Side.SELL): OrderType.SHORT_MARKET_STOP_OPEN,
    (PositionSide.SHORT, Kind.STOP_MARKET, Side.BUY): OrderType.SHORT_MARKET_STOP_LOSS,
}
_MARKET_OF_SIDE = {
    PositionSide.LONG: OrderType.LONG_MARKET,
    PositionSide.SHORT: OrderType.SHORT_MARKET,
}

_ORDER_FIELDS = tuple(field.name for field in fields(OrderState))
_ORDER_COLUMNS = {  # field → column: times are moments in tables, and a bare `number` says little
    name: "order_number" if name == "number" else name.removesuffix("_ms") for name in _ORDER_FIELDS
}
_ORDER_TIMES = frozenset(name for name in _ORDER_FIELDS if name.endswith("_at_ms"))
_ORDER_TEXTS = frozenset({"refusal_text", "reason"})


# --- Times ---


def moment(at_ms: int) -> datetime:
    """Return a time as tables hold it."""
    return EPOCH + timedelta(milliseconds=at_ms)


def moment_or_none(at_ms: int | None) -> datetime | None:
    """Return a time as tables hold it; neither None nor 0 (never) is one."""
    return moment(at_ms) if at_ms else None


def to_ms(at: datetime) -> int:
    """Return a table's time in milliseconds."""
    return (at - EPOCH) // timedelta(milliseconds=1)


# --- Cycles ---


def cycle_values(cycle: Cycle, *, changed_at_ms: int) -> Values:
    """Return what a cycle's row holds of it: the state, and figures for people."""
    ledger = cycle.ledger
    return {
        "phase": cycle.phase,
        "close_reason": cycle.close_reason,
        "realised": ledger.realised,
        "commissions": ledger.commissions,
        "funding": cycle.funding,
        "net_pnl": ledger.realised + cycle.funding - ledger.commissions,
        "state": to_json(replace(cycle, orders=(), fills=())),
        "changed_at": moment(changed_at_ms),
        "ended_at": moment_or_none(cycle.ended_at_ms),
    }


def new_cycle_values(cycle: Cycle, *, webhook_id: int) -> Values:
    """Return the whole row of a cycle that begins."""
    return {
        "webhook_id": webhook_id,
        "key": cycle.key,
        "symbol": cycle.symbol,
        "deposit": cycle.settings.deposit,
        "extramarg": cycle.settings.extramarg,
        "leverage": cycle.settings.leverage,
        "version": 0,
        "journal_length": 0,
        "opened_at": moment(cycle.accepted_at_ms),
        **cycle_values(cycle, changed_at_ms=cycle.accepted_at_ms),
    }


def to_cycle(row: Row, *, orders: Sequence[OrderState], fills: Sequence[Fill]) -> Cycle:
    """Return the cycle of a row and of the rows that belong to it."""
    return replace(
        _CYCLE.decode(row["state"]),
        cycle_id=row["id"],  # the state of a cycle that began did not know it yet
        orders=tuple(orders),
        fills=tuple(fills),
    )


# --- Orders ---


def order_values(order: OrderState) -> Values:
    """Return what an order's row holds of it."""
    values: Values = {"type": order_type(order)}
    for name, column in _ORDER_COLUMNS.items():
        value = getattr(order, name)
        if name in _ORDER_TIMES:
            value = moment_or_none(value)
        elif name in _ORDER_TEXTS:
            value = clean_text(value)
        values[column] = value
    return values


def to_order(row: Row) -> OrderState:
    """Return the order of a row."""
    values: Values = {}
    for name, column in _ORDER_COLUMNS.items():
        value = row[column]
        if name in _ORDER_TIMES:
            value = to_ms(value) if value is not None else 0
        values[name] = value
    return OrderState(**values)


def order_type(order: OrderState) -> OrderType:
    """Return what the order is called in front of people."""
    if order.role is not Role.FOREIGN:
        return _TYPE_OF_ROLE[order.role]
    nature = (order.position_side, order.kind, order.side)
    return _TYPE_OF_NATURE.get(nature, _MARKET_OF_SIDE[order.position_side])


# --- Fills, alarms, positions ---


def fill_values(fill: Fill) -> Values:
    """Return what a fill's row holds of it."""
    return {
        "trade_id": fill.trade_id,
        "client_order_id": fill.client_order_id,
        "side": fill.side,
        "position_side": fill.position_side,
        "price": fill.price,
        "quantity": fill.quantity,
        "commission": fill.commission,
        "commission_asset": fill.commission_asset,
        "is_maker": fill.is_maker,
        "is_adjustment": fill.is_adjustment,
        "executed_at": moment(fill.time_ms),
    }


def to_fill(row: Row) -> Fill:
    """Return the fill of a row."""
    return Fill(
        trade_id=row["trade_id"],
        client_order_id=row["client_order_id"],
        side=row["side"],
        position_side=row["position_side"],
        price=row["price"],
        quantity=row["quantity"],
        commission=row["commission"],
        commission_asset=row["commission_asset"],
        is_maker=row["is_maker"],
        is_adjustment=row["is_adjustment"],
        time_ms=to_ms(row["executed_at"]),
    )


def alarm_values(alarm: Alarm) -> Values:
    """Return what an alarm's row holds of it when it is new."""
    guide = alarm.guide
    return {
        "kind": alarm.kind.value,
        "severity": guide.severity,
        "text": clean_text(alarm.text),
        "action": guide.action,
        "count": 1,
        "raised_at": moment(alarm.at_ms),
        "last_at": moment(alarm.at_ms),
    }


def to_raised_alarm(row: Row) -> RaisedAlarm:
    """Return the alarm of a row, as people see it."""
    return RaisedAlarm(
        alarm_id=row["id"],
        symbol=row["symbol"],
        cycle_id=row["cycle_id"],
        kind=row["kind"],
        severity=row["severity"],
        text=row["text"],
        action=row["action"],
        count=row["count"],
        raised_at_ms=to_ms(row["raised_at"]),
        last_at_ms=to_ms(row["last_at"]),
    )


def notice_values(notice: Notice) -> Values:
    """Return what a notice's row holds of it."""
    return {
        "kind": notice.kind,
        "symbol": notice.symbol,
        "cycle": notice.cycle,
        "title": clean_text(notice.title),
        "text": clean_text(notice.text),
        "severity": notice.severity,
        "topic": notice.topic,
        "happened_at": moment(notice.at_ms),
    }


def to_notice(row: Row) -> Notice:
    """Return the notice of a row."""
    return Notice(
        kind=row["kind"],
        symbol=row["symbol"],
        cycle=row["cycle"],
        title=row["title"],
        text=row["text"],
        severity=row["severity"],
        at_ms=to_ms(row["happened_at"]),
        topic=row["topic"],
    )


def position_values(cycle: Cycle) -> dict[PositionSide, Values]:
    """Return both sides as people look at them."""
    shown = {
        "symbol": cycle.symbol,
        **price_values(cycle, cycle.last_price),
        "long_trailing_price": None,
        "short_trailing_price": None,
        "activation_price": None,
        "old_activation_price": None,
    }
    return {
        PositionSide.LONG: {
            **shown,
            "quantity": cycle.long.quantity,
            "entry_price": cycle.long.entry,
            "long_trailing_price": cycle.trailing_stop,
            "activation_price": cycle.activation_price,
            "old_activation_price": cycle.old_activation_price,
        },
        PositionSide.SHORT: {
            **shown,
            "quantity": cycle.short.quantity,
            "entry_price": cycle.short.entry,
            "short_trailing_price": _short_stop(cycle),
        },
    }


def price_values(cycle: Cycle, price: Decimal | None) -> Values:
    """Return what a price says about a cycle."""
    is_flat = not (cycle.long.quantity or cycle.short.quantity)
    pnl_diff = None if price is None or is_flat else strategy.net_pnl(cycle, price)
    return {"pnl_diff": pnl_diff, "last_price": price}


def _short_stop(cycle: Cycle) -> Decimal | None:
    resting = cycle.live(Role.HEDGE_STOP)
    return resting.price if resting is not None and resting.is_resting else None


def to_exposure(row: Row) -> Exposure:
    """Return what the row of an open cycle, joined with its LONG side, counts for."""
    at_the_last_price = row["pnl_diff"]
    return Exposure(
        symbol=row["symbol"],
        notional=most_notional(
            deposit=row["deposit"], extramarg=row["extramarg"], leverage=row["leverage"]
        ),
        net_pnl=row["net_pnl"] if at_the_last_price is None else at_the_last_price,
    )


def to_ended_cycle(row: Row) -> EndedCycle:
    """Return the figures of an ended cycle's row, joined with its symbol's."""
    return EndedCycle(
        symbol=row["symbol"],
        quote_asset=row["quote_asset"] or "?",
        reason=row["close_reason"] or "?",
        realised=row["realised"],
        commissions=row["commissions"],
        funding=row["funding"],
        net_pnl=row["net_pnl"],
    )


# --- The journal ---


def fact_values(fact: Fact) -> Values:
    """Return what a fact's row holds of it."""
    return {"kind": type(fact).__name__, "payload": to_json(fact), "at": moment(fact.at_ms)}


def begun_values(cycle: Cycle) -> Values:
    """Return the journal's number 0."""
    return {"kind": BEGUN, "payload": to_json(cycle), "at": moment(cycle.accepted_at_ms)}


def to_fact(row: Row) -> Fact:
    """Return the fact of a row."""
    fact: Fact = _FACTS[row["kind"]].decode(row["payload"])
    return fact


def to_begun(payload: str, *, cycle_id: int) -> Cycle:
    """Return the cycle as it began."""
    return replace(_CYCLE.decode(payload), cycle_id=cycle_id)


# --- Rules, webhooks, requests ---


def from_rules(rules: SymbolRules, *, read_at_ms: int) -> Values:
    """Return the whole row of a symbol's rules."""
    values = {field.name: getattr(rules, field.name) for field in fields(SymbolRules)}
    values["brackets"] = msgspec.to_builtins(rules.brackets)
    return {**values, "updated_at": moment(read_at_ms)}


def to_rules(row: Row) -> SymbolRules:
    """Return the rules of a row."""
    values = {field.name: row[field.name] for field in fields(SymbolRules)}
    values["brackets"] = msgspec.convert(values["brackets"], _BRACKETS)
    return SymbolRules(**values)


def to_webhook(row: Row) -> Webhook:
    """Return the alert of a row."""
    return Webhook(
        webhook_id=row["id"],
        payload=row["payload"],
        status=row["status"],
        received_at_ms=to_ms(row["received_at"]),
        symbol=row["symbol"],
        alert_id=row["alert_id"],
        secret_id=row["secret_id"],
        http_status=row["http_status"],
        outcome=row["outcome"],
        warnings=tuple(row["warnings"]),
    )


def to_secret(row: Row) -> AlertSecret:
    """Return the secret of a row, `last_used_at` with it."""
    revoked_at, last_used_at = row["revoked_at"], row["last_used_at"]
    return AlertSecret(
        secret_id=row["id"],
        name=row["name"],
        digest=row["digest"],
        may_close_all=row["may_close_all"],
        created_by=row["created_by"],
        created_at_ms=to_ms(row["created_at"]),
        revoked_at_ms=None if revoked_at is None else to_ms(revoked_at),
        last_used_at_ms=None if last_used_at is None else to_ms(last_used_at),
    )


def to_operator_request(row: Row) -> OperatorRequest:
    """Return the operator's request of a row."""
    return OperatorRequest(
        action_id=row["id"],
        cycle_id=row["cycle_id"],
        symbol=row["symbol"],
        action=OperatorAction(row["action"]),
        asked_at_ms=to_ms(row["asked_at"]),
    )


def to_json(value: object) -> str:
    """Return a value of the domain as JSON; decimals are text, exactly as they are."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair in a text of the exchange
        return msgspec.json.encode(cleaned(msgspec.to_builtins(value))).decode()
