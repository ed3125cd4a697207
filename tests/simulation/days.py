"""Days made of chance: a random alert, a random market, and whatever may go wrong.

Everything follows from the seed. What happens is drawn from `HAPPENINGS`; after each step the
invariants of `proof` are checked, every now and then the weather clears and the exits have to be
there, and in the end the operator closes what is still open and the books must agree.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random

from core.clients.memory_store import Moment as StoreMoment
from core.clients.memory_store import never_fails
from core.domain.cycle import OperatorAction, Role
from core.domain.settings import CycleSettings, OnHedgeFailed, Policy
from core.errors import CommitUnclear, StoreUnavailable
from paper.errors import RefusedError
from simulation.faults import Fault, FaultKind
from simulation.loop import run
from simulation.streams import Weather
from tests.simulation.proof import prove_ended, prove_protected, watch
from tests.simulation.stage import Moment, Stage, alert

D = Decimal
TICK = D("0.1")
HAPPENINGS_A_DAY = 80


def live_through(seed: int) -> Stage:
    """Play the day of this seed to its end and prove it; return the stage, to be looked at."""

    async def main() -> Stage:
        dice = Random(seed)
        policy = Policy(on_hedge_failed=dice.choice(list(OnHedgeFailed)))
        async with Stage(random_alert(dice), policy=policy, seed=seed) as stage:
            watch(stage)
            day = Day(stage, dice)
            await day.begin()
            for _ in range(HAPPENINGS_A_DAY):
                if not stage.cycle.is_open:
                    break
                await day.happen()
                if dice.random() < day.calm:
                    await day.clear_up()
            await day.end()
        return stage

    return run(main())


def random_alert(dice: Random) -> CycleSettings:
    """Return an alert of any shape that the rules allow."""
    levels = dice.randint(0, 4)
    is_trailing, is_hedged = dice.random() < 0.5, dice.random() < 0.8
    changes: dict[str, object] = {
        "amount": D(dice.choice(["0.002", "0.004", "0.010"])),
        "deposit": D(dice.choice([150, 300, 1000])),
        "tp": D(dice.choice(["0.5", "1", "3"])),
        "order_quan": levels,
        "grid_long": tuple(D(dice.choice(["0.2", "0.5", "1"])) for _ in range(levels)),
        "mg_long": tuple(D(dice.choice(["1", "1.5", "2"])) for _ in range(levels)),
        "grid_ahead": dice.choice([1, 1, 2, 5]),
        "trail_guard": dice.random() < 0.7,
        "max_hedges": dice.choice([0, 1, 2, 5]),
        "offset_short": D(dice.choice(["0.1", "0.2", "0.5"])),
        "offset_pluse": D(dice.choice(["0.2", "-0.1", "0.5"])),
        "sl_short": D(dice.choice(["0.2", "0.5", "1"])),
        "extramarg": D(dice.choice([30, 100, 600])) if is_hedged else D(0),
        "max_loss": D(dice.choice([2, 20])) if dice.random() < 0.3 else None,
        "pnl_target": D(dice.choice([0, 1])),
    }
    if is_trailing:
        changes |= {"trail_1": D("0.15"), "trail_2": D(dice.choice(["0.05", "0.1"]))}
        changes |= {"trail_step": D(dice.choice(["0", "0.05"]))}
    return alert(**changes)


class Day:
    """One day of a stage, told by dice."""

    def __init__(self, stage: Stage, dice: Random) -> None:
        self.stage = stage
        self.dice = dice
        self.price = D(60000)
        # Some days are quiet, with a fault here and there; on others nothing works for long.
        self.wildness = dice.choice([0.2, 1, 1, 3])
        self.calm = dice.choice([0.03, 0.1])
        self.log: list[str] = []

    async def begin(self) -> None:
        """Enter, perhaps only in part, perhaps with an API that dies."""
        self.stage.api_dies = self.dice.choice([None, None, None, *Moment])
        await self.stage.trade(str(self.price))
        if self.dice.random() < 0.15:
            self.stage.world.set_liquidity(self.stage.symbol, D("0.003"))
        if self.dice.random() < 0.2:
            kind = self.dice.choice([FaultKind.LOST_ANSWER, FaultKind.LATE_ANSWER])
            self.stage.gateway.faults.add(
                Fault(kind=kind, client_id="-en", delay_ms=self.dice.randint(0, 6_000))
            )
        await self.stage.enter(str(self.price))
        self.stage.world.set_liquidity(self.stage.symbol, None)

    async def happen(self) -> None:
        """Let one thing happen, and some time pass."""
        weights = [w if h in MARKET else w * self.wildness for h, w in HAPPENINGS]
        chosen = self.dice.choices([h for h, _ in HAPPENINGS], weights)[0]
        self.log.append(chosen.__name__)
        try:
            await chosen(self)
        except RefusedError as refusal:  # a person asked for what the exchange does not do
            self.log.append(str(refusal))
        self.stage.streams.pump()
        await self.stage.settle(self.dice.choice([0.0, 0.02, 0.2, 2, 12]))

    async def clear_up(self) -> None:
        """Let the weather clear and time pass; what is held must then have its exits."""
        self.stage.market.calm()
        self.stage.store.fail = never_fails
        self.stage.world.set_liquidity(self.stage.symbol, None)
        for _ in range(3):  # back-offs grow to a minute
            await self.stage.settle(150)
            if self.stage.is_quiet:
                break
        assert self.stage.is_quiet or self.stage.cycle.is_hands_off, self.stage.told[-20:]
        if self.stage.is_quiet:
            prove_protected(self.stage)

    async def end(self) -> None:
        """Let the operator close what is left, and prove the books."""
        await self.clear_up()
        for action in (OperatorAction.HANDS_ON, OperatorAction.RESUME, OperatorAction.CLOSE):
            if self.stage.cycle.is_open:
                await self.stage.ask(action)
        await self.stage.finish()
        prove_ended(self.stage)

    # --- The market ---

    async def drift(self) -> None:
        """Trade on, a little away."""
        for _ in range(self.dice.randint(1, 6)):
            await self._trade(self.dice.gauss(-0.0001, 0.0008))

    async def jump(self) -> None:
        """Trade far away at once."""
        await self._trade(self.dice.choice([-0.03, -0.015, -0.006, -0.004, 0.003, 0.01]))

    async def go_to_where_it_matters(self) -> None:
        """Trade where an order of ours rests, or a tick beside it; seldom where it ends all."""
        orders = [o for o in self.stage.cycle.orders if o.is_resting]
        is_end_near = self.dice.random() < 0.1
        prices = [
            o.price for o in orders if o.price and (o.role is not Role.TAKE_PROFIT or is_end_near)
        ]
        if prices:
            self.price = self.dice.choice(prices) + self.dice.choice([-1, 0, 0, 1]) * TICK
            await self._trade(0)

    async def thin_out(self) -> None:
        """Let takers find little, or all they ask for again."""
        liquidity = self.dice.choice([None, D("0.002"), D("0.05")])
        self.stage.world.set_liquidity(self.stage.symbol, liquidity)

    async def _trade(self, change: float) -> None:
        moved = self.price * (1 + D(str(round(change, 6))))
        self.price = (moved / TICK).quantize(D(1), ROUND_HALF_EVEN) * TICK
        quantity = self.dice.choice(["0.001", "0.004", "1000", "1000", "1000"])
        await self.stage.trade(str(self.price), quantity=quantity)
        await asyncio.sleep(self.dice.choice([0, 0, 0.01, 0.5]))

    # --- The wire ---

    async def lose_or_delay(self) -> None:
        """Let something happen to the next requests on their way."""
        self.stage.gateway.faults.add(
            Fault(
                kind=self.dice.choice([k for k in FaultKind if k is not FaultKind.ANSWERED]),
                method=self.dice.choice(["", "post", "put", "delete", "get"]),
                client_id=self.dice.choice(["", "", "-tp", "-lv", "-h", "-c", "-gd"]),
                count=self.dice.choice([1, 1, 3]),
                delay_ms=self.dice.choice([100, 1_000, 3_000, 7_000]),
            )
        )

    async def refuse(self) -> None:
        """Let the exchange refuse the next requests of a kind."""
        codes = [-2021, -2019, -2022, -4131, -1008, -4116, -5028, -1021, -4045, -1111, -2015, -9999]
        self.stage.gateway.faults.refuse(
            self.dice.choice(codes),
            method=self.dice.choice(["post", "post", "put"]),
            client_id=self.dice.choice(["-tp", "-lv", "-hg", "-hs", "-hm", "-cl", "-cs", "-gd"]),
            count=self.dice.choice([1, 1, 4]),
        )

    async def change_the_weather(self) -> None:
        """Let events come twice, late, in any order, or not at all."""
        low, high = sorted(self.dice.choices([5, 50, 1_000, 4_000], k=2))
        self.stage.streams.weather = Weather(
            delay_ms=(low, high),
            keeps_order=self.dice.random() < 0.5,
            doubled=self.dice.choice([0.0, 0.5]),
            lost=self.dice.choice([0.0, 0.0, 0.3, 1.0]),
        )

    async def break_off(self) -> None:
        """Lose both streams for a while."""
        self.stage.market.disconnect()
        asyncio.get_running_loop().call_later(
            self.dice.choice([0.5, 5, 40]), self.stage.market.connect
        )

    async def lag(self) -> None:
        """Answer reads from the present picture for a while."""
        until_ms = self.stage.clock.now_ms() + self.dice.choice([500, 2_000, 5_000])
        self.stage.world.freeze_reads(until_ms)

    # --- Our own house ---

    async def die(self) -> None:
        """Kill the monitor; it is back a little later."""
        if self.stage.is_alive:
            await self.stage.kill_desk()
            await asyncio.sleep(self.dice.choice([0.5, 5, 30]))
            await self.stage.restart_desk()

    async def die_soon(self) -> None:
        """Kill the monitor within one of its next steps."""
        if self.stage.is_alive:
            self.stage.die_in(self.dice.randint(1, 3), self.dice.choice(list(Moment)))

    async def lose_the_database(self) -> None:
        """Let a few transactions fail, before or after their commit."""
        left = self.dice.randint(1, 4)
        when = self.dice.choice(list(StoreMoment))

        def fail(operation: str, moment: StoreMoment) -> None:
            nonlocal left
            if operation != "update" or moment is not when or not left:
                return
            left -= 1
            raise CommitUnclear if moment is StoreMoment.AFTER_COMMIT else StoreUnavailable

        self.stage.store.fail = fail

    # --- People ---

    async def ask(self) -> None:
        """Let the operator ask for something."""
        actions = [a for a in OperatorAction if a not in _ENDING or self.dice.random() < 0.1]
        if self.stage.is_alive and self.stage.cycle.is_open:
            await self.stage.ask(self.dice.choice(actions))

    async def let_go(self) -> None:
        """Let the operator end his pause, and take his hands off the wheel no more."""
        for action in (OperatorAction.RESUME, OperatorAction.HANDS_ON, OperatorAction.ALLOW_HEDGES):
            if self.stage.is_alive and self.stage.cycle.is_open:
                await self.stage.ask(action)

    async def cancel_by_hand(self) -> None:
        """Let a person cancel one of the open orders."""
        names = [o.client_order_id for o in self.stage.cycle.orders if o.is_resting]
        if names:
            self.stage.world.outside_cancel(self.dice.choice(names), self.stage.clock.now_ms())

    async def expire(self) -> None:
        """Let the exchange end one of the open orders."""
        names = [o.client_order_id for o in self.stage.cycle.orders if o.is_resting]
        if names:
            is_own = self.dice.random() < 0.5
            now_ms = self.stage.clock.now_ms()
            self.stage.world.expire(self.dice.choice(names), now_ms, self_trade=is_own)

    async def trade_by_hand(self) -> None:
        """Let a person close a part of a side, offer a part of LONG, or open more."""
        world, now_ms = self.stage.world, self.stage.clock.now_ms()
        symbol, some = self.stage.symbol, D(self.dice.choice(["0.001", "0.002", "0.01"]))
        match self.dice.randint(0, 4):
            case 0:
                world.outside_market(symbol, "SELL", "LONG", some, now_ms)
            case 1:
                world.outside_market(symbol, "BUY", "SHORT", some, now_ms)
            case 2:
                price = ((self.price * D("1.004")) / TICK).quantize(D(1)) * TICK
                world.outside_limit(symbol, "SELL", "LONG", some, price, now_ms)
            case 3:
                world.outside_market(symbol, "BUY", "LONG", some, now_ms)
            case _:
                world.outside_market(symbol, "SELL", "SHORT", some, now_ms)

    async def settle_funding(self) -> None:
        """Let funding be paid."""
        rate = D(self.dice.choice(["0.0001", "-0.0003"]))
        self.stage.world.funding(self.stage.symbol, rate, self.stage.clock.now_ms())

    async def deleverage(self) -> None:
        """Let the exchange take a part of a side."""
        side = self.dice.choice(["LONG", "SHORT"])
        if self.stage.world.position(self.stage.symbol, side):
            now_ms = self.stage.clock.now_ms()
            self.stage.world.adl(self.stage.symbol, side, D("0.001"), now_ms)


_ENDING = (OperatorAction.CLOSE, OperatorAction.SIGNAL_CLOSE, OperatorAction.CLOSE_LONG)

MARKET = (Day.drift, Day.jump, Day.go_to_where_it_matters)
Happening = Callable[[Day], Awaitable[None]]
HAPPENINGS: tuple[tuple[Happening, float], ...] = (
    (Day.drift, 10),
    (Day.jump, 2),
    (Day.go_to_where_it_matters, 10),
    (Day.thin_out, 0.7),
    (Day.lose_or_delay, 3),
    (Day.refuse, 1.5),
    (Day.change_the_weather, 1),
    (Day.break_off, 0.7),
    (Day.lag, 1),
    (Day.die, 1),
    (Day.die_soon, 1.5),
    (Day.lose_the_database, 0.7),
    (Day.ask, 0.7),
    (Day.let_go, 0.5),
    (Day.cancel_by_hand, 0.5),
    (Day.expire, 0.7),
    (Day.trade_by_hand, 0.5),
    (Day.settle_funding, 0.4),
    (Day.deleverage, 0.2),
)
