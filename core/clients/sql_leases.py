"""Leases inside the transaction of a caller, by the database's clock."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from core import queries
from core.clients import rows
from core.clients.alert_store import LEASE_MS, is_lease_held
from core.errors import LeaseLost
from core.ports import Lease


async def database_ms(connection: AsyncConnection) -> int:
    """Return the database's clock."""
    return int((await connection.execute(queries.leases.clock())).scalar_one())


def is_held(lease: rows.Row) -> bool:
    """Return whether a monitor holds a lease; read with `now_ms`."""
    expires_at_ms = rows.to_ms(lease["expires_at"])
    return is_lease_held(expires_at_ms=expires_at_ms, now_ms=int(lease["now_ms"]))


def is_watched(lease: rows.Row) -> bool:
    """Return whether a lease is held, and its holder's last check succeeded; as `is_held`."""
    return is_held(lease) and bool(lease["last_check_ok"])


async def acquired(connection: AsyncConnection, symbol: str, owner: str) -> Lease | None:
    """Take the symbol's lease, or renew it as its holder; None while another holds it."""
    held = (await connection.execute(queries.leases.lock_lease(symbol))).mappings().first()
    now_ms = await database_ms(connection)  # after the lock: waiting for it takes time
    times = {"expires_at": rows.moment(now_ms + LEASE_MS), "renewed_at": rows.moment(now_ms)}
    if held is None:
        lease = Lease(symbol=symbol, owner=owner, epoch=1)
        values = {"symbol": symbol, "owner": owner, "epoch": 1, "last_check_ok": False}
        await connection.execute(queries.leases.insert_lease(values | times))
        return lease
    current = Lease(symbol=symbol, owner=held["owner"], epoch=held["epoch"])
    if not is_lease_held(expires_at_ms=rows.to_ms(held["expires_at"]), now_ms=now_ms):
        taken = {"owner": owner, "epoch": current.epoch + 1, "last_check_ok": False}
        await change_lease(connection, current, taken | times)
        return Lease(symbol=symbol, owner=owner, epoch=current.epoch + 1)
    if current.owner != owner:
        return None
    await change_lease(connection, current, times)
    return current


async def require_lease(connection: AsyncConnection, lease: Lease) -> None:
    """Keep the lease as it is until the transaction ends; LeaseLost if it is over."""
    statement = queries.leases.hold_lease(lease.symbol, lease.owner, lease.epoch)
    if (await connection.execute(statement)).first() is None:
        raise lost(lease)


async def change_lease(
    connection: AsyncConnection, lease: Lease, values: Mapping[str, Any]
) -> bool:
    """Write into the lease's row if it is still this lease's; return whether it was."""
    statement = queries.leases.update_lease(lease.symbol, lease.owner, lease.epoch, dict(values))
    return (await connection.execute(statement)).rowcount == 1


def lost(lease: Lease) -> LeaseLost:
    """Return the error that tells a monitor to stop deciding."""
    return LeaseLost(f"{lease.symbol}: epoch {lease.epoch} of {lease.owner} is over")
