"""Cycles, and what belongs to them: orders, fills, both sides as people see them, the journal."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Delete, Insert, Update, bindparam, delete, insert, or_, select, update

from core.domain.cycle import Role
from core.queries.tables import CYCLE, FACT, FILL, ORDER, POSITION, Rows, is_open


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
    is_recent = or_(is_open(), CYCLE.c.ended_at > ended_after)
    return _versions().where(CYCLE.c.symbol.in_(symbols), is_recent).order_by(CYCLE.c.id)


def open_cycle(symbol: str) -> Rows:
    """Select the symbol's open cycle."""
    return _versions().where(CYCLE.c.symbol == symbol, is_open())


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
    return select(CYCLE.c.symbol).where(is_open()).order_by(CYCLE.c.symbol)


def open_margins() -> Rows:
    """Select the margins set aside by open cycles; they are added up outside, where it is exact."""
    return select(CYCLE.c.deposit, CYCLE.c.extramarg).where(is_open())


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


def _versions() -> Rows:
    return select(CYCLE.c.id, CYCLE.c.version)
