"""The price band of one symbol, as the fast path of the market stream compares with it."""

import math
from decimal import Decimal


class Band:
    """Drops the trades inside the band: one cheap comparison on the raw price.

    The bounds are floats, and narrower than the exact ones by at least the error of a float: a
    trade may be handed on needlessly, never dropped wrongly. Mutable on purpose: the reader of the
    stream holds it, the engine moves its bounds. A new band holds everything.
    """

    __slots__ = ("high", "last", "low")

    def __init__(self) -> None:
        self.low = -math.inf
        self.high = math.inf
        self.last = ""  # raw text of the last trade, dropped ones included

    def set(self, low: Decimal | None, high: Decimal | None) -> None:
        """Set the bounds; None is unbounded. A trade exactly at a bound is let through."""
        self.low = -math.inf if low is None else math.nextafter(float(low), math.inf)
        self.high = math.inf if high is None else math.nextafter(float(high), -math.inf)

    def want_all(self) -> None:
        """Drop nothing until bounds are set again."""
        self.low, self.high = math.inf, -math.inf

    def holds(self, price: str) -> bool:
        """Return whether a trade at this price can change nothing; note the price either way.

        Raises ValueError if it is not a number.
        """
        value = float(price)
        self.last = price
        return self.low < value < self.high

    @property
    def last_price(self) -> Decimal | None:
        """Return the price of the last trade; None before the first."""
        return Decimal(self.last) if self.last else None
