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
    TESTED = "tested"  # `test`: everything was done but what would have changed something
    TIMED_OUT = "timed_out"  # given up before a cycle had begun: answered 503, or by nobody
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Return whether nothing can come of the alert any more, or its cycle has begun."""
        return self not in (WebhookStatus.RECEIVED, WebhookStatus.PROCESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertContent:
    """What an alert says, as a digest, and since when the same counts as the same alert."""

    digest: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSecret:
    """A secret of one source of alerts; the secret itself is nowhere."""

    secret_id: int
    name: str  # of the source
    digest: str
    may_close_all: bool
    created_by: str
    created_at_ms: int
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """The stored alert; the payload holds no secret."""

    webhook_id: int
    payload: Mapping[str, object]  # decimals as text
    status: WebhookStatus
    received_at_ms: int
    symbol: str | None = None
    alert_id: str | None = None
    secret_id: int | None = None  # of its sender
    http_status: int | None = None  # of the answer
    outcome: str = ""  # of the answer, for people
    warnings: tuple[str, ...] = ()
