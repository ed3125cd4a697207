"""Who watches which symbol, by the clock that all processes share."""

from typing import Any

from sqlalchemy import Insert, Update, insert, select, update

from core.queries.tables import LEASE, Rows, database_now_ms


def clock() -> Rows:
    """Select the database's clock, in milliseconds."""
    return select(database_now_ms())


def lease(symbol: str) -> Rows:
    """Select a symbol's lease and the clock that it runs by."""
    return select(LEASE, database_now_ms().label("now_ms")).where(LEASE.c.symbol == symbol)


def leases() -> Rows:
    """Select every symbol's lease and the clock that they run by."""
    return select(LEASE, database_now_ms().label("now_ms")).order_by(LEASE.c.symbol)


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
