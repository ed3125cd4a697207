"""What the exchange says, compared with what is known: for all symbols of a monitor, by REST.

At start, after every (re)connect and every minute. One picture of the account (its positions and
open orders) costs as much as a dozen of symbols; single orders and executions are read only where
the picture differs; funding is read for all symbols at once. Symbols without a cycle are looked at,
too: a position that nobody here opened, or orders with our names that no cycle knows, are told to a
person and never touched.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from core.account_picture import AccountPicture, Unclaimed, read_account
from core.domain.alarms import Alarm, AlarmKind
from core.domain.cycle import Cycle
from core.engine import Desk
from core.errors import ExchangeError, ExchangeUnavailable, LeaseLost, StoreError
from core.ports import AccountGateway, Clock, Lease

READ_ACCOUNT_ABOVE = 12  # symbols: 85 of request weight for all of them, or 7 for each
ACCOUNT_WEIGHT, SYMBOL_WEIGHT = 85, 7
WEIGHT_A_MINUTE = 600  # for checks, however often they are asked for: a quarter of the limit
_AT_ONCE = 8  # symbols whose single orders are asked about
_UNCLAIMED_TWICE_MS = 5_000  # apart: a cycle that is just beginning or ending is none of it
_UNCHECKED_AFTER_MS = 180_000

log = structlog.get_logger(__name__)


class CheckStore(Protocol):
    """What the checks need from the store."""

    async def record_checks(self, results: Mapping[Lease, bool]) -> tuple[Lease, ...]:
        """Record all symbols' checks in one transaction; return the leases that are over."""
        ...

    async def open_cycle(self, symbol: str) -> Cycle | None:
        """Return the symbol's open cycle."""
        ...

    async def raise_alarm(self, symbol: str, alarm: Alarm) -> None:
        """Raise (or count) an alarm of a symbol as such."""
        ...


@dataclass(slots=True)
class _Unclaimed:
    found: Unclaimed
    since_ms: int
    is_told: bool = False


@dataclass(slots=True)
class _Failing:
    since_ms: int
    is_told: bool = False


