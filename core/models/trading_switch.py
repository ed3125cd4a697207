"""The kill switch."""

from datetime import datetime
from typing import Final

from sqlmodel import Field, SQLModel

from core.models import types

THE_ONE: Final = 1


class TradingSwitch(SQLModel, table=True):
    """The one row that every beginning of a cycle locks: one at a time, and none once killed."""

    __tablename__ = "trading_switch"

    id: int | None = Field(default=None, sa_column=types.identity())  # always 1
    killed_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    killed_by: str | None = Field(default=None, max_length=128)
