"""Whether the API can take alerts: its database, the exchange's clock, who is watched."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.clients import rows
from core.clients.alert_store import AlertStore
from core.clients.db_sync import READ_ONLY
from core.domain.alarms import RaisedAlarm
from core.domain.guards import Kill
from core.errors import ExchangeError, StoreError
from core.ports import AccountGateway

SYNC_EVERY_S: Final = 30.0  # so old an "ok" may be; each costs three requests of weight 1
SYNC_AGAIN_AFTER_S: Final = 5.0
_CHECK_WITHIN_S: Final = 2.0
_ALARMS_SHOWN: Final = 20
_MIGRATIONS: Final = Path(__file__).resolve().parent.parent / "migrations"
_log = structlog.get_logger(__name__)


class Health:
    """Looks after the exchange's clock, and says how things stand."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        store: AlertStore,
        gateway: AccountGateway,
        symbols: Sequence[str],
    ) -> None:
        self._engine = engine.execution_options(**{READ_ONLY: True})
        self._store = store
        self._gateway = gateway
        self._symbols = tuple(symbols)
        self._head = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
        self._exchange_error: str | None = "not asked yet"
        self._answered_at_s: float | None = None  # by the monotonic clock

    async def keep_time(self) -> None:
        """Measure the exchange's clock again and again, until cancelled."""
        while True:
            try:
                await self._gateway.sync_clock()
            except ExchangeError as error:
                if self._exchange_error != str(error):
                    _log.warning("exchange does not answer", error=str(error))
                self._exchange_error = str(error)
                await asyncio.sleep(SYNC_AGAIN_AFTER_S)
            else:
                if self._exchange_error is not None:
                    _log.info("exchange clock measured")
                self._exchange_error = None
                self._answered_at_s = time.monotonic()
                await asyncio.sleep(SYNC_EVERY_S)

    async def report(self) -> dict[str, Any]:
        """Return what is ready and what is not; without secrets.

        A symbol that nobody watches is a warning, not the end of readiness: the alerts for the
        others must go on coming in, and the panel must stay in reach. So are alarms and the kill
        switch: alerts are still taken, and those that close must be.
        """
        try:
            async with asyncio.timeout(_CHECK_WITHIN_S):
                database = await self._database()
                watched = await self._watched() if database is None else {}
                safety = await self._safety() if database is None else _Safety()
        except (SQLAlchemyError, StoreError, OSError, TimeoutError) as error:
            database, watched = f"cannot be read ({type(error).__name__})", {}
            safety = _Safety()
        return {
            "ready": database is None and self._exchange_error is None,
            "database": database or "ok",
            "exchange": self._exchange_error or "ok",
            "exchange_answered_s_ago": self._answered_s_ago(),
            "watched": watched,
            "killed": None if safety.kill is None else _shown_kill(safety.kill),
            "alarms": [_shown_alarm(alarm) for alarm in safety.alarms],
            "warnings": [
                *(
                    f"nobody watches {symbol}: alerts for it are answered 503; start its monitor, "
                    "or take it out of SYMBOLS"
                    for symbol, is_watched in watched.items()
                    if not is_watched
                ),
                *safety.warnings(),
            ],
        }

    def _answered_s_ago(self) -> int | None:
        if self._answered_at_s is None:
            return None
        return int(time.monotonic() - self._answered_at_s)

    async def _database(self) -> str | None:
        async with self._engine.connect() as connection:
            found = await connection.run_sync(_migrated_to)
        if found == self._head:
            return None
        return f"migrated to {found or 'nothing'}, not to {self._head}: run make migrate-apply"

    async def _watched(self) -> dict[str, bool]:
        watched = await self._store.watched(self._symbols)
        return {symbol: symbol in watched for symbol in self._symbols}

    async def _safety(self) -> "_Safety":
        return _Safety(
            kill=await self._store.killed(),
            alarms=await self._store.raised_alarms(_ALARMS_SHOWN),
            alarm_count=await self._store.count_raised_alarms(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Safety:
    """What people should know beyond what is ready."""

    kill: Kill | None = None
    alarms: tuple[RaisedAlarm, ...] = ()  # the newest
    alarm_count: int = 0

    def warnings(self) -> Iterator[str]:
        if self.kill is not None:
            yield "the kill switch is on: no cycle is opened; operate.py kill --undo ends that"
        if self.alarm_count:
            yield f"{self.alarm_count} alarms are not settled: operate.py alarms shows what to do"


def _shown_kill(kill: Kill) -> dict[str, Any]:
    return {"by": kill.by, "at": rows.moment(kill.at_ms).isoformat()}


def _shown_alarm(alarm: RaisedAlarm) -> dict[str, Any]:
    return {
        "number": alarm.alarm_id,
        "symbol": alarm.symbol,
        "cycle": alarm.cycle_id,
        "kind": alarm.kind,
        "severity": alarm.severity.value,
        "count": alarm.count,
        "text": alarm.text,
        "action": alarm.action,
        "raised_at": rows.moment(alarm.raised_at_ms).isoformat(),
        "last_at": rows.moment(alarm.last_at_ms).isoformat(),
    }


def _migrated_to(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
