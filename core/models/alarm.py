"""What a person should look at."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from core.domain.alarms import Severity
from core.models import types

_RAISED = text("cleared_at IS NULL")
_RAISED_ALONE = text("cleared_at IS NULL AND cycle_id IS NULL")


class Alarm(SQLModel, table=True):
    """An alarm as people see it: one of a kind for a cycle until it is settled; more are counted.

    What was raised is remembered by the cycle itself; settling an alarm changes nothing there.
    """

    __tablename__ = "alarm"
    __table_args__ = (
        Index(
            "ux_alarm_raised",
            "cycle_id",
            "kind",
            unique=True,
            sqlite_where=_RAISED,
            postgresql_where=_RAISED,
        ),
        # Of a symbol as such: where there is no cycle, the index above compares nothing.
        Index(
            "ux_alarm_raised_alone",
            "symbol",
            "kind",
            unique=True,
            sqlite_where=_RAISED_ALONE,
            postgresql_where=_RAISED_ALONE,
        ),
    )

    id: int | None = Field(default=None, sa_column=types.identity())
    cycle_id: int | None = Field(default=None, sa_column=types.reference("cycle.id", nullable=True))
    symbol: str = Field(max_length=64)
    kind: str = Field(sa_column=types.text())  # an AlarmKind, or what an earlier version wrote
    severity: Severity = Field(sa_column=types.choice(Severity))
    text: str = Field(sa_column=types.text())  # the newest cause
    action: str = Field(sa_column=types.text())  # what to do
    count: int  # of causes
    raised_at: datetime = Field(sa_column=types.moment())
    last_at: datetime = Field(sa_column=types.moment())
    cleared_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    cleared_by: str | None = Field(default=None, max_length=128)
