"""A whole trading day in memory: the paper world, the streams, a desk a symbol, virtual time.

    async def story() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            await stage.walk("59700", "60119.1")
            await stage.finish()
    run(story())

A `Market` is what exists once: exchange, streams, database. A `Stage` is one symbol's monitor in
miniature: it may be killed after any step (`dies_at`) and comes back by itself a second later.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from types import TracebackType

from core.clients.memory_store import MemoryCycleStore
from core.domain.band import Band
from core.domain.cycle import (
    Cycle,
    Kind,
    OperatorAction,
    OperatorAsked,
    OrderReported,
    OrderState,
    PositionSide,
    Request,
    Role,
    Side,
    client_order_id,
)
from core.domain.diff import commands
from core.domain.rules import wanted
from core.domain.settings import AmountType, CycleSettings, GridMode, MultiplierMode, Policy
from core.domain.step import Step, take_step
from core.domain.strategy import Band as Limits
from core.domain.webhook import WebhookStatus
from core.engine import Desk, Surroundings
from core.errors import ExchangeError
from core.narration import narrate
from core.translate import AccountEvent, FundingNews, OrderNews, PositionNews
from paper.world import World
from simulation.gateway import SimulatedGateway
from simulation.loop import VirtualClock
from simulation.streams import SimulatedStreams, Weather

D = Decimal
SYMBOL = "BTCUSDT"
CHECK_EVERY_S = 60.0
STREAM_MAY_LAG_S = 5.0
REVIVES_AFTER_S = 1.0
MOST_STEPS = 3_000  # of one story; more is a loop that never ends


def alert(**changes: object) -> CycleSettings:
    """Return the settings of the worked example's alert, with changes."""
    settings = CycleSettings(
        symbol=SYMBOL,
        amount_type=AmountType.BASE,
        amount=D("0.004"),
        leverage=10,
        entry_price=None,
        deposit=D(300),
        extramarg=D(600),
        tp=D("0.5"),
        order_quan=3,
        grid_long=(D("0.5"), D(1), D(2)),
        grid_mode=GridMode.STEP,
        mg_long=(D("1.5"), D(2), D(2)),
        mg_mode=MultiplierMode.MULTIPLIER,
        trail_1=D(0),
        trail_2=D(0),
        trail_step=D(0),
        trail_guard=True,
        offset_short=D("0.2"),
        offset_pluse=D("0.2"),
        sl_short=D("0.5"),
        max_hedges=5,
        pnl_target=D(0),
        max_loss=None,
        grid_ahead=1,
    )
    return replace(settings, **changes)  # type: ignore[arg-type] # fields by name, tests only


