"""What a day came to, and which process tells it."""

from dataclasses import dataclass
from decimal import Decimal

from core import queries
from core.clients import rows
from core.clients.sql_leases import database_ms
from core.clients.sql_notices import SqlTelling
from core.errors import StoreConflict
from core.ports import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one cycle that ended came to."""

    symbol: str
    quote_asset: str  # empty: the symbol's rules are not stored
    net_pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """A day's results, and what stands when they are read."""

    results: tuple[Result, ...]  # by symbol
    open_cycles: int
    raised_alarms: int  # not settled


class SqlSummaries(SqlTelling):
    """The part of the store that daily summaries need."""

    async def day_figures(self, *, since_ms: int, until_ms: int) -> DayFigures:
        """Return the results of the cycles that ended since then, before `until_ms`."""
        since, until = rows.moment(since_ms), rows.moment(until_ms)
        ended = queries.history.results_ended(since=since, until=until)
        async with self.reading() as connection:
            found = (await connection.execute(ended)).mappings().all()
            count = queries.history.count_open_cycles()
            open_cycles = (await connection.execute(count)).scalar_one()
            alarms = (await connection.execute(queries.alarms.count_raised_alarms())).scalar_one()
        results = tuple(
            Result(
                symbol=row["symbol"],
                quote_asset=row["quote_asset"] or "",
                net_pnl=row["net_pnl"],
            )
            for row in found
        )
        return DayFigures(results=results, open_cycles=int(open_cycles), raised_alarms=int(alarms))

    async def tell_summary(self, day: str, notice: Notice) -> bool:
        """Tell of a day, and remember that; False: another process has, or this one before."""
        try:
            async with self.writing() as connection:
                at = rows.moment(await database_ms(connection))
                await connection.execute(queries.history.claim_summary(day, at=at))
                await self.commit_and_tell(connection, (notice,))
        except StoreConflict:
            return False
        return True
