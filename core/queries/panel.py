"""What the panel's first page shows."""

from collections.abc import Sequence

from sqlalchemy import select

from core.queries.tables import CYCLE, POSITION, WEBHOOK, Rows, is_open


def open_cycles_shown() -> Rows:
    """Select every open cycle's figures, newest first."""
    columns = (
        CYCLE.c.id,
        CYCLE.c.webhook_id,
        CYCLE.c.key,
        CYCLE.c.symbol,
        CYCLE.c.phase,
        CYCLE.c.close_reason,
        CYCLE.c.realised,
        CYCLE.c.commissions,
        CYCLE.c.opened_at,
    )
    return select(*columns).where(is_open()).order_by(CYCLE.c.id.desc())


def positions_of(cycle_ids: Sequence[int]) -> Rows:
    """Select both sides of cycles."""
    return select(POSITION).where(POSITION.c.cycle_id.in_(cycle_ids))


def newest_webhooks(limit: int) -> Rows:
    """Select what became of the newest alerts."""
    columns = (
        WEBHOOK.c.id,
        WEBHOOK.c.symbol,
        WEBHOOK.c.status,
        WEBHOOK.c.http_status,
        WEBHOOK.c.outcome,
        WEBHOOK.c.received_at,
    )
    return select(*columns).order_by(WEBHOOK.c.id.desc()).limit(limit)
