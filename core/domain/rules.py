"""Strategy rules 2 to 9 as functions of the cycle: which orders should be open now, and why.

Each `rule_…` returns the orders that its rule wants; `wanted` puts them together, the protecting
ones first. Thresholds that the rules share (activation, break-even, net PNL) stand at the end.
Nothing here changes the cycle; `strategy.apply` does, and asks these functions.
"""

from decimal import Decimal

from core.domain.cycle import (
    Cycle,
    EndedBy,
    Kind,
    OrderState,
    Phase,
    PositionSide,
    Role,
    Side,
    WantedOrder,
)
from core.domain.ledger import is_opening
from core.domain.refusals import Refusal, refusal
from core.grid import MIN_HEDGE_NOTIONAL, hedge_fits, hedge_quantity
from core.money import (
    HUNDRED,
    ONE,
    ZERO,
    Quantity,
    ceil_tick,
    floor_step,
    floor_tick,
    percent_above,
    percent_below,
    to_wire,
)

ENTRY_DEADLINE_MS = 15_000  # rule 1
MAX_ATTEMPTS_IN_A_ROW = 3  # rule 10: orders that the exchange ended
_GUARD_BELOW_STOP = Decimal("0.998")  # rule 6: room for the trailing rule to act first
_AVAILABLE_SHARE = Decimal("0.95")  # rule 4: leave something for fees


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
        *asked_closes(cycle),
        *rule_4_hedge(cycle),
        *rule_1_entry(cycle),
        *rule_3_averaging(cycle),
    )


def is_entry_over(cycle: Cycle) -> bool:
    """Return whether nothing more can come of the entry."""
    entry = cycle.entry_order
    return entry is not None and entry.is_over


# --- Rule 1 ---


