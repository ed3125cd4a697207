"""Notices that not every channel has had yet."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from core.domain.alarms import Severity
from core.models import types
from core.ports import Topic


class Notice(SQLModel, table=True):
    """A notice from the commit of what it tells until it is told; then its row is deleted.

    The process that wrote it renews `kept_at` while it waits to be told. Once nobody does any more,
    that process is gone, and another takes the notice on.
    """

    __tablename__ = "notice"

    key: str = Field(primary_key=True, max_length=32)
    kind: str = Field(sa_column=types.text())
    symbol: str = Field(max_length=64)
    cycle: str | None = Field(default=None, max_length=32)
    title: str = Field(sa_column=types.text())
    text: str = Field(sa_column=types.text())
    severity: Severity | None = Field(sa_column=types.choice(Severity, nullable=True))
    topic: Topic = Field(sa_column=types.choice(Topic))
    happened_at: datetime = Field(sa_column=types.moment())
    kept_at: datetime = Field(sa_column=types.moment())  # by the database's clock
