"""What one market trade does to a cycle, and the band of prices between which it does nothing.

The order within one trade: h₁ (rule 3), the hedge watched here (rule 4), the stop-loss that does
not rest (rule 5), the distance to liquidation (rule 3), trailing (rule 6), net PNL (rule 7). `band`
names, for the same tests, the nearest prices at which one of them could come out differently.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from core.domain import thresholds
from core.domain.cycle import CloseReason, Cycle, Phase, Role
from core.domain.hedging import can_hedge, hedge_number, unprotected_trigger, watched_trigger
from core.domain.levels import levels_left
from core.domain.liquidation import liquidation_bounds, liquidation_neared
from core.domain.rules import is_take_profit_due
from core.domain.turns import close
from core.money import ONE, ZERO, percent_below

# Narrower than a division's last digit can be wrong; trades in between are judged exactly.
_INWARD = Decimal("1e-12")


def traded(cycle: Cycle, price: Decimal) -> Cycle:
    """Return the cycle after a trade at `price`."""
    if not _is_judged(cycle):
        return cycle
    first = _level_stop(cycle)
    if first is not None and price <= first:
        cycle = replace(cycle, levels_stopped=True)
    watched = watched_trigger(cycle)
    if watched is not None and price <= watched:
        cycle = replace(cycle, hedge_passed=hedge_number(cycle) or 0)
    unprotected = unprotected_trigger(cycle)
    if unprotected is not None and price >= unprotected:
        cycle = replace(cycle, short_stop_due=True)
    cycle = liquidation_neared(cycle, price)
    return _net_pnl_passed(_trailed(cycle, price), price)


def trailing_ended(cycle: Cycle) -> Cycle:
    """Return the cycle no longer trailing; rule 2 applies again."""
    return replace(cycle, trailing_stop=None, trailing_entry=None, guard_waits=False)


def _is_judged(cycle: Cycle) -> bool:
    """Return whether trades matter at all."""
    return cycle.phase is Phase.TRADING and not cycle.is_hands_off and cycle.ledger.is_priced


def _level_stop(cycle: Cycle) -> Decimal | None:
    """Return h₁ while a trade there would withdraw the levels that still wait."""
    if cycle.grid is None or cycle.levels_stopped or not levels_left(cycle):
        return None
    return cycle.grid.hedge_trigger if can_hedge(cycle) else None


def _trailed(cycle: Cycle, price: Decimal) -> Cycle:
    activation = thresholds.activation_price(cycle)
    if activation is None or cycle.close_long_asked:
        return cycle
    proposed, stop = thresholds.trailing_stop_at(cycle, price), cycle.trailing_stop
    if stop is None:
        if price < activation or proposed < thresholds.long_break_even(cycle):
            return cycle
        return replace(cycle, trailing_stop=proposed, trailing_entry=cycle.long.entry)
    if proposed > stop and proposed >= stop * thresholds.trailing_step_factor(cycle):
        return replace(cycle, trailing_stop=proposed)
    if price > stop:
        return cycle
    if price >= thresholds.long_break_even(cycle):
        return close(cycle, CloseReason.TRAILING)
    if _is_guarded(cycle):
        return cycle  # the guard lies above the break-even: it has triggered, its news is coming
    return trailing_ended(cycle)  # a gap: selling here would lose what rule 2 still may earn


def _is_guarded(cycle: Cycle) -> bool:
    guard = cycle.live(Role.GUARD)
    return guard is not None and guard.is_resting


def _net_pnl_passed(cycle: Cycle, price: Decimal) -> Cycle:
    earned = thresholds.net_pnl(cycle, price)
    is_hedged = cycle.long.quantity > 0 and cycle.short.quantity > 0
    if is_hedged and earned > cycle.settings.pnl_target:
        return close(cycle, CloseReason.PNL)
    limit = cycle.settings.max_loss
    if limit is not None and earned < -limit:
        return close(cycle, CloseReason.MAX_LOSS)
    return cycle


# --- The band ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Prices between which no trade changes anything; None: no bound on that side."""

    low: Decimal | None
    high: Decimal | None


def band(cycle: Cycle) -> Band:
    """Return the open interval of prices that the hot path may drop; at its ends `apply` judges."""
    if not _is_judged(cycle):
        return Band(low=None, high=None)
    if cycle.guard_waits and cycle.last_price is not None:
        return Band(low=cycle.last_price, high=cycle.last_price)  # any trade
    lows, highs = _trailing_bounds(cycle)
    if is_take_profit_due(cycle):
        highs.append(thresholds.take_profit_price(cycle))
    highs.append(unprotected_trigger(cycle))
    lows += [_level_stop(cycle), watched_trigger(cycle)]
    near_below, near_above = liquidation_bounds(cycle)
    lows.append(near_below)
    highs.append(near_above)
    _add_net_pnl_bounds(cycle, lows, highs)
    return Band(
        low=max((low * (ONE + _INWARD) for low in lows if low is not None), default=None),
        high=min((high * (ONE - _INWARD) for high in highs if high is not None), default=None),
    )


_Bounds = list[Decimal | None]


def _trailing_bounds(cycle: Cycle) -> tuple[_Bounds, _Bounds]:
    activation, stop = thresholds.activation_price(cycle), cycle.trailing_stop
    if activation is None or cycle.close_long_asked:
        return [], []
    factor = percent_below(ONE, cycle.settings.trail_2)
    if stop is None:
        return [], [max(activation, thresholds.long_break_even(cycle) / factor)]
    highs: _Bounds = [stop * thresholds.trailing_step_factor(cycle) / factor]
    guard, last = thresholds.guard_price(cycle), cycle.last_price
    if guard is not None and (last is None or last <= guard):
        highs.append(guard)  # it may be placed once the market is above it
    return [stop], highs


def _add_net_pnl_bounds(cycle: Cycle, lows: _Bounds, highs: _Bounds) -> None:
    """Add where rule 7's line crosses its thresholds."""
    limit = cycle.settings.max_loss
    if cycle.long.quantity and cycle.short.quantity:
        _add_bound(cycle, lows, highs, cycle.settings.pnl_target, is_above=True)
    if limit is not None:
        _add_bound(cycle, lows, highs, -limit, is_above=False)


def _add_bound(
    cycle: Cycle, lows: _Bounds, highs: _Bounds, threshold: Decimal, *, is_above: bool
) -> None:
    """Add the price where the line passes `threshold`, on the side where that acts."""
    slope, base = thresholds.net_pnl_slope(cycle), thresholds.net_pnl_at_zero(cycle)
    if slope:
        price = (threshold - base) / slope
        (highs if (slope > 0) is is_above else lows).append(price)
    elif base != threshold and (base > threshold) is is_above:
        highs.append(ZERO)  # already passed at every price
