"""What people asked for."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from core.domain.cycle import OperatorAction as Action
from core.models import types


class OperatorAction(SQLModel, table=True):
    """A request of a person (or of the alert `flat`) to the monitor, the only way in."""

    __tablename__ = "operator_action"
    __table_args__ = (Index("ix_operator_action_waiting", "done_at", "symbol"),)

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int = Field(sa_column=types.reference("cycle.id"))
    symbol: str = Field(max_length=64)
    action: Action = Field(sa_column=types.choice(Action))
    asked_by: str = Field(max_length=128)
    asked_at: datetime = Field(sa_column=types.moment())
    done_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    result: str | None = Field(default=None, sa_column=types.text(nullable=True))
