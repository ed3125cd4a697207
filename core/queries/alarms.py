"""Alarms, and the notices that people are still to be told of."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Update,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from core.queries.tables import ALARM, NOTICE, Rows


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


def raised_alarms(limit: int) -> Rows:
    """Select the newest alarms that nobody has settled."""
    return select(ALARM).where(_is_raised()).order_by(ALARM.c.id.desc()).limit(limit)


def count_raised_alarms() -> Rows:
    """Select how many alarms nobody has settled."""
    return select(func.count()).select_from(ALARM).where(_is_raised())


def insert_notices() -> Insert:
    """Insert notices that wait to be told."""
    return insert(NOTICE)


def left_notice(*, before: datetime, after: datetime) -> Rows:
    """Select the key of one notice that nobody keeps: its time lies outside these two."""
    return select(NOTICE.c.key).where(_is_left(before, after)).limit(1)


def take_notices(*, before: datetime, after: datetime, at: datetime) -> ReturningUpdate[Any]:
    """Keep the notices that nobody keeps, as `left_notice`, and return them."""
    return update(NOTICE).where(_is_left(before, after)).values(kept_at=at).returning(NOTICE)


def keep_notices(keys: Collection[str], *, at: datetime) -> Update:
    """Say that these notices are being told."""
    return update(NOTICE).where(NOTICE.c.key.in_(keys)).values(kept_at=at)


def delete_notices(keys: Collection[str]) -> Delete:
    """Delete the notices that were told."""
    return delete(NOTICE).where(NOTICE.c.key.in_(keys))


def _is_raised() -> ColumnElement[bool]:
    return ALARM.c.cleared_at.is_(None)


def _is_left(before: datetime, after: datetime) -> ColumnElement[bool]:
    # One from the future was kept before the clock was set back.
    return or_(NOTICE.c.kept_at < before, NOTICE.c.kept_at > after)
