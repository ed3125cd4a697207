"""Draws histories from seeds: random alerts, markets, faults, deaths, people.

Everything follows from the seed. What happens is drawn from `HAPPENINGS` with a look at the stage
(prices where orders rest are where it matters), and comes out as explicit events, so that the
history can be written down, played again, and made shorter.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random

from core.clients.memory_store import Moment as StoreMoment
from core.domain.cycle import OperatorAction, Role
from core.domain.settings import (
    AmountType,
    CycleSettings,
    GridMode,
    MultiplierMode,
    OnHedgeFailed,
)
from paper.rules import BUILT_IN, SymbolRules
from paper.scenarios import START_PRICES
from simulation import events as e
from simulation.faults import FaultKind
from simulation.oracle import down, up
from simulation.stage import Moment, Stage

D = Decimal
MOST_EVENTS_A_CYCLE = 60
SEED_SYMBOLS = ("BTCUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT", "AVAXUSDT", "FILUSDT", "LAYERUSDT")
REFUSALS = (
    *(-2021, -2019, -2022, -4131, -1008, -4116, -5028, -1021, -4045, -1111, -2015, -9999),
    *(-4016, -4024, -2011, -2013, -5027, -1015, -4118),
)
# What an answer can be that says nothing.
NOTHING_SAID = ("", "[]", "{}", "null", "<html>502</html>", '[{"symbol":"X"}]')
_ROLES = ("-tp", "-lv", "-hg", "-hs", "-hm", "-cl", "-cs", "-gd", "-en")


def beginning(seed: int, *, symbol: str | None = None) -> e.History:
    """Return the exchange that the seed's history plays on; nothing has happened on it yet."""
    dice = Random(f"begin {seed}")
    options = drawn_options(dice)
    return e.History(
        seed=seed,
        symbol=symbol or dice.choice(SEED_SYMBOLS),
        on_hedge_failed=drawn_policy(dice),
        options=options,
    )


def drawn_options(dice: Random) -> dict[str, object]:
    """Return how the exchange behaves where sources disagree, and what the account has."""
    return {
        "wallet": dice.choice(["10000", "10000", "10000", "1000"]),
        "spread_ticks": dice.choice([0, 0, 1]),
        "over_close": dice.choice(["reject", "reject", "cut"]),
        "child_first": dice.random() < 0.3,
        "account_first": dice.random() < 0.7,
        "forgetful_algo_query": dice.random() < 0.2,
        "max_open_algos": dice.choice([200, 200, 200, 200, 1, 2]),
        "maker_fill": dice.choice(["touched", "touched", "through"]),
    }


def drawn_policy(dice: Random) -> OnHedgeFailed:
    """Return what the installation does about a hedge that failed."""
    return dice.choice(list(OnHedgeFailed))


