"""REST: several orders at once, and the dead man's switch."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from paper import errors, render, rest_orders
from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params, invalid, missing
from paper.state import Countdown, PlainOrder

Body = dict[str, Any] | list[dict[str, Any]]
MOST_ORDERS, MOST_CANCELS = 5, 10
_DECODER = msgspec.json.Decoder(float_hook=Decimal)  # a float would lose digits


def place(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/batchOrders: HTTP 200 with one answer or refusal for each."""
    return _each(desk, params, now_ms, rest_orders.place)


def amend(desk: Desk, params: Params, now_ms: int) -> Body:
    """PUT /fapi/v1/batchOrders."""
    return _each(desk, params, now_ms, rest_orders.amend)


def cancel(desk: Desk, params: Params, now_ms: int) -> Body:
    """DELETE /fapi/v1/batchOrders."""
    symbol = desk.rules(params).symbol
    for name in ("orderIdList", "origClientOrderIdList"):  # python-binance sends them like this
        if params.text(name.lower()) is not None:
            params = params.renamed(name.lower(), name)
    name = "orderIdList" if params.text("orderIdList") is not None else "origClientOrderIdList"
    if params.text(name) is None:
        raise RefusedError(
            -1102,
            "Param 'origClientOrderIdList' or 'orderIdList' must be sent, but both were "
            "empty/null!",
        )
    keys = _list(params, name)
    if not 1 <= len(keys) <= MOST_CANCELS:
        raise RefusedError(-4032, "Exceed maximum cancel order size.")
    return [_cancel_one(desk, symbol, name, key, now_ms) for key in keys]


def countdown(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/countdownCancelAll: cancel all orders of a symbol unless called again."""
    symbol = desk.rules(params).symbol
    length = params.integer("countdownTime")
    if length is None:
        raise missing("countdownTime")
    if length:
        running = Countdown(length_ms=length, due_ms=now_ms + length)
        desk.state.countdowns[symbol] = running
    else:
        desk.state.countdowns.pop(symbol, None)
    return {"symbol": symbol, "countdownTime": str(length)}


def _each(
    desk: Desk, params: Params, now_ms: int, act: Callable[[Desk, Params, int], Body]
) -> Body:
    orders = _list(params, "batchOrders")
    if not 1 <= len(orders) <= MOST_ORDERS:
        raise RefusedError(-4082, "Invalid number of batch place orders.")
    rows: list[dict[str, Any]] = []
    for one in orders:
        if not isinstance(one, dict):
            raise invalid("batchOrders")
        try:
            row = act(desk, Params({name: _text(value) for name, value in one.items()}), now_ms)
        except RefusedError as refusal:
            row = {"code": refusal.code, "msg": refusal.text}
        assert isinstance(row, dict)
        rows.append(row)
    return rows


def _cancel_one(desk: Desk, symbol: str, name: str, key: object, now_ms: int) -> dict[str, Any]:
    order: PlainOrder | None
    if name == "orderIdList":
        order = desk.state.orders.get(int(str(key))) if str(key).isdigit() else None
    else:
        order = desk.matching.book.find_plain(str(key))
    if order is None or order.symbol != symbol or not order.is_open:
        code, text = errors.UNKNOWN_ORDER
        return {"code": code, "msg": text}
    desk.matching.cancel(order, now_ms)
    return render.plain_answer(desk.state, order)


def _list(params: Params, name: str) -> list[Any]:
    try:
        value = _DECODER.decode(params.required(name))
    except msgspec.DecodeError as error:
        raise invalid(name) from error
    if not isinstance(value, list):
        raise invalid(name)
    return value


def _text(value: object) -> str:
    """Return a JSON value as the text that it would be as a parameter of its own."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return "" if value is None else str(value)
