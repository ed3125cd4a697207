"""Open cycles that no monitor holds any more: the one thing that no monitor can tell of."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from core.clients.alert_store import AlertStore
from core.domain.alarms import Alarm, AlarmKind
from core.errors import StoreError

LOOK_EVERY_S: Final = 15.0
# A monitor that is restarted is away for less; what rests on the exchange stays meanwhile.
TOLD_AFTER_S: Final = 60.0
_ALARMS_READ: Final = 1000

_log = structlog.get_logger(__name__)


class Unwatched:
    """Looks for symbols with an open cycle and without a monitor, and tells a person once.

    The alarm is settled when a monitor is there again, so that the next time is told anew. Several
    processes may look: one alarm of a kind stands for a symbol, whoever raised it.
    """

    def __init__(
        self, store: AlertStore, *, now_ms: Callable[[], int], monotonic_s: Callable[[], float]
    ) -> None:
        self._store, self._now_ms, self._monotonic_s = store, now_ms, monotonic_s
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                # Nor could a monitor renew its lease: it gets its time once the database is back.
                self._since.clear()
                _log.warning("who is watched cannot be looked at", error=str(error))
            except Exception:  # noqa: BLE001 - the top of a task
                _log.exception("who is watched was not looked at; tried again")
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once: raise what is due, settle what is over. StoreError: the database is away."""
        symbols = await self._store.open_symbols()
        left = set(symbols) - await self._store.leased(symbols)
        now = self._monotonic_s()
        self._since = {symbol: self._since.get(symbol, now) for symbol in left}
        self._told &= left
        raised = {
            alarm.symbol: alarm.alarm_id
            for alarm in await self._store.raised_alarms(_ALARMS_READ)
            if alarm.kind == AlarmKind.UNWATCHED
        }
        for symbol, since in self._since.items():
            if now - since >= TOLD_AFTER_S and symbol not in self._told:
                if symbol not in raised:
                    await self._tell(symbol)
                self._told.add(symbol)
        for symbol, alarm_id in raised.items():
            if symbol not in left:
                await self._store.settle_alarms(alarm_id, by="a monitor that is there again")

    async def _tell(self, symbol: str) -> None:
        _log.error("nobody watches an open cycle", symbol=symbol)
        text = f"the cycle of {symbol} is open, and no monitor has held it for a minute"
        alarm = Alarm(kind=AlarmKind.UNWATCHED, text=text, at_ms=self._now_ms())
        await self._store.raise_alarm(symbol, alarm)
