"""REST: conditional orders."""

from typing import Any

from paper import errors, reading, render, trailing
from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params, invalid, not_required
from paper.rest_orders import CANCELLED_ALL
from paper.state import ZERO, AlgoOrder, AlgoStatus, PositionSide, Side

Body = dict[str, Any] | list[dict[str, Any]]

DAY_MS = reading.DAY_MS
# GTC, IOC and FOK are documented; the others are in the official client's list
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD", "RPI", "GTE_GTC")


# --- conditional orders --------------------------------------------------------------------


def place_algo(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/algoOrder."""
    if params.required("algoType") != "CONDITIONAL":
        raise invalid("algoType")
    algo = _read_algo(desk, params, now_ms)
    desk.matching.admission.admit_algo(algo)
    desk.matching.place_algo(algo, now_ms)
    return render.algo_answer(desk.state, algo)


def query_algo(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/algoOrder."""
    algo = _find_algo(desk, params, errors.NO_SUCH_ORDER)
    if _is_forgotten_algo(algo, now_ms):
        raise RefusedError(*errors.NO_SUCH_ORDER)
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
    start, end = reading.window(params, now_ms)
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


def _read_algo(desk: Desk, params: Params, now_ms: int) -> AlgoOrder:
    rules, side, kind = desk.rules(params), reading.side_of(params), params.required("type")
    if kind not in reading.CONDITIONAL:
        raise RefusedError(-1116, "Invalid orderType.")
    reading.check_response_type(params)
    position_side = reading.position_side_of(desk, params)
    is_trailing, is_market = kind == trailing.TYPE, kind.endswith("MARKET")
    close_position = params.flag("closePosition")
    if close_position:
        _check_close_position(desk, params, side, position_side, kind)
    time_in_force = params.choice(
        "timeInForce", TIMES_IN_FORCE, "GTC", -1115, "Invalid timeInForce."
    )
    algo = AlgoOrder(
        algo_id=0,
        client_id=reading.client_id(desk, params, "clientAlgoId"),
        symbol=rules.symbol,
        side=side,
        position_side=position_side,
        type=kind,
        time_in_force=time_in_force,
        quantity=ZERO if close_position else params.required_decimal("quantity"),
        price=ZERO,
        trigger=ZERO if is_trailing else params.required_decimal("triggerPrice"),
        working_type=params.choice(
            "workingType",
            ("CONTRACT_PRICE", "MARK_PRICE"),
            "CONTRACT_PRICE",
            -4031,
            "Invalid working type.",
        ),
        close_position=close_position,
        price_protect=params.flag("priceProtect"),
        reduce_only=close_position or reading.is_reducing(desk, params, side, position_side),
        created_ms=now_ms,
        updated_ms=now_ms,
        good_till_ms=reading.good_till(params, time_in_force, now_ms),
        stp_mode=reading.stp_mode(params),
    )
    if is_trailing:
        _read_trail(params, algo)
    elif not is_market:
        algo.price_match = reading.price_match(params)
        if algo.price_match == "NONE":
            algo.price = params.required_decimal("price")
    return algo


def _read_trail(params: Params, algo: AlgoOrder) -> None:
    algo.callback_rate = params.required_decimal("callbackRate")
    if not trailing.LOWEST_RATE <= algo.callback_rate <= trailing.HIGHEST_RATE:
        raise invalid("callbackRate")
    activate = params.decimal("activatePrice")
    if activate is not None:
        if activate <= 0:
            raise RefusedError(-4135, "Invalid activation price.")
        algo.activate_price = activate


def _check_close_position(
    desk: Desk, params: Params, side: Side, position_side: PositionSide, kind: str
) -> None:
    if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise invalid("closePosition")
    if params.text("quantity") is not None:
        raise RefusedError(-4137, "Quantity must be zero with closePosition equals true.")
    if params.text("reduceOnly") is not None:
        raise not_required("reduceOnly")
    if desk.state.dual_side and not desk.is_closing(side, position_side):
        raise RefusedError(*errors.REDUCE_ONLY_REJECTED)


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


def _is_forgotten_algo(algo: AlgoOrder, now_ms: int) -> bool:
    """They are kept like plain orders: 3 days where nothing came of them, 90 otherwise."""
    age = now_ms - algo.created_ms
    ended = algo.status in (AlgoStatus.CANCELED, AlgoStatus.EXPIRED, AlgoStatus.REJECTED)
    return age > 90 * DAY_MS or (ended and age > 3 * DAY_MS)
