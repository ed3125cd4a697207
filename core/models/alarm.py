"""What a person should look at."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from core.models import types

_RAISED = text("cleared_at IS NULL")


class Alarm(SQLModel, table=True):
    """One alarm of a cycle; the same cause is raised once until it is cleared."""

    __tablename__ = "alarm"
    __table_args__ = (
        Index(
            "ux_alarm_raised",
            "cycle_id",
            "key",
            unique=True,
            sqlite_where=_RAISED,
            postgresql_where=_RAISED,
        ),
    )

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int = Field(sa_column=types.reference("cycle.id"))
    symbol: str = Field(max_length=64)
    key: str = Field(sa_column=types.text())  # names the cause
    text: str = Field(sa_column=types.text())
    raised_at: datetime = Field(sa_column=types.moment())
    cleared_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
