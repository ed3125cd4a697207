"""The symbols on which no cycle may be opened for now."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from core.models import types


class SymbolPause(SQLModel, table=True):
    """A symbol whose alerts are refused until it is resumed."""

    __tablename__ = "symbol_pause"

    symbol: str = Field(primary_key=True, max_length=64)
    asked_by: str = Field(max_length=128)
    asked_at: datetime = Field(sa_column=types.moment())
