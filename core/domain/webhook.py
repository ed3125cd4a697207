"""One alert as it was received, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class WebhookStatus(StrEnum):
    """Where an alert stands; the first two are on the way, all others are final."""

    RECEIVED = "received"  # stored, not looked at yet
    PROCESSING = "processing"  # being checked; the only state from which a cycle may begin
    ACCEPTED = "accepted"  # its cycle has begun
    SKIPPED = "skipped"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    TIMED_OUT = "timed_out"  # answered 503 before a cycle had begun
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Return whether nothing can come of the alert any more, or its cycle has begun."""
        return self not in (WebhookStatus.RECEIVED, WebhookStatus.PROCESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """The stored alert; the payload holds no secret."""

    webhook_id: int
    payload: Mapping[str, object]  # decimals as text
    status: WebhookStatus
    received_at_ms: int
    symbol: str | None = None
    alert_id: str | None = None
    http_status: int | None = None  # of the answer
    outcome: str = ""  # of the answer, for people
    warnings: tuple[str, ...] = ()