def trailing_alert(**changes: object) -> CycleSettings:
    """Return the worked example's trailing settings, with changes."""
    trailing = {"trail_1": D("0.3"), "trail_2": D("0.1"), "trail_step": D("0.05")}
    return alert(**(trailing | changes))


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

    def __init__(self, *symbols: str, seed: int = 0) -> None:
        """Open an exchange for these symbols; only inside a running virtual loop."""
        self.clock = VirtualClock()
        self.world = World(now_ms=self.clock.now_ms(), symbols=symbols)
        self.bands = {symbol: Band() for symbol in symbols}
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
            self.world, self.clock, seed=seed, after_request=self._after_request
        )
        self.store = MemoryCycleStore(now_ms=self.clock.now_ms)

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        self.gateway.faults.clear()
        self.streams.weather = Weather()
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
    """One symbol's monitor in miniature, and the market around it."""

    def __init__(
        self,
        settings: CycleSettings,
        *,
        policy: Policy | None = None,
        market: Market | None = None,
        dies_at: Death | None = None,
        seed: int = 0,
        key: str = "aaaaaaaaaa",
    ) -> None:
        """Prepare a stage; `market` is given where several symbols share one."""
        self.settings = settings
        self.symbol = settings.symbol
        self.policy = Policy() if policy is None else policy
        self.key = key
        self.dies_at = dies_at
        self.api_dies: Moment | None = None
        self.deaths = 0
        self.told: list[str] = []
        self.steps: list[Step] = []
        self.after_step: list[Callable[[Step], None]] = []  # invariants; may raise
        self.check_now = asyncio.Event()
        self.is_alive = False
        self._seed = seed
        self._given = market
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
        self._start_desk()
        self._keep(self._watch())
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
            self._raise_failure()
        self.world.check()

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
            self._keep(self._die())

    def _start_desk(self) -> None:
        around = Surroundings(
            gateway=self.gateway,
            store=self.store,
            clock=self.clock,
            on_band=self._on_band,
            last_price=lambda symbol: self.band.last_price,
            on_step=self._on_step,
        )
        self.desk = Desk(self.symbol, around)
        self.is_alive = True
        self._running = asyncio.get_running_loop().create_task(self.desk.run())
        self._running.add_done_callback(self._desk_ended)

    async def _stop_desk(self) -> None:
        self.is_alive = False
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
            self.is_alive = False
            self._keep(self._revive())
        elif error is not None:
            self._failure = self._failure or error

    async def _revive(self) -> None:
        self.deaths += 1
        await asyncio.sleep(REVIVES_AFTER_S)
        self._start_desk()
        await self._take_over()

    async def _take_over(self) -> None:
        """Do what a monitor does when it gets the symbol's lease."""
        for cycle in await self.store.load_open([self.symbol], ended_after_ms=0):
            self.desk.take_over(cycle)
        self.check_now.set()

    async def _watch(self) -> None:
        """Check once a minute, as the monitor does, and whenever something looks wrong."""
        while True:
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await self.check_now.wait()
            except TimeoutError:
                pass
            self.check_now.clear()
            if not self.is_alive:
                continue
            try:
                await self.desk.check()
                await self.desk.check_funding()
            except ExchangeError:
                continue

    # --- The story's verbs ---

    async def enter(self, price: str, *, quantity: str | None = None) -> None:
        """Let the alert's entry happen at `price`, as the API does it, and all come to rest."""
        await self.enter_only(price, quantity=quantity)
        await self.settle()

    async def enter_only(self, price: str, *, quantity: str | None = None) -> None:
        """Enter; return as soon as the API is done."""
        entry = await self.begin(price, quantity=quantity)
        if self.api_dies is not Moment.COMMITTED:
            await self._send_entry(entry, is_recorded=self.api_dies is None)

    async def begin(self, price: str, *, quantity: str | None = None) -> OrderState:
        """Commit the intent of the entry and return it; nothing is sent."""
        await self.trade(price)
        rules = await self.gateway.rules(self.symbol)
        amount = self.settings.amount if quantity is None else D(quantity)
        await self.gateway.set_leverage(self.symbol, self.settings.leverage)
        now = self.clock.now_ms()
        entry = OrderState(
            client_order_id=client_order_id(key=self.key, role=Role.ENTRY, number=0, attempt=1),
            role=Role.ENTRY,
            number=0,
            attempt=1,
            side=Side.BUY,
            position_side=PositionSide.LONG,
            kind=Kind.MARKET,
            price=None,
            quantity=amount,
            request=Request.PLACE,
            target_quantity=amount,
            requested_at_ms=now,
            created_at_ms=now,
        )
        cycle = Cycle(
            cycle_id=0,
            key=self.key,
            symbol=self.symbol,
            settings=self.settings,
            rules=rules,
            policy=self.policy,
            accepted_at_ms=now,
            orders=(entry,),
        )
        webhook = await self.store.record_webhook(
            {}, received_at_ms=now, symbol=self.symbol, status=WebhookStatus.PROCESSING
        )
        cycle = await self.store.begin_cycle(webhook, cycle)
        self.cycle_id = cycle.cycle_id
        self.desk.adopt(cycle)
        return entry

    async def _send_entry(self, entry: OrderState, *, is_recorded: bool) -> None:
        try:
            report: OrderReported = await self.gateway.place(self.symbol, entry)
        except ExchangeError:
            return  # the monitor's now
        if is_recorded:
            await self.store.update(
                self.cycle_id,
                lambda c: take_step(c, (report,), now_ms=self.clock.now_ms(), may_request=False),
                lease=None,
            )

    async def trade(self, *prices: str, quantity: str = "1000") -> None:
        """Let the market trade at these prices, without waiting in between."""
        for price in prices:
            self.streams.trade(self.symbol, D(price), D(quantity))

    async def walk(self, *prices: str, quantity: str = "1000") -> None:
        """Let the market trade, and everything come to rest after each trade."""
        for price in prices:
            await self.trade(price, quantity=quantity)
            await self.settle()

    async def settle(self, seconds: float = 12.0) -> None:
        """Let time pass: amendments, proofs and look-ups take seconds; a restart, more of them."""
        deaths = self.deaths
        await asyncio.sleep(seconds)
        while self.deaths != deaths or not self.is_alive:
            deaths = self.deaths
            await asyncio.sleep(seconds + 20)
        self._raise_failure()

    async def ask(self, action: OperatorAction) -> None:
        """Let the operator ask for something."""
        self.desk.tell(OperatorAsked(at_ms=self.clock.now_ms(), action=action))
        await self.settle()

    async def close(self) -> None:
        """Let the operator close both sides."""
        await self.ask(OperatorAction.CLOSE)

    def die_in(self, steps: int, moment: Moment) -> None:
        """Kill the monitor after some more steps."""
        self.dies_at = Death(step=len(self.steps) + steps, moment=moment)

    def breaks_off_at(self, step: int, seconds: float) -> None:
        """Cut the streams after the n-th step; they are back some seconds later."""

        def cut(_: Step) -> None:
            if len(self.steps) == step:
                self.market.disconnect()
                asyncio.get_running_loop().call_later(seconds, self.market.connect)

        self.after_step.append(cut)

    async def finish(self) -> None:
        """Let the weather clear and the market trade on at its price, until the cycle has ended."""
        self.market.calm()
        for _ in range(6):
            if not self.cycle.is_open:
                break
            await self.trade(str(self.world.last(self.symbol)))
            await self.settle(70)
        self._raise_failure()

    # --- What to look at ---

    @property
    def cycle(self) -> Cycle:
        """Return the cycle as it is saved."""
        return self.store._cycles[self.cycle_id].cycle

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing is under way and nothing is left to be done."""
        if not self.is_alive or not self.desk.is_idle:
            return False
        cycle = self.cycle
        is_busy = any(o.is_in_flight or (o.is_triggered and not o.is_over) for o in cycle.orders)
        return not is_busy and not commands(wanted(cycle), cycle.orders)

    @property
    def is_told(self) -> bool:
        """Return whether the streams tell everything that happens."""
        return self.streams.is_connected and not self.streams.weather.lost

    def resting(self) -> dict[str, tuple[Decimal | None, Decimal | None]]:
        """Return what rests on the exchange by our books: role and number → price, quantity."""
        return {
            f"{o.role}{o.number or ''}": (o.price, o.quantity)
            for o in self.cycle.orders
            if o.is_resting
        }

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
        self.steps.append(step)
        self.told += [line.text for line in narrate(step)]
        assert len(self.steps) <= MOST_STEPS, "\n".join(self.told[-20:])
        for invariant in self.after_step:
            invariant(step)
        if self.dies_at is None or len(self.steps) != self.dies_at.step:
            return
        if self.dies_at.moment is Moment.SENT and step.requests:
            self._dies_on_arrival = True
        else:
            raise KilledError

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._kept_ended)

    def _kept_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
