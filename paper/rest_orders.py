"""REST: plain orders, one by one."""

from decimal import Decimal
from typing import Any

from paper import errors, reading, render
from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params, not_required
from paper.state import ZERO, PlainOrder

Body = dict[str, Any] | list[dict[str, Any]]

CANCELLED_ALL = {"code": 200, "msg": "The operation of cancel all open order is done."}


def place(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/order."""
    order = read_order(desk, params, now_ms)
    desk.matching.admission.admit(order)
    accepted = render.plain_answer(desk.state, order)
    desk.matching.place(order, now_ms)
    is_filled = order.type == "MARKET" and desk.state.options.market_ack == "filled"
    if is_filled or params.text("newOrderRespType") == "RESULT":
        return render.plain_answer(desk.state, order)
    return accepted | {"orderId": order.order_id}  # ACK: as it was before it met the book


def test(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/order/test: every check, nothing placed."""
    order = read_order(desk, params, now_ms)
    desk.matching.admission.admit(order)
    return render.plain_answer(desk.state, order)


def query(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/order."""
    return render.plain_record(desk.state, reading.find(desk, params, now_ms, errors.NO_SUCH_ORDER))


def query_open(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/openOrder."""
    return render.plain_record(desk.state, reading.find_open(desk, params, now_ms))


def amend(desk: Desk, params: Params, now_ms: int) -> Body:
    """PUT /fapi/v1/order: another price and another total quantity."""
    desk.rules(params)
    side, quantity = reading.side_of(params), params.required_decimal("quantity")
    match = reading.price_match(params)
    price = params.required_decimal("price") if match == "NONE" else ZERO
    order = reading.find_open(desk, params, now_ms)
    if order.type != "LIMIT":
        raise RefusedError(-5025, "Only limit order is supported.")
    if side is not order.side:
        raise RefusedError(-4000, "Invalid order status.")
    if params.flag("reduceOnly") and not order.reduce_only:
        raise RefusedError(-5047, "The original order is not a reduce-only order.")
    if match != "NONE":
        price = _matched_price(desk, order, match)
    modify_id = params.integer("modifyId")
    desk.matching.amend(order, price, quantity, now_ms, modify_id)
    order.price_match = match
    body = render.plain_answer(desk.state, order) | {"pair": order.symbol}
    return body if modify_id is None else body | {"modifyId": modify_id}


def cancel(desk: Desk, params: Params, now_ms: int) -> Body:
    """DELETE /fapi/v1/order."""
    order = reading.find(desk, params, now_ms, errors.UNKNOWN_ORDER)
    if not order.is_open:
        raise RefusedError(*errors.UNKNOWN_ORDER)
    desk.matching.cancel(order, now_ms)
    return render.plain_answer(desk.state, order)


def cancel_all(desk: Desk, params: Params, now_ms: int) -> Body:
    """DELETE /fapi/v1/allOpenOrders: plain orders only."""
    for order in desk.matching.book.open_orders(desk.rules(params).symbol):
        desk.matching.cancel(order, now_ms)
    return dict(CANCELLED_ALL)


def open_orders(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/openOrders: without untriggered conditional orders."""
    symbol = None if params.text("symbol") is None else desk.rules(params).symbol
    return [
        render.plain_record(desk.state, order) for order in desk.matching.book.open_orders(symbol)
    ]


def all_orders(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/allOrders: the newest ones, or those from `orderId` upwards."""
    symbols = desk.symbols(params)
    first, limit = params.integer("orderId"), params.limit(500, 1000)
    start, end = reading.window(params, now_ms)
    found = [
        order
        for order in desk.state.orders.values()
        if order.symbol in symbols and not reading.is_forgotten(order, now_ms)
    ]
    if first is not None:
        found = [order for order in found if order.order_id >= first][:limit]
    else:
        found = [order for order in found if start <= order.created_ms <= end][-limit:]
    return [
        render.plain_record(desk.state, order) | {"pair": order.symbol, "cumBase": "0"}
        for order in found
    ]


def user_trades(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/userTrades: the oldest rows of the window, or those from `fromId` upwards."""
    rules = desk.rules(params)
    order_id, from_id = params.integer("orderId"), params.integer("fromId")
    limit = params.limit(500, 1000)
    has_times = params.text("startTime") is not None or params.text("endTime") is not None
    if from_id is not None and has_times:
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    start, end = reading.window(params, now_ms)
    rows = [
        fill
        for fill in desk.state.books.fills
        if fill.symbol == rules.symbol
        and fill.time_ms > now_ms - reading.HISTORY_MS
        and (order_id is None or fill.order_id == order_id)
        and (fill.trade_id >= from_id if from_id is not None else start <= fill.time_ms <= end)
    ]
    return [render.user_trade(desk.state, fill) for fill in rows[:limit]]


# --- reading requests ----------------------------------------------------------------------


def read_order(desk: Desk, params: Params, now_ms: int) -> PlainOrder:
    """Return the order that a request describes, checked as far as text can be."""
    rules, side, kind = desk.rules(params), reading.side_of(params), params.required("type")
    if kind in reading.CONDITIONAL:
        raise RefusedError(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints "
            "instead.",
        )
    if kind not in ("LIMIT", "MARKET"):
        raise RefusedError(-1116, "Invalid orderType.")
    reading.check_response_type(params)
    position_side = reading.position_side_of(desk, params)
    quantity = params.required_decimal("quantity")
    match = reading.price_match(params)
    price, time_in_force = ZERO, "GTC"
    if kind == "LIMIT":
        time_in_force = params.required("timeInForce")
        if time_in_force not in ("GTC", "IOC", "FOK", "GTX", "GTD", "RPI"):
            raise RefusedError(-1115, "Invalid timeInForce.")
        price = params.required_decimal("price") if match == "NONE" else ZERO
    else:
        for name in ("price", "timeInForce"):
            if params.text(name) is not None:
                raise not_required(name)
        if match != "NONE":
            raise RefusedError(
                -5038, "Price match only supports order type: LIMIT, STOP, TAKE_PROFIT."
            )
    return PlainOrder(
        order_id=0,
        client_id=reading.client_id(desk, params, "newClientOrderId"),
        symbol=rules.symbol,
        side=side,
        position_side=position_side,
        type=kind,
        time_in_force=time_in_force,
        price=price,
        price_match=match,
        quantity=quantity,
        reduce_only=reading.is_reducing(desk, params, side, position_side),
        created_ms=now_ms,
        updated_ms=now_ms,
        queue=0,
        good_till_ms=reading.good_till(params, time_in_force, now_ms),
        stp_mode=reading.stp_mode(params),
    )


def _matched_price(desk: Desk, order: PlainOrder, match: str) -> Decimal:
    before = order.price_match, order.price
    order.price_match = match
    try:
        desk.matching.admission.match_price(order)
        return order.price
    finally:
        order.price_match, order.price = before