class AccountChecks:
    """The checks of all symbols that this process watches."""

    def __init__(
        self,
        *,
        gateway: AccountGateway,
        store: CheckStore,
        clock: Clock,
        desks: Mapping[str, Desk],
        is_heard: Callable[[str], bool],
    ) -> None:
        """Prepare; `desks` may change, `is_heard` says whether the streams tell of a symbol."""
        self._gateway = gateway
        self._store = store
        self._clock = clock
        self._desks = desks
        self._is_heard = is_heard
        self._unclaimed: dict[str, _Unclaimed] = {}
        self._failing: dict[str, _Failing] = {}

    @property
    def apart_s(self) -> float:
        """Return how far apart checks must begin, so that their weight stays within its bound."""
        weight = min(ACCOUNT_WEIGHT, SYMBOL_WEIGHT * len(self._desks))
        return weight * 60 / WEIGHT_A_MINUTE

    async def run(self) -> bool:
        """Check every symbol and record the results; return whether all was answered."""
        desks = tuple(self._desks.values())
        picture: AccountPicture | None = None
        if len(desks) > READ_ACCOUNT_ABOVE:
            try:
                picture = await read_account(self._gateway, self._clock)
            except ExchangeError as error:
                log.warning("account not read", error=str(error))
                await self._record(dict.fromkeys(desks, error))
                return False
        answered = await self._each(desks, picture)
        return await self._check_funding(desks) and answered

    async def run_for(self, symbol: str) -> None:
        """Check one symbol, about which something was told that the fills do not make."""
        desk = self._desks.get(symbol)
        if desk is not None:
            await self._each((desk,), None)

    async def _each(self, desks: Sequence[Desk], picture: AccountPicture | None) -> bool:
        places = asyncio.Semaphore(_AT_ONCE)
        errors: dict[Desk, ExchangeError | None] = {}

        async def check(desk: Desk) -> None:
            async with places:
                errors[desk] = await self._check(desk, picture)

        await asyncio.gather(*(check(desk) for desk in desks))
        await self._record(errors)
        return not any(errors.values())

    async def _check(self, desk: Desk, picture: AccountPicture | None) -> ExchangeError | None:
        try:
            unclaimed = await desk.check(picture)
            await desk.check_asset_prices()
        except ExchangeError as error:
            log.warning("check failed", symbol=desk.symbol, error=str(error))
            return error
        except Exception as error:  # of one symbol; the others are checked all the same
            log.exception("check failed", symbol=desk.symbol)
            return ExchangeUnavailable(f"the check met something unexpected: {error!r}")
        await self._look_at(desk, unclaimed)
        return None

    async def _check_funding(self, desks: Sequence[Desk]) -> bool:
        """Read what was paid or received since the oldest due symbol's last read, once for all."""
        due = {desk: since for desk in desks if (since := desk.funding_due_since()) is not None}
        if not due:
            return True
        asked_at = self._clock.now_ms()
        try:
            records = await self._gateway.funding(None, since_ms=min(due.values()))
        except ExchangeError as error:
            log.warning("funding not read", error=str(error))
            return False
        for desk in due:
            own = tuple(record for record in records if record.symbol == desk.symbol)
            desk.tell_funding(own, asked_at_ms=asked_at)
        return True

    # --- What a person is told ---

    async def _look_at(self, desk: Desk, unclaimed: Unclaimed | None) -> None:
        """Tell of what nobody here opened, once two checks have seen it and no cycle is known."""
        symbol, now = desk.symbol, self._clock.now_ms()
        if unclaimed is None:
            self._unclaimed.pop(symbol, None)
            return
        seen = self._unclaimed.get(symbol)
        if seen is None or seen.found != unclaimed:
            self._unclaimed[symbol] = _Unclaimed(unclaimed, since_ms=now)
            return
        if seen.is_told or now < seen.since_ms + _UNCLAIMED_TWICE_MS:
            return
        try:
            if await self._store.open_cycle(symbol) is None:
                log.warning("nobody here opened it", symbol=symbol, found=str(unclaimed))
                alarm = Alarm(kind=AlarmKind.UNCLAIMED, text=str(unclaimed), at_ms=now)
                await self._store.raise_alarm(symbol, alarm)
                seen.is_told = True
        except StoreError as error:
            log.warning("alarm not stored", symbol=symbol, error=str(error))

    async def _record(self, errors: Mapping[Desk, ExchangeError | None]) -> None:
        """Record who is watched: whose check was answered, and whom the streams tell of."""
        results: dict[Lease, bool] = {}
        for desk, error in errors.items():
            is_heard = self._is_heard(desk.symbol)
            unheard = None if is_heard else ExchangeUnavailable("the streams tell nothing of it")
            await self._count_failure(desk, error or unheard)
            if desk.lease is not None and self._desks.get(desk.symbol) is desk:
                results[desk.lease] = error is None and is_heard
        try:
            over = await self._store.record_checks(results) if results else ()
            for desk in tuple(self._desks.values()):
                if desk.lease in over:
                    desk.fail(LeaseLost(f"{desk.symbol}: taken by another"))
        except StoreError as error:
            log.warning("checks not recorded", error=str(error))

    async def _count_failure(self, desk: Desk, error: ExchangeError | None) -> None:
        """Tell a person when a symbol could not be checked, or was not heard of, for minutes."""
        if error is None:
            self._failing.pop(desk.symbol, None)
            return
        now = self._clock.now_ms()
        failing = self._failing.setdefault(desk.symbol, _Failing(since_ms=now))
        if failing.is_told or now < failing.since_ms + _UNCHECKED_AFTER_MS:
            return
        try:
            alarm = Alarm(kind=AlarmKind.UNCHECKED, text=str(error), at_ms=now)
            await self._store.raise_alarm(desk.symbol, alarm)
            failing.is_told = True
        except StoreError as away:
            log.warning("alarm not stored", symbol=desk.symbol, error=str(away))
