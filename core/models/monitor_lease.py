"""Which monitor decides for which symbol."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from core.models import types


class MonitorLease(SQLModel, table=True):
    """The right to decide for one symbol. All times are the database's clock."""

    __tablename__ = "monitor_lease"

    symbol: str = Field(primary_key=True, max_length=64)
    owner: str = Field(max_length=128)  # empty: given back
    epoch: int = Field(sa_column=types.big())  # grows with every new holder: fences the last one
    expires_at: datetime = Field(sa_column=types.moment())
    renewed_at: datetime = Field(sa_column=types.moment())
    last_check_at: datetime | None = Field(default=None, sa_column=types.moment(nullable=True))
    last_check_ok: bool = False  # the last reconciliation with the exchange succeeded
