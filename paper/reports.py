"""What the exchange's books say, JSON-able: amounts as text without exponents."""

from collections.abc import Iterable
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from paper import events, ledger
from paper.state import ZERO, Entry, Fill, State


def ledger_report(state: State) -> dict[str, Any]:
    """Return what the books say: balances, legs, orders, fills and postings."""
    books = state.books
    legs = [
        leg for of_symbol in books.legs.values() for leg in of_symbol.values() if leg.updated_ms
    ]
    return {
        "asset": books.asset,
        "wallet": f"{ledger.wallet(books):f}",
        "balances": {name: f"{amount:f}" for name, amount in sorted(books.balances.items())},
        "realised": _total(leg.realised for leg in legs),
        "commission": _total(leg.commission for leg in legs),
        "funding": _total(leg.funding for leg in legs),
        "legs": [
            {
                "symbol": leg.symbol,
                "positionSide": leg.position_side.value,
                "amount": f"{leg.amount:f}",
                "entry": events.entry_text(leg.entry),
                "realised": f"{leg.realised:f}",
                "commission": f"{leg.commission:f}",
                "funding": f"{leg.funding:f}",
            }
            for leg in legs
        ],
        "orders": _orders_report(state),
        "fills": [_plain(fill) for fill in books.fills],
        "entries": [_plain(entry) for entry in books.entries],
    }


def _orders_report(state: State) -> list[dict[str, Any]]:
    money: dict[int, tuple[Decimal, Decimal]] = {}
    for fill in state.books.fills:
        realised, commission = money.get(fill.order_id, (ZERO, ZERO))
        money[fill.order_id] = (realised + fill.realised, commission + fill.commission)
    return [
        {
            "orderId": order.order_id,
            "clientOrderId": order.client_id,
            "symbol": order.symbol,
            "side": order.side.value,
            "positionSide": order.position_side.value,
            "type": order.type,
            "status": order.status.value,
            "quantity": f"{order.quantity:f}",
            "executed": f"{order.executed:f}",
            "quote": f"{order.quote:f}",
            "realised": f"{money.get(order.order_id, (ZERO, ZERO))[0]:f}",
            "commission": f"{money.get(order.order_id, (ZERO, ZERO))[1]:f}",
        }
        for order in state.orders.values()
    ]


def _total(amounts: Iterable[Decimal]) -> str:
    return f"{sum(amounts, ZERO):f}"


def _plain(record: Fill | Entry) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {n: f"{v:f}" if isinstance(v, Decimal) else _bare(v) for n, v in values.items()}


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
