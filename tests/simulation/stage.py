"""A whole trading day in memory: the paper world, the streams, one desk, virtual time.

async def story() -> None:
    async with Stage(alert()) as stage:
        await stage.enter("60000")
        await stage.walk("59700", "60119.1")
        ...
run(story())
"""

import asyncio
from dataclasses import replace
from decimal import Decimal
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
from core.domain.settings import (
    AmountType,
    CycleSettings,
    GridMode,
    MultiplierMode,
    Policy,
)
from core.domain.step import Step, take_step
from core.domain.strategy import Band as Limits
from core.domain.webhook import WebhookStatus
from core.engine import Desk, Surroundings
from core.errors import ExchangeError, OutcomeUnknown, RequestRefused
from core.narration import narrate
from core.translate import AccountEvent, OrderNews
from paper.world import World
from simulation.gateway import SimulatedGateway
from simulation.loop import VirtualClock
from simulation.streams import SimulatedStreams

D = Decimal
SYMBOL = "BTCUSDT"


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


class Stage:
    """One symbol's monitor in miniature, and the market around it."""

    def __init__(self, settings: CycleSettings, *, policy: Policy | None = None) -> None:
        self.settings = settings
        self.policy = Policy() if policy is None else policy
        self.clock = VirtualClock()
        self.told: list[str] = []
        self.steps: list[Step] = []
        self.key = "aaaaaaaaaa"

    async def __aenter__(self) -> "Stage":
        """Open the exchange and the desk."""
        self.world = World(now_ms=self.clock.now_ms(), symbols=[self.settings.symbol])
        self.band = Band()
        self.streams = SimulatedStreams(
            world=self.world,
            clock=self.clock,
            on_event=self._on_event,
            on_trade=self._on_trade,
            bands={self.settings.symbol: self.band},
        )
        self.gateway = SimulatedGateway(self.world, self.clock, after_request=self.streams.pump)
        self.store = MemoryCycleStore(now_ms=self.clock.now_ms)
        self.start_desk()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the desk and let the exchange prove its books."""
        await self.stop_desk()
        self.world.check()

    # --- The desk ---

    def start_desk(self) -> None:
        """Start a monitor's work for the symbol."""
        around = Surroundings(
            gateway=self.gateway,
            store=self.store,
            clock=self.clock,
            on_band=self._on_band,
            last_price=lambda symbol: self.band.last_price,
            on_step=self._on_step,
        )
        self.desk = Desk(self.settings.symbol, around)
        self._running = asyncio.get_running_loop().create_task(self.desk.run())

    async def stop_desk(self) -> None:
        """Stop it as a crash would: whatever is under way stays unresolved."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if self._running.done() and not self._running.cancelled():
            error = self._running.exception()
            if error is not None:
                raise error

    async def restart_desk(self) -> None:
        """Crash and start again: load what is saved, check against the exchange."""
        await self.stop_desk()
        self.start_desk()
        for cycle in await self.store.load_open([self.settings.symbol], ended_after_ms=0):
            self.desk.adopt(cycle)
        await self.desk.check()

    # --- The story's verbs ---

    async def enter(self, price: str, *, quantity: str | None = None) -> None:
        """Let the alert's entry happen at `price`, as the API does it."""
        await self.trade(price)
        rules = await self.gateway.rules(self.settings.symbol)
        amount = self.settings.amount if quantity is None else D(quantity)
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
            symbol=self.settings.symbol,
            settings=self.settings,
            rules=rules,
            policy=self.policy,
            accepted_at_ms=now,
            orders=(entry,),
        )
        await self.gateway.set_leverage(self.settings.symbol, self.settings.leverage)
        webhook = await self.store.record_webhook(
            {}, received_at_ms=now, symbol=self.settings.symbol, status=WebhookStatus.PROCESSING
        )
        cycle = await self.store.begin_cycle(webhook, cycle)
        self.cycle_id = cycle.cycle_id
        self.desk.adopt(cycle)
        await self._send_entry(entry)
        await self.settle()

    async def _send_entry(self, entry: OrderState) -> None:
        try:
            report: OrderReported = await self.gateway.place(self.settings.symbol, entry)
        except (OutcomeUnknown, RequestRefused, ExchangeError):
            return  # the monitor's now
        await self.store.update(
            self.cycle_id,
            lambda c: take_step(c, (report,), now_ms=self.clock.now_ms(), may_request=False),
            lease=None,
        )

    async def trade(self, *prices: str, quantity: str = "1000") -> None:
        """Let the market trade at these prices, without waiting in between."""
        for price in prices:
            self.streams.trade(self.settings.symbol, D(price), D(quantity))

    async def walk(self, *prices: str, quantity: str = "1000") -> None:
        """Let the market trade, and everything come to rest after each trade."""
        for price in prices:
            await self.trade(price, quantity=quantity)
            await self.settle()

    async def settle(self, seconds: float = 12.0) -> None:
        """Let time pass: amendments, proofs and look-ups take seconds."""
        await asyncio.sleep(seconds)

    async def ask(self, action: OperatorAction) -> None:
        """Let the operator ask for something."""
        self.desk.tell(OperatorAsked(at_ms=self.clock.now_ms(), action=action))
        await self.settle()

    # --- What to look at ---

    @property
    def cycle(self) -> Cycle:
        """Return the cycle as the desk last saved it."""
        return self.desk._memory.cycles[self.cycle_id]

    def resting(self) -> dict[str, tuple[Decimal | None, Decimal | None]]:
        """Return what rests on the exchange by our books: role and number → price, quantity."""
        return {
            f"{o.role}{o.number or ''}": (o.price, o.quantity)
            for o in self.cycle.orders
            if o.is_resting
        }

    # --- Wires ---

    def _on_event(self, event: AccountEvent) -> None:
        if isinstance(event, OrderNews):
            self.desk.tell(event.report)

    def _on_trade(self, symbol: str, price: Decimal, time_ms: int) -> None:
        self.desk.traded(price, time_ms)

    def _on_band(self, symbol: str, limits: Limits | None) -> None:
        if limits is None:
            self.band.want_all()
        else:
            self.band.set(limits.low, limits.high)

    def _on_step(self, symbol: str, step: Step) -> None:
        self.steps.append(step)
        self.told += [line.text for line in narrate(step)]
