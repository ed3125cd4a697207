"""A whole trading day in memory, as stories tell it: verbs over `simulation.stage.Stage`.

async def story() -> None:
    async with Stage(alert()) as stage:
        await stage.enter("60000")
        await stage.walk("59700", "60119.1")
        await stage.finish()
run(story())
"""

import asyncio
from dataclasses import replace
from decimal import Decimal

from core.domain.cycle import (
    OperatorAction,
    OperatorAsked,
    OrderReported,
    OrderState,
)
from core.domain.settings import AmountType, CycleSettings, GridMode, MultiplierMode, Policy
from core.domain.step import Step, take_step
from core.domain.webhook import WebhookStatus
from core.entry_checks import begun_cycle
from core.errors import ExchangeError
from simulation import stage as product
from simulation.stage import CHECK_EVERY_S as CHECK_EVERY_S
from simulation.stage import Death as Death
from simulation.stage import Market as Market
from simulation.stage import Moment as Moment

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


def trailing_alert(**changes: object) -> CycleSettings:
    """Return the worked example's trailing settings, with changes."""
    trailing = {"trail_1": D("0.3"), "trail_2": D("0.1"), "trail_step": D("0.05")}
    return alert(**(trailing | changes))


class Stage(product.Stage):
    """A stage with the verbs of a story, for one alert."""

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
        super().__init__(settings.symbol, policy=policy, market=market, dies_at=dies_at, seed=seed)
        self.settings = settings
        self.key = key
        self.api_dies: Moment | None = None

    async def __aenter__(self) -> "Stage":
        """Open the exchange and the desk."""
        await super().__aenter__()
        return self

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
        cycle = begun_cycle(
            self.settings,
            rules,
            quantity=amount,
            policy=self.policy,
            key=self.key,
            now_ms=now,
        )
        webhook = await self.store.record_webhook(
            {}, received_at_ms=now, symbol=self.symbol, status=WebhookStatus.PROCESSING
        )
        cycle = await self.store.begin_cycle(webhook, cycle)
        self.cycle_id = cycle.cycle_id
        self.desk.adopt(cycle)
        entry = cycle.entry_order
        assert entry is not None
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

    async def walk(self, *prices: str, quantity: str = "1000") -> None:
        """Let the market trade, and everything come to rest after each trade."""
        for price in prices:
            await self.trade(price, quantity=quantity)
            await self.settle()

    async def ask(self, action: OperatorAction) -> None:
        """Let the operator ask for something."""
        self.desk.tell(OperatorAsked(at_ms=self.clock.now_ms(), action=action))
        await self.settle()

    async def close(self) -> None:
        """Let the operator close both sides."""
        await self.ask(OperatorAction.CLOSE)

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
        self.raise_failure()

    # --- What to look at ---

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
