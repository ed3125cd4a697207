"""The executions."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from core.domain.cycle import PositionSide, Side
from core.models import types

_REAL_SQLITE = text("is_adjustment = 0")
_REAL_POSTGRESQL = text("NOT is_adjustment")


class Fill(SQLModel, table=True):
    """One execution, or an adjustment: an outside change whose executions nobody could show."""

    __tablename__ = "fill"
    __table_args__ = (
        # An execution counts once, in one cycle. An adjustment has the id of the trade before it.
        Index(
            "ux_fill_symbol_trade",
            "symbol",
            "trade_id",
            unique=True,
            sqlite_where=_REAL_SQLITE,
            postgresql_where=_REAL_POSTGRESQL,
        ),
    )

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int = Field(sa_column=types.reference("cycle.id"))
    symbol: str = Field(max_length=64)
    trade_id: int = Field(sa_column=types.big())  # the exchange's
    client_order_id: str = Field(max_length=64)
    side: Side = Field(sa_column=types.choice(Side))
    position_side: PositionSide = Field(sa_column=types.choice(PositionSide))
    price: Decimal = Field(sa_column=types.money())
    quantity: Decimal = Field(sa_column=types.money())  # base
    commission: Decimal = Field(sa_column=types.money())  # positive is paid
    commission_asset: str = Field(max_length=32)
    is_maker: bool
    is_adjustment: bool = False
    executed_at: datetime = Field(sa_column=types.moment())
