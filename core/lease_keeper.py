"""Leases: a process decides for a symbol only while it holds the symbol's lease.

`LeaseKeeper.watch` takes the lease, loads what is saved, and runs a desk under it until it is lost
or the desk fails; then all that was in memory is thrown away and it begins anew. `renew` keeps what
is held. `may_send` is asked before each request: who could not renew for ten seconds starts none,
so that the last one has had its answer, or its time-out, before the lease can be another's.

Time is counted from when a lease was asked for, however late the answer comes, by a clock that is
read at that moment: a process that was frozen must not believe the time that it was frozen at.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from core.domain.alarms import Alarm, AlarmKind
from core.domain.cycle import Cycle
from core.engine import KEEP_ENDED_MS, Desk, Surroundings
from core.errors import LeaseLost, StoreError
from core.ports import Clock, CycleStore, Lease

RENEW_EVERY_S = 5.0
STOP_SENDING_AFTER_S = 10.0  # without a renewed lease no request is started
_ASK_AGAIN_S = 2.0  # for a lease that another holds
_BEGIN_AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)  # with a symbol whose desk failed
_WENT_WELL_S = 60.0

log = structlog.get_logger(__name__)


class LeaseStore(CycleStore, Protocol):
    """A `CycleStore` that takes alarms of a symbol as such."""

    async def raise_alarm(self, symbol: str, alarm: Alarm) -> None:
        """Raise (or count) an alarm of a symbol as such."""
        ...


async def load_cycles(store: CycleStore, clock: Clock, symbols: Sequence[str]) -> tuple[Cycle, ...]:
    """Return the open cycles of these symbols, and those whose late fills are still theirs."""
    return await store.load_open(symbols, ended_after_ms=clock.now_ms() - KEEP_ENDED_MS)


@dataclass(slots=True)
class _Held:
    lease: Lease
    renewed_at: float  # seconds, when the last renewal that succeeded was asked for


class LeaseKeeper:
    """The leases of one process, and the desks that run under them."""

    def __init__(
        self,
        *,
        store: LeaseStore,
        owner: str,
        desks: dict[str, Desk],
        on_start: Callable[[Desk], None] = lambda desk: None,
        on_end: Callable[[str], None] = lambda symbol: None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold nothing yet.

        Args:
            store: where the leases are.
            owner: unique among all processes, those that are gone included.
            desks: filled here with the desks that run, by symbol.
            on_start: is told of a desk that begins to run, its cycles taken over.
            on_end: is told of a symbol whose desk ended.
            seconds: a clock that is never set and goes on while the process is frozen.
        """
        self._store = store
        self._owner = owner
        self._desks = desks
        self._on_start = on_start
        self._on_end = on_end
        self._seconds = seconds
        self._held: dict[str, _Held] = {}

    def may_send(self, symbol: str) -> bool:
        """Return whether the symbol's lease is held, and was renewed a short while ago."""
        held = self._held.get(symbol)
        return held is not None and self._seconds() - held.renewed_at < STOP_SENDING_AFTER_S

    async def renew(self) -> None:
        """Renew for ever what is held, also while its desk loads; a desk without it ends."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            leases = [held.lease for held in self._held.values()]
            asked_at = self._seconds()
            try:
                ours = set(await self._store.renew_leases(leases))
            except StoreError as error:
                log.warning("leases not renewed", error=str(error))
                continue
            for lease in leases:
                held = self._held.get(lease.symbol)
                if held is None or held.lease != lease:
                    continue  # given back meanwhile
                if lease in ours:
                    held.renewed_at = max(held.renewed_at, asked_at)
                else:
                    self._lose(lease)

    async def watch(self, symbol: str, around: Surroundings) -> None:
        """Hold the symbol's lease and run its desk; whatever ends a desk, a new one is started."""
        tries = 0
        while True:
            desk = Desk(symbol, around, lease=await self._acquire(symbol))
            started = self._seconds()
            try:
                await self._run(desk, around.clock)
            except LeaseLost as error:
                log.warning("lease lost, memory discarded", symbol=symbol, error=str(error))
            except StoreError as error:
                log.warning("database away", symbol=symbol, error=str(error))
            except Exception as error:  # the top of a symbol's task: the others go on
                log.exception("symbol stopped; its state is loaded anew", symbol=symbol)
                await self._raise_stopped(symbol, error, around.clock)
            finally:
                self._held.pop(symbol, None)
                self._on_end(symbol)
            tries = 0 if self._seconds() - started > _WENT_WELL_S else tries + 1
            await asyncio.sleep(_BEGIN_AGAIN_S[min(tries, len(_BEGIN_AGAIN_S)) - 1] if tries else 0)

    async def _acquire(self, symbol: str) -> Lease:
        told = False
        while True:
            asked_at = self._seconds()
            try:
                lease = await self._store.acquire_lease(symbol, self._owner)
            except StoreError as error:
                log.warning("database away", symbol=symbol, error=str(error))
                lease = None
            else:
                if lease is not None:
                    self._held[symbol] = _Held(lease, asked_at)
                    return lease
                if not told:
                    log.info("another monitor watches; waiting for its lease", symbol=symbol)
                    told = True
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _run(self, desk: Desk, clock: Clock) -> None:
        symbol = desk.symbol
        cycles = await load_cycles(self._store, clock, [symbol])
        if symbol not in self._held:
            raise LeaseLost(f"{symbol}: taken by another while its cycles were loaded")
        for cycle in cycles:
            desk.take_over(cycle)
            if cycle.is_open:
                log.info("cycle taken on", symbol=symbol, cycle=cycle.key, phase=cycle.phase)
        self._desks[symbol] = desk
        self._on_start(desk)
        try:
            await desk.run()
        finally:
            self._desks.pop(symbol, None)
            await self._release(desk)

    def _lose(self, lease: Lease) -> None:
        del self._held[lease.symbol]
        if lease.symbol in self._desks:
            self._desks[lease.symbol].fail(LeaseLost(f"{lease.symbol}: taken by another"))

    async def _release(self, desk: Desk) -> None:
        assert desk.lease is not None, "it was made with one"
        try:
            await self._store.release_lease(desk.lease)
        except StoreError as error:
            log.warning("lease not released; it runs out", symbol=desk.symbol, error=str(error))

    async def _raise_stopped(self, symbol: str, error: Exception, clock: Clock) -> None:
        alarm = Alarm(
            kind=AlarmKind.SYMBOL_STOPPED,
            text=f"{type(error).__name__}: the log has the whole text",
            at_ms=clock.now_ms(),
        )
        try:
            await self._store.raise_alarm(symbol, alarm)
        except StoreError as away:
            log.warning("alarm not stored", symbol=symbol, error=str(away))
