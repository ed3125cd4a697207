"""What should be open on the exchange now, and why: `wanted`, and the rules not told elsewhere.

Each `rule_…` returns the orders that its rule wants; `wanted` puts them together, the protecting
ones first. Nothing here changes the cycle; `strategy.apply` does, and asks these functions.
Rule 3 stands in `levels`, rules 4 and 5 in `hedging`, the prices where rules act in `thresholds`.
"""

from decimal import Decimal

from core.domain.cycle import (
    Cycle,
    Kind,
    OrderState,
    Phase,
    PositionSide,
    Role,
    Side,
    WantedOrder,
)
from core.domain.hedging import rule_4_hedge, rule_5_hedge_stop, short_close
from core.domain.levels import rule_3_averaging
from core.domain.thresholds import guard_price, is_take_profit_wanted, take_profit_price
from core.domain.thresholds import net_pnl as net_pnl  # also for those who only show figures
from core.domain.unknown_orders import is_stray
from core.domain.wishes import kept, market_close
from core.money import ZERO, floor_step, shown

ENTRY_DEADLINE_MS = 15_000  # rule 1


def wanted(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return every order that should be open now, in order of importance."""
    if cycle.phase is Phase.ENDED:
        return ()
    if cycle.phase is Phase.CLOSING:
        return rule_9_closing(cycle)
    return (
        *rule_5_hedge_stop(cycle),
        *rule_2_take_profit(cycle),
        *rule_6_guard(cycle),
        *rule_9_one_side(cycle),
        *rule_4_hedge(cycle),
        *rule_1_entry(cycle),
        *rule_3_averaging(cycle),
        *foreign_orders(cycle),
    )


# --- Rule 1 ---


def rule_1_entry(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the entry while it is not over; its quantity was fixed by the checks before it."""
    entry = cycle.entry_order
    if entry is None or entry.is_over or cycle.close_long_asked:
        return ()
    return (kept(entry),)


# --- Rule 2 ---


def rule_2_take_profit(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return one limit sell for the whole LONG side, `tp` percent above its entry."""
    if not is_take_profit_wanted(cycle):
        return ()
    price, live = take_profit_price(cycle), cycle.live(Role.TAKE_PROFIT)
    if price is None:  # a fill's price is being read; what rests stays meanwhile
        return () if live is None or not live.is_out else (kept(live),)
    executed = ZERO if live is None else live.executed
    remaining = floor_step(
        min(cycle.long.quantity - foreign_sells(cycle), cycle.rules.max_quantity - executed),
        cycle.rules.step_size,
    )
    if remaining <= 0:
        return ()
    reason = (
        f"rule 2: LONG {shown(cycle.long.quantity)} at {shown(cycle.long.entry)} "
        f"+ {shown(cycle.settings.tp)} %, {shown(executed)} of it already sold"
    )
    return (
        WantedOrder(
            role=Role.TAKE_PROFIT,
            number=0,
            side=Side.SELL,
            position_side=PositionSide.LONG,
            kind=Kind.LIMIT,
            price=price,
            quantity=executed + remaining,  # the exchange amends totals
            follows=True,
            reason=reason,
        ),
    )


def is_take_profit_due(cycle: Cycle) -> bool:
    """Return whether a take-profit is wanted and the exchange does not hold one."""
    live = cycle.live(Role.TAKE_PROFIT)
    return (live is None or not live.is_out) and bool(rule_2_take_profit(cycle))


# --- Rule 6 ---


def rule_6_guard(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the stop that rests below the trailing stop while it trails."""
    price, live = guard_price(cycle), cycle.live(Role.GUARD)
    if price is None:
        return ()
    if cycle.guard_waits or cycle.last_price is None or price >= cycle.last_price:
        return (kept(live),) if live is not None and live.is_out else ()
    assert cycle.trailing_stop is not None
    return (
        WantedOrder(
            role=Role.GUARD,
            number=0,
            side=Side.SELL,
            position_side=PositionSide.LONG,
            kind=Kind.STOP_MARKET,
            price=price,
            quantity=None,
            close_position=True,
            follows=True,
            reason=f"rule 6: guard of the trailing stop {shown(cycle.trailing_stop)}",
        ),
    )


# --- Rule 9 ---


def rule_9_closing(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the closing MARKET orders, and the protection that still rests until flat."""
    guard, stop = cycle.live(Role.GUARD), cycle.live(Role.HEDGE_STOP)
    protection: list[WantedOrder] = []
    if stop is not None and stop.is_out and cycle.short.quantity:
        protection.append(kept(stop))
    if guard is not None and guard.is_out and cycle.long.quantity:
        protection.append(kept(guard))
    return (*protection, *_close_long(cycle), *_close_short(cycle))


def rule_9_one_side(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the closing orders of a side that the operator asked for while the cycle goes on."""
    return (
        *(_close_long(cycle) if cycle.close_long_asked else ()),
        *(_close_short(cycle) if cycle.close_short_asked else ()),
    )


def _close_long(cycle: Cycle) -> tuple[WantedOrder, ...]:
    if cycle.long.quantity < cycle.rules.step_size or _is_long_reserved(cycle):
        return ()
    return (market_close(cycle, Role.CLOSE_LONG, 0, _close_reason(cycle)),)


def _close_short(cycle: Cycle) -> tuple[WantedOrder, ...]:
    if cycle.short.quantity < cycle.rules.step_size:
        return ()
    return (short_close(cycle, _close_reason(cycle), Role.CLOSE_SHORT),)


def _close_reason(cycle: Cycle) -> str:
    return f"rule 9: closing, {cycle.close_reason or 'the operator asked for this side'}"


def _is_long_reserved(cycle: Cycle) -> bool:
    """Return whether a sell still holds the LONG quantity that is to be closed.

    Not waited for is a take-profit of which nothing is known but that its placing got no answer: if
    it does rest, the exchange refuses the close, which is then tried again.
    """
    live = cycle.live(Role.TAKE_PROFIT)
    is_held = live is not None and (
        live.is_resting or (live.is_in_flight and not live.is_unresolved)
    )
    return is_held or foreign_sells(cycle) > 0


# --- Orders of others ---


def foreign_orders(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the orders of others, to be left alone but where they reserve what is to be closed.

    One of ours from another cycle, placed late or found after a restart, is nobody's: it goes.
    """
    in_the_way = {
        PositionSide.LONG: cycle.close_long_asked,
        PositionSide.SHORT: cycle.close_short_asked,
    }
    return tuple(
        kept(order)
        for order in cycle.of(Role.FOREIGN)
        if not (order.is_over or is_stray(order))
        and (order.is_opening or not in_the_way[order.position_side])
    )


def foreign_sells(cycle: Cycle) -> Decimal:
    """Return how much of LONG the resting orders of others already offer to sell."""
    return sum((o.remaining for o in cycle.of(Role.FOREIGN) if _offers_long(o)), ZERO)


def _offers_long(order: OrderState) -> bool:
    is_close = order.position_side is PositionSide.LONG and not order.is_opening
    return is_close and not order.is_over and order.kind is not Kind.STOP_MARKET
