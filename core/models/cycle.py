"""The trading cycles."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from core.domain.cycle import CloseReason, Phase
from core.models import types

_OPEN = text("phase <> 'ended'")


class Cycle(SQLModel, table=True):
    """One accepted alert's trade. `state` is the truth; the figures beside it are for people."""

    __tablename__ = "cycle"
    __table_args__ = (
        # One open cycle per symbol: two alerts at the same moment cannot both begin.
        Index(
            "ux_cycle_open_symbol",
            "symbol",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("ix_cycle_symbol_ended_at", "symbol", "ended_at"),
        Index("ix_cycle_ended_at", "ended_at"),
    )

    id: int | None = Field(default=None, sa_column=types.identity())
    webhook_id: int = Field(sa_column=types.reference("webhook.id", unique=True))
    key: str = Field(max_length=32, unique=True)  # prefix of its client order ids
    symbol: str = Field(max_length=64)
    phase: Phase = Field(sa_column=types.choice(Phase))
    close_reason: CloseReason | None = Field(
        default=None, sa_column=types.choice(CloseReason, nullable=True)
    )
    deposit: Decimal = Field(sa_column=types.money())  # quote
    extramarg: Decimal = Field(sa_column=types.money())  # quote
    leverage: int
    realised: Decimal = Field(sa_column=types.money())  # quote, gross of commissions
    commissions: Decimal = Field(sa_column=types.money())  # quote, paid is positive
    funding: Decimal = Field(sa_column=types.money())  # quote, received is positive
    net_pnl: Decimal = Field(sa_column=types.money())  # realised + funding − commissions
    state: str = Field(sa_column=types.text())  # JSON: the cycle without orders and fills
    version: int = 0  # grows with every change
    journal_length: int = 0  # number of the last fact
    opened_at: datetime = Field(sa_column=types.moment())
    changed_at: datetime = Field(sa_column=types.moment())
    ended_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
