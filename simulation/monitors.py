"""Monitors as processes: each holds leases, runs a desk under each, checks and polls.

Leases, desks, checks and what is made of news are the production code's own
(`core.lease_keeper`, `core.engine`, `core.account_checks`, `core.account_news`); what is written
here is only what sockets and timers do in `ws_monitor_async.py`. A monitor can be frozen and killed
whatever it waits for.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from core.account_checks import AccountChecks
from core.account_news import AccountNews
from core.clients.memory_store import MemoryCycleStore
from core.domain.band import Band
from core.domain.cycle import AccountRefused, OperatorAsked
from core.domain.step import Step
from core.domain.strategy import Band as Limits
from core.engine import Desk, Surroundings
from core.errors import StoreError
from core.lease_keeper import LeaseKeeper, load_cycles
from core.patience import is_called_within
from core.translate.events import AccountEvent
from flows.news import handle_by_flow
from simulation.gateway import SimulatedGateway
from simulation.loop import Process, VirtualClock
from simulation.stage import CHECK_AGAIN_S, CHECK_EVERY_S

POLL_EVERY_S = 5.0  # while the database tells of what is new
_OPERATOR_WAITS_S = 10.0


class Room(Protocol):
    """What a monitor tells those who look on."""

    def stepped(self, monitor: "Monitor", symbol: str, step: Step) -> None:
        """Take note of a step of one of its desks."""
        ...

    def moved(self, symbol: str) -> None:
        """Take note that a symbol's desk began or ended."""
        ...

    def broke(self, error: BaseException) -> None:
        """Take note of what must not happen."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What monitors share."""

    symbols: tuple[str, ...]
    gateway: SimulatedGateway
    store: MemoryCycleStore
    clock: VirtualClock
    is_heard: Callable[[], bool]
    room: Room


class Monitor:
    """One process that watches all symbols, or waits for their leases."""

    def __init__(self, house: House, *, owner: str) -> None:
        """Prepare a monitor; `owner` is no other's, ever."""
        self.owner = owner
        self.process = Process(owner)
        self.is_dead = False
        self.desks: dict[str, Desk] = {}
        self.check_now = asyncio.Event()
        self.poll_now = asyncio.Event()
        self._house = house
        self._bands = {symbol: Band() for symbol in house.symbols}
        self._tasks: list[asyncio.Task[None]] = []
        self._leases = LeaseKeeper(
            store=house.store,
            owner=owner,
            desks=self.desks,
            on_start=self._desk_started,
            on_end=self._desk_ended,
            seconds=asyncio.get_running_loop().time,
        )
        self._checks = AccountChecks(
            gateway=house.gateway,
            store=house.store,
            clock=house.clock,
            desks=self.desks,
            is_heard=lambda symbol: house.is_heard(),
        )
        self._news = AccountNews(
            desks=self.desks,
            is_connected=house.is_heard,
            reconnect=lambda reason: self._news.connected(),
            check=self._checks.run_for,
            check_all_soon=self.check_now.set,
        )
        self._around = Surroundings(
            gateway=house.gateway,
            store=house.store,
            clock=house.clock,
            handler=handle_by_flow,
            on_band=self._set_band,
            last_price=lambda symbol: self._bands[symbol].last_price,
            on_step=self._step_taken,
            on_unknown_cycle=lambda symbol, name: self.poll_now.set(),
            may_send=self._leases.may_send,
        )

    @property
    def is_running(self) -> bool:
        """Return whether it is neither dead nor frozen."""
        return not self.process.is_frozen

    def start(self) -> None:
        """Begin to watch."""
        self.connected()
        watches = [self._leases.watch(symbol, self._around) for symbol in self._house.symbols]
        for work in (self._leases.renew(), self._check(), self._poll(), *watches):
            task = self.process.start(work)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    def kill(self) -> None:
        """End it on the spot (SIGKILL): nothing is given back, nothing is written any more."""
        self.is_dead = True
        self.process.freeze()

    async def clear_away(self) -> None:
        """Forget it when all is over."""
        self.process.thaw()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- News ---

    def hear(self, event: AccountEvent) -> None:
        """Receive an account event; while it is frozen they wait in the socket."""
        if not self.is_dead:
            self.process.call_soon(self._news.take, event)

    def hear_trade(self, symbol: str, price: Decimal) -> None:
        """Receive a trade."""
        if not self.is_dead:
            self.process.call_soon(self._traded, symbol, price)

    def _traded(self, symbol: str, price: Decimal) -> None:
        is_dropped = self._bands[symbol].holds(f"{price:f}")
        if not is_dropped and symbol in self.desks:
            self.desks[symbol].traded(price, self._house.clock.now_ms())

    def connected(self) -> None:
        """Hear that its streams tell again, but nothing of before."""
        if not self.is_dead:
            self.process.call_soon(self._news.connected)

    # --- Periodic work ---

    async def _check(self) -> None:
        pause = CHECK_EVERY_S
        while True:
            was_asked_for = await is_called_within(pause, self.check_now)
            is_answered = await self._checks.run()
            is_soon = was_asked_for or not is_answered
            pause = CHECK_AGAIN_S if is_soon else CHECK_EVERY_S
            await asyncio.sleep(self._checks.apart_s)

    async def _poll(self) -> None:
        store, clock = self._house.store, self._house.clock
        while True:
            await is_called_within(POLL_EVERY_S, self.poll_now)
            try:
                for cycle in await load_cycles(store, clock, tuple(self.desks)):
                    desk = self.desks.get(cycle.symbol)
                    if desk is not None and not desk.knows(cycle.cycle_id):
                        desk.adopt(cycle)
                await self._carry_out_requests()
            except StoreError:
                continue

    async def _carry_out_requests(self) -> None:
        store = self._house.store
        for request in await store.operator_requests(tuple(self.desks)):
            desk = self.desks.get(request.symbol)
            if desk is None or not desk.knows(request.cycle_id):
                continue
            asked = OperatorAsked(at_ms=self._house.clock.now_ms(), action=request.action)
            try:
                async with asyncio.timeout(_OPERATOR_WAITS_S):
                    await desk.tell_and_wait(asked, cycle_id=request.cycle_id)
            except TimeoutError:
                continue
            await store.finish_operator_request(request.action_id, "done")

    # --- What its desks tell ---

    def _desk_started(self, desk: Desk) -> None:
        self.check_now.set()
        self.poll_now.set()
        self._house.room.moved(desk.symbol)

    def _desk_ended(self, symbol: str) -> None:
        self._bands[symbol].set(None, None)
        self._house.room.moved(symbol)

    def _set_band(self, symbol: str, limits: Limits | None) -> None:
        if limits is None:
            self._bands[symbol].want_all()
        else:
            self._bands[symbol].set(limits.low, limits.high)

    def _step_taken(self, symbol: str, step: Step) -> None:
        self._news.step_taken(step)
        self._house.room.stepped(self, symbol, step)
        if step.cycle.account_refused_at_ms > step.before.account_refused_at_ms:
            for other, desk in self.desks.items():
                cycle = desk.open_cycle
                if other != symbol and cycle is not None and not cycle.account_refused_at_ms:
                    desk.tell(AccountRefused(at_ms=self._house.clock.now_ms()))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._house.room.broke(error)
