"""What is legal in an alert but probably not meant, once the grid is laid. Pure.

Warnings that follow from the alert alone are made where it is parsed.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from core.domain.settings import Bracket, CycleSettings, Policy, SymbolRules
from core.grid import Grid
from core.money import HUNDRED, ONE, ZERO, ceil_tick, percent_above, percent_below, to_wire

# A hedge that needs a deeper fall than this to earn the close is not much larger than LONG.
FAR_FALL: Final = Decimal(50)  # %


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One side of a symbol's position."""

    quantity: Decimal
    entry: Decimal


def settings_warnings(
    settings: CycleSettings,
    grid: Grid,
    rules: SymbolRules,
    *,
    policy: Policy,
    wallet: Decimal | None = None,
) -> tuple[str, ...]:
    """Return what should be said about the alert although it is carried out.

    A grid with violations is refused anyway: nothing is said about it.

    Args:
        settings: the alert's settings.
        grid: the ladder laid from them.
        rules: the symbol's rules; without brackets nothing is said about liquidation.
        policy: the installation's choices.
        wallet: the margin that stands behind the position, in quote: the wallet balance with cross
            margin; None: not known, nothing is said about liquidation.
    """
    if grid.violations:
        return ()
    stages = _stages(grid)
    found = (
        _take_profit_below_fees(settings, stages, rules),
        _trailing_above_take_profit(settings, stages, rules),
        _pnl_out_of_reach(settings, grid, stages[-1], rules, policy),
        _liquidated_too_early(settings, grid, stages[-1], rules, wallet),
    )
    return tuple(text for text in found if text is not None)


def liquidation_price(
    *, wallet: Decimal, long: Leg, short: Leg, long_bracket: Bracket, short_bracket: Bracket
) -> Decimal | None:
    """Return the estimated liquidation price of both legs together; None: there is none.

    Quote per base, with nothing else open in the account. `is_lost_above` says on which side of
    the market it lies.
    """
    numerator = (
        wallet
        + long_bracket.cumulative
        + short_bracket.cumulative
        - long.quantity * long.entry
        + short.quantity * short.entry
    )
    denominator = long.quantity * (long_bracket.maintenance_rate - ONE) + short.quantity * (
        short_bracket.maintenance_rate + ONE
    )
    if not denominator or numerator / denominator <= 0:
        return None
    return numerator / denominator


