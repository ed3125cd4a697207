"""The price band of one symbol, as the fast path of the market stream compares with it."""

import math
from decimal import Decimal


class Band:
    """Bounds that only a trade at or outside them can matter to; set by the engine, read per trade.

    The bounds are floats, for one cheap comparison on the raw price, and narrower than the exact
    ones by at least the error of a float: a trade may be handed on needlessly, never dropped
    wrongly. Mutable on purpose: the reader holds it, the engine moves it.
    """

    __slots__ = ("high", "last", "low")

    def __init__(self) -> None:
        self.low = -math.inf
        self.high = math.inf
        self.last = ""  # raw text of the last trade, dropped ones included

    def set(self, low: Decimal | None, high: Decimal | None) -> None:
        """Set the bounds; None is unbounded. A trade exactly at a bound is not inside."""
        self.low = -math.inf if low is None else math.nextafter(float(low), math.inf)
        self.high = math.inf if high is None else math.nextafter(float(high), -math.inf)

    def want_all(self) -> None:
        """Let every trade through."""
        self.low, self.high = math.inf, -math.inf

    def holds(self, price: str) -> bool:
        """Return whether a trade at this price can change nothing, and take note of the price."""
        self.last = price
        return self.low < float(price) < self.high

    @property
    def last_price(self) -> Decimal | None:
        """Return the price of the last trade; None before the first."""
        return Decimal(self.last) if self.last else None
