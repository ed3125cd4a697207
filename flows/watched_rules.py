"""The rules of the symbols that a monitor watches: read at its start, once a day, fees in between.

The fees come one after the other in the background: those of two hundred symbols weigh more than
five minutes allow, and cycles that are open must not wait for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from core.clients.alert_store import AlertStore
from core.clients.binance import BinanceGateway
from core.domain.alarms import Alarm, AlarmKind
from core.errors import StartRefused
from core.patience import until_it_works
from flows.symbol_rules import store_listed, store_own

REFRESH_EVERY_S = 24 * 3600.0
FEES_APART_S = 6.0  # a symbol's weigh 22: a tenth of the minute's limit

log = structlog.get_logger(__name__)


class WatchedRules:
    """Keeps the stored rules of these symbols up to date."""

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        gateway: BinanceGateway,
        store: AlertStore,
        on_unlisted: Callable[[str], None],
        is_in_use: Callable[[str], bool],
    ) -> None:
        """Prepare.

        Args:
            symbols: those that are watched.
            gateway: says what is listed, and the account's fees.
            store: keeps it.
            on_unlisted: is told, each time, of a symbol that is not listed any more.
            is_in_use: whether a cycle waits for the symbol's fees.
        """
        self.fees_wanted: list[str] = []  # symbols whose fees are still to be read
        self._symbols = tuple(symbols)
        self._gateway = gateway
        self._store = store
        self._on_unlisted = on_unlisted
        self._is_in_use = is_in_use
        self._unlisted: set[str] = set()  # those that a person was told of

    async def refresh(self) -> None:
        """Store what the exchange lists now, and want the fees. StartRefused: a name is wrong."""
        await self._gateway.sync_clock()
        listed = await store_listed(self._gateway, self._store, self._symbols)
        if listed.unknown:
            raise StartRefused(
                f"SYMBOLS: {', '.join(listed.unknown)} is not listed by the exchange as a "
                "perpetual; remove it or correct its name"
            )
        for symbol in listed.unlisted:  # delisted: the others are watched all the same
            await self._leave_out(symbol)
        log.info("rules stored", listed=listed.count, watched=len(self._symbols))
        self.fees_wanted = [name for name in self._symbols if name not in listed.unlisted]

    async def refresh_daily(self) -> None:
        """Do so once a day, for ever."""
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            await until_it_works("rules", self.refresh)

    async def read_fees(self) -> None:
        """Read the fees that are wanted, for ever: one by one, each kept; those in use first."""
        while True:
            await asyncio.sleep(FEES_APART_S)
            if self.fees_wanted:
                symbol = min(self.fees_wanted, key=lambda name: not self._is_in_use(name))
                self.fees_wanted.remove(symbol)
                store_it = partial(store_own, self._gateway, self._store, symbol)
                await until_it_works(f"rules of {symbol}", store_it)

    async def _leave_out(self, symbol: str) -> None:
        """Go on without a symbol that was listed once, and tell of it."""
        self._on_unlisted(symbol)
        if symbol in self._unlisted:
            return
        log.error("symbol not listed any more; take it out of SYMBOLS", symbol=symbol)
        text = f"{symbol} is not listed any more"
        alarm = Alarm(kind=AlarmKind.UNLISTED, text=text, at_ms=self._gateway.now_ms())
        await self._store.raise_alarm(symbol, alarm)
        self._unlisted.add(symbol)
