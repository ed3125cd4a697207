"""Prices at which rules 2, 5, 6 and 7 act, as functions of the cycle. Pure arithmetic."""

from decimal import Decimal

from core.domain.cycle import Cycle, Phase
from core.money import (
    HUNDRED,
    ONE,
    ZERO,
    Price,
    ceil_tick,
    floor_tick,
    percent_above,
    percent_below,
)

_GUARD_BELOW_STOP = Decimal("0.998")  # rule 6: room for the trailing rule to act first


# --- Rules 2 and 5 ---


def is_take_profit_wanted(cycle: Cycle) -> bool:
    """Return whether rule 2 wants a take-profit, be its price known or not."""
    return (
        cycle.phase in (Phase.ENTERING, Phase.TRADING)
        and cycle.long.quantity > 0
        and cycle.trailing_stop is None
        and not cycle.close_long_asked
    )


def take_profit_price(cycle: Cycle) -> Price | None:
    """Return rule 2's price; None while it wants no take-profit, or a fill has no price yet."""
    if not is_take_profit_wanted(cycle) or not cycle.ledger.is_priced:
        return None
    return ceil_tick(percent_above(cycle.long.entry, cycle.settings.tp), cycle.rules.tick_size)


def short_stop_trigger(cycle: Cycle) -> Price | None:
    """Return the stop-loss trigger that SHORT's entry asks for; None: no SHORT or no `sl_short`."""
    if not cycle.short.quantity or cycle.settings.sl_short is None or not cycle.ledger.is_priced:
        return None
    exact = percent_above(cycle.short.entry, cycle.settings.sl_short)
    return ceil_tick(exact, cycle.rules.tick_size)


# --- Rule 6 ---


def activation_price(cycle: Cycle) -> Decimal | None:
    """Return A, LONG entry + trail_1 percent; None with trailing off or nothing held."""
    if not cycle.settings.trail_1 or not cycle.long.quantity or not cycle.ledger.is_priced:
        return None
    return percent_above(cycle.long.entry, cycle.settings.trail_1)


def long_break_even(cycle: Cycle) -> Decimal:
    """Return b: the price at which selling LONG covers its commissions, the sale's included."""
    long = cycle.long
    assert long.quantity > 0
    cost = long.quantity * long.entry + long.held_commission
    return cost / (long.quantity * (ONE - cycle.rules.taker_rate))


def trailing_stop_at(cycle: Cycle, price: Decimal) -> Decimal:
    """Return S' = price less trail_2 percent."""
    return percent_below(price, cycle.settings.trail_2)


def trailing_step_factor(cycle: Cycle) -> Decimal:
    """Return how much S has to rise to be moved, as a factor."""
    return ONE + cycle.settings.trail_step / HUNDRED


def guard_price(cycle: Cycle) -> Price | None:
    """Return where the guard belongs; None while none is wanted."""
    stop = cycle.trailing_stop
    is_wanted = cycle.settings.trail_guard and cycle.long.quantity and not cycle.stop_needs_slot
    if stop is None or not is_wanted:
        return None
    tick = cycle.rules.tick_size
    return max(floor_tick(stop * _GUARD_BELOW_STOP, tick), ceil_tick(long_break_even(cycle), tick))


# --- Rule 7 ---


def net_pnl(cycle: Cycle, price: Decimal) -> Decimal:
    """Return pnl_diff: what the cycle would have earned, all costs paid, if closed at `price`."""
    long, short = cycle.long, cycle.short
    return (
        _fixed_pnl(cycle)
        - _exit_cost_rate(cycle) * price * (long.quantity + short.quantity)
        + long.quantity * (price - long.entry)
        + short.quantity * (short.entry - price)
    )


def net_pnl_slope(cycle: Cycle) -> Decimal:
    """Return what one unit of price adds to pnl_diff."""
    long, short = cycle.long.quantity, cycle.short.quantity
    return long - short - _exit_cost_rate(cycle) * (long + short)


def net_pnl_at_zero(cycle: Cycle) -> Decimal:
    """Return pnl_diff's value at price 0, where the line of rule 7 begins."""
    return net_pnl(cycle, ZERO)


def _exit_cost_rate(cycle: Cycle) -> Decimal:
    return cycle.rules.taker_rate + cycle.policy.exit_slippage


def _fixed_pnl(cycle: Cycle) -> Decimal:
    return cycle.ledger.realised + cycle.funding - cycle.ledger.commissions
