"""Prices, quantities and their rounding. Standard library only; nothing here knows an exchange."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NewType

Price = NewType("Price", Decimal)  # quote asset per base asset, e.g. USDT per BTC; positive
Quantity = NewType("Quantity", Decimal)  # base asset; never negative, direction is a side

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)

# A division's last digit must not move a price by a tick, so the quotient is rounded here first.
_QUOTIENT = Decimal("1e-9")


def round_to_tick(value: Decimal, tick: Decimal, *, rounding: str) -> Decimal:
    """Return `value` as a whole number of ticks; `rounding` is a mode of `decimal`.

    The tick need not be a power of ten. Raises `decimal.InvalidOperation` where the quotient
    has more digits than the arithmetic context carries.
    """
    assert tick > 0, f"tick must be positive, was {tick}"
    ticks = (value / tick).quantize(_QUOTIENT)
    return ticks.to_integral_value(rounding=rounding) * tick


def floor_tick(price: Decimal, tick: Decimal) -> Price:
    """Return the highest price on the tick grid that is not above `price`."""
    return Price(round_to_tick(price, tick, rounding=ROUND_FLOOR))


def ceil_tick(price: Decimal, tick: Decimal) -> Price:
    """Return the lowest price on the tick grid that is not below `price`."""
    return Price(round_to_tick(price, tick, rounding=ROUND_CEILING))


def floor_step(quantity: Decimal, step: Decimal) -> Quantity:
    """Return the largest whole number of steps that is not above `quantity`."""
    return Quantity(round_to_tick(quantity, step, rounding=ROUND_FLOOR))


def percent_above(price: Decimal, percent: Decimal) -> Decimal:
    """Return `price` × (1 + percent / 100), unrounded; 0.5 means 0.5 %."""
    return price * (ONE + percent / HUNDRED)


def percent_below(price: Decimal, percent: Decimal) -> Decimal:
    """Return `price` × (1 − percent / 100), unrounded."""
    return price * (ONE - percent / HUNDRED)


def to_wire(amount: Decimal) -> str:
    """Render without an exponent: str(Decimal("0.00000001")) is '1E-8'."""
    return f"{amount:f}"


def shown(amount: Decimal) -> str:
    """Render as a person reads it: at most 8 decimals, no zeros at the end, no exponent."""
    return f"{amount:z.8f}".rstrip("0").rstrip(".")  # z: what rounds to 0 has no sign
