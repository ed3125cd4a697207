"""The journal."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from core.models import types


class Fact(SQLModel, table=True):
    """One thing learnt by a cycle. Number 0 is the cycle as it began; the rest can be replayed."""

    __tablename__ = "fact"
    __table_args__ = (UniqueConstraint("cycle_id", "number", name="ux_fact_cycle_number"),)

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int = Field(sa_column=types.reference("cycle.id", is_indexed=False))
    number: int  # 1, 2, … in the order of application
    kind: str = Field(max_length=32)  # name of the fact's class
    payload: str = Field(sa_column=types.text())  # JSON
    at: datetime = Field(sa_column=types.moment())  # when it was learnt
