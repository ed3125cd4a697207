"""Every SQL statement, by name. Synchronous and asynchronous code share them.

Rows are locked where a statement says so; SQLite ignores that, because a writing transaction of
ours has the whole database. Executed with a list of parameters, an insert or update of rows is
executed once for each.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Delete,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel

from core import models
from core.domain.cycle import CloseReason, Phase, PositionSide, Role
from core.domain.webhook import WebhookStatus
from core.models.trading_switch import THE_ONE

Rows = Select[Any]
CHANNEL = "tradebox"  # of PostgreSQL's notifications


class database_now_ms(FunctionElement[int]):  # reads as the SQL function that it is
    """The database's clock, milliseconds UTC: the only one that all processes share."""

    type = BigInteger()
    inherit_cache = True


@compiles(database_now_ms, "postgresql")
def _postgresql_now(element: database_now_ms, compiler: SQLCompiler, **_: Any) -> str:
    # Not now(): that one stands still while a transaction waits for a lock.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(database_now_ms, "sqlite")
def _sqlite_now(element: database_now_ms, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


def table(model: type[SQLModel]) -> Table:
    """Return the table of a model."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


ALARM = table(models.Alarm)
ALERT_SECRET = table(models.AlertSecret)
CYCLE = table(models.Cycle)
DAILY_SUMMARY = table(models.DailySummary)
FACT = table(models.Fact)
FILL = table(models.Fill)
LEASE = table(models.MonitorLease)
NOTICE = table(models.Notice)
OPERATOR_ACTION = table(models.OperatorAction)
ORDER = table(models.Order)
POSITION = table(models.BinancePosition)
SYMBOL = table(models.BinanceSymbol)
SYMBOL_PAUSE = table(models.SymbolPause)
TRADING_SWITCH = table(models.TradingSwitch)
WEBHOOK = table(models.WebHook)


def clock() -> Rows:
    """Select the database's clock, in milliseconds."""
    return select(database_now_ms())


# --- Webhooks ---


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
    return select(CYCLE.c.webhook_id).where(CYCLE.c.symbol == symbol, _is_open())


# --- Cycles ---


def insert_cycle(values: dict[str, Any]) -> Insert:
    """Insert a cycle."""
    return insert(CYCLE).values(values)


def lock_cycle(cycle_id: int) -> Rows:
    """Select a cycle's version, and keep the cycle from changing until the transaction ends."""
    columns = (CYCLE.c.version, CYCLE.c.journal_length, CYCLE.c.symbol, CYCLE.c.phase)
    return select(*columns).where(CYCLE.c.id == cycle_id).with_for_update()


def update_cycle(cycle_id: int, values: dict[str, Any]) -> Update:
    """Write a cycle's new state."""
    return update(CYCLE).where(CYCLE.c.id == cycle_id).values(values)


def states_of(cycle_ids: Sequence[int]) -> Rows:
    """Select the states of these cycles."""
    return select(CYCLE.c.id, CYCLE.c.state).where(CYCLE.c.id.in_(cycle_ids))


def cycle(cycle_id: int) -> Rows:
    """Select one cycle."""
    return _versions().where(CYCLE.c.id == cycle_id)


def open_cycles(symbols: Sequence[str], *, ended_after: datetime) -> Rows:
    """Select the open cycles of these symbols and those that ended after a time."""
    is_recent = or_(_is_open(), CYCLE.c.ended_at > ended_after)
    return _versions().where(CYCLE.c.symbol.in_(symbols), is_recent).order_by(CYCLE.c.id)


def open_cycle(symbol: str) -> Rows:
    """Select the symbol's open cycle."""
    return _versions().where(CYCLE.c.symbol == symbol, _is_open())


def cycle_by_key(key: str) -> Rows:
    """Select the cycle with this key."""
    return _versions().where(CYCLE.c.key == key)


def cycle_by_client_order_id(client_order_id: str) -> Rows:
    """Select the cycle that an order of ours belongs to."""
    is_ours = ORDER.c.role != Role.FOREIGN
    ids = select(ORDER.c.cycle_id).where(ORDER.c.client_order_id == client_order_id, is_ours)
    return _versions().where(CYCLE.c.id.in_(ids))


def cycle_of_webhook(webhook_id: int) -> Rows:
    """Select the cycle that an alert began."""
    return _versions().where(CYCLE.c.webhook_id == webhook_id)


def open_symbols() -> Rows:
    """Select the symbols that have an open cycle."""
    return select(CYCLE.c.symbol).where(_is_open()).order_by(CYCLE.c.symbol)


def open_margins() -> Rows:
    """Select the margins set aside by open cycles; they are added up outside, where it is exact."""
    return select(CYCLE.c.deposit, CYCLE.c.extramarg).where(_is_open())


# --- What belongs to cycles ---


def orders_of(cycle_ids: Sequence[int]) -> Rows:
    """Select the orders of these cycles, as they were added."""
    return select(ORDER).where(ORDER.c.cycle_id.in_(cycle_ids)).order_by(ORDER.c.id)


def insert_orders() -> Insert:
    """Insert orders."""
    return insert(ORDER)


def update_order() -> Update:
    """Change an order; it is named by `of_cycle` and `of_client_order_id`."""
    return update(ORDER).where(
        ORDER.c.cycle_id == bindparam("of_cycle"),
        ORDER.c.client_order_id == bindparam("of_client_order_id"),
    )


def fills_of(cycle_ids: Sequence[int]) -> Rows:
    """Select the fills of these cycles."""
    return select(FILL).where(FILL.c.cycle_id.in_(cycle_ids)).order_by(FILL.c.id)


def any_fill() -> Rows:
    """Select one execution, whichever it is."""
    return select(FILL.c.id).limit(1)


def insert_fills() -> Insert:
    """Insert fills."""
    return insert(FILL)


def delete_fill() -> Delete:
    """Take back an adjustment that real executions have explained; values as in `insert_fills`."""
    names = ("trade_id", "is_adjustment", "side", "position_side", "price", "quantity")
    is_it = [FILL.c[name] == bindparam(name) for name in names]
    return delete(FILL).where(FILL.c.cycle_id == bindparam("cycle_id"), *is_it)


def insert_alarm(values: dict[str, Any]) -> Insert:
    """Insert an alarm."""
    return insert(ALARM).values(values)


def count_alarm(cycle_id: int | None, symbol: str, kind: str, *, text: str, at: datetime) -> Update:
    """Count a further cause in the alarm of that kind that is raised for the cycle, or symbol."""
    is_it = (
        ALARM.c.cycle_id.is_(None) if cycle_id is None else ALARM.c.cycle_id == cycle_id,
        ALARM.c.symbol == symbol,
        ALARM.c.kind == kind,
        _is_raised(),
    )
    return update(ALARM).where(*is_it).values(count=ALARM.c.count + 1, text=text, last_at=at)


def settle_alarm(alarm_id: int | None, *, at: datetime, by: str) -> Update:
    """Settle a raised alarm; None: all of them."""
    is_it = [_is_raised()] if alarm_id is None else [_is_raised(), ALARM.c.id == alarm_id]
    return update(ALARM).where(*is_it).values(cleared_at=at, cleared_by=by)


def settle_alarms_of(
    cycle_id: int | None, symbol: str, kinds: Sequence[str], *, at: datetime, by: str
) -> Update:
    """Settle the raised alarms of these kinds of a cycle, or of a symbol as such."""
    of_cycle = ALARM.c.cycle_id.is_(None) if cycle_id is None else ALARM.c.cycle_id == cycle_id
    is_it = (of_cycle, ALARM.c.symbol == symbol, ALARM.c.kind.in_(kinds), _is_raised())
    return update(ALARM).where(*is_it).values(cleared_at=at, cleared_by=by)


def insert_notices() -> Insert:
    """Insert notices that wait to be told."""
    return insert(NOTICE)


def left_notice(*, before: datetime) -> Rows:
    """Select the key of one notice that nobody has kept since then."""
    return select(NOTICE.c.key).where(NOTICE.c.kept_at < before).limit(1)


def take_notices(*, before: datetime, at: datetime) -> ReturningUpdate[Any]:
    """Keep the notices that nobody has kept since then, and return them."""
    return update(NOTICE).where(NOTICE.c.kept_at < before).values(kept_at=at).returning(NOTICE)


def keep_notices(keys: Collection[str], *, at: datetime) -> Update:
    """Say that these notices are being told."""
    return update(NOTICE).where(NOTICE.c.key.in_(keys)).values(kept_at=at)


def delete_notices(keys: Collection[str]) -> Delete:
    """Delete the notices that were told."""
    return delete(NOTICE).where(NOTICE.c.key.in_(keys))


def insert_positions() -> Insert:
    """Insert the two sides of a cycle as people see them."""
    return insert(POSITION)


def update_position() -> Update:
    """Change one side; it is named by `of_cycle` and `of_side`."""
    return update(POSITION).where(
        POSITION.c.cycle_id == bindparam("of_cycle"),
        POSITION.c.position_side == bindparam("of_side"),
    )


def insert_facts() -> Insert:
    """Add to journals."""
    return insert(FACT)


def journal(cycle_id: int) -> Rows:
    """Select a cycle's facts in the order of their application, without number 0."""
    return (
        select(FACT).where(FACT.c.cycle_id == cycle_id, FACT.c.number > 0).order_by(FACT.c.number)
    )


def begun_as(cycle_id: int) -> Rows:
    """Select the journal's number 0: the cycle as it began."""
    return select(FACT.c.payload).where(FACT.c.cycle_id == cycle_id, FACT.c.number == 0)


# --- Leases ---


def lease(symbol: str) -> Rows:
    """Select a symbol's lease and the clock that it runs by."""
    return select(LEASE, database_now_ms().label("now_ms")).where(LEASE.c.symbol == symbol)


def lock_lease(symbol: str) -> Rows:
    """Select a symbol's lease, and keep it from changing hands until the transaction ends."""
    return select(LEASE).where(LEASE.c.symbol == symbol).with_for_update()


def hold_lease(symbol: str, owner: str, epoch: int) -> Rows:
    """Select a lease if it is this one's, and keep it so until the transaction ends."""
    is_it = (LEASE.c.symbol == symbol, LEASE.c.owner == owner, LEASE.c.epoch == epoch)
    return select(LEASE.c.symbol).where(*is_it).with_for_update(read=True)


def insert_lease(values: dict[str, Any]) -> Insert:
    """Insert a symbol's first lease."""
    return insert(LEASE).values(values)


def update_lease(symbol: str, owner: str, epoch: int, values: dict[str, Any]) -> Update:
    """Change a lease if it is still the one named."""
    is_it = (LEASE.c.symbol == symbol, LEASE.c.owner == owner, LEASE.c.epoch == epoch)
    return update(LEASE).where(*is_it).values(values)


# --- Operator ---


def insert_operator_action(values: dict[str, Any]) -> Insert:
    """Insert a request of a person."""
    return insert(OPERATOR_ACTION).values(values)


def notify(symbol: str) -> Rows:
    """Tell who listens, when this is committed, that the symbol has news; PostgreSQL only."""
    return select(func.pg_notify(CHANNEL, symbol))


def waiting_operator_actions(symbols: Sequence[str]) -> Rows:
    """Select the requests not yet carried out, oldest first."""
    is_waiting = OPERATOR_ACTION.c.done_at.is_(None)
    wanted = select(OPERATOR_ACTION).where(OPERATOR_ACTION.c.symbol.in_(symbols), is_waiting)
    return wanted.order_by(OPERATOR_ACTION.c.id)


def operator_result(action_id: int) -> Rows:
    """Select what became of a request."""
    return select(OPERATOR_ACTION.c.result).where(OPERATOR_ACTION.c.id == action_id)


def finish_operator_action(action_id: int, result: str, *, at: datetime) -> Update:
    """Record what became of a request that still waits."""
    is_it = (OPERATOR_ACTION.c.id == action_id, OPERATOR_ACTION.c.done_at.is_(None))
    return update(OPERATOR_ACTION).where(*is_it).values(done_at=at, result=result)


def finish_operator_actions_of(cycle_id: int, result: str, *, at: datetime) -> Update:
    """Record the same for all requests of a cycle that still wait."""
    is_it = (OPERATOR_ACTION.c.cycle_id == cycle_id, OPERATOR_ACTION.c.done_at.is_(None))
    return update(OPERATOR_ACTION).where(*is_it).values(done_at=at, result=result)


# --- Secrets of alerts, paused symbols ---


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


# --- The account as a whole ---


def trading_switch() -> Rows:
    """Select the kill switch."""
    return select(TRADING_SWITCH).where(TRADING_SWITCH.c.id == THE_ONE)


def lock_trading_switch() -> Rows:
    """Select the kill switch, and let no other transaction do so until this one ends."""
    return trading_switch().with_for_update()


def set_trading_switch(*, at: datetime | None, by: str | None) -> Update:
    """Throw the kill switch, or take it back (None)."""
    is_it = TRADING_SWITCH.c.id == THE_ONE
    return update(TRADING_SWITCH).where(is_it).values(killed_at=at, killed_by=by)


def open_exposures() -> Rows:
    """Select what every open cycle may hold and stands at."""
    side = (POSITION.c.cycle_id == CYCLE.c.id) & (POSITION.c.position_side == PositionSide.LONG)
    columns = (
        CYCLE.c.symbol,
        CYCLE.c.deposit,
        CYCLE.c.extramarg,
        CYCLE.c.leverage,
        CYCLE.c.net_pnl,
        POSITION.c.pnl_diff,  # of both sides, on each
    )
    return select(*columns).select_from(CYCLE.outerjoin(POSITION, side)).where(_is_open())


def net_pnls_ended(*, since: datetime) -> Rows:
    """Select what each cycle that ended since then earned; added up outside, where it is exact."""
    return select(CYCLE.c.net_pnl).where(CYCLE.c.ended_at >= since)


def results_ended(*, since: datetime, until: datetime) -> Rows:
    """Select symbol, quote asset and result of each cycle that ended since then, before `until`."""
    columns = (CYCLE.c.symbol, SYMBOL.c.quote_asset, CYCLE.c.net_pnl)
    listed = CYCLE.outerjoin(SYMBOL, SYMBOL.c.symbol == CYCLE.c.symbol)
    is_then = (CYCLE.c.ended_at >= since) & (CYCLE.c.ended_at < until)
    return select(*columns).select_from(listed).where(is_then).order_by(CYCLE.c.symbol)


def count_open_cycles() -> Rows:
    """Count the open cycles."""
    return select(func.count()).select_from(CYCLE).where(_is_open())


def claim_summary(day: str, *, at: datetime) -> Insert:
    """Take the summary of a day upon oneself; the primary key lets one process do so."""
    return insert(DAILY_SUMMARY).values(day=day, claimed_at=at)


def last_ended(symbol: str, *, never_traded: Sequence[CloseReason]) -> Rows:
    """Select when the symbol's last cycle ended, but for those that ended for these reasons."""
    traded = or_(CYCLE.c.close_reason.is_(None), CYCLE.c.close_reason.not_in(never_traded))
    ended = CYCLE.c.ended_at.is_not(None)
    last = CYCLE.c.ended_at.desc()
    return (
        select(CYCLE.c.ended_at)
        .where(CYCLE.c.symbol == symbol, ended, traded)
        .order_by(last)
        .limit(1)
    )


# --- Rules ---


def symbol(name: str) -> Rows:
    """Select the rules of one symbol."""
    return select(SYMBOL).where(SYMBOL.c.symbol == name)


def lock_symbols() -> Rows:
    """Select all rules, and keep them from changing until the transaction ends."""
    return select(SYMBOL).order_by(SYMBOL.c.symbol).with_for_update()


def symbols() -> Rows:
    """Select the rules of all symbols."""
    return select(SYMBOL).order_by(SYMBOL.c.symbol)


def insert_symbols() -> Insert:
    """Insert rules."""
    return insert(SYMBOL)


def update_symbol() -> Update:
    """Change the rules of the symbol named by `of_symbol`."""
    return update(SYMBOL).where(SYMBOL.c.symbol == bindparam("of_symbol"))


def mark_unlisted(names: Sequence[str], *, status: str, at: datetime) -> Update:
    """Mark symbols that the exchange lists no longer."""
    return update(SYMBOL).where(SYMBOL.c.symbol.in_(names)).values(status=status, updated_at=at)


# --- What the panel's first page shows ---


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
    return select(*columns).where(_is_open()).order_by(CYCLE.c.id.desc())


def positions_of(cycle_ids: Sequence[int]) -> Rows:
    """Select both sides of cycles."""
    return select(POSITION).where(POSITION.c.cycle_id.in_(cycle_ids))


def leases() -> Rows:
    """Select every symbol's lease and the clock that they run by."""
    return select(LEASE, database_now_ms().label("now_ms")).order_by(LEASE.c.symbol)


def raised_alarms(limit: int) -> Rows:
    """Select the newest alarms that nobody has settled."""
    return select(ALARM).where(_is_raised()).order_by(ALARM.c.id.desc()).limit(limit)


def count_raised_alarms() -> Rows:
    """Select how many alarms nobody has settled."""
    return select(func.count()).select_from(ALARM).where(_is_raised())


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


# --- Past days ---


def symbols_of_cycles(*, ended_after: datetime) -> Rows:
    """Select the symbols with an open cycle, or with one that ended after a time."""
    is_recent = or_(_is_open(), CYCLE.c.ended_at > ended_after)
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
    ended = (CYCLE.c.ended_at >= since, CYCLE.c.ended_at < before, ~_is_open())
    return select(*columns).select_from(both).where(*ended).order_by(CYCLE.c.id)


def old_journals(*, ended_before: datetime, limit: int) -> Rows:
    """Select the cycles that ended before a time and still have a journal."""
    has_facts = select(FACT.c.id).where(FACT.c.cycle_id == CYCLE.c.id).exists()
    is_old = (CYCLE.c.ended_at < ended_before, ~_is_open())
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


# --- Parts ---


def _versions() -> Rows:
    return select(CYCLE.c.id, CYCLE.c.version)


def _is_raised() -> Any:
    return ALARM.c.cleared_at.is_(None)


def _is_open() -> Any:
    return CYCLE.c.phase != Phase.ENDED
