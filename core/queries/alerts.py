"""Alerts: what came of each, the secrets that they may carry, the symbols that are paused."""

from datetime import datetime
from typing import Any

from sqlalchemy import Delete, Insert, Update, delete, func, insert, select, update

from core.domain.webhook import WebhookStatus
from core.queries.tables import ALERT_SECRET, CYCLE, SYMBOL_PAUSE, WEBHOOK, Rows, is_open


def insert_webhook(values: dict[str, Any]) -> Insert:
    """Insert an alert."""
    return insert(WEBHOOK).values(values)


def webhook(webhook_id: int) -> Rows:
    """Select one alert."""
    return select(WEBHOOK).where(WEBHOOK.c.id == webhook_id)


def lock_webhook(webhook_id: int) -> Rows:
    """Select one alert's state, and keep it from changing until the transaction ends."""
    columns = (WEBHOOK.c.id, WEBHOOK.c.status, WEBHOOK.c.alert_id)
    return select(*columns).where(WEBHOOK.c.id == webhook_id).with_for_update()


def forgotten_webhooks(before: datetime) -> Rows:
    """Select the numbers of alerts received before this that are still being processed."""
    unfinished = [status for status in WebhookStatus if not status.is_final]
    is_it = (WEBHOOK.c.status.in_(unfinished), WEBHOOK.c.received_at < before)
    return select(WEBHOOK.c.id).where(*is_it).order_by(WEBHOOK.c.id)


def update_webhook(webhook_id: int, values: dict[str, Any]) -> Update:
    """Change one alert's state and answer."""
    return update(WEBHOOK).where(WEBHOOK.c.id == webhook_id).values(values)


def accepted_webhook(alert_id: str) -> Rows:
    """Select the number of the alert that was accepted with this id."""
    is_accepted = WEBHOOK.c.status == WebhookStatus.ACCEPTED
    return select(WEBHOOK.c.id).where(WEBHOOK.c.alert_id == alert_id, is_accepted)


def accepted_content(digest: str, *, since: datetime) -> Rows:
    """Select the number of the alert that was accepted with this content, since then."""
    is_it = (WEBHOOK.c.content == digest, WEBHOOK.c.received_at >= since)
    return select(WEBHOOK.c.id).where(*is_it)


def release_content(digest: str, *, before: datetime) -> Update:
    """Let a content that was accepted before that time be accepted again."""
    is_it = (WEBHOOK.c.content == digest, WEBHOOK.c.received_at < before)
    return update(WEBHOOK).where(*is_it).values(content=None)


def busy_webhook(symbol: str) -> Rows:
    """Select the number of the alert whose cycle is open on the symbol."""
    return select(CYCLE.c.webhook_id).where(CYCLE.c.symbol == symbol, is_open())


def secrets() -> Rows:
    """Select all secrets of alerts, revoked ones included, and when each was last used."""
    used = select(func.max(WEBHOOK.c.received_at)).where(WEBHOOK.c.secret_id == ALERT_SECRET.c.id)
    last = used.scalar_subquery().label("last_used_at")
    return select(ALERT_SECRET, last).order_by(ALERT_SECRET.c.id)


def insert_secret(values: dict[str, Any]) -> Insert:
    """Insert a secret's digest."""
    return insert(ALERT_SECRET).values(values)


def revoke_secret(secret_id: int, *, at: datetime) -> Update:
    """Mark a secret as revoked, if it is not."""
    is_it = (ALERT_SECRET.c.id == secret_id, ALERT_SECRET.c.revoked_at.is_(None))
    return update(ALERT_SECRET).where(*is_it).values(revoked_at=at)


def symbol_pause(symbol: str) -> Rows:
    """Select who paused a symbol."""
    return select(SYMBOL_PAUSE.c.asked_by).where(SYMBOL_PAUSE.c.symbol == symbol)


def insert_symbol_pause(values: dict[str, Any]) -> Insert:
    """Pause a symbol."""
    return insert(SYMBOL_PAUSE).values(values)


def delete_symbol_pause(symbol: str) -> Delete:
    """Resume a symbol."""
    return delete(SYMBOL_PAUSE).where(SYMBOL_PAUSE.c.symbol == symbol)
