"""Whether the API can take alerts: its database, the exchange's clock, who is watched."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.clients.alert_store import AlertStore
from core.clients.db_sync import READ_ONLY
from core.errors import ExchangeError, StoreError
from core.ports import AccountGateway

SYNC_EVERY_S: Final = 30.0  # so old an "ok" may be; each costs three requests of weight 1
SYNC_AGAIN_AFTER_S: Final = 5.0
_CHECK_WITHIN_S: Final = 2.0
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
        others must go on coming in, and the panel must stay in reach.
        """
        try:
            async with asyncio.timeout(_CHECK_WITHIN_S):
                database = await self._database()
                watched = await self._watched() if database is None else {}
        except (SQLAlchemyError, StoreError, OSError, TimeoutError) as error:
            database, watched = f"cannot be read ({type(error).__name__})", {}
        return {
            "ready": database is None and self._exchange_error is None,
            "database": database or "ok",
            "exchange": self._exchange_error or "ok",
            "exchange_answered_s_ago": self._answered_s_ago(),
            "watched": watched,
            "warnings": [
                f"nobody watches {symbol}: alerts for it are answered 503; start its monitor, or "
                "take it out of SYMBOLS"
                for symbol, is_watched in watched.items()
                if not is_watched
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
        return {symbol: await self._store.is_watched(symbol) for symbol in self._symbols}


def _migrated_to(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
