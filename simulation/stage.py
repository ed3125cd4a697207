"""One symbol's monitor and API in miniature, around the paper world in virtual time.

A `Market` is what exists once: exchange, streams, database. A `Stage` is what lives on one symbol:
the production desk behind the production flows, the periodic check, the poll for new cycles and
for what people ask, and the API's flow that opens a position. Monitor and API can be killed at any
moment; the monitor is started again from what is saved.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from random import Random
from types import TracebackType
from typing import Any

from core.clients.memory_store import FailureHook, MemoryCycleStore, never_fails
from core.clients.memory_store import Moment as StoreMoment
from core.clients.rest_call import Call
from core.domain.band import Band
from core.domain.cycle import Cycle, OperatorAction, OperatorAsked
from core.domain.diff import commands
from core.domain.rules import wanted
from core.domain.settings import CycleSettings, Policy, SymbolRules
from core.domain.step import Step
from core.domain.strategy import Band as Limits
from core.engine import KEEP_ENDED_MS, Desk, Surroundings
from core.errors import ExchangeError, StoreError, TradeboxError
from core.narration import narrate
from core.translate.events import AccountEvent, FundingNews, OrderNews, PositionNews
from flows.news import handle_by_flow
from flows.positions_flow import Entries, EntryOrdered, open_long_position
from paper.rules import SymbolRules as PaperRules
from paper.world import World
from simulation.gateway import SimulatedGateway
from simulation.loop import VirtualClock
from simulation.streams import SimulatedStreams, Weather

CHECK_EVERY_S = 60.0
CHECK_AGAIN_S = 5.0
STREAM_MAY_LAG_S = 5.0
POLL_WITHIN_MS = 500
REVIVES_AFTER_S = 1.0
MOST_STEPS = 20_000  # of one stage; more is a loop that never ends


class Moment(StrEnum):
    """When, within a step, a process dies."""

    COMMITTED = "committed"  # nothing of the step was sent
    SENT = "sent"  # the first of its requests took effect, no answer was recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of a monitor process after its n-th step."""

    step: int
    moment: Moment


class KilledError(Exception):
    """The process was killed here."""


class Market:
    """What exists once, whatever the number of symbols: exchange, streams, database."""

    def __init__(self, *symbols: str | PaperRules, seed: int = 0, **options: Any) -> None:
        """Open an exchange for these symbols; only inside a running virtual loop.

        `options` are those of `paper.world.World`.
        """
        self.clock = VirtualClock()
        self.world = World(now_ms=self.clock.now_ms(), symbols=symbols, **options)
        self.bands = {symbol: Band() for symbol in self.world.state.rules}
        self.stages: dict[str, Stage] = {}
        self.streams = SimulatedStreams(
            world=self.world,
            clock=self.clock,
            on_event=self._on_event,
            on_trade=self._on_trade,
            bands=self.bands,
            seed=seed,
        )
        self.gateway = SimulatedGateway(
            self.world,
            self.clock,
            seed=seed,
            on_send=self.sending,
            after_request=self._after_request,
        )
        self.fail: FailureHook = never_fails
        self.store = self._make_store()

    @property
    def is_failing(self) -> bool:
        """Return whether transactions may fail, or take their time."""
        return self.fail is not never_fails or self.store.latency_s > 0

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        self.gateway.faults.clear()
        self.streams.weather = Weather()
        self.fail = never_fails
        self.store.latency_s = 0.0
        self.world.thaw_reads()
        self.connect()

    def disconnect(self) -> None:
        """Cut the account's and the market's stream."""
        self.streams.is_connected = False

    def connect(self) -> None:
        """Let the streams tell again; as after every reconnect, everything is checked."""
        if self.streams.is_connected:
            return
        self.streams.is_connected = True
        for stage in self.stages.values():
            stage.check_now.set()

    def _make_store(self) -> MemoryCycleStore:
        return MemoryCycleStore(now_ms=self.database_ms, fail=self._stored)

    def database_ms(self) -> int:
        """Return the database's clock."""
        return self.clock.now_ms()

    def sending(self, call: Call) -> None:
        """Take note of a call that leaves."""

    def _stored(self, operation: str, moment: StoreMoment) -> None:
        """Tell the monitors of rows that the API and people wrote, as the database does."""
        if moment is StoreMoment.AFTER_COMMIT and operation in ("begin_cycle", "ask_operator"):
            for stage in self.stages.values():
                stage.poll_soon()
        self.fail(operation, moment)

    def _after_request(self) -> None:
        self.streams.pump()
        for stage in self.stages.values():
            stage.request_arrived()

    def _on_event(self, event: AccountEvent) -> None:
        if isinstance(event, OrderNews | PositionNews | FundingNews):
            stage = self.stages.get(event.symbol or "")
            if stage is not None:
                stage.heard(event)

    def _on_trade(self, symbol: str, price: Decimal, time_ms: int) -> None:
        stage = self.stages.get(symbol)
        if stage is not None and stage.is_alive:
            stage.desk.traded(price, time_ms)


