"""What people ask for, and the call that wakes who carries it out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Update, func, insert, select, update

from core.queries.tables import OPERATOR_ACTION, Rows

CHANNEL = "tradebox"  # of PostgreSQL's notifications


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
