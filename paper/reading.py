"""Reading the parameters that order requests have in common."""

from paper import errors
from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params, missing, not_required
from paper.state import OrderStatus, PlainOrder, PositionSide, Side

DAY_MS = 24 * 3600 * 1000
HISTORY_MS = 90 * DAY_MS  # three months: how long fills and postings can be read
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
# OPPONENT_10 and OPPONENT_20 were taken away on 2025-10-23
PRICE_MATCHES = ("OPPONENT", "OPPONENT_5", "QUEUE", "QUEUE_5", "QUEUE_10", "QUEUE_20")


def side_of(params: Params) -> Side:
    """Return the side; raise -1117 for a strange one."""
    text = params.required("side")
    if text not in ("BUY", "SELL"):
        raise RefusedError(-1117, "Invalid side.")
    return Side(text)


def position_side_of(desk: Desk, params: Params) -> PositionSide:
    """Return the position side; raise where it does not fit the position mode."""
    text = params.text("positionSide") or "BOTH"
    if text not in ("BOTH", "LONG", "SHORT"):
        raise RefusedError(-4060, "Invalid position side.")
    if (text == "BOTH") == desk.state.dual_side:
        raise RefusedError(-4061, "Order's position side does not match user's setting.")
    return PositionSide(text)


def is_reducing(desk: Desk, params: Params, side: Side, position_side: PositionSide) -> bool:
    """Return whether the order may only reduce; Hedge Mode knows it from the sides."""
    asked = params.flag("reduceOnly")
    if desk.state.dual_side:
        refuses = desk.state.options.false_reduce_only == "refuse"
        if asked or (refuses and params.text("reduceOnly") is not None):
            raise not_required("reduceOnly")
        return desk.is_closing(side, position_side)
    return asked


def check_response_type(params: Params) -> None:
    """Raise -1136 for a strange newOrderRespType."""
    if (params.text("newOrderRespType") or "ACK") not in ("ACK", "RESULT"):
        raise RefusedError(-1136, "Invalid newOrderRespType.")


def client_id(desk: Desk, params: Params, name: str) -> str:
    """Return the client id that was sent, or a new one of the exchange's own."""
    value = params.client_id(name)
    if value is None:
        return f"paper-{desk.serial()}"
    if len(value) > desk.state.options.client_id_limit:
        raise RefusedError(-4015, "Client order id is not valid.")
    return value


def stp_mode(params: Params) -> str:
    """Return the self-trade prevention; EXPIRE_MAKER is what live answers show by default."""
    modes = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
    return params.choice(
        "selfTradePreventionMode", modes, "EXPIRE_MAKER", -5039, "Invalid self trade prevention."
    )


def price_match(params: Params) -> str:
    """Return the price match, NONE where none was sent; it excludes a price."""
    value = params.text("priceMatch") or "NONE"
    if value == "NONE":
        return value
    if value not in PRICE_MATCHES:
        raise RefusedError(-5037, "Invalid price match.")
    if params.text("price") is not None:
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    return value


def good_till(params: Params, time_in_force: str, now_ms: int) -> int:
    """Return until when a GTD order is good, 0 for all others; milliseconds are ignored."""
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


def window(params: Params, now_ms: int, longest_ms: int = 7 * DAY_MS) -> tuple[int, int]:
    """Return the time window of a list: at most seven days, the last seven by default."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and not 0 <= end - start <= longest_ms:
        raise RefusedError(-4165, "Invalid time interval.")
    if start is not None:
        return start, end if end is not None else start + longest_ms
    last = now_ms if end is None else end
    return last - longest_ms, last


def find(desk: Desk, params: Params, now_ms: int, otherwise: tuple[int, str]) -> PlainOrder:
    """Return the plain order that is asked for by either id; raise `otherwise` for none."""
    symbol = desk.rules(params).symbol
    order_id, name = params.integer("orderId"), params.text("origClientOrderId")
    if order_id is not None:
        order = desk.state.orders.get(order_id)
    elif name is not None:
        order = desk.matching.book.find_plain(name)
    else:
        raise RefusedError(
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        )
    if order is None or order.symbol != symbol or is_forgotten(order, now_ms):
        raise RefusedError(*otherwise)
    return order


def find_open(desk: Desk, params: Params, now_ms: int) -> PlainOrder:
    """Return the open plain order that is asked for; raise -2013 for none."""
    order = find(desk, params, now_ms, errors.NO_SUCH_ORDER)
    if not order.is_open:
        raise RefusedError(*errors.NO_SUCH_ORDER)
    return order


def is_forgotten(order: PlainOrder, now_ms: int) -> bool:
    """Orders that ended unfilled vanish 3 days after their creation, all others after 90.

    What is open has not ended.
    """
    if order.is_open:
        return False
    age = now_ms - order.created_ms
    ended_unfilled = order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED)
    return age > 90 * DAY_MS or (ended_unfilled and not order.executed and age > 3 * DAY_MS)
