"""An alert's answer as JSON: what was bought, the ladder below it, the exits. Decimals as text."""

from decimal import Decimal
from typing import Any

from core.domain.cycle import Cycle
from core.grid import Grid
from core.money import to_wire
from flows.intake import Answer
from flows.preview import Previewed


def shown_answer(answer: Answer) -> dict[str, Any]:
    """Return the answer as JSON; what is not known is left out."""
    shown: dict[str, Any] = {
        "status": answer.status.value,
        "detail": answer.text,
        "webhook_id": answer.webhook_id,
        "symbol": answer.symbol or None,
    }
    if answer.cycle is not None:
        shown["cycle"] = answer.cycle.key
        shown["entry"] = _entry(answer.cycle)
    if answer.duplicate_of is not None:
        shown["duplicate_of"] = int(answer.duplicate_of)
    if answer.grid is not None:
        shown["ladder"] = _ladder(answer.grid)
    if answer.previewed is not None:
        shown["preview"] = _preview(answer.previewed)
    shown["warnings"] = list(answer.warnings)
    return shown


def _entry(cycle: Cycle) -> dict[str, Any]:
    entry = cycle.entry_order
    assert entry is not None, "a cycle begins with its entry"
    price = entry.average_price or cycle.long.entry or None
    return {
        "client_order_id": entry.client_order_id,
        "wanted_quantity": _text(entry.quantity),
        "quantity": _text(entry.executed),
        "average_price": _text(price),
        "state": entry.status.value,
    }


def _ladder(grid: Grid) -> dict[str, Any]:
    return {
        "entry_price": _text(grid.entry_fill_price),
        "entry_quantity": _text(grid.entry_quantity),
        "levels": [
            {
                "number": level.number,
                "price": _text(level.price),
                "quantity": _text(level.quantity),
                "average_price": _text(level.average_price),
            }
            for level in grid.levels
        ],
        "take_profit": _text(grid.take_profit),
        "hedge_trigger": _text(grid.hedge_trigger),
        "hedge_quantity": _text(grid.hedge_quantity),
        "total_notional": _text(grid.total_notional),
        "notional_left": _text(grid.notional_left),
    }


def _preview(previewed: Previewed) -> dict[str, Any]:
    preview = previewed.preview
    return {
        "rungs": [
            {
                "after": rung.place,
                "price": _text(rung.price),
                "quantity": _text(rung.quantity),
                "long_quantity": _text(rung.long_quantity),
                "long_entry": _text(rung.long_entry),
                "short_quantity": _text(rung.short_quantity),
                "notional": _text(rung.notional),
                "margin": _text(rung.margin),
                "liquidation_price": _text(rung.liquidation_price),
            }
            for rung in preview.rungs
        ],
        "worst_loss": _text(preview.worst_loss),
        "worst_loss_when": preview.worst_loss_when,
        "available_balance": _text(previewed.balance.available),
        "wallet_balance": _text(previewed.balance.wallet),
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else to_wire(round(value, 8).normalize() if value else value)