class Stage:
    """One symbol's monitor in miniature, the API's part in its cycles, and the market around it."""

    def __init__(
        self,
        symbol: str,
        *,
        policy: Policy | None = None,
        market: Market | None = None,
        dies_at: Death | None = None,
        seed: int = 0,
    ) -> None:
        """Prepare a stage; `market` is given where several symbols share one."""
        self.symbol = symbol
        self.policy = Policy() if policy is None else policy
        self.dies_at = dies_at
        self.deaths = 0
        self.told: list[str] = []
        self.steps: list[Step] = []
        self.after_step: list[Callable[[Step], None]] = []  # invariants; may raise
        self.check_now = asyncio.Event()
        self._desk: Desk | None = None
        self._is_alive = False
        self._seed = seed
        self._random = Random(seed)
        self._given = market
        self._cycles_begun = 0
        self._looked_at: Cycle | None = None
        self._was_quiet = False
        self._rules: SymbolRules | None = None
        self._dies_on_arrival = False
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Stage":
        """Open the exchange and the desk."""
        self.market = self._given or Market(self.symbol, seed=self._seed)
        self.world, self.streams = self.market.world, self.market.streams
        self.gateway, self.store = self.market.gateway, self.market.store
        self.clock, self.band = self.market.clock, self.market.bands[self.symbol]
        self.market.stages[self.symbol] = self
        self.entries = Entries(
            gateway=self.gateway,
            store=self.store,
            clock=self.clock,
            policy=self.policy,
            margin_type="CROSSED",
            lack_of_funds_warns=False,
            new_key=self._new_key,
        )
        self._start_desk()
        self.keep(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the desk and let the exchange prove its books."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop_desk()
        if error is None:
            self.raise_failure()
        self.world.check()

    # --- The API's part ---

    async def open_by_alert(self, settings: CycleSettings) -> Cycle | None:
        """Do what the API does with an alert that opens; None: nothing was opened.

        The answer may come late or not at all; what is intended by then is the monitor's.
        """
        if await self.store.busy_webhook(self.symbol) is not None:
            return None
        now_ms = self.clock.now_ms()
        webhook = await self.store.record_webhook({}, received_at_ms=now_ms, symbol=self.symbol)
        if self._rules is None:  # the monitor stores them at its start
            self._rules = await self.gateway.rules(self.symbol)
        ordered = EntryOrdered(webhook_id=webhook, settings=settings, rules=self._rules)
        try:
            return (await open_long_position(self.entries, ordered)).cycle
        except (TradeboxError, ExceptionGroup) as refused:
            self.tell(f"alert: {refused}")
            self._refused(settings, refused)
            return None

    def _refused(self, settings: CycleSettings, error: Exception) -> None:
        """Take note of why nothing was opened."""

    def _new_key(self, now_ms: int) -> str:
        self._cycles_begun += 1
        return f"s{self._seed:07d}n{self._cycles_begun:03d}"

    # --- The desk, its deaths and its returns ---

    async def restart_desk(self) -> None:
        """Crash now and start again: load what is saved, check against the exchange."""
        await self._stop_desk()
        self._start_desk()
        await self._take_over()

    async def kill_desk(self) -> None:
        """Crash and stay down; `restart_desk` brings the monitor back."""
        await self._stop_desk()

    def request_arrived(self) -> None:
        """Die here if it is the time: the request took effect, its answer is on the way."""
        if self._dies_on_arrival:
            self._dies_on_arrival = False
            self.keep(self._die())

    def die_in(self, steps: int, moment: Moment) -> None:
        """Kill the monitor after some more steps."""
        self.dies_at = Death(step=len(self.steps) + steps, moment=moment)

    def _start_desk(self) -> None:
        around = Surroundings(
            gateway=self.gateway,
            store=self.store,
            clock=self.clock,
            handler=handle_by_flow,
            on_band=self._on_band,
            last_price=lambda symbol: self.band.last_price,
            on_step=self._on_step,
            on_unknown_cycle=lambda symbol, name: self.poll_soon(at_once=True),
        )
        self._desk = desk = Desk(self.symbol, around)
        self._is_alive = True
        self._running = asyncio.get_running_loop().create_task(desk.run())
        self._running.add_done_callback(self._desk_ended)

    async def _stop_desk(self) -> None:
        self._is_alive = False
        self.band.want_all()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _die(self) -> None:
        await self._stop_desk()
        await self._revive()

    def _desk_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, KilledError):
            self._is_alive = False
            self.keep(self._revive())
        elif error is not None:
            self.fail(error)

    async def _revive(self) -> None:
        self.deaths += 1
        await asyncio.sleep(REVIVES_AFTER_S)
        self._start_desk()
        await self._take_over()

    async def _take_over(self) -> None:
        """Do what a monitor does when it gets the symbol's lease."""
        desk = self.desk
        recent_ms = self.clock.now_ms() - KEEP_ENDED_MS
        while True:
            try:
                loaded = await self.store.load_open([self.symbol], ended_after_ms=recent_ms)
                break
            except StoreError:
                await asyncio.sleep(REVIVES_AFTER_S)
        for cycle in loaded:
            desk.take_over(cycle)
        self.check_now.set()

    async def _watch(self) -> None:
        """Check once a minute, as the monitor does, and whenever something looks wrong."""
        pause = CHECK_EVERY_S
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self.check_now.wait()
            except TimeoutError:
                pass
            self.check_now.clear()
            pause = CHECK_EVERY_S
            if not self.is_alive:
                continue
            try:
                await self.desk.check()
                await self.desk.check_funding()
                await self.desk.check_asset_prices()
            except ExchangeError:
                pause = CHECK_AGAIN_S

    # --- What others wrote into the database ---

    def poll_soon(self, *, at_once: bool = False) -> None:
        """Look for new cycles and requests of people within half a second."""
        delay_ms = 0 if at_once else self._random.randint(0, POLL_WITHIN_MS)
        loop = asyncio.get_running_loop()
        loop.call_later(delay_ms / 1000, lambda: self.keep(self._poll()))

    async def _poll(self) -> None:
        if not self.is_alive:
            return  # the next one loads everything
        desk = self.desk
        try:
            recent_ms = self.clock.now_ms() - KEEP_ENDED_MS
            for cycle in await self.store.load_open([self.symbol], ended_after_ms=recent_ms):
                if not desk.knows(cycle.cycle_id):
                    desk.adopt(cycle)
            for request in await self.store.operator_requests([self.symbol]):
                if desk.knows(request.cycle_id) and self.is_alive:
                    asked = OperatorAsked(at_ms=self.clock.now_ms(), action=request.action)
                    async with asyncio.timeout(10):
                        await desk.tell_and_wait(asked, cycle_id=request.cycle_id)
                    await self.store.finish_operator_request(request.action_id, "done")
        except (StoreError, TimeoutError):
            self.poll_soon()

    async def request(self, action: OperatorAction) -> None:
        """Write down that the operator asks for something; without an open cycle nobody can."""
        now_ms, cycle = self.clock.now_ms(), self.newest
        if cycle is None:
            return
        try:
            await self.store.ask_operator(
                cycle.cycle_id, action, asked_by="operator", asked_at_ms=now_ms
            )
        except StoreError as error:
            self.tell(f"operator: {error}")

    # --- Time ---

    async def settle(self, seconds: float = 12.0) -> None:
        """Let time pass: amendments, proofs and look-ups take seconds; a restart, more of them."""
        deaths = self.deaths
        await asyncio.sleep(seconds)
        while self.deaths != deaths or not self.is_alive:
            deaths = self.deaths
            await asyncio.sleep(seconds + 20)
        self.raise_failure()

    async def trade(self, *prices: str, quantity: str = "1000") -> None:
        """Let the market trade at these prices, without waiting in between."""
        for price in prices:
            self.streams.trade(self.symbol, Decimal(price), Decimal(quantity))

    # --- What to look at ---

    @property
    def desk(self) -> Desk:
        """Return the desk that decides."""
        assert self._desk is not None, "no monitor has begun"
        return self._desk

    @property
    def is_alive(self) -> bool:
        """Return whether a monitor runs that decides for the symbol."""
        return self._is_alive

    @property
    def cycle(self) -> Cycle:
        """Return the newest cycle as it is saved."""
        cycle = self.newest
        assert cycle is not None, "no cycle has begun"
        return cycle

    @property
    def newest(self) -> Cycle | None:
        """Return the newest cycle as it is saved; None: none has begun."""
        return self.store.newest(self.symbol)

    @property
    def is_open(self) -> bool:
        """Return whether a cycle is open."""
        newest = self.newest
        return newest is not None and newest.is_open

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing is under way and nothing is left to be done."""
        if not self.is_alive or not self.desk.is_idle:
            return False
        cycle = self.cycle
        if self._looked_at is not cycle:
            self._looked_at, self._was_quiet = cycle, _wants_nothing(cycle)
        return self._was_quiet

    def tell(self, text: str) -> None:
        """Write down what happened, for people."""
        self.told.append(text)

    # --- Wires ---

    def heard(self, event: OrderNews | PositionNews | FundingNews) -> None:
        """Take an account event as the monitor does."""
        if not self.is_alive:
            return
        match event:
            case OrderNews(report=report):
                self.desk.tell(report)
            case PositionNews():
                self._compare(event, then=lambda: self._compare_later(event))
            case FundingNews():
                self.desk.funding_told()
                self.check_now.set()

    def _compare_later(self, news: PositionNews) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(STREAM_MAY_LAG_S, lambda: self._compare(news, then=self.check_now.set))

    def _compare(self, news: PositionNews, *, then: Callable[[], None]) -> None:
        cycle = self.desk.open_cycle
        if cycle is None:
            return
        pairs = ((news.long, cycle.long), (news.short, cycle.short))
        if any(told is not None and told.quantity != leg.quantity for told, leg in pairs):
            then()

    def _on_band(self, symbol: str, limits: Limits | None) -> None:
        if limits is None:
            self.band.want_all()
        else:
            self.band.set(limits.low, limits.high)

    def _on_step(self, symbol: str, step: Step) -> None:
        self._note_step(step)
        if self._dies_after(step):
            raise KilledError

    def _note_step(self, step: Step) -> None:
        self.steps.append(step)
        for line in narrate(step):
            self.tell(line.text)
        assert len(self.steps) <= MOST_STEPS, "\n".join(self.told[-20:])
        for invariant in self.after_step:
            invariant(step)

    def _dies_after(self, step: Step) -> bool:
        """Return whether the monitor dies before anything of the step is sent."""
        if self.dies_at is None or len(self.steps) != self.dies_at.step:
            return False
        self._dies_on_arrival = self.dies_at.moment is Moment.SENT and bool(step.requests)
        return not self._dies_on_arrival

    def keep(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` beside everything else; what it raises fails the stage."""
        _ = self.start(work)

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Do as `keep` does; return the task, to be cancelled."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._kept_ended)
        return task

    def _kept_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Take note of what went wrong where nobody waits for it; the first one counts."""
        self._failure = self._failure or error

    def raise_failure(self) -> None:
        """Raise what went wrong unseen, if anything did."""
        if self._failure is not None:
            raise self._failure


def _wants_nothing(cycle: Cycle) -> bool:
    is_busy = any(o.is_in_flight or (o.is_triggered and not o.is_over) for o in cycle.orders)
    return not is_busy and not commands(wanted(cycle), cycle.orders)
