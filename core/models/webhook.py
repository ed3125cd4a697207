"""The alerts."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from core.domain.webhook import WebhookStatus
from core.models import types

_ACCEPTED = text("status = 'accepted'")


class WebHook(SQLModel, table=True):
    """One alert as it was received, without its secret, and what was answered."""

    __tablename__ = "webhook"
    __table_args__ = (
        # Only an alert that was acted on uses its id up.
        Index(
            "ux_webhook_accepted_alert",
            "alert_id",
            unique=True,
            sqlite_where=_ACCEPTED,
            postgresql_where=_ACCEPTED,
        ),
        # Only the newest alert that was acted on holds its content, for a while.
        Index("ux_webhook_content", "content", unique=True),
        Index("ix_webhook_received_at", "received_at"),
        Index("ix_webhook_secret_id", "secret_id", "received_at"),
    )

    id: int | None = Field(default=None, sa_column=types.identity())
    alert_id: str | None = Field(default=None, max_length=200)  # `id` of the payload
    content: str | None = Field(default=None, max_length=64)  # SHA-256; only once acted on
    secret_id: int | None = Field(default=None, sa_column=types.big(nullable=True))  # its sender's
    symbol: str | None = Field(default=None, max_length=64)  # None: the alert names none
    status: WebhookStatus = Field(sa_column=types.choice(WebhookStatus))
    http_status: int | None = None  # of the answer
    outcome: str = Field(default="", sa_column=types.text())  # of the answer, for people
    warnings: list[str] = Field(default_factory=list, sa_column=types.json())
    payload: dict[str, Any] = Field(sa_column=types.json())
    received_at: datetime = Field(sa_column=types.moment())
