"""The orders, each with the one request that may be under way for it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from core.domain.cycle import EndedBy, Kind, OrderStatus, PositionSide, Request, Role, Side
from core.models import types

_OURS = text("role <> 'foreign'")


class OrderType(StrEnum):
    """What an order is called in front of people."""

    LONG_MARKET = "LONG_MARKET"
    LONG_LIMIT = "LONG_LIMIT"
    LONG_TAKE_PROFIT = "LONG_TAKE_PROFIT"
    LONG_TRAILING_GUARD = "LONG_TRAILING_GUARD"
    SHORT_MARKET_STOP_OPEN = "SHORT_MARKET_STOP_OPEN"
    SHORT_MARKET_STOP_LOSS = "SHORT_MARKET_STOP_LOSS"
    SHORT_MARKET = "SHORT_MARKET"
    SHORT_LIMIT = "SHORT_LIMIT"


class Order(SQLModel, table=True):
    """One order as `OrderState` knows it; a request is written here before it is sent."""

    __tablename__ = "order"
    __table_args__ = (
        UniqueConstraint("cycle_id", "client_order_id", name="ux_order_cycle_client_id"),
        # Other people may use an id of theirs again, in a later cycle.
        Index(
            "ux_order_client_id",
            "client_order_id",
            unique=True,
            sqlite_where=_OURS,
            postgresql_where=_OURS,
        ),
        Index("ix_order_symbol_status", "symbol", "status"),
    )

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int = Field(sa_column=types.reference("cycle.id"))
    symbol: str = Field(max_length=64)
    client_order_id: str = Field(max_length=64)
    type: OrderType = Field(sa_column=types.choice(OrderType))
    role: Role = Field(sa_column=types.choice(Role))
    order_number: int  # grid level or hedge; 0 for all others
    attempt: int
    side: Side = Field(sa_column=types.choice(Side))
    position_side: PositionSide = Field(sa_column=types.choice(PositionSide))
    kind: Kind = Field(sa_column=types.choice(Kind))
    price: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # limit price or trigger in force
    quantity: Decimal | None = Field(
        default=None, sa_column=types.money(nullable=True)
    )  # base, total; None: closes the whole position
    close_position: bool = False
    status: OrderStatus = Field(sa_column=types.choice(OrderStatus))
    executed: Decimal = Field(sa_column=types.money())  # base
    average_price: Decimal | None = Field(default=None, sa_column=types.money(nullable=True))
    reason: str = Field(default="", sa_column=types.text())  # rule and numbers that asked for it

    request: Request = Field(sa_column=types.choice(Request))
    target_price: Decimal | None = Field(default=None, sa_column=types.money(nullable=True))
    target_quantity: Decimal | None = Field(default=None, sa_column=types.money(nullable=True))
    requested_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    is_unresolved: bool = False  # the request got no answer that could be read
    cancel_asked: bool = False
    is_superseded: bool = False
    amend_refused: bool = False
    is_triggered: bool = False
    triggered_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    refusals: int = 0  # in a row
    refusal_code: int | None = None
    refusal_text: str = Field(default="", sa_column=types.text())
    retry_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    absent_reads: int = 0
    absent_read_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    ended_by: EndedBy | None = Field(default=None, sa_column=types.choice(EndedBy, nullable=True))
    over_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    exchange_order_id: int | None = Field(default=None, sa_column=types.big(nullable=True))
    created_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    changed_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
