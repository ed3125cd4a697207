"""The days whose summary was sent."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from core.models import types


class DailySummary(SQLModel, table=True):
    """A day that a process has taken upon itself to sum up: of many, the one that wrote the row."""

    __tablename__ = "daily_summary"

    day: str = Field(primary_key=True, max_length=10)  # in the zone of NOTIFY_TIMEZONE: 2026-11-28
    claimed_at: datetime = Field(sa_column=types.moment())
