"""The ladder of a cycle as a table: from the webhook's answer, or as it was laid from the fill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from core.domain.cycle import Cycle
from core.money import shown
from launcher.screen import table

HEADER = ("", f"{'order':<15}", "price", "from entry", "quantity", "notional", "average after it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One averaging level."""

    number: int
    price: Decimal
    quantity: Decimal
    average_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Entry, levels, take-profit and hedge."""

    entry_price: Decimal
    entry_quantity: Decimal
    rungs: tuple[Rung, ...]
    take_profit: Decimal
    hedge_trigger: Decimal | None
    hedge_quantity: Decimal | None
    notional: Decimal
    notional_left: Decimal


def ladder_of_cycle(cycle: Cycle) -> Ladder | None:
    """Return the ladder as laid from the fill; None while it is not known."""
    grid = cycle.grid
    if grid is None or not cycle.fills:
        return None
    rungs = (
        Rung(
            number=level.number,
            price=level.price,
            quantity=level.quantity,
            average_price=level.average_price,
        )
        for level in grid.levels
        if level.number not in cycle.withdrawn
    )
    return Ladder(
        entry_price=grid.entry_fill_price,
        entry_quantity=grid.entry_quantity,
        rungs=tuple(rungs),
        take_profit=grid.take_profit,
        hedge_trigger=grid.hedge_trigger,
        hedge_quantity=grid.hedge_quantity,
        notional=grid.total_notional,
        notional_left=grid.notional_left,
    )


def ladder_of_answer(answer: Mapping[str, Any]) -> Ladder | None:
    """Return the ladder that the webhook answered; None if it told none."""
    told = answer.get("ladder")
    if told is None:
        return None
    rungs = (
        Rung(
            number=int(level["number"]),
            price=Decimal(level["price"]),
            quantity=Decimal(level["quantity"]),
            average_price=Decimal(level["average_price"]),
        )
        for level in told["levels"]
    )
    return Ladder(
        entry_price=Decimal(told["entry_price"]),
        entry_quantity=Decimal(told["entry_quantity"]),
        rungs=tuple(rungs),
        take_profit=Decimal(told["take_profit"]),
        hedge_trigger=_decimal(told["hedge_trigger"]),
        hedge_quantity=_decimal(told["hedge_quantity"]),
        notional=Decimal(told["total_notional"]),
        notional_left=Decimal(told["notional_left"]),
    )


def ladder_table(ladder: Ladder) -> list[str]:
    """Return the ladder as aligned lines, from the highest price down."""
    entry, quantity = ladder.entry_price, ladder.entry_quantity
    rows = [
        ("take-profit", "SELL LONG limit", ladder.take_profit, quantity, None),
        ("entry", "BUY LONG market", entry, quantity, entry),
        *(
            (
                f"level {rung.number}",
                "BUY LONG limit",
                rung.price,
                rung.quantity,
                rung.average_price,
            )
            for rung in ladder.rungs
        ),
    ]
    if ladder.hedge_trigger is not None and ladder.hedge_quantity is not None:
        hedge = ("hedge 1", "SELL SHORT stop", ladder.hedge_trigger, ladder.hedge_quantity, None)
        rows.append(hedge)
    names, orders, prices, quantities, averages = zip(*rows, strict=True)
    columns = [
        names,
        [f"{order:<15}" for order in orders],
        _aligned(prices),
        ["" if price == entry else f"{(price / entry - 1) * 100:+.2f} %" for price in prices],
        _aligned(quantities),
        [f"{price * size:.2f}" for price, size in zip(prices, quantities, strict=True)],
        _aligned([None if a is None else round(a, _decimals(prices) + 1) for a in averages]),
    ]
    left = f"LONG in all {shown(ladder.notional)}, {shown(ladder.notional_left)} of the deposit"
    return [*table(HEADER, list(zip(*columns, strict=True))), f"{left} × leverage left"]


def _decimals(values: Sequence[Decimal | None]) -> int:
    texts = [shown(value) for value in values if value is not None]
    return max(len(text.partition(".")[2]) for text in texts)


def _aligned(values: Sequence[Decimal | None]) -> list[str]:
    """Return numbers with as many decimals as the one that has most."""
    decimals = _decimals(values)
    return ["" if value is None else f"{value:.{decimals}f}" for value in values]


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
