"""REST: plain and conditional orders."""

from typing import Any

from paper import errors, render
from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params, invalid, missing, not_required
from paper.state import (
    ZERO,
    AlgoOrder,
    AlgoStatus,
    OrderStatus,
    PlainOrder,
    PositionSide,
    Side,
)

Body = dict[str, Any] | list[dict[str, Any]]

DAY_MS = 24 * 3600 * 1000
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
CANCELLED_ALL = {"code": 200, "msg": "The operation of cancel all open order is done."}


# --- plain orders --------------------------------------------------------------------------


def place(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/order."""
    order = _read_order(desk, params, now_ms)
    desk.matching.admission.admit(order)
    accepted = render.plain_answer(desk.state, order)
    desk.matching.place(order, now_ms)
    if params.text("newOrderRespType") == "RESULT":
        return render.plain_answer(desk.state, order)
    return accepted | {"orderId": order.order_id}  # ACK: as it was before it met the book


def test(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/order/test: every check, nothing placed."""
    order = _read_order(desk, params, now_ms)
    desk.matching.admission.admit(order)
    return render.plain_answer(desk.state, order)


def query(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/order."""
    return render.plain_record(desk.state, _find(desk, params, now_ms, errors.NO_SUCH_ORDER))


def query_open(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/openOrder."""
    order = _find(desk, params, now_ms, errors.NO_SUCH_ORDER)
    if not order.is_open:
        raise RefusedError(*errors.NO_SUCH_ORDER)
    return render.plain_record(desk.state, order)


def amend(desk: Desk, params: Params, now_ms: int) -> Body:
    """PUT /fapi/v1/order: another price and another total quantity."""
    desk.rules(params)
    _side(params)
    quantity, price = params.required_decimal("quantity"), params.required_decimal("price")
    order = _find(desk, params, now_ms, errors.NO_SUCH_ORDER)
    if not order.is_open:
        raise RefusedError(*errors.NO_SUCH_ORDER)
    if order.type != "LIMIT":
        raise RefusedError(-5025, "Only limit order is supported.")
    if params.text("side") != order.side:
        raise RefusedError(-4000, "Invalid order status.")
    modify_id = params.integer("modifyId")
    desk.matching.amend(order, price, quantity, now_ms, modify_id)
    body = render.plain_answer(desk.state, order) | {"pair": order.symbol}
    return body if modify_id is None else body | {"modifyId": modify_id}


def cancel(desk: Desk, params: Params, now_ms: int) -> Body:
    """DELETE /fapi/v1/order."""
    order = _find(desk, params, now_ms, errors.UNKNOWN_ORDER)
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
    start, end = _window(params, now_ms)
    found = [
        order
        for order in desk.state.orders.values()
        if order.symbol in symbols and not _is_forgotten(order, now_ms)
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
    start, end = _window(params, now_ms)
    rows = [
        fill
        for fill in desk.state.books.fills
        if fill.symbol == rules.symbol
        and (order_id is None or fill.order_id == order_id)
        and (fill.trade_id >= from_id if from_id is not None else start <= fill.time_ms <= end)
    ]
    return [render.user_trade(rules, fill) for fill in rows[:limit]]


# --- conditional orders --------------------------------------------------------------------


def place_algo(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/algoOrder."""
    if params.required("algoType") != "CONDITIONAL":
        raise invalid("algoType")
    algo = _read_algo(desk, params, now_ms)
    desk.matching.admission.admit_algo(algo)
    desk.matching.place_algo(algo, now_ms)
    return render.algo_answer(desk.state, algo)


def query_algo(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/algoOrder."""
    algo = _find_algo(desk, params, errors.NO_SUCH_ORDER)
    if desk.state.options.forgetful_algo_query and algo.status is AlgoStatus.NEW:
        raise RefusedError(*errors.NO_SUCH_ORDER)  # as seen on the live exchange
    return render.algo_record(desk.state, algo)


def cancel_algo(desk: Desk, params: Params, now_ms: int) -> Body:
    """DELETE /fapi/v1/algoOrder; its code is a string, unlike everywhere else."""
    algo = _find_algo(desk, params, errors.UNKNOWN_ORDER)
    if algo.status is not AlgoStatus.NEW:
        raise RefusedError(*errors.UNKNOWN_ORDER)
    desk.matching.end_algo(algo, AlgoStatus.CANCELED, now_ms)
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "code": "200",
        "msg": "success",
    }


def cancel_all_algos(desk: Desk, params: Params, now_ms: int) -> Body:
    """DELETE /fapi/v1/algoOpenOrders."""
    for algo in desk.matching.book.armed_algos(desk.rules(params).symbol):
        desk.matching.end_algo(algo, AlgoStatus.CANCELED, now_ms)
    return dict(CANCELLED_ALL)


def open_algos(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/openAlgoOrders."""
    symbol = None if params.text("symbol") is None else desk.rules(params).symbol
    algo_id = params.integer("algoId")
    return [
        render.algo_record(desk.state, algo)
        for algo in desk.matching.book.armed_algos(symbol)
        if algo_id is None or algo.algo_id == algo_id
    ]


def all_algos(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/allAlgoOrders."""
    rules = desk.rules(params)
    first, limit = params.integer("algoId"), params.limit(500, 1000)
    start, end = _window(params, now_ms)
    found = [
        algo
        for algo in desk.state.algos.values()
        if algo.symbol == rules.symbol and not _is_forgotten_algo(algo, now_ms)
    ]
    if first is not None:
        found = [algo for algo in found if algo.algo_id >= first][:limit]
    else:
        found = [algo for algo in found if start <= algo.created_ms <= end][-limit:]
    return [render.algo_record(desk.state, algo) for algo in found]


# --- reading requests ----------------------------------------------------------------------


def _read_order(desk: Desk, params: Params, now_ms: int) -> PlainOrder:
    rules, side, kind = desk.rules(params), _side(params), params.required("type")
    if kind in CONDITIONAL:
        raise RefusedError(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints "
            "instead.",
        )
    if kind not in ("LIMIT", "MARKET"):
        raise RefusedError(-1116, "Invalid orderType.")
    _check_response_type(params)
    position_side = _position_side(desk, params)
    quantity = params.required_decimal("quantity")
    price, time_in_force = ZERO, "GTC"
    if kind == "LIMIT":
        time_in_force = params.required("timeInForce")
        if time_in_force not in ("GTC", "IOC", "FOK", "GTX", "GTD"):
            raise RefusedError(-1115, "Invalid timeInForce.")
        price = params.required_decimal("price")
    else:
        for name in ("price", "timeInForce"):
            if params.text(name) is not None:
                raise not_required(name)
    if (params.text("priceMatch") or "NONE") != "NONE":
        raise RefusedError(-5038, "Price match is not supported here.")
    return PlainOrder(
        order_id=0,
        client_id=params.client_id("newClientOrderId") or f"paper-{desk.serial()}",
        symbol=rules.symbol,
        side=side,
        position_side=position_side,
        type=kind,
        time_in_force=time_in_force,
        price=price,
        quantity=quantity,
        reduce_only=_is_reducing(desk, params, side, position_side),
        created_ms=now_ms,
        updated_ms=now_ms,
        queue=0,
        good_till_ms=_good_till(params, time_in_force, now_ms),
        stp_mode=_stp_mode(params),
    )


def _read_algo(desk: Desk, params: Params, now_ms: int) -> AlgoOrder:
    rules, side, kind = desk.rules(params), _side(params), params.required("type")
    if kind not in CONDITIONAL or kind == "TRAILING_STOP_MARKET":
        raise RefusedError(-1116, "Invalid orderType.")
    _check_response_type(params)
    position_side = _position_side(desk, params)
    trigger = params.required_decimal("triggerPrice")
    close_position = params.flag("closePosition")
    is_market = kind.endswith("MARKET")
    if close_position:
        _check_close_position(desk, params, side, position_side, is_market=is_market)
    quantity = ZERO if close_position else params.required_decimal("quantity")
    reduce_only = close_position or _is_reducing(desk, params, side, position_side)
    return AlgoOrder(
        algo_id=0,
        client_id=params.client_id("clientAlgoId") or f"paper-{desk.serial()}",
        symbol=rules.symbol,
        side=side,
        position_side=position_side,
        type=kind,
        time_in_force=params.choice(
            "timeInForce", ("GTC", "IOC", "FOK", "GTX"), "GTC", -1115, "Invalid timeInForce."
        ),
        quantity=quantity,
        price=ZERO if is_market else params.required_decimal("price"),
        trigger=trigger,
        working_type=params.choice(
            "workingType",
            ("CONTRACT_PRICE", "MARK_PRICE"),
            "CONTRACT_PRICE",
            -4031,
            "Invalid working type.",
        ),
        close_position=close_position,
        price_protect=params.flag("priceProtect"),
        reduce_only=reduce_only,
        created_ms=now_ms,
        updated_ms=now_ms,
        stp_mode=_stp_mode(params),
    )


def _check_close_position(
    desk: Desk, params: Params, side: Side, position_side: PositionSide, *, is_market: bool
) -> None:
    if not is_market:
        raise invalid("closePosition")
    if params.text("quantity") is not None:
        raise RefusedError(-4137, "Quantity must be zero with closePosition equals true.")
    if params.text("reduceOnly") is not None:
        raise not_required("reduceOnly")
    if desk.state.dual_side and not desk.is_closing(side, position_side):
        raise RefusedError(*errors.REDUCE_ONLY_REJECTED)


def _side(params: Params) -> Side:
    text = params.required("side")
    if text not in ("BUY", "SELL"):
        raise RefusedError(-1117, "Invalid side.")
    return Side(text)


def _position_side(desk: Desk, params: Params) -> PositionSide:
    text = params.text("positionSide") or "BOTH"
    if text not in ("BOTH", "LONG", "SHORT"):
        raise RefusedError(-4060, "Invalid position side.")
    if (text == "BOTH") == desk.state.dual_side:
        raise RefusedError(-4061, "Order's position side does not match user's setting.")
    return PositionSide(text)


def _is_reducing(desk: Desk, params: Params, side: Side, position_side: PositionSide) -> bool:
    asked = params.flag("reduceOnly")
    if desk.state.dual_side:
        if asked:
            raise not_required("reduceOnly")
        return desk.is_closing(side, position_side)
    return asked


def _check_response_type(params: Params) -> None:
    if (params.text("newOrderRespType") or "ACK") not in ("ACK", "RESULT"):
        raise RefusedError(-1136, "Invalid newOrderRespType.")


def _stp_mode(params: Params) -> str:
    modes = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
    return params.choice(
        "selfTradePreventionMode", modes, "EXPIRE_MAKER", -5039, "Invalid self trade prevention."
    )


def _good_till(params: Params, time_in_force: str, now_ms: int) -> int:
    if time_in_force != "GTD":
        return 0
    until = params.integer("goodTillDate")
    if until is None:
        raise missing("goodTillDate")
    if not now_ms + 600_000 < until < 253402300799000:
        raise RefusedError(
            -5040,
            "The goodTillDate timestamp must be greater than the current "
            "time plus 600 seconds and smaller than 253402300799000.",
        )
    return until // 1000 * 1000


def _window(params: Params, now_ms: int) -> tuple[int, int]:
    """Return the time window of a list: at most seven days, the last seven by default."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and not 0 <= end - start <= 7 * DAY_MS:
        raise RefusedError(-4165, "Invalid time interval.")
    if start is not None:
        return start, end if end is not None else start + 7 * DAY_MS
    last = now_ms if end is None else end
    return last - 7 * DAY_MS, last


def _find(desk: Desk, params: Params, now_ms: int, otherwise: tuple[int, str]) -> PlainOrder:
    symbol = desk.rules(params).symbol
    order_id, client_id = params.integer("orderId"), params.text("origClientOrderId")
    if order_id is not None:
        order = desk.state.orders.get(order_id)
    elif client_id is not None:
        order = desk.matching.book.find_plain(client_id)
    else:
        raise RefusedError(
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        )
    if order is None or order.symbol != symbol or _is_forgotten(order, now_ms):
        raise RefusedError(*otherwise)
    return order


def _find_algo(desk: Desk, params: Params, otherwise: tuple[int, str]) -> AlgoOrder:
    algo_id, client_id = params.integer("algoId"), params.text("clientAlgoId")
    if algo_id is not None:
        algo = desk.state.algos.get(algo_id)
    elif client_id is not None:
        algo = desk.matching.book.find_algo(client_id)
    else:
        raise RefusedError(
            -1102, "Param 'clientalgoid' or 'algoid' must be sent, but both were empty/null!"
        )
    if algo is None:
        raise RefusedError(*otherwise)
    return algo


def _is_forgotten(order: PlainOrder, now_ms: int) -> bool:
    """Orders that ended unfilled vanish 3 days after their creation, all others after 90."""
    age = now_ms - order.created_ms
    ended_unfilled = order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED)
    return age > 90 * DAY_MS or (ended_unfilled and not order.executed and age > 3 * DAY_MS)


def _is_forgotten_algo(algo: AlgoOrder, now_ms: int) -> bool:
    ended = algo.status in (AlgoStatus.CANCELED, AlgoStatus.EXPIRED, AlgoStatus.REJECTED)
    return ended and now_ms - algo.created_ms > 3 * DAY_MS
