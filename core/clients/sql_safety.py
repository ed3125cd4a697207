"""What keeps people's money safe beyond single cycles: guards, the kill switch, alarms."""

from sqlalchemy.ext.asyncio import AsyncConnection

from core import queries
from core.clients import rows
from core.clients.clean import clean_text
from core.clients.notices import notice_of
from core.clients.sql_cycles import raise_alarm
from core.clients.sql_leases import database_ms
from core.clients.sql_notices import SqlTelling
from core.clients.sql_transactions import commit
from core.domain.alarms import Alarm, RaisedAlarm
from core.domain.cycle import CloseReason
from core.domain.guards import AccountState, Exposure, Guards, Kill, day_start_ms
from core.errors import StoreConflict
from core.money import ZERO

# A cycle that bought nothing starts no cool-down.
_NEVER_TRADED = (CloseReason.ENTRY_EXPIRED, CloseReason.ENTRY_FAILED)


async def lock_switch(connection: AsyncConnection) -> Kill | None:
    """Let nobody else begin a cycle, or throw the switch, until the transaction ends; return it."""
    locked = await connection.execute(queries.account.lock_trading_switch())
    return _kill(locked.mappings().first())


async def account_state(
    connection: AsyncConnection,
    guards: Guards,
    *,
    kill: Kill | None,
    symbol: str,
    now_ms: int,
) -> AccountState:
    """Return what these guards look at for a new cycle on the symbol; what is off is not read."""
    if kill is not None:
        return AccountState(kill=kill)
    open_cycles: tuple[Exposure, ...] = ()
    ended_net_pnl, ended_at_ms = ZERO, None
    if guards.look_at_open_cycles:
        found = (await connection.execute(queries.account.open_exposures())).mappings()
        open_cycles = tuple(rows.to_exposure(row) for row in found)
    if guards.max_daily_loss is not None:
        since = rows.moment(day_start_ms(now_ms))
        earned = (await connection.execute(queries.account.net_pnls_ended(since=since))).scalars()
        ended_net_pnl = sum(earned, ZERO)
    if guards.symbol_cooldown_ms:
        ended = queries.account.last_ended(symbol, never_traded=_NEVER_TRADED)
        ended_at = (await connection.execute(ended)).scalar()
        ended_at_ms = None if ended_at is None else rows.to_ms(ended_at)
    return AccountState(
        open_cycles=open_cycles,
        ended_net_pnl=ended_net_pnl,
        symbol_ended_at_ms=ended_at_ms,
    )


class SqlSafety(SqlTelling):
    """The part of the store that people, health and new alerts ask."""

    async def account_state(self, guards: Guards, *, symbol: str, now_ms: int) -> AccountState:
        """Return what these guards look at for a new cycle on the symbol."""
        async with self.reading() as connection:
            switch = (await connection.execute(queries.account.trading_switch())).mappings().first()
            return await account_state(
                connection, guards, kill=_kill(switch), symbol=symbol, now_ms=now_ms
            )

    async def killed(self) -> Kill | None:
        """Return who threw the kill switch, and when; None: nobody."""
        async with self.reading() as connection:
            switch = (await connection.execute(queries.account.trading_switch())).mappings().first()
            return _kill(switch)

    async def kill_trading(self, *, by: str) -> bool:
        """Throw the kill switch: once this returns no cycle begins; False if it was thrown."""
        async with self.writing() as connection:
            if await lock_switch(connection) is not None:
                return False
            at = rows.moment(await database_ms(connection))
            thrown = queries.account.set_trading_switch(at=at, by=clean_text(by, limit=128))
            await connection.execute(thrown)
            await commit(connection)
            return True

    async def revive_trading(self) -> bool:
        """Take the kill switch back; False if it was not thrown."""
        async with self.writing() as connection:
            if await lock_switch(connection) is None:
                return False
            await connection.execute(queries.account.set_trading_switch(at=None, by=None))
            await commit(connection)
            return True

    async def raise_alarm(self, symbol: str, alarm: Alarm) -> None:
        """Raise (or count) an alarm of a symbol as such."""
        belongs = {"cycle_id": None, "symbol": symbol}
        async with self.writing() as connection:
            is_new = await raise_alarm(connection, belongs, alarm)
            notice = notice_of(alarm, symbol=symbol, cycle=None)
            await self.commit_and_tell(connection, (notice,) if is_new else ())

    async def raised_alarms(self, limit: int) -> tuple[RaisedAlarm, ...]:
        """Return the newest alarms that nobody has settled."""
        async with self.reading() as connection:
            found = (await connection.execute(queries.alarms.raised_alarms(limit))).mappings()
            return tuple(rows.to_raised_alarm(row) for row in found)

    async def count_raised_alarms(self) -> int:
        """Return how many alarms nobody has settled."""
        async with self.reading() as connection:
            count = await connection.execute(queries.alarms.count_raised_alarms())
            return int(count.scalar_one())

    async def settle_alarms(self, alarm_id: int | None, *, by: str) -> int:
        """Settle one alarm, or all (None); return how many."""
        async with self.writing() as connection:
            at = rows.moment(await database_ms(connection))
            settled = queries.alarms.settle_alarm(alarm_id, at=at, by=clean_text(by, limit=128))
            count = (await connection.execute(settled)).rowcount
            await commit(connection)
            return int(count)


def _kill(switch: rows.Row | None) -> Kill | None:
    if switch is None:
        raise StoreConflict("trading_switch has lost its row: run make migrate-apply anew")
    if switch["killed_at"] is None:
        return None
    return Kill(by=switch["killed_by"] or "", at_ms=rows.to_ms(switch["killed_at"]))
