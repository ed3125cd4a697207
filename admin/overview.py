"""What the panel's first page shows: open cycles, who watches, alarms, the last alerts."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core import queries
from core.clients import rows
from core.clients.alert_store import is_lease_held
from core.domain.cycle import PositionSide
from core.queries.tables import Rows

_ALARMS_SHOWN: Final = 10
_WEBHOOKS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who watches a symbol."""

    symbol: str
    is_watched: bool
    owner: str
    last_check_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCycle:
    """An open cycle as one line."""

    cycle_id: int
    webhook_id: int
    symbol: str
    phase: str
    opened_at: datetime
    long: RowMapping | None
    short: RowMapping | None
    realised: Decimal
    is_watched: bool

    @property
    def pnl_diff(self) -> Decimal | None:
        """Return the net PNL if it were closed now."""
        return self.long["pnl_diff"] if self.long else None

    @property
    def last_price(self) -> Decimal | None:
        """Return the last price that changed anything."""
        return self.long["last_price"] if self.long else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All of it, at one moment."""

    now: datetime
    cycles: tuple[OpenCycle, ...]
    watches: tuple[Watch, ...]
    killed_at: datetime | None  # None: the kill switch is off
    killed_by: str
    alarms: tuple[RowMapping, ...]
    webhooks: tuple[RowMapping, ...]


async def read_overview(engine: AsyncEngine) -> Overview:
    """Return what the first page shows."""
    async with engine.connect() as connection:
        now_ms = (await connection.execute(queries.leases.clock())).scalar_one()
        cycles = await _all(connection, queries.panel.open_cycles_shown())
        cycle_ids = [row["id"] for row in cycles]
        sides = {
            (row["cycle_id"], row["position_side"]): row
            for row in await _all(connection, queries.panel.positions_of(cycle_ids))
        }
        watches = tuple(_watch(row) for row in await _all(connection, queries.leases.leases()))
        switch = (await _all(connection, queries.account.trading_switch()))[0]
        alarms = await _all(connection, queries.alarms.raised_alarms(_ALARMS_SHOWN))
        webhooks = await _all(connection, queries.panel.newest_webhooks(_WEBHOOKS_SHOWN))
    watched = {watch.symbol for watch in watches if watch.is_watched}
    return Overview(
        now=rows.moment(int(now_ms)),
        cycles=tuple(
            OpenCycle(
                cycle_id=row["id"],
                webhook_id=row["webhook_id"],
                symbol=row["symbol"],
                phase=row["phase"].value,
                opened_at=row["opened_at"],
                long=sides.get((row["id"], PositionSide.LONG)),
                short=sides.get((row["id"], PositionSide.SHORT)),
                realised=row["realised"],
                is_watched=row["symbol"] in watched,
            )
            for row in cycles
        ),
        watches=watches,
        killed_at=switch["killed_at"],
        killed_by=switch["killed_by"] or "",
        alarms=alarms,
        webhooks=webhooks,
    )


async def _all(connection: AsyncConnection, statement: Rows) -> tuple[RowMapping, ...]:
    return tuple((await connection.execute(statement)).mappings().all())


def _watch(row: Any) -> Watch:
    expires_at_ms = rows.to_ms(row["expires_at"])
    is_held = is_lease_held(expires_at_ms=expires_at_ms, now_ms=int(row["now_ms"]))
    return Watch(
        symbol=row["symbol"],
        is_watched=is_held and row["last_check_ok"],
        owner=row["owner"] if is_held else "",
        last_check_at=row["last_check_at"],
    )