class Dice:
    """Draws one event after the other for a stage."""

    def __init__(
        self,
        history: e.History,
        stage: Stage,
        *,
        path: Iterator[Decimal] | None = None,
        salt: str = "",
    ) -> None:
        """Prepare the dice of a seed.

        `path` gives recorded prices in place of drawn ones; `salt` makes one seed's dice differ.
        """
        self._dice = Random(f"play {history.seed}{salt}")
        self._stage = stage
        self._path = path
        self._rules: SymbolRules = BUILT_IN[history.symbol]
        start = D(START_PRICES.get(history.symbol, "10"))
        self._price = start if path is None else next(path)
        self._wallet = D(str(history.options.get("wallet", "10000")))
        self._wildness, self._calm = 1.0, 0.1

    def cycle(self) -> Iterator[e.OfOneSymbol]:
        """Yield the events of one cycle, from its alert to its end."""
        dice = self._dice
        self.draw_mood()
        yield from self.begin()
        for _ in range(dice.choice([15, 30, MOST_EVENTS_A_CYCLE])):
            newest = self._stage.newest
            if newest is not None and not newest.is_open:
                break
            yield from self.happening()
            if dice.random() < self._calm:
                yield e.ClearUp()
        if dice.random() < 0.15 * self._wildness:
            yield from self._haunt()
        yield e.End()

    def draw_mood(self) -> None:
        """Some cycles are quiet, with a fault here and there; on others nothing works for long."""
        self._wildness = self._dice.choice([0.0, 0.2, 1, 1, 3])
        self._calm = self._dice.choice([0.03, 0.1])

    # --- An alert ---

    def begin(self) -> Iterator[e.OfOneSymbol]:
        """Let an alert come, and the market go on around it."""
        dice = self._dice
        yield self._trade_at(self._price)
        if dice.random() < 0.1 * self._wildness:
            yield e.Liquidity(quantity=self._amount(dice.choice([50, 120])))
        if dice.random() < 0.2 * self._wildness:
            yield self._entry_disturbed()
        dies = dice.random() < 0.15 * self._wildness
        yield e.Alert(
            settings=self._fitting_alert(), dies_after_ms=dice.randint(0, 250) if dies else None
        )
        if dice.random() < 0.15:  # the market runs away while the entry fills
            yield e.Wait(ms=dice.choice([200, 300, 400]))
            yield from self._move(0.012)
        yield e.Wait(ms=dice.choice([150, 1_000, 1_000, 12_000]))
        yield e.Liquidity(quantity=None)

    def _entry_disturbed(self) -> e.OfOneSymbol:
        dice = self._dice
        if dice.random() < 0.3:  # refused for the moment until it is too late
            return e.Disturb(
                kind=FaultKind.ANSWERED, client_id="-en", count=30, body=_refusal(-1008)
            )
        kind = dice.choice([FaultKind.LOST_ANSWER, FaultKind.LATE_ANSWER, FaultKind.LATE_REQUEST])
        return e.Disturb(kind=kind, client_id="-en", delay_ms=dice.randint(0, 6_000))

    def _fitting_alert(self) -> CycleSettings:
        """Return an alert that its money mostly carries, as people's alerts do."""
        for _ in range(8):
            alert = self.alert()
            if self._is_affordable(alert):
                break
        return alert

    def _is_affordable(self, alert: CycleSettings) -> bool:
        quantity = alert.amount
        if alert.amount_type is AmountType.QUOTE:
            quantity = alert.amount / self._price
        total = quantity
        for growth in alert.mg_long:
            is_factor = alert.mg_mode is MultiplierMode.MULTIPLIER
            quantity *= growth if is_factor else 1 + growth / 100
            total += quantity
        needed = alert.deposit + alert.extramarg
        is_enough = needed <= D(str(self._wallet))
        return is_enough and total * self._price * D("1.002") <= alert.deposit * alert.leverage

    def alert(self) -> CycleSettings:
        """Return an alert of any shape that the rules allow."""
        dice, levels = self._dice, self._dice.randint(0, 4)
        is_trailing, is_hedged = dice.random() < 0.5, dice.random() < 0.8
        mode = dice.choice(list(MultiplierMode))
        growths = ["1", "1.5", "2"] if mode is MultiplierMode.MULTIPLIER else ["5", "50", "100"]
        steps = [D(dice.choice(["0.2", "0.5", "1"])) for _ in range(levels)]
        grid_mode = dice.choice([GridMode.STEP, GridMode.STEP, GridMode.OFFSET])
        if grid_mode is GridMode.OFFSET:  # strictly increasing
            steps = [sum(steps[: n + 1], D(0)) for n in range(levels)]
        notional = dice.choice([130, 250, 600])
        leverage = dice.choice([5, 10, 20])
        is_quote = dice.random() < 0.2
        offset = D(dice.choice(["0.1", "0.2", "0.5"]))
        has_price = levels > 0 and dice.random() < 0.1
        return CycleSettings(
            symbol=self._rules.symbol,
            amount_type=AmountType.QUOTE if is_quote else AmountType.BASE,
            amount=D(notional) if is_quote else self._amount(notional),
            leverage=leverage,
            entry_price=self._price if has_price else None,
            deposit=D(dice.choice([150, 300, 900])),
            extramarg=D(dice.choice([30, 100, 600])) if is_hedged else D(0),
            tp=D(dice.choice(["0.5", "1", "3"])),
            order_quan=levels,
            grid_long=tuple(steps),
            grid_mode=grid_mode,
            mg_long=tuple(D(dice.choice(growths)) for _ in range(levels)),
            mg_mode=mode,
            trail_1=D("0.15") if is_trailing else D(0),
            trail_2=D(dice.choice(["0.05", "0.1"])) if is_trailing else D(0),
            trail_step=D(dice.choice(["0", "0.05"])) if is_trailing else D(0),
            trail_guard=dice.random() < 0.7,
            offset_short=offset if is_hedged else None,
            offset_pluse=D(dice.choice(["0.2", "-0.1", "0.5"])) if is_hedged else None,
            sl_short=D(dice.choice(["0.2", "0.5", "1"])) if is_hedged else None,
            max_hedges=dice.choice([0, 1, 2, 5]),
            pnl_target=D(dice.choice([0, 1])),
            max_loss=D(dice.choice([2, 20])) if dice.random() < 0.3 else None,
            grid_ahead=dice.choice([1, 1, 2, 5]),
        )

    # --- What happens ---

    def happening(self) -> Iterator[e.OfOneSymbol]:
        """Let something happen to the cycle, and a while pass."""
        weights = [w if h in MARKET else w * self._wildness for h, w in HAPPENINGS]
        chosen = self._dice.choices([h for h, _ in HAPPENINGS], weights)[0]
        yield from chosen(self)
        wait_ms = self._dice.choice([0, 20, 200, 2_000, 12_000])
        if wait_ms:
            yield e.Wait(ms=wait_ms)

    def drift(self) -> Iterator[e.OfOneSymbol]:
        """Trade on, a little away."""
        for _ in range(self._dice.randint(1, 6)):
            yield from self._move(self._dice.gauss(-0.0001, 0.0008))

    def jump(self) -> Iterator[e.OfOneSymbol]:
        """Trade far away at once."""
        changes = [-0.03, -0.015, -0.006, -0.004, 0.003, 0.01]
        yield from self._move(self._dice.choice(changes))

    def climb(self) -> Iterator[e.OfOneSymbol]:
        """Trade up in small steps and back a little, as trailing stops live on."""
        for _ in range(self._dice.randint(2, 5)):
            yield from self._move(abs(self._dice.gauss(0.0006, 0.0004)))
        if self._dice.random() < 0.5:
            yield from self._move(-0.0013)

    def go_to_where_it_matters(self) -> Iterator[e.OfOneSymbol]:
        """Trade where an order of ours rests, or a tick beside it; seldom where it ends all."""
        cycle, dice = self._stage.newest, self._dice
        is_end_near = dice.random() < 0.1
        prices = [
            o.price
            for o in (cycle.orders if cycle is not None else ())
            if o.is_resting and o.price and (o.role is not Role.TAKE_PROFIT or is_end_near)
        ]
        if prices:
            beside = dice.choice([-1, 0, 0, 1]) * self._rules.tick
            self._price = max(self._rules.tick, dice.choice(prices) + beside)
            yield self._trade_at(self._price)

    def come_back(self) -> Iterator[e.OfOneSymbol]:
        """Trade where the average is, or at the trailing stop: the price turned."""
        cycle = self._stage.newest
        if cycle is None or not cycle.long.quantity:
            return
        above = self._dice.choice(["1.0001", "1.001", "1.002", "0.999"])
        goal = cycle.trailing_stop or cycle.long.entry * D(above)
        self._price = up(goal, self._rules.tick)
        yield self._trade_at(self._price)

    def thin_out(self) -> Iterator[e.OfOneSymbol]:
        """Let takers find little, or all they ask for again."""
        notional = self._dice.choice([None, 100, 3_000])
        yield e.Liquidity(quantity=None if notional is None else self._amount(notional))

    def _move(self, change: float) -> Iterator[e.OfOneSymbol]:
        recorded = None if self._path is None else next(self._path, None)
        if recorded is not None:
            self._price = recorded
        else:
            moved = self._price * (1 + D(str(round(change, 6))))
            self._price = max(self._rules.tick * 100, down(moved, self._rules.tick))
        yield self._trade_at(self._price)
        wait_ms = self._dice.choice([0, 0, 10, 500])
        if wait_ms:
            yield e.Wait(ms=wait_ms)

    def _trade_at(self, price: Decimal) -> e.OfOneSymbol:
        is_small = self._dice.random() < 0.4
        notional = self._dice.choice([60, 240]) if is_small else 60_000_000
        return e.Trade(price=price, quantity=self._amount(notional))

    def _amount(self, notional: int) -> Decimal:
        """Return about that much quote in base, whole steps and at least one."""
        return up(D(notional) / self._price, self._rules.step)

    # --- The wire ---

    def lose_or_delay(self) -> Iterator[e.OfOneSymbol]:
        """Let something happen to the next requests on their way."""
        dice = self._dice
        yield e.Disturb(
            kind=dice.choice([k for k in FaultKind if k is not FaultKind.ANSWERED]),
            method=dice.choice(["", "post", "put", "delete", "get"]),
            client_id=dice.choice(["", "", "-tp", "-lv", "-h", "-c", "-gd"]),
            count=dice.choice([1, 1, 3]),
            delay_ms=dice.choice([100, 1_000, 3_000, 7_000]),
        )

    def refuse(self) -> Iterator[e.OfOneSymbol]:
        """Let the exchange refuse the next requests of a kind."""
        yield e.Disturb(
            kind=FaultKind.ANSWERED,
            method=self._dice.choice(["post", "post", "put", "delete"]),
            client_id=self._dice.choice(_ROLES),
            count=self._dice.choice([1, 1, 4]),
            body=_refusal(self._dice.choice(REFUSALS)),
        )

    def say_nothing(self) -> Iterator[e.OfOneSymbol]:
        """Let reads be answered by something that says nothing, or is empty."""
        paths = [
            "positionRisk",
            "positionRisk",
            "positionRisk",
            "openOrders",
            "openAlgoOrders",
            "userTrades",
            "rder",
            "balance",
        ]
        yield e.Disturb(
            kind=FaultKind.ANSWERED,
            method="get",
            path=self._dice.choice(paths),
            count=self._dice.choice([1, 3, 6]),
            status=self._dice.choice([200, 200, 200, 500, 503]),
            body=self._dice.choice(NOTHING_SAID),
        )
        if self._dice.random() < 0.5:
            yield e.Kill(down_ms=500)  # its start asks for everything

    def hide(self) -> Iterator[e.OfOneSymbol]:
        """Let a person trade while neither the stream nor the list of executions shows it."""
        yield e.NewWeather(low_ms=5, high_ms=20, keeps_order=True, doubled=0.0, lost=1.0)
        yield e.Disturb(
            kind=FaultKind.ANSWERED, method="get", path="userTrades", count=8, status=200, body="[]"
        )
        yield from self.trade_by_hand()
        yield e.Kill(down_ms=500)
        yield e.Wait(ms=self._dice.choice([1_000, 12_000]))
        yield e.NewWeather(low_ms=5, high_ms=20, keeps_order=True, doubled=0.0, lost=0.0)

    def change_the_weather(self) -> Iterator[e.OfOneSymbol]:
        """Let events come twice, late, in any order, or not at all."""
        dice = self._dice
        low, high = sorted(dice.choices([5, 50, 1_000, 4_000], k=2))
        yield e.NewWeather(
            low_ms=low,
            high_ms=high,
            keeps_order=dice.random() < 0.5,
            doubled=dice.choice([0.0, 0.5]),
            lost=dice.choice([0.0, 0.0, 0.3, 1.0]),
        )

    def break_off(self) -> Iterator[e.OfOneSymbol]:
        """Lose both streams for a while."""
        yield e.BreakOff(ms=self._dice.choice([500, 5_000, 40_000]))

    def lag(self) -> Iterator[e.OfOneSymbol]:
        """Answer reads from the present picture for a while."""
        yield e.Lag(ms=self._dice.choice([500, 2_000, 5_000]))
        if self._dice.random() < 0.4:  # and look at everything meanwhile
            yield from self.go_to_where_it_matters()
            yield e.Wait(ms=100)
            yield e.Kill(down_ms=500)

    # --- Our own house ---

    def die(self) -> Iterator[e.OfOneSymbol]:
        """Kill the monitor; it is back a little later."""
        yield e.Kill(down_ms=self._dice.choice([500, 5_000, 30_000]))

    def die_soon(self) -> Iterator[e.OfOneSymbol]:
        """Kill the monitor within one of its next steps."""
        moment = self._dice.choice(list(Moment))
        yield e.KillSoon(steps=self._dice.randint(1, 3), moment=moment)

    def lose_the_database(self) -> Iterator[e.OfOneSymbol]:
        """Let a few transactions fail, before or after their commit."""
        yield e.LoseDatabase(
            operation=self._dice.choice(["update", "update", "begin_cycle", "load_open"]),
            count=self._dice.randint(1, 4),
            moment=self._dice.choice(list(StoreMoment)),
        )

    # --- People, and the exchange itself ---

    def ask(self) -> Iterator[e.OfOneSymbol]:
        """Let the operator ask for something."""
        is_ending = self._dice.random() < 0.1
        actions = [a for a in OperatorAction if is_ending or a not in _ENDING]
        action = self._dice.choice([*actions, OperatorAction.PAUSE, OperatorAction.PAUSE])
        yield e.Ask(action=action)
        if action is OperatorAction.PAUSE:
            yield e.Wait(ms=1_000)
            yield from self.go_to_where_it_matters()

    def let_go(self) -> Iterator[e.OfOneSymbol]:
        """Let the operator end his pause, and put his hands back on."""
        for action in (OperatorAction.RESUME, OperatorAction.HANDS_ON, OperatorAction.ALLOW_HEDGES):
            yield e.Ask(action=action)

    def cancel_by_hand(self) -> Iterator[e.OfOneSymbol]:
        """Let a person cancel one of the open orders."""
        for part in self._one_open():
            yield e.CancelByHand(order=part)

    def expire(self) -> Iterator[e.OfOneSymbol]:
        """Let the exchange end one of the open orders."""
        for part in self._one_open(begun_first=True):
            yield e.Expire(order=part, is_self_trade=self._dice.random() < 0.5)

    def trade_by_hand(self) -> Iterator[e.OfOneSymbol]:
        """Let a person close a part of a side, offer a part of LONG, or open more."""
        some = self._amount(self._dice.choice([60, 120, 600]))
        limit = up(self._price * D("1.004"), self._rules.tick)
        side, position_side, price = self._dice.choice(
            [
                ("SELL", "LONG", None),
                ("BUY", "SHORT", None),
                ("SELL", "LONG", limit),
                ("BUY", "LONG", None),
                ("SELL", "SHORT", None),
            ]
        )
        yield e.TradeByHand(side=side, position_side=position_side, quantity=some, price=price)

    def add_by_hand(self) -> Iterator[e.OfOneSymbol]:
        """Let a person buy while it trails, or sell more SHORT: the entry is another one then."""
        cycle = self._stage.newest
        some = self._amount(self._dice.choice([120, 600]))
        if cycle is not None and cycle.trailing_stop is not None:
            yield e.TradeByHand(side="BUY", position_side="LONG", quantity=some)
        elif cycle is not None and cycle.short.quantity:
            yield e.TradeByHand(side="SELL", position_side="SHORT", quantity=some)

    def buy_by_hand(self, notional: int) -> Iterator[e.OfOneSymbol]:
        """Let a person buy for that much quote beside the cycle; sell it after a fall, or not."""
        some = self._amount(notional)
        yield e.TradeByHand(side="BUY", position_side="LONG", quantity=some)
        yield e.Wait(ms=self._dice.choice([1_000, 4_000, 4_000]))
        for _ in range(self._dice.randint(0, 3)):
            yield from self._move(-0.012)
            yield e.Wait(ms=2_000)
        if self._dice.random() < 0.5:
            yield e.TradeByHand(side="SELL", position_side="LONG", quantity=some)

    def offer_by_hand(self) -> Iterator[e.OfOneSymbol]:
        """Let a person offer a part of LONG in the place of our take-profit."""
        some = self._amount(self._dice.choice([60, 120]))
        limit = up(self._price * D("1.004"), self._rules.tick)
        yield e.CancelByHand(order="-tp0-")
        yield e.TradeByHand(side="SELL", position_side="LONG", quantity=some, price=limit)

    def close_by_hand(self) -> Iterator[e.OfOneSymbol]:
        """Let a person close a whole side."""
        side, position_side = self._dice.choice([("SELL", "LONG"), ("BUY", "SHORT")])
        held = self._stage.world.position(self._rules.symbol, position_side)
        if held:
            if position_side == "LONG":
                yield e.CancelByHand(order="-tp0-")
            yield e.TradeByHand(side=side, position_side=position_side, quantity=held)

    def settle_funding(self) -> Iterator[e.OfOneSymbol]:
        """Let funding be paid."""
        yield e.Fund(rate=D(self._dice.choice(["0.0001", "-0.0003"])))

    def deleverage(self) -> Iterator[e.OfOneSymbol]:
        """Let the exchange take a part of a side."""
        quantity = self._amount(self._dice.choice([60, 100_000]))
        yield e.Deleverage(side=self._dice.choice(["LONG", "SHORT"]), quantity=quantity)

    def liquidate(self) -> Iterator[e.OfOneSymbol]:
        """Let the exchange take everything."""
        yield e.Liquidate()

    def _haunt(self) -> Iterator[e.OfOneSymbol]:
        yield e.Wait(ms=self._dice.choice([1_000, 20_000]))
        yield e.Haunt(order=self._dice.choice(["-lv1-", "-en0-"]), quantity=self._amount(130))

    def _one_open(self, *, begun_first: bool = False) -> Iterator[str]:
        cycle = self._stage.newest
        resting = [o for o in cycle.orders if o.is_resting] if cycle else []
        begun = [o for o in resting if o.executed]
        names = [o.client_order_id for o in (begun_first and begun) or resting]
        if names:
            name = self._dice.choice(names)
            yield "-" + name.split("-")[2] + "-" if name.startswith("tb-") else name