def rule_1_entry(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the entry while it is not over; its quantity was fixed by the checks before it."""
    entry = cycle.entry_order
    if entry is None or entry.is_over or (cycle.is_paused and not _is_out(entry)):
        return ()
    return (_kept(entry),)


# --- Rule 2 ---


def rule_2_take_profit(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return one limit sell for the whole LONG side, `tp` percent above its entry."""
    price = take_profit_price(cycle)
    if price is None:
        return ()
    live = cycle.live(Role.TAKE_PROFIT)
    remaining = cycle.long.quantity - foreign_sells(cycle)
    if remaining <= 0:
        return ()
    executed = live.executed if live is not None else ZERO
    reason = (
        f"rule 2: LONG {to_wire(cycle.long.quantity)} at {to_wire(_short(cycle.long.entry))} "
        f"+ {to_wire(cycle.settings.tp)} %, {to_wire(executed)} of it already sold"
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


def take_profit_price(cycle: Cycle) -> Decimal | None:
    """Return rule 2's price; None while it wants no take-profit."""
    is_wanted = (
        cycle.phase in (Phase.ENTERING, Phase.TRADING)
        and cycle.long.quantity > 0
        and cycle.trailing_stop is None
        and not cycle.close_long_asked
        and cycle.ledger.is_priced
    )
    if not is_wanted:
        return None
    return ceil_tick(percent_above(cycle.long.entry, cycle.settings.tp), cycle.rules.tick_size)


def foreign_sells(cycle: Cycle) -> Decimal:
    """Return how much of LONG the resting orders of others already offer to sell."""
    return sum(
        (
            order.remaining
            for order in cycle.of(Role.FOREIGN)
            if not order.is_over
            and order.position_side is PositionSide.LONG
            and order.side is Side.SELL
            and order.kind is not Kind.STOP_MARKET
        ),
        ZERO,
    )


# --- Rule 3 ---


def rule_3_averaging(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the first `grid_ahead` levels that are neither filled nor withdrawn."""
    if cycle.grid is None or not cycle.long.quantity or cycle.close_long_asked:
        return ()
    return tuple(
        _level(cycle, number)
        for number in levels_ahead(cycle)
        if not cycle.is_paused or _rests(cycle, Role.LEVEL, number)
    )


def levels_ahead(cycle: Cycle) -> tuple[int, ...]:
    """Return the numbers of the levels that should rest on the book now."""
    return levels_left(cycle)[: cycle.settings.grid_ahead]


def levels_left(cycle: Cycle) -> tuple[int, ...]:
    """Return the levels that are neither filled nor withdrawn, from the top down."""
    if cycle.grid is None:
        return ()
    return tuple(
        level.number
        for level in cycle.grid.levels
        if level.number not in cycle.withdrawn and not is_level_filled(cycle, level.number)
    )


def is_level_filled(cycle: Cycle, number: int) -> bool:
    """Return whether the level's order executed in full."""
    return any(
        o.is_over and o.executed > 0 and o.ended_by is EndedBy.FILLED
        for o in cycle.of(Role.LEVEL, number)
    )


def waiting_levels(cycle: Cycle) -> tuple[int, ...]:
    """Return the levels left that the exchange does not hold and nobody is asking it to."""
    return tuple(
        number
        for number in levels_left(cycle)
        if (live := cycle.live(Role.LEVEL, number)) is None or not _is_out(live)
    )


def _level(cycle: Cycle, number: int) -> WantedOrder:
    assert cycle.grid is not None
    level = cycle.grid.level(number)
    price, quantity = level.price, level.quantity - _executed(cycle, Role.LEVEL, number)
    if cycle.mark_price is not None:
        # Above the market by more than the exchange allows: at its bound, which fills at once.
        bound = floor_tick(cycle.mark_price * cycle.rules.multiplier_up, cycle.rules.tick_size)
        price = min(price, bound)
    return WantedOrder(
        role=Role.LEVEL,
        number=number,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=floor_tick(price, cycle.rules.tick_size),
        quantity=quantity,
        reason=f"rule 3: level {number} of {len(cycle.grid.levels)}, {to_wire(level.price)}",
    )


# --- Rule 4 ---


def rule_4_hedge(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the SHORT that stands ready below the last level, or its MARKET substitutes."""
    number = hedge_number(cycle)
    if number is None or not is_hedge_due(cycle) or cycle.close_long_asked:
        return ()
    market = cycle.live(Role.HEDGE_MARKET, number)
    if market is not None:
        return (_kept(market),)
    live = cycle.live(Role.HEDGE, number)
    if live is not None and _is_out(live):
        return (_kept(live),)
    if cycle.is_paused:
        return ()
    trigger = cycle.hedge_triggers[number - 1]
    planned = planned_hedge(cycle, trigger)
    fallback = cycle.hedge_fallback
    if fallback is not None and fallback.number == number:
        return _fallback_hedge(cycle, number, planned)
    if hedge_goes_by_market(cycle, number):
        return (_hedge(cycle, Role.HEDGE_MARKET, number, None, planned, "its trigger was passed"),)
    if cycle.hedge_by_market:
        return ()  # watched by the price band
    text = f"trigger {to_wire(trigger)}, margin left {to_wire(_short(margin_left(cycle)))}"
    return (_hedge(cycle, Role.HEDGE, number, trigger, planned, text),)


def can_hedge(cycle: Cycle) -> bool:
    """Return rule 4's conditions apart from the levels and SHORT itself."""
    settings = cycle.settings
    if not is_entry_over(cycle) or cycle.phase is not Phase.TRADING or not cycle.long.quantity:
        return False
    if cycle.hedges_stopped or cycle.hedge_failed or settings.offset_short is None:
        return False
    if hedges_done(cycle) >= settings.max_hedges:
        return False
    trigger = next_trigger(cycle)
    if trigger is None or trigger <= 0:
        return False
    margin = margin_left(cycle)
    if margin * settings.leverage < MIN_HEDGE_NOTIONAL:
        return False
    return hedge_fits(planned_hedge(cycle, trigger), trigger, cycle.rules)


def is_hedge_due(cycle: Cycle) -> bool:
    """Return whether a hedge is wanted now."""
    if not can_hedge(cycle):
        return False
    if cycle.short.quantity and not is_hedge_unfinished(cycle):
        return False
    return set(levels_left(cycle)) <= set(levels_ahead(cycle))


def hedge_number(cycle: Cycle) -> int | None:
    """Return the number of the hedge to arm (or in the making); None while none has a trigger."""
    number = hedges_done(cycle) + 1
    return number if number <= len(cycle.hedge_triggers) else None


def hedges_done(cycle: Cycle) -> int:
    """Return how many hedges were opened; one whose own order still runs does not count."""
    opened = {h.number for h in cycle.ledger.hedges if h.number and h.opened}
    running = {
        o.number
        for role in (Role.HEDGE, Role.HEDGE_MARKET)
        for o in cycle.of(role)
        if not o.is_over
    }
    return len(opened - running)


def is_hedge_unfinished(cycle: Cycle) -> bool:
    """Return whether SHORT comes from a hedge whose own order is still executing."""
    return any(
        not o.is_over and o.executed > 0
        for role in (Role.HEDGE, Role.HEDGE_MARKET)
        for o in cycle.of(role)
    )


def next_trigger(cycle: Cycle) -> Decimal | None:
    """Return h_j of the next hedge: as armed, or as it would be armed now, uncapped."""
    number = hedges_done(cycle) + 1
    if number <= len(cycle.hedge_triggers):
        return cycle.hedge_triggers[number - 1]
    if number == 1:
        return None if cycle.grid is None else cycle.grid.hedge_trigger
    offset = cycle.settings.offset_pluse
    before = next((h for h in cycle.ledger.hedges if h.number == number - 1), None)
    if offset is None or before is None or number - 1 > len(cycle.hedge_triggers):
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


def hedge_goes_by_market(cycle: Cycle, number: int) -> bool:
    """Return whether the trigger was passed before a stop order could rest there."""
    if cycle.hedge_passed == number:
        return True
    last = cycle.last(Role.HEDGE, number)
    return (
        last is not None
        and last.ended_by is EndedBy.REFUSED
        and last.refusal_code is not None
        and refusal(last.refusal_code) is Refusal.TRIGGER_PASSED
    )


def fallback_quantity(cycle: Cycle, planned: Decimal) -> Decimal | None:
    """Return what the margin still carries by MARKET; None until balance and price are known."""
    fallback, price = cycle.hedge_fallback, cycle.last_price
    if fallback is None or fallback.available is None or price is None:
        return None
    leverage = cycle.settings.leverage
    affordable = _AVAILABLE_SHARE * fallback.available * leverage / price
    cap = cycle.rules.notional_cap(leverage)
    if cap is not None:
        room = (cap - cycle.long.quantity * price) / price
        affordable = min(affordable, max(ZERO, room))
    return floor_step(min(planned, affordable), cycle.rules.step_size)


def _fallback_hedge(cycle: Cycle, number: int, planned: Decimal) -> tuple[WantedOrder, ...]:
    quantity = fallback_quantity(cycle, planned)
    if quantity is None:
        return ()
    text = f"refused for margin; {to_wire(quantity)} is what the balance carries"
    return (_hedge(cycle, Role.HEDGE_MARKET, number, None, quantity, text),)


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
        quantity=quantity,
        reason=f"rule 4: hedge {number} of at most {cycle.settings.max_hedges}, {why}",
    )


# --- Rule 5 ---


def rule_5_hedge_stop(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the stop-loss of an open SHORT and, where its price was passed, the MARKET close."""
    if not cycle.short.quantity:
        return ()
    number = short_number(cycle)
    close = (
        (_market_close(cycle, Role.HEDGE_STOP_MARKET, number, "rule 5: stop-loss price passed"),)
        if cycle.short_stop_due
        else ()
    )
    trigger = short_stop_trigger(cycle)
    live = cycle.live(Role.HEDGE_STOP)
    if trigger is None:
        return (*((_kept(live),) if live is not None else ()), *close)
    if live is not None and live.number != number:
        return close  # an earlier hedge's: the exchange allows one, so it goes first
    if live is not None and is_hedge_unfinished(cycle):
        return (_kept(live), *close)
    if live is None and cycle.short_stop_due:
        return close
    stop = WantedOrder(
        role=Role.HEDGE_STOP,
        number=number,
        side=Side.BUY,
        position_side=PositionSide.SHORT,
        kind=Kind.STOP_MARKET,
        price=trigger,
        quantity=None,
        close_position=True,
        follows=not cycle.short_stop_due,
        reason=(
            f"rule 5: SHORT {to_wire(cycle.short.quantity)} at "
            f"{to_wire(_short(cycle.short.entry))} + sl_short"
        ),
    )
    return (stop, *close)


def short_stop_trigger(cycle: Cycle) -> Decimal | None:
    """Return the stop-loss trigger that SHORT's entry asks for; None: no SHORT or no `sl_short`."""
    if not cycle.short.quantity or cycle.settings.sl_short is None or not cycle.ledger.is_priced:
        return None
    exact = percent_above(cycle.short.entry, cycle.settings.sl_short)
    return ceil_tick(exact, cycle.rules.tick_size)


def short_number(cycle: Cycle) -> int:
    """Return the number of the hedge that SHORT belongs to; 0: a person's."""
    return next((h.number for h in cycle.ledger.hedges if h.opened and not h.is_closed), 0)


# --- Rule 6 ---


def rule_6_guard(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the stop that rests below the trailing stop while it trails."""
    price = guard_price(cycle)
    live = cycle.live(Role.GUARD)
    if price is None:
        return ()
    if cycle.guard_waits or cycle.last_price is None or price >= cycle.last_price:
        return (_kept(live),) if live is not None and live.is_resting else ()
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
            reason=f"rule 6: guard of the trailing stop {to_wire(cycle.trailing_stop)}",
        ),
    )


def guard_price(cycle: Cycle) -> Decimal | None:
    """Return where the guard belongs; None while none is wanted."""
    stop = cycle.trailing_stop
    if stop is None or not cycle.settings.trail_guard or cycle.stop_needs_slot:
        return None
    tick = cycle.rules.tick_size
    return max(floor_tick(stop * _GUARD_BELOW_STOP, tick), ceil_tick(long_break_even(cycle), tick))


# --- Rule 9 and the operator's closes ---


def rule_9_closing(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the closing MARKET orders, and the protection that still rests until flat."""
    guard, stop = cycle.live(Role.GUARD), cycle.live(Role.HEDGE_STOP)
    keep: list[WantedOrder] = []
    if stop is not None and stop.is_resting and cycle.short.quantity:
        keep.append(_kept(stop))
    if guard is not None and guard.is_resting and cycle.long.quantity:
        keep.append(_kept(guard))
    return (*keep, *_close_long(cycle), *_close_short(cycle))


def asked_closes(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the MARKET closes of a side that the operator asked for while the cycle goes on."""
    return (
        *(_close_long(cycle) if cycle.close_long_asked else ()),
        *(_close_short(cycle) if cycle.close_short_asked else ()),
    )


def _close_long(cycle: Cycle) -> tuple[WantedOrder, ...]:
    if cycle.long.quantity < cycle.rules.step_size or _reserves_long(cycle):
        return ()
    return (_market_close(cycle, Role.CLOSE_LONG, 0, _close_reason(cycle)),)


def _close_short(cycle: Cycle) -> tuple[WantedOrder, ...]:
    if cycle.short.quantity < cycle.rules.step_size:
        return ()
    return (_market_close(cycle, Role.CLOSE_SHORT, short_number(cycle), _close_reason(cycle)),)


def _close_reason(cycle: Cycle) -> str:
    return f"rule 9: closing, {cycle.close_reason or 'the operator asked for this side'}"


def _reserves_long(cycle: Cycle) -> bool:
    """Return whether a resting sell still holds the LONG quantity that is to be closed."""
    return cycle.live(Role.TAKE_PROFIT) is not None or foreign_sells(cycle) > 0


def _market_close(cycle: Cycle, role: Role, number: int, reason: str) -> WantedOrder:
    side = PositionSide.LONG if role is Role.CLOSE_LONG else PositionSide.SHORT
    leg = cycle.long if side is PositionSide.LONG else cycle.short
    live = cycle.live(role, number)
    if live is not None and _is_out(live):
        return _kept(live)
    bound = _price_bound(cycle, role, number)
    return WantedOrder(
        role=role,
        number=number,
        side=Side.SELL if side is PositionSide.LONG else Side.BUY,
        position_side=side,
        kind=Kind.MARKET if bound is None else Kind.LIMIT_IOC,
        price=bound,
        quantity=floor_step(
            min(leg.quantity, cycle.rules.market_max_quantity), cycle.rules.step_size
        ),
        reason=reason,
    )


def _price_bound(cycle: Cycle, role: Role, number: int) -> Decimal | None:
    """Return the PERCENT_PRICE bound to close at, after a MARKET close found no counterparty."""
    if cycle.mark_price is None or not close_failures(cycle, role, number):
        return None
    tick = cycle.rules.tick_size
    if role is Role.CLOSE_LONG:
        return ceil_tick(cycle.mark_price * cycle.rules.multiplier_down, tick)
    return floor_tick(cycle.mark_price * cycle.rules.multiplier_up, tick)


def close_failures(cycle: Cycle, role: Role, number: int) -> int:
    """Return how often in a row closing orders ended without filling, or were out of bounds."""
    count = 0
    for order in sorted(cycle.of(role, number), key=lambda o: -o.attempt):
        is_bound = (
            order.refusal_code is not None and refusal(order.refusal_code) is Refusal.PRICE_BOUND
        )
        if is_bound and not order.is_over:
            count += order.refusals
        elif order.is_over and (order.ended_by is EndedBy.EXCHANGE or is_bound):
            count += 1
        else:
            break
    return count


# --- Thresholds ---


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


def net_pnl(cycle: Cycle, price: Decimal) -> Decimal:
    """Return pnl_diff: what the cycle would have earned, all costs paid, if closed at `price`."""
    long, short = cycle.long, cycle.short
    return (
        _fixed_pnl(cycle)
        - exit_cost_rate(cycle) * price * (long.quantity + short.quantity)
        + long.quantity * (price - long.entry)
        + short.quantity * (short.entry - price)
    )


def net_pnl_slope(cycle: Cycle) -> Decimal:
    """Return what one unit of price adds to pnl_diff."""
    long, short = cycle.long.quantity, cycle.short.quantity
    return long - short - exit_cost_rate(cycle) * (long + short)


def net_pnl_at_zero(cycle: Cycle) -> Decimal:
    """Return pnl_diff's value at price 0, where the line of rule 7 begins."""
    long, short = cycle.long, cycle.short
    return _fixed_pnl(cycle) - long.quantity * long.entry + short.quantity * short.entry


def exit_cost_rate(cycle: Cycle) -> Decimal:
    """Return the share of the exit's notional that closing costs."""
    return cycle.rules.taker_rate + cycle.policy.exit_slippage


def _fixed_pnl(cycle: Cycle) -> Decimal:
    return cycle.ledger.realised + cycle.funding - cycle.ledger.commissions


# --- Small helpers ---


def _kept(order: OrderState) -> WantedOrder:
    """Return the wish that an order stays exactly as it is."""
    return WantedOrder(
        role=order.role,
        number=order.number,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=order.quantity,
        close_position=order.close_position,
        reason=order.reason,
    )


def _rests(cycle: Cycle, role: Role, number: int) -> bool:
    live = cycle.live(role, number)
    return live is not None and _is_out(live)


def _is_out(order: OrderState) -> bool:
    """Return whether the exchange holds the order, or may."""
    return order.is_resting or order.is_in_flight


def _executed(cycle: Cycle, role: Role, number: int) -> Decimal:
    return sum((o.executed for o in cycle.of(role, number) if o.is_over), ZERO)


def _short(value: Decimal) -> Decimal:
    """Return an average with no more digits than a person reads."""
    return round(value, 8)


def opening_orders(cycle: Cycle) -> tuple[OrderState, ...]:
    """Return the cycle's orders that add to a side and are not over."""
    return tuple(o for o in cycle.orders if not o.is_over and is_opening(o))
