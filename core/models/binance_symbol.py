"""The exchange's rules."""

from datetime import datetime
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from sqlmodel import Field, SQLModel

from core.models import types
from core.money import Price, Quantity, round_to_tick


class BinanceSymbol(SQLModel, table=True):
    """Trading rules of one symbol as last read from the exchange, and our fee rates on it."""

    __tablename__ = "binance_symbol"

    symbol: str = Field(primary_key=True, max_length=64)
    base_asset: str = Field(max_length=32)
    quote_asset: str = Field(max_length=32)
    status: str = Field(max_length=32)  # TRADING, …
    tick_size: Decimal = Field(sa_column=types.money())  # quote, > 0
    min_price: Decimal = Field(sa_column=types.money())
    max_price: Decimal = Field(sa_column=types.money())
    step_size: Decimal = Field(sa_column=types.money())  # base, > 0
    min_quantity: Decimal = Field(sa_column=types.money())
    max_quantity: Decimal = Field(sa_column=types.money())
    market_min_quantity: Decimal = Field(sa_column=types.money())
    market_max_quantity: Decimal = Field(sa_column=types.money())
    market_step_size: Decimal = Field(sa_column=types.money())
    min_notional: Decimal = Field(sa_column=types.money())  # quote
    multiplier_up: Decimal = Field(sa_column=types.money())  # of the mark price
    multiplier_down: Decimal = Field(sa_column=types.money())
    maker_rate: Decimal = Field(sa_column=types.money())  # 0.0002 is 0.02 %
    taker_rate: Decimal = Field(sa_column=types.money())
    brackets: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=types.json()
    )  # by rising cap; empty: not known
    updated_at: datetime = Field(sa_column=types.moment())

    def adjust_price(self, price: Decimal, *, rounding: str = ROUND_HALF_EVEN) -> Price:
        """Return `price` moved onto this symbol's price grid.

        Args:
            price: quote asset per base asset; must be positive.
            rounding: a `decimal` rounding mode; the default is for display, orders always pass one.

        Raises:
            ValueError: if the result is below one tick, which the exchange would refuse.

        Source: PRICE_FILTER in
            https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition
        """
        adjusted = round_to_tick(price, self.tick_size, rounding=rounding)
        if adjusted <= 0:
            raise ValueError(f"{self.symbol}: price {price} is below one tick of {self.tick_size}")
        return Price(adjusted)

    def adjust_quantity(self, quantity: Decimal, *, rounding: str = ROUND_FLOOR) -> Quantity:
        """Return `quantity` as a whole number of this symbol's steps.

        Args:
            quantity: base asset; must not be negative.
            rounding: a `decimal` rounding mode; down, so that nothing is ordered that is not there.

        Raises:
            ValueError: if the result is below the smallest quantity that the exchange takes.

        Source: LOT_SIZE, on the page named above.
        """
        adjusted = round_to_tick(quantity, self.step_size, rounding=rounding)
        if adjusted < self.min_quantity or adjusted <= 0:
            raise ValueError(
                f"{self.symbol}: quantity {quantity} is below the smallest, {self.min_quantity}"
            )
        return Quantity(adjusted)
