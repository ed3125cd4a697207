"""An order whose request is under way, as the parameters of one HTTP request."""

from decimal import Decimal

from core.domain.cycle import Kind, OrderState
from core.money import to_wire


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


def _plain_type(kind: Kind, price: Decimal | None) -> dict[str, str]:
    if kind is Kind.MARKET:
        return {"type": "MARKET"}
    assert price is not None, "a limit order needs a price"
    time_in_force = "IOC" if kind is Kind.LIMIT_IOC else "GTC"
    return {"type": "LIMIT", "timeInForce": time_in_force, "price": to_wire(price)}