def is_lost_above(
    *, long: Decimal, short: Decimal, long_bracket: Bracket, short_bracket: Bracket
) -> bool:
    """Return whether a rising price brings these quantities nearer to liquidation.

    What must be kept rises with the price, too: so it does with a LONG that is a little larger.
    """
    gained = long * (ONE - long_bracket.maintenance_rate)
    return gained <= short * (ONE + short_bracket.maintenance_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """LONG with the entry and the levels up to one filled."""

    place: str
    quantity: Decimal
    average: Decimal
    break_even: Decimal

    def cost(self, rules: SymbolRules) -> Decimal:
        """Return what was paid for it, commissions included, quote."""
        return self.break_even * (ONE - rules.taker_rate) * self.quantity


def _stages(grid: Grid) -> list[_Stage]:
    stages = [
        _Stage(
            place="after the entry",
            quantity=grid.entry_quantity,
            average=grid.entry_fill_price,
            break_even=grid.entry_break_even,
        )
    ]
    for level in grid.levels:
        stage = _Stage(
            place=f"after level {level.number}",
            quantity=stages[-1].quantity + level.quantity,
            average=level.average_price,
            break_even=level.break_even,
        )
        stages.append(stage)
    return stages


def _take_profit_below_fees(
    settings: CycleSettings, stages: list[_Stage], rules: SymbolRules
) -> str | None:
    for stage in stages:
        price = _take_profit(settings, stage, rules)
        earned = price * stage.quantity * (ONE - rules.maker_rate) - stage.cost(rules)
        if earned <= 0:
            return (
                f"tp {to_wire(settings.tp)} does not cover the fees: {stage.place}, the "
                f"take-profit at {to_wire(price)} earns {_short(earned)} {rules.quote_asset}"
            )
    return None


def _trailing_above_take_profit(
    settings: CycleSettings, stages: list[_Stage], rules: SymbolRules
) -> str | None:
    if not 0 < settings.trail_1 < settings.tp:
        return None  # off, or it can never start, which was said when the alert was parsed
    for stage in stages:
        price = _take_profit(settings, stage, rules)
        activation = percent_above(stage.average, settings.trail_1)
        # Rule 6: the stop that trailing would start with must not lie below the break-even.
        start = max(activation, stage.break_even / (ONE - settings.trail_2 / HUNDRED))
        if start > price - rules.tick_size:  # no tick is left between the two
            return (
                f"trailing could only start at {_short(start)}, not below the take-profit "
                f"{to_wire(price)} ({stage.place}, fees counted)"
            )
    return None


def _pnl_out_of_reach(
    settings: CycleSettings, grid: Grid, full: _Stage, rules: SymbolRules, policy: Policy
) -> str | None:
    """Judge rule 7 for the first hedge, filled at its trigger under a full LONG.

    Later hedges are smaller and carry the losses of earlier ones: they reach it even later.
    """
    if not _is_hedged(settings, grid):
        return None
    trigger, short = grid.hedge_trigger or ZERO, grid.hedge_quantity or ZERO
    stop = ceil_tick(percent_above(trigger, settings.sl_short or ZERO), rules.tick_size)
    at_zero = short * trigger * (ONE - rules.taker_rate) - full.cost(rules) - settings.pnl_target
    slope = (
        full.quantity - short - (rules.taker_rate + policy.exit_slippage) * (full.quantity + short)
    )
    sides = f"SHORT {to_wire(short)}, LONG {to_wire(full.quantity)}"
    if at_zero + slope * stop > 0:
        return None  # reached somewhere below the stop-loss, at once or by rising to it
    if at_zero <= 0:
        return (
            f"pnl_target is out of reach: the hedge's stop-loss at {to_wire(stop)} comes first; "
            f"it needs SHORT clearly larger than LONG ({sides}): raise extramarg"
        )
    price = at_zero / -slope
    if price < percent_below(trigger, FAR_FALL):
        return (
            f"pnl_target is reached only at {_short(price)}, more than {FAR_FALL} % below the "
            f"hedge's trigger {to_wire(trigger)} ({sides}): raise extramarg"
        )
    return None


def _is_hedged(settings: CycleSettings, grid: Grid) -> bool:
    return grid.hedge_trigger is not None and settings.max_hedges > 0


def _liquidated_too_early(
    settings: CycleSettings,
    grid: Grid,
    full: _Stage,
    rules: SymbolRules,
    wallet: Decimal | None,
) -> str | None:
    if wallet is None or not rules.brackets:
        return None
    price, what = grid.hedge_trigger, "the hedge's trigger"
    if price is None:
        price, what = (grid.levels[-1].price if grid.levels else None), "the last level"
    if price is None:
        return None  # the entry alone: nothing is planned below it
    long = Leg(quantity=full.quantity, entry=full.average)
    paid = full.cost(rules) - full.quantity * full.average
    alone = Leg(quantity=ZERO, entry=price)
    if _is_liquidated(wallet - paid, price, long, alone, rules):
        return _liquidation_text("LONG", wallet - paid, price, what, long, alone, rules)
    if _is_hedged(settings, grid):
        short = Leg(quantity=grid.hedge_quantity or ZERO, entry=price)
        paid += short.quantity * price * rules.taker_rate
        if _is_liquidated(wallet - paid, price, long, short, rules):
            return _liquidation_text("both sides", wallet - paid, price, what, long, short, rules)
    return None


def _is_liquidated(
    wallet: Decimal, price: Decimal, long: Leg, short: Leg, rules: SymbolRules
) -> bool:
    margin = wallet + long.quantity * (price - long.entry) + short.quantity * (short.entry - price)
    maintenance = ZERO
    for leg in (long, short):
        bracket = _bracket(leg.quantity * price, rules)
        maintenance += leg.quantity * price * bracket.maintenance_rate - bracket.cumulative
    return margin <= maintenance


def _liquidation_text(
    which: str,
    wallet: Decimal,
    price: Decimal,
    what: str,
    long: Leg,
    short: Leg,
    rules: SymbolRules,
) -> str:
    liquidation = liquidation_price(
        wallet=wallet,
        long=long,
        short=short,
        long_bracket=_bracket(long.quantity * price, rules),
        short_bracket=_bracket(short.quantity * price, rules),
    )
    at = "" if liquidation is None else f" (estimated liquidation price {_short(liquidation)})"
    return (
        f"{which} would be liquidated by the time the price is at {what} {to_wire(price)}{at}: "
        "lower amount, mg_long or leverage, or have more in the wallet"
    )


def _bracket(notional: Decimal, rules: SymbolRules) -> Bracket:
    fitting = (bracket for bracket in rules.brackets if notional <= bracket.notional_cap)
    return next(fitting, rules.brackets[-1])


def _take_profit(settings: CycleSettings, stage: _Stage, rules: SymbolRules) -> Decimal:
    return ceil_tick(percent_above(stage.average, settings.tp), rules.tick_size)


def _short(value: Decimal) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")
