"""Past days: reports of them, and what is deleted once it is old."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Delete, Insert, Update, delete, func, insert, or_, select, update

from core.domain.webhook import WebhookStatus
from core.queries.tables import CYCLE, DAILY_SUMMARY, FACT, SYMBOL, WEBHOOK, Rows, is_open


def results_ended(*, since: datetime, until: datetime) -> Rows:
    """Select symbol, quote asset and result of each cycle that ended since then, before `until`."""
    columns = (CYCLE.c.symbol, SYMBOL.c.quote_asset, CYCLE.c.net_pnl)
    listed = CYCLE.outerjoin(SYMBOL, SYMBOL.c.symbol == CYCLE.c.symbol)
    is_then = (CYCLE.c.ended_at >= since) & (CYCLE.c.ended_at < until)
    return select(*columns).select_from(listed).where(is_then).order_by(CYCLE.c.symbol)


def count_open_cycles() -> Rows:
    """Count the open cycles."""
    return select(func.count()).select_from(CYCLE).where(is_open())


def claim_summary(day: str, *, at: datetime) -> Insert:
    """Take the summary of a day upon oneself; the primary key lets one process do so."""
    return insert(DAILY_SUMMARY).values(day=day, claimed_at=at)


def symbols_of_cycles(*, ended_after: datetime) -> Rows:
    """Select the symbols with an open cycle, or with one that ended after a time."""
    is_recent = or_(is_open(), CYCLE.c.ended_at > ended_after)
    return select(CYCLE.c.symbol).where(is_recent).distinct().order_by(CYCLE.c.symbol)


def ended_cycles(*, since: datetime, before: datetime) -> Rows:
    """Select the figures of the cycles that ended in a time; they are added up outside."""
    columns = (
        CYCLE.c.symbol,
        SYMBOL.c.quote_asset,
        CYCLE.c.close_reason,
        CYCLE.c.realised,
        CYCLE.c.commissions,
        CYCLE.c.funding,
        CYCLE.c.net_pnl,
    )
    both = CYCLE.outerjoin(SYMBOL, SYMBOL.c.symbol == CYCLE.c.symbol)
    ended = (CYCLE.c.ended_at >= since, CYCLE.c.ended_at < before, ~is_open())
    return select(*columns).select_from(both).where(*ended).order_by(CYCLE.c.id)


def old_journals(*, ended_before: datetime, limit: int) -> Rows:
    """Select the cycles that ended before a time and still have a journal."""
    has_facts = select(FACT.c.id).where(FACT.c.cycle_id == CYCLE.c.id).exists()
    is_old = (CYCLE.c.ended_at < ended_before, ~is_open())
    wanted = select(CYCLE.c.id, CYCLE.c.webhook_id).where(*is_old, has_facts)
    return wanted.order_by(CYCLE.c.id).limit(limit)


def last_facts(cycle_id: int, *, limit: int) -> Rows:
    """Select the last facts of a journal, number 0 included, the last first."""
    wanted = select(FACT.c.id, FACT.c.number).where(FACT.c.cycle_id == cycle_id)
    return wanted.order_by(FACT.c.number.desc()).limit(limit)


def delete_facts(fact_ids: Sequence[int]) -> Delete:
    """Delete facts."""
    return delete(FACT).where(FACT.c.id.in_(fact_ids))


def empty_webhook(webhook_id: int) -> Update:
    """Take away what an alert said; that it came, and what became of it, stays."""
    return update(WEBHOOK).where(WEBHOOK.c.id == webhook_id).values(payload={})


def old_webhooks(*, received_before: datetime, limit: int) -> Rows:
    """Select old alerts that came to nothing, but for the last of each sender's secret.

    Accepted ones stay: they use up their ids, and cycles name them.
    """
    kept = (WebhookStatus.RECEIVED, WebhookStatus.PROCESSING, WebhookStatus.ACCEPTED)
    later = WEBHOOK.alias()
    is_same = (
        later.c.secret_id == WEBHOOK.c.secret_id,
        later.c.received_at > WEBHOOK.c.received_at,
    )
    has_later = select(later.c.id).where(*is_same).exists()
    is_of_cycle = select(CYCLE.c.id).where(CYCLE.c.webhook_id == WEBHOOK.c.id).exists()
    is_old = (WEBHOOK.c.received_at < received_before, WEBHOOK.c.status.not_in(kept))
    is_spare = or_(WEBHOOK.c.secret_id.is_(None), has_later)
    return select(WEBHOOK.c.id).where(*is_old, ~is_of_cycle, is_spare).limit(limit)


def delete_webhooks(webhook_ids: Sequence[int]) -> Delete:
    """Delete alerts."""
    return delete(WEBHOOK).where(WEBHOOK.c.id.in_(webhook_ids))
