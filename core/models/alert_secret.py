"""The secrets that alerts may carry."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from core.models import types


class AlertSecret(SQLModel, table=True):
    """A secret of one source of alerts, as its digest; several of one source may be valid."""

    __tablename__ = "alert_secret"

    id: int | None = Field(default=None, sa_column=types.identity())
    name: str = Field(max_length=64)  # of the source, for people
    digest: str = Field(max_length=64, unique=True)  # SHA-256, hexadecimal
    may_close_all: bool
    created_by: str = Field(max_length=128)
    created_at: datetime = Field(sa_column=types.moment())
    revoked_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
