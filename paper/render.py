"""Orders and fills in REST's wire form: padded to the symbol's decimals."""

from decimal import Decimal
from typing import Any

from paper import trailing
from paper.rules import SymbolRules
from paper.state import ZERO, AlgoOrder, Fill, PlainOrder, PositionSide, Side, State


def plain_answer(state: State, order: PlainOrder) -> dict[str, Any]:
    """Return the answer to POST, PUT and DELETE: without avgPrice and cumQuote since 2026-06-30."""
    rules = state.rules[order.symbol]
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status.value,
        "clientOrderId": order.client_id,
        "price": rules.rest_price(order.price),
        "origQty": rules.rest_quantity(order.quantity),
        "executedQty": rules.rest_quantity(order.executed),
        "cumQty": rules.rest_quantity(order.executed),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only and _shows_reduce_only(state, order),
        "closePosition": order.close_position,
        "side": order.side.value,
        "positionSide": order.position_side.value,
        "stopPrice": rules.rest_price(ZERO),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.origin or order.type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp_mode,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    }


def plain_record(state: State, order: PlainOrder) -> dict[str, Any]:
    """Return the order as GET order and the lists show it."""
    rules = state.rules[order.symbol]
    body = plain_answer(state, order)
    del body["cumQty"]
    return body | {
        "avgPrice": f"{order.average:.{rules.price_precision + 3}f}",
        "cumQuote": f"{order.quote:f}",
        "time": order.created_ms,
    }


def _shows_reduce_only(state: State, order: PlainOrder) -> bool:
    """In Hedge Mode nobody can ask for it: the exchange knows a close from its sides."""
    is_asked = order.position_side is PositionSide.BOTH
    return is_asked or state.options.closes_show_reduce_only


def user_trade(state: State, fill: Fill) -> dict[str, Any]:
    """Return a row of userTrades."""
    rules = state.rules[fill.symbol]
    commission = -fill.commission if state.options.commission_sign == "minus" else fill.commission
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side.value,
        "positionSide": fill.position_side.value,
        "price": rules.rest_price(fill.price),
        "qty": rules.rest_quantity(fill.quantity),
        "quoteQty": f"{fill.quote:f}",
        "baseQty": "0",
        "realizedPnl": f"{fill.realised:.8f}",
        "commission": f"{commission:.8f}",
        "commissionAsset": rules.quote,
        "marginAsset": rules.quote,
        "pair": fill.symbol,
        "time": fill.time_ms,
        "buyer": fill.side is Side.BUY,
        "maker": fill.maker,
    }


def algo_answer(state: State, algo: AlgoOrder) -> dict[str, Any]:
    """Return the answer to the placement of a conditional order."""
    rules = state.rules[algo.symbol]
    body = {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side.value,
        "positionSide": algo.position_side.value,
        "timeInForce": algo.time_in_force,
        "quantity": rules.rest_quantity(algo.quantity),
        "algoStatus": algo.status.value,
        "triggerPrice": rules.rest_price(algo.trigger),
        "price": rules.rest_price(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.stp_mode,
        "workingType": algo.working_type,
        "priceMatch": algo.price_match,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": algo.good_till_ms,
    }
    if algo.type != trailing.TYPE:
        return body
    return body | {
        "activatePrice": rules.rest_price(algo.activate_price),
        "callbackRate": f"{algo.callback_rate:f}",
    }


def algo_record(state: State, algo: AlgoOrder) -> dict[str, Any]:
    """Return the conditional order as queries and lists show it."""
    rules = state.rules[algo.symbol]
    child = None if algo.order_id is None else state.orders[algo.order_id]
    body = algo_answer(state, algo) | {
        "actualOrderId": "" if child is None else str(child.order_id),
        "actualPrice": _average(rules, child),
        "actualQty": "0.0" if child is None else rules.rest_quantity(child.executed),
        "tpOrderType": "",
        "isActivated": algo.is_activated,
    }
    return body if child is None else body | {"actualType": child.type}


def _average(rules: SymbolRules, child: PlainOrder | None) -> str:
    average = Decimal(0) if child is None else child.average
    return f"{average:.{rules.price_precision + 3}f}"
