"""Rules 4 and 5: the SHORT hedge below the grid, and the stop-loss of an open SHORT.

A hedge has one number and, one after the other, up to three ways to the market, each an order of
its own: the stop that rests at its trigger (HEDGE); the same by MARKET once its trigger is known to
be passed (`hedge_passed`: -2021, or watched here because it may not rest); and, if the margin did
not carry that, once more by MARKET, cut to what the balance carries (`hedge_fallback`). A hedge
counts as opened when something of it filled and its own order is over.
"""

from decimal import Decimal

from core.domain.cycle import Cycle, Kind, OrderState, Phase, PositionSide, Role, Side, WantedOrder
from core.domain.ledger import HEDGE_ROLES
from core.domain.levels import levels_ahead, levels_left
from core.domain.thresholds import short_stop_trigger
from core.domain.wishes import kept, market_close, short_number
from core.grid import MIN_HEDGE_NOTIONAL, hedge_fits, hedge_quantity
from core.money import ZERO, Quantity, floor_step, floor_tick, percent_below, shown

_AVAILABLE_SHARE = Decimal("0.95")  # rule 4: leave something for fees


# --- Rule 4 ---


def rule_4_hedge(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the SHORT that stands ready below the last level, or its MARKET substitutes."""
    number = hedge_number(cycle)
    if number is None or cycle.close_long_asked or not is_hedge_due(cycle):
        return ()
    out = hedge_under_way(cycle)
    if out is not None:
        return (kept(out),)
    if cycle.is_paused:
        return ()
    trigger = floor_tick(cycle.hedge_triggers[number - 1], cycle.rules.tick_size)
    planned = planned_hedge(cycle, trigger)
    fallback = cycle.hedge_fallback
    if fallback is not None and fallback.number == number:
        if fallback.quantity is None:
            return ()  # the balance is being asked for
        text = f"refused for margin; {shown(fallback.quantity)} is what the balance carries"
        return (_hedge(cycle, Role.HEDGE_MARKET, number, None, fallback.quantity, text),)
    if cycle.hedge_passed == number:
        return (_hedge(cycle, Role.HEDGE_MARKET, number, None, planned, "its trigger was passed"),)
    if cycle.hedge_watched == number:
        return ()  # by the price band
    text = f"trigger {shown(trigger)}, margin left {shown(margin_left(cycle))}"
    return (_hedge(cycle, Role.HEDGE, number, trigger, planned, text),)


def can_hedge(cycle: Cycle) -> bool:
    """Return rule 4's conditions apart from the levels and SHORT itself."""
    return (
        cycle.phase is Phase.TRADING
        and cycle.long.quantity > 0
        and not cycle.hedges_stopped
        and not cycle.hedge_failed
        and is_hedge_asked(cycle)
        and hedge_obstacle(cycle) is None
    )


def is_hedge_due(cycle: Cycle) -> bool:
    """Return whether a hedge is wanted now: no level is left but those that rest or should."""
    is_free = not cycle.short.quantity or _is_hedge_unfinished(cycle)
    return is_free and can_hedge(cycle) and levels_left(cycle) == levels_ahead(cycle)


def is_hedge_asked(cycle: Cycle) -> bool:
    """Return whether the alert asked for any hedge."""
    settings = cycle.settings
    return settings.extramarg > 0 and settings.offset_short is not None and settings.max_hedges > 0


def hedge_obstacle(cycle: Cycle) -> str | None:
    """Return why no (further) hedge can be had; None: nothing is in its way, or it is under way."""
    settings, done = cycle.settings, hedges_done(cycle)
    if done >= settings.max_hedges:
        return f"all {settings.max_hedges} were used"
    if hedge_under_way(cycle) is not None:
        return None
    trigger = next_trigger(cycle)
    if trigger is None or trigger <= 0:
        return f"hedge {done + 1} has no trigger"
    margin = margin_left(cycle)
    if margin * settings.leverage < MIN_HEDGE_NOTIONAL:
        return f"the margin left is {shown(margin)}"
    planned = planned_hedge(cycle, trigger)
    if not hedge_fits(planned, trigger, cycle.rules):
        return f"{shown(planned)} at {shown(trigger)} is less than the exchange takes"
    return None


def hedge_number(cycle: Cycle) -> int | None:
    """Return the number of the hedge to arm (or in the making); None while none has a trigger."""
    number = hedges_done(cycle) + 1
    return number if number <= len(cycle.hedge_triggers) else None


def hedges_done(cycle: Cycle) -> int:
    """Return how many hedges were opened; one whose own order still runs does not count."""
    opened = {h.number for h in cycle.ledger.hedges if h.number and h.opened}
    running = {o.number for o in _hedge_orders(cycle) if not o.is_over}
    return len(opened - running)


def hedge_under_way(cycle: Cycle) -> OrderState | None:
    """Return the hedge order that the exchange holds, or may."""
    return next((o for o in _hedge_orders(cycle) if o.is_out), None)


def next_trigger(cycle: Cycle) -> Decimal | None:
    """Return h_j of the next hedge: as armed, or as it would be armed now, uncapped."""
    number = hedges_done(cycle) + 1
    if number <= len(cycle.hedge_triggers):
        return cycle.hedge_triggers[number - 1]
    if number == 1:
        return None if cycle.grid is None else cycle.grid.hedge_trigger
    offset = cycle.settings.offset_pluse
    before = next((h for h in cycle.ledger.hedges if h.number == number - 1), None)
    if offset is None or before is None:
        return None
    base = min(cycle.hedge_triggers[number - 2], before.average_price)
    return floor_tick(percent_below(base, offset), cycle.rules.tick_size)


def planned_hedge(cycle: Cycle, trigger: Decimal) -> Quantity:
    """Return the hedge's full quantity at `trigger`."""
    return hedge_quantity(
        margin=margin_left(cycle),
        leverage=cycle.settings.leverage,
        trigger=trigger,
        symbol=cycle.rules,
    )


def margin_left(cycle: Cycle) -> Decimal:
    """Return extramarg less what the closed hedges lost, commissions included (quote)."""
    lost = sum(
        (
            max(ZERO, h.commissions - h.realised)
            for h in cycle.ledger.hedges
            if h.number and h.is_closed
        ),
        ZERO,
    )
    return cycle.settings.extramarg - lost


def watched_trigger(cycle: Cycle) -> Decimal | None:
    """Return the trigger that is watched here because no stop order may rest there."""
    number = hedge_number(cycle)
    is_watched = number is not None and cycle.hedge_watched == number != cycle.hedge_passed
    if number is None or not is_watched or not is_hedge_due(cycle):
        return None
    return cycle.hedge_triggers[number - 1]


def fallback_quantity(cycle: Cycle, number: int, available: Decimal) -> Quantity | None:
    """Return how much of hedge `number` the available balance carries; None: nothing fits."""
    leverage, trigger = cycle.settings.leverage, cycle.hedge_triggers[number - 1]
    # It was refused at its trigger, so that price stands in where no trade is known.
    price = trigger if cycle.last_price is None else cycle.last_price
    affordable = _AVAILABLE_SHARE * available * leverage / price
    cap = cycle.rules.notional_cap(leverage)
    if cap is not None:
        affordable = min(affordable, cap / price - cycle.long.quantity)
    quantity = min(planned_hedge(cycle, trigger), max(ZERO, affordable))
    quantity = floor_step(quantity, cycle.rules.step_size)
    return quantity if hedge_fits(quantity, price, cycle.rules) else None


def _hedge_orders(cycle: Cycle) -> tuple[OrderState, ...]:
    return tuple(o for o in cycle.orders if o.role in HEDGE_ROLES)


def _is_hedge_unfinished(cycle: Cycle) -> bool:
    """Return whether SHORT comes from a hedge whose own order is still executing."""
    return any(not o.is_over and o.executed for o in _hedge_orders(cycle))


def _hedge(
    cycle: Cycle, role: Role, number: int, trigger: Decimal | None, quantity: Decimal, why: str
) -> WantedOrder:
    return WantedOrder(
        role=role,
        number=number,
        side=Side.SELL,
        position_side=PositionSide.SHORT,
        kind=Kind.MARKET if trigger is None else Kind.STOP_MARKET,
        price=trigger,
        quantity=floor_step(quantity, cycle.rules.step_size),
        reason=f"rule 4: hedge {number} of at most {cycle.settings.max_hedges}, {why}",
    )


# --- Rule 5 ---


def rule_5_hedge_stop(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the stop-loss of an open SHORT and, where its price was passed, the MARKET close."""
    if not cycle.short.quantity:
        return ()
    by_market = cycle.short_stop_due and not cycle.close_short_asked
    close = (short_close(cycle, "rule 5: stop-loss price passed"),) if by_market else ()
    return (*_stop(cycle), *close)


def short_close(cycle: Cycle, reason: str, role: Role = Role.HEDGE_STOP_MARKET) -> WantedOrder:
    """Return the MARKET order that closes SHORT; one that is out already stays the only one."""
    number = short_number(cycle)
    for other in (Role.CLOSE_SHORT, Role.HEDGE_STOP_MARKET):
        live = cycle.live(other)
        if live is not None and live.is_out:
            return kept(live)
    return market_close(cycle, role, number, reason)


def unprotected_trigger(cycle: Cycle) -> Decimal | None:
    """Return SHORT's stop-loss trigger while no stop-loss rests on the exchange."""
    stop = cycle.live(Role.HEDGE_STOP)
    if cycle.short_stop_due or (stop is not None and stop.is_resting):
        return None
    return short_stop_trigger(cycle)


def _stop(cycle: Cycle) -> tuple[WantedOrder, ...]:
    trigger, number = short_stop_trigger(cycle), short_number(cycle)
    live = cycle.live(Role.HEDGE_STOP)
    if live is not None and live.number != number:
        return ()  # an earlier hedge's: the exchange allows one, so it goes first
    if trigger is None or (live is not None and live.is_out and _is_hedge_unfinished(cycle)):
        return (kept(live),) if live is not None else ()
    if cycle.short_stop_due:
        return (kept(live),) if live is not None and live.is_out else ()
    quantity, entry = shown(cycle.short.quantity), shown(cycle.short.entry)
    return (
        WantedOrder(
            role=Role.HEDGE_STOP,
            number=number,
            side=Side.BUY,
            position_side=PositionSide.SHORT,
            kind=Kind.STOP_MARKET,
            price=trigger,
            quantity=None,
            close_position=True,
            follows=True,
            reason=f"rule 5: SHORT {quantity} at {entry} + sl_short",
        ),
    )
