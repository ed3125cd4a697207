"""REST: calls beside the reference's list that clients make when they connect."""

from typing import Any

from paper import events, ledger, margin, reading, render, rest_history
from paper.desk import Desk
from paper.errors import RefusedError
from paper.params import Params, invalid, missing
from paper.state import ZERO, PositionSide

Body = dict[str, Any] | list[dict[str, Any]] | list[list[Any]]


def multi_assets(_desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/multiAssetsMargin: there is one asset only."""
    return {"multiAssetsMargin": False}


def change_multi_assets(_desk: Desk, params: Params, _now_ms: int) -> Body:
    """POST /fapi/v1/multiAssetsMargin: not modelled."""
    params.required("multiAssetsMargin")
    if params.flag("multiAssetsMargin"):
        raise RefusedError(-1020, "This operation is not supported.")
    raise RefusedError(-4171, "No need to change multi-assets mode.")


def fee_burn(_desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/feeBurn: fees are paid in the margin asset."""
    return {"feeBurn": False}


def change_fee_burn(_desk: Desk, params: Params, _now_ms: int) -> Body:
    """POST /fapi/v1/feeBurn: there is no BNB to pay fees with."""
    params.required("feeBurn")
    if params.flag("feeBurn"):
        raise RefusedError(-1020, "This operation is not supported.")
    return {"code": 200, "msg": "success"}


def adl_quantile(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/adlQuantile: every open leg stands in the first fifth of the queue."""
    rows = []
    for symbol in desk.symbols(params):
        legs = {
            leg.position_side: leg for leg in margin.open_legs(desk.state) if leg.symbol == symbol
        }
        if legs:
            quantile = {side.value: 1 if side in legs else 0 for side in PositionSide}
            rows.append({"symbol": symbol, "adlQuantile": quantile})
    return rows


def force_orders(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/forceOrders: our own orders that the exchange placed."""
    symbols, limit = desk.symbols(params), params.limit(50, 100)
    prefixes = {"LIQUIDATION": ("autoclose-",), "ADL": ("adl_autoclose",)}
    kind = params.text("autoCloseType")
    if kind is not None and kind not in prefixes:
        raise invalid("autoCloseType")
    wanted = prefixes[kind] if kind else prefixes["LIQUIDATION"] + prefixes["ADL"]
    start, end = reading.window(params, now_ms)
    found = [
        order
        for order in desk.state.orders.values()
        if order.symbol in symbols
        and order.client_id.startswith(wanted)
        and start <= order.created_ms <= end
    ]
    extra = {"cumBase": "0"}
    return [
        render.plain_record(desk.state, order) | extra | {"pair": order.symbol}
        for order in found[-limit:]
    ]


def continuous_klines(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/continuousKlines: of the perpetual, the only contract of each pair."""
    if params.required("contractType") != "PERPETUAL":
        raise invalid("contractType")
    return rest_history.klines(desk, params.renamed("pair", "symbol"), now_ms)


def sign_stock_contract(_desk: Desk, _params: Params, _now_ms: int) -> Body:
    """POST /fapi/v1/stock/contract: no symbol here needs it."""
    return {"code": 200, "msg": "success"}


def change_position_margin(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/positionMargin: move money between an isolated leg and the wallet."""
    rules, amount = desk.rules(params), params.required_decimal("amount")
    kind = params.required("type")
    if kind not in ("1", "2") or amount <= 0:
        raise invalid("type" if kind not in ("1", "2") else "amount")
    if not margin.is_isolated(desk.state, rules.symbol):
        raise RefusedError(-4046, "Add margin only support for isolated position.")
    leg = ledger.leg(desk.state.books, rules.symbol, reading.position_side_of(desk, params))
    if not leg.amount:
        raise missing("positionSide")
    change = ledger.round_money(amount if kind == "1" else -amount)
    if change > max(ZERO, desk.available()):
        raise RefusedError(-4050, "Cross balance insufficient.")
    leg.isolated += change
    balance, needed = margin.isolated_health(desk.state, leg)
    if change < 0 and balance - margin.position_margin(desk.state, leg) < 0:
        leg.isolated -= change
        raise RefusedError(-4051, "Isolated balance insufficient.")
    assert balance > needed or change > 0
    rows = [desk.matching.position_row(leg)]
    desk.emit(events.account_update("MARGIN_TRANSFER", desk.state.books, rows, now_ms))
    return {
        "amount": f"{amount:f}",
        "code": 200,
        "msg": "Successfully modify position margin.",
        "type": int(kind),
    }
