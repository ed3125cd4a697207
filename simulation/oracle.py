"""The strategy's figures once more, from its formulas alone: what the production code is held to.

Written from the description of the rules (docs/strategy.md), sharing no arithmetic with
`core.domain` or `core.grid`: a wrong formula there must not be wrong here in the same way. It works
on executions, which are compared with the exchange's own. Where executions are not all known, or
other people's trades make a figure ambiguous, it says nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil, floor

from core.domain.cycle import Cycle, Fill, Phase
from core.domain.settings import CycleSettings, GridMode, MultiplierMode, SymbolRules

ZERO, ONE, HUNDRED = Decimal(0), Decimal(1), Decimal(100)
GUARD_FACTOR = Decimal("0.998")
LEAST_HEDGE = Decimal(11)  # quote
OWN = "tb-"


def name_of(client_order_id: str) -> tuple[str, int]:
    """Return role code and number of an order of ours, ("", 0) of anybody else's."""
    parts = client_order_id.split("-")
    if len(parts) != 4 or not client_order_id.startswith(OWN):
        return "", 0
    return parts[2][:2], int(parts[2][2:])


def down(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` not above `value`."""
    return floor(round(value / step, 9)) * step


def up(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` not below `value`."""
    return ceil(round(value / step, 9)) * step


@dataclass(slots=True)
class Held:
    """One side: what is held, what it cost, and what was paid in commissions for that part."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    commission: Decimal = ZERO

    @property
    def entry(self) -> Decimal:
        """Return the average price of what is held; 0 when flat."""
        return self.cost / self.quantity if self.quantity else ZERO

    def add(self, fill: Fill) -> None:
        """Take an opening execution in."""
        self.quantity += fill.quantity
        self.cost += fill.quantity * fill.price
        self.commission += fill.commission

    def take(self, quantity: Decimal) -> Decimal:
        """Give a part up and return what it had cost."""
        part = quantity / self.quantity
        cost = self.cost * part
        self.commission -= self.commission * part
        self.quantity -= quantity
        self.cost = self.cost - cost if self.quantity else ZERO
        return cost


@dataclass(slots=True)
class HedgeMade:
    """One hedge: what it sold at what price, and what it lost so far."""

    sold: Decimal = ZERO
    quote: Decimal = ZERO
    result: Decimal = ZERO  # realised less commissions
    is_closed: bool = False


@dataclass(slots=True)
class Account:
    """What a cycle's executions come to."""

    long: Held = field(default_factory=Held)
    short: Held = field(default_factory=Held)
    realised: Decimal = ZERO
    commissions: Decimal = ZERO
    hedges: dict[int, HedgeMade] = field(default_factory=dict)
    is_plain: bool = True  # False: people opened a SHORT
    is_whole: bool = True  # False: more was closed than opened, so an opening is not known yet


def account_of(fills: Iterable[Fill]) -> Account:
    """Return what these executions come to, in order of trade id."""
    account, current = Account(), 0
    for fill in sorted(fills, key=lambda f: f.trade_id):
        is_long = fill.position_side.value == "LONG"
        side = account.long if is_long else account.short
        role, number = name_of(fill.client_order_id)
        account.commissions += fill.commission
        if not is_long and fill.is_opening:
            account.is_plain &= role in ("hg", "hm")
            current = number
        realised = ZERO
        if fill.is_opening:
            side.add(fill)
        elif fill.quantity > side.quantity:
            account.is_whole = False
        else:
            got, cost = fill.price * fill.quantity, side.take(fill.quantity)
            realised = got - cost if is_long else cost - got
            account.realised += realised
        if not is_long:
            _count_hedge(account, current, fill, realised)
    return account


def _count_hedge(account: Account, number: int, fill: Fill, realised: Decimal) -> None:
    made = account.hedges.setdefault(number, HedgeMade())
    made.result += realised - fill.commission
    if fill.is_opening:
        made.sold += fill.quantity
        made.quote += fill.quantity * fill.price
        made.is_closed = False
    if not account.short.quantity:
        for each in account.hedges.values():
            each.is_closed = True


@dataclass(frozen=True, slots=True)
class Rung:
    """One level: where it belongs and how much it buys."""

    exact_price: Decimal
    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Every figure of the rules for one state of one cycle."""

    settings: CycleSettings
    rules: SymbolRules
    account: Account
    exit_cost: Decimal  # taker rate + slippage
    funding: Decimal
    entry_quantity: Decimal
    entry_average: Decimal

    # --- The ladder (section 2 and 3) ---

    def rungs(self) -> tuple[Rung, ...]:
        """Return the levels as the entry's fill lays them."""
        settings, found = self.settings, list[Rung]()
        start = settings.entry_price or self.entry_average
        price, quantity = start, self.entry_quantity
        for percent, growth in zip(settings.grid_long, settings.mg_long, strict=True):
            above = price if settings.grid_mode is GridMode.STEP else start
            price = above * (ONE - percent / HUNDRED)
            is_factor = settings.mg_mode is MultiplierMode.MULTIPLIER
            quantity *= growth if is_factor else ONE + growth / HUNDRED
            tick, step = self.rules.tick_size, self.rules.step_size
            found.append(Rung(price, down(price, tick), down(quantity, step)))
        return tuple(found)

    def unfit(self) -> frozenset[int]:
        """Return the numbers of the levels that break a filter or the budget."""
        rungs, rules = self.rungs(), self.rules
        unfit = {
            number
            for number, rung in enumerate(rungs, start=1)
            if rung.quantity < rules.min_quantity
            or rung.quantity * rung.price < rules.min_notional
            or rung.price < rules.min_price
            or (number > 1 and rungs[number - 2].price == rung.price)
        }
        total = self.entry_average * self.entry_quantity
        kept = [n for n in range(1, len(rungs) + 1) if n not in unfit]
        total += sum((rungs[n - 1].price * rungs[n - 1].quantity for n in kept), ZERO)
        while kept and total > self.settings.deposit * self.settings.leverage:
            last = kept.pop()
            unfit.add(last)
            total -= rungs[last - 1].price * rungs[last - 1].quantity
        return frozenset(unfit)

    # --- Rules 2, 5 and 6 ---

    def take_profit(self) -> Decimal:
        """Return rule 2's price."""
        exact = self.account.long.entry * (ONE + self.settings.tp / HUNDRED)
        return up(exact, self.rules.tick_size)

    def stop_loss(self) -> Decimal | None:
        """Return rule 5's trigger; None: none was asked for."""
        if self.settings.sl_short is None:
            return None
        exact = self.account.short.entry * (ONE + self.settings.sl_short / HUNDRED)
        return up(exact, self.rules.tick_size)

    def break_even(self) -> Decimal:
        """Return rule 6's b."""
        long = self.account.long
        return (long.cost + long.commission) / (long.quantity * (ONE - self.rules.taker_rate))

    def guard(self, stop: Decimal) -> Decimal:
        """Return where the guard of trailing stop `stop` belongs."""
        tick = self.rules.tick_size
        return max(down(stop * GUARD_FACTOR, tick), up(self.break_even(), tick))

    # --- Rule 4 ---

    def first_trigger(self) -> Decimal | None:
        """Return h₁, uncapped; None: no hedge was asked for."""
        settings, rungs, unfit = self.settings, self.rungs(), self.unfit()
        if settings.offset_short is None or not settings.extramarg:
            return None
        kept = [r for number, r in enumerate(rungs, start=1) if number not in unfit]
        lowest = settings.entry_price or self.entry_average
        if rungs:
            lowest = (kept or rungs)[-1].exact_price
        return down(lowest * (ONE - settings.offset_short / HUNDRED), self.rules.tick_size)

    def trigger(self, number: int, armed: tuple[Decimal, ...]) -> Decimal | None:
        """Return h of hedge `number`, uncapped, below those that were `armed` before."""
        if number == 1:
            return self.first_trigger()
        before, pluse = self.account.hedges.get(number - 1), self.settings.offset_pluse
        if before is None or not before.sold or pluse is None:
            return None
        base = min(armed[number - 2], before.quote / before.sold)
        return down(base * (ONE - pluse / HUNDRED), self.rules.tick_size)

    def margin_left(self) -> Decimal:
        """Return extramarg less what closed hedges lost."""
        lost = (max(ZERO, -h.result) for n, h in self.account.hedges.items() if n and h.is_closed)
        return self.settings.extramarg - sum(lost, ZERO)

    def hedge(self, trigger: Decimal) -> Decimal:
        """Return the quantity of a hedge at `trigger`."""
        whole = down(self.margin_left() * self.settings.leverage / trigger, self.rules.step_size)
        return min(whole, self.rules.market_max_quantity)

    def can_hedge(self, opened: int, trigger: Decimal) -> bool:
        """Return whether another hedge may and can be opened at `trigger`."""
        if opened >= self.settings.max_hedges:
            return False
        if self.margin_left() * self.settings.leverage < LEAST_HEDGE:
            return False
        quantity, rules = self.hedge(trigger), self.rules
        least = max(rules.min_quantity, rules.market_min_quantity)
        return quantity >= least and quantity * trigger >= rules.min_notional

    # --- Rule 7 ---

    def pnl(self, price: Decimal) -> Decimal:
        """Return pnl_diff at `price`."""
        long, short = self.account.long, self.account.short
        both = long.quantity + short.quantity
        earned = self.account.realised + self.funding - self.account.commissions
        open_profit = long.quantity * price - long.cost + short.cost - short.quantity * price
        return earned + open_profit - self.exit_cost * price * both


def figures_of(cycle: Cycle) -> Figures | None:
    """Return the figures of a cycle; None while it cannot be said: not all executions are known."""
    entry = cycle.entry_order
    if entry is None or not entry.executed or any(f.is_adjustment for f in cycle.fills):
        return None
    known: dict[str, Decimal] = {}
    for fill in cycle.fills:
        known[fill.client_order_id] = known.get(fill.client_order_id, ZERO) + fill.quantity
    if any(o.executed and known.get(o.client_order_id) != o.executed for o in cycle.orders):
        return None
    account = account_of(cycle.fills)
    if not account.is_whole:
        return None
    paid = sum(
        (f.price * f.quantity for f in cycle.fills if f.client_order_id == entry.client_order_id),
        ZERO,
    )
    return Figures(
        settings=cycle.settings,
        rules=cycle.rules,
        account=account,
        exit_cost=cycle.rules.taker_rate + cycle.policy.exit_slippage,
        funding=cycle.funding,
        entry_quantity=entry.executed,
        entry_average=paid / entry.executed,
    )


# --- What one trade does ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a cycle at rest must look like after a trade."""

    reason: str | None  # why it closes; None: it goes on
    trailing_stop: Decimal | None
    stops_levels: bool  # the levels that wait are withdrawn


def judge(cycle: Cycle, figures: Figures, price: Decimal) -> Verdict:
    """Return what rules 3, 6 and 7 make of a trade at `price`, for a cycle at rest."""
    assert cycle.phase is Phase.TRADING
    stop, reason = cycle.trailing_stop, None
    if not cycle.is_hands_off:
        stop, reason = _trailed(cycle, figures, price)
        reason = reason or _earned(figures, price)
    return Verdict(
        reason=reason,
        trailing_stop=stop,
        stops_levels=not cycle.is_hands_off and _passes_hedge(cycle, figures, price),
    )


def _trailed(cycle: Cycle, figures: Figures, price: Decimal) -> tuple[Decimal | None, str | None]:
    settings, long, stop = figures.settings, figures.account.long, cycle.trailing_stop
    if not settings.trail_1 or cycle.close_long_asked:
        return stop, None
    proposed = price * (ONE - settings.trail_2 / HUNDRED)
    if stop is None:
        is_high = price >= long.entry * (ONE + settings.trail_1 / HUNDRED)
        return (proposed if is_high and proposed >= figures.break_even() else None), None
    if proposed > stop and proposed >= stop * (ONE + settings.trail_step / HUNDRED):
        return proposed, None
    if price > stop:
        return stop, None
    if price >= figures.break_even():
        return stop, "trailing"
    is_guarded = any(o.role.value == "guard" and o.is_resting for o in cycle.orders)
    return (stop if is_guarded else None), None


def _earned(figures: Figures, price: Decimal) -> str | None:
    earned, settings = figures.pnl(price), figures.settings
    is_hedged = figures.account.long.quantity > 0 and figures.account.short.quantity > 0
    if is_hedged and earned > settings.pnl_target:
        return "pnl"
    if settings.max_loss is not None and earned < -settings.max_loss:
        return "max_loss"
    return None


def _passes_hedge(cycle: Cycle, figures: Figures, price: Decimal) -> bool:
    first = figures.first_trigger()
    is_out = cycle.hedges_stopped or cycle.hedge_failed
    if first is None or is_out or not figures.account.is_plain:
        return False
    opened = len({n for n, made in figures.account.hedges.items() if n and made.sold})
    return not opened and figures.can_hedge(opened, first) and price <= first
