"""Both sides of each cycle, as people look at them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from core.domain.cycle import PositionSide
from core.models import types


class BinancePosition(SQLModel, table=True):
    """One side of a cycle, written with the cycle's state; nothing reads decisions from it."""

    __tablename__ = "binance_position"
    __table_args__ = (UniqueConstraint("cycle_id", "position_side", name="ux_position_cycle_side"),)

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int = Field(sa_column=types.reference("cycle.id"))
    symbol: str = Field(max_length=64, index=True)
    position_side: PositionSide = Field(sa_column=types.choice(PositionSide))
    quantity: Decimal = Field(sa_column=types.money())  # base, ≥ 0
    entry_price: Decimal = Field(sa_column=types.money())  # 0 when flat
    long_trailing_price: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # LONG: the trailing stop in force
    short_trailing_price: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # SHORT: the stop-loss in force
    activation_price: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # LONG: where trailing starts
    old_activation_price: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # the same before its last change
    pnl_diff: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # quote: the cycle's net PNL if it closed at the last price that changed anything
    last_price: Decimal | None = Field(default=None, sa_column=types.money(nullable=True))
    updated_at: datetime = Field(sa_column=types.moment())