def _refusal(code: int) -> str:
    return f'{{"code":{code},"msg":"refused"}}'


_ENDING = (OperatorAction.CLOSE, OperatorAction.SIGNAL_CLOSE, OperatorAction.CLOSE_LONG)

MARKET = (Dice.drift, Dice.jump, Dice.climb, Dice.go_to_where_it_matters, Dice.come_back)
Happening = Callable[[Dice], Iterator[e.OfOneSymbol]]
HAPPENINGS: tuple[tuple[Happening, float], ...] = (
    (Dice.drift, 8),
    (Dice.jump, 2),
    (Dice.climb, 2),
    (Dice.go_to_where_it_matters, 10),
    (Dice.come_back, 1),
    (Dice.thin_out, 0.7),
    (Dice.lose_or_delay, 3),
    (Dice.refuse, 1.5),
    (Dice.say_nothing, 0.7),
    (Dice.hide, 0.3),
    (Dice.change_the_weather, 1),
    (Dice.break_off, 0.7),
    (Dice.lag, 1),
    (Dice.die, 1),
    (Dice.die_soon, 1.5),
    (Dice.lose_the_database, 0.7),
    (Dice.ask, 1),
    (Dice.let_go, 0.5),
    (Dice.cancel_by_hand, 0.5),
    (Dice.expire, 0.7),
    (Dice.trade_by_hand, 0.5),
    (Dice.close_by_hand, 0.4),
    (Dice.add_by_hand, 0.5),
    (Dice.offer_by_hand, 0.3),
    (Dice.settle_funding, 0.15),
    (Dice.deleverage, 0.2),
    (Dice.liquidate, 0.05),
)
