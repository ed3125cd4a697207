"""The trading cycle's one place for all transitions: facts in, a new cycle out.

Theory of operation. A cycle moves ENTERING → TRADING → CLOSING → ENDED and back only when a late
fill shows that an end was none. It never remembers what it did; it remembers what it knows. Each
fact is applied by `apply`, which first takes the news in (`order_news`, positions, prices), then
draws the consequences that the rules demand (`_consequences`): the grid is laid, a hedge's trigger
is fixed, a closed side ends trailing or the cycle. What should be on the exchange then is
`rules.wanted`, a pure function of the cycle; what to send for it is `diff.commands`.

    ENTERING  the entry is intended, sent or executing; only it and what its fills need is wanted
    TRADING   the entry is over and something of it filled: rules 2 to 8
    CLOSING   a reason is saved; nothing is wanted but MARKET closes and the stops still resting
    ENDED     all orders over and two reads showed both sides flat, or nothing was ever placed

Facts may not be refused: what fits no rule becomes an alarm on the cycle, never an exception.
Prices come as facts only at or outside `band`; a trade strictly inside it can change nothing.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import assert_never

from core.domain import rules
from core.domain.cycle import (
    BalanceRead,
    CloseReason,
    Cycle,
    EndedBy,
    Fact,
    Fill,
    FillsRead,
    FundingPaid,
    Leg,
    MarkRead,
    OperatorAction,
    OperatorAsked,
    OrderMissing,
    OrderRefused,
    OrderReported,
    OrderStatus,
    OutcomeUnknown,
    Phase,
    PositionChecked,
    PositionSide,
    PriceSeen,
    RequestNotSent,
    Role,
    RulesRead,
    Side,
    SideReport,
    SuspectPosition,
    TimePassed,
    TradePrice,
)
from core.domain.order_news import (
    CLOSING_ROLES,
    fail_hedge,
    foreign_order_of,
    order_missing,
    order_refused,
    order_reported,
    outcome_unknown,
    request_not_sent,
    with_fills,
)
from core.domain.settings import OnHedgeFailed
from core.grid import Grid, ViolationCode, calculate_grid_orders, hedge_fits
from core.money import ONE, ZERO, Quantity, floor_tick, percent_below, to_wire

_READS_OF_A_DIFFERENCE_APART_MS = 3_000
_READS_OF_THE_END_APART_MS = 2_000
# Narrower than a division's last digit can be wrong; trades in between are judged exactly.
_INWARD = Decimal("1e-12")

_CLOSER_REASONS = {
    Role.TAKE_PROFIT: CloseReason.TAKE_PROFIT,
    Role.GUARD: CloseReason.TRAILING,
    Role.CLOSE_LONG: CloseReason.OPERATOR,
}
_STOPPED_OUT = (Role.HEDGE_STOP, Role.HEDGE_STOP_MARKET)


def apply(cycle: Cycle, fact: Fact) -> Cycle:
    """Return the cycle after one fact. Pure; repeated or late order news changes nothing."""
    if not cycle.is_open and not isinstance(fact, OrderReported | FillsRead):
        return cycle
    return _consequences(cycle, _learn(cycle, fact), fact.at_ms)


def apply_all(cycle: Cycle, facts: tuple[Fact, ...]) -> Cycle:
    """Return the cycle after facts in their order."""
    for fact in facts:
        cycle = apply(cycle, fact)
    return cycle


def _learn(cycle: Cycle, fact: Fact) -> Cycle:  # noqa: C901 - one flat table of all facts
    match fact:
        case OrderReported():
            return order_reported(cycle, fact)
        case OrderRefused():
            return order_refused(cycle, fact)
        case RequestNotSent():
            return request_not_sent(cycle, fact)
        case OutcomeUnknown():
            return outcome_unknown(cycle, fact)
        case OrderMissing():
            return order_missing(cycle, fact)
        case FillsRead():
            return _fills_read(cycle, fact)
        case PositionChecked():
            return _position_checked(cycle, fact)
        case TradePrice():
            return _traded(replace(cycle, last_price=fact.price, guard_waits=False), fact)
        case PriceSeen():
            return replace(cycle, last_price=fact.price)
        case MarkRead():
            return replace(cycle, mark_price=fact.price)
        case BalanceRead():
            return _balance_read(cycle, fact)
        case RulesRead():
            return replace(cycle, rules=fact.rules, rules_are_stale=False)
        case FundingPaid():
            return _funding_paid(cycle, fact)
        case OperatorAsked():
            return _operator_asked(cycle, fact)
        case TimePassed():
            return cycle
        case _:
            assert_never(fact)


def close(cycle: Cycle, reason: CloseReason) -> Cycle:
    """Return the cycle closing for `reason`; the first reason stands."""
    if cycle.phase in (Phase.CLOSING, Phase.ENDED):
        return cycle
    return replace(cycle, phase=Phase.CLOSING, close_reason=reason, flat_read_at_ms=None)


# --- Consequences: what must hold after every fact ---


def _consequences(before: Cycle, cycle: Cycle, at_ms: int) -> Cycle:
    if not cycle.is_open:
        return _perhaps_reopened(cycle, at_ms)
    cycle = _entry_settled(cycle, at_ms)
    cycle = _long_changed(before, cycle)
    cycle = _short_changed(before, cycle, at_ms)
    cycle = _hedge_armed(cycle)
    if cycle.phase is Phase.TRADING:
        cycle = _take_profit_passed(cycle)
        if not cycle.long.quantity:
            cycle = close(cycle, _reason_of_flat(cycle))
        elif cycle.hedge_failed and not before.hedge_failed and _closes_without_hedge(cycle):
            cycle = close(cycle, CloseReason.HEDGE_FAILED)
    return cycle


def _closes_without_hedge(cycle: Cycle) -> bool:
    return cycle.policy.on_hedge_failed is OnHedgeFailed.CLOSE


def _perhaps_reopened(cycle: Cycle, at_ms: int) -> Cycle:
    """Return an ended cycle as closing again if one of its orders filled after all."""
    held = cycle.long.quantity + cycle.short.quantity
    if held < cycle.rules.step_size or any(a.key == "left-over" for a in cycle.alarms):
        return cycle
    text = f"{to_wire(held)} {cycle.symbol} opened after the cycle's end; it is closed"
    cycle = cycle.with_alarm(f"late-fill-{len(cycle.fills)}", text, at_ms)
    return replace(cycle, phase=Phase.CLOSING, ended_at_ms=None, flat_read_at_ms=None)


def _entry_settled(cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle with rule 1 applied: expired, failed, or filled and the grid laid."""
    entry = cycle.entry_order
    if cycle.phase is not Phase.ENTERING or entry is None:
        return cycle
    is_late = at_ms >= cycle.accepted_at_ms + rules.ENTRY_DEADLINE_MS
    if entry.status is OrderStatus.INTENDED and not entry.is_in_flight and is_late:
        entry = replace(
            entry, status=OrderStatus.OVER, ended_by=EndedBy.WITHDRAWN, over_at_ms=at_ms
        )
        return _never_traded(cycle.with_order(entry), CloseReason.ENTRY_EXPIRED, at_ms)
    if not entry.is_over:
        return cycle
    if entry.ended_by is EndedBy.REFUSED and not entry.executed:
        return _never_traded(cycle, CloseReason.ENTRY_FAILED, at_ms)
    if not entry.executed:
        return close(cycle, CloseReason.ENTRY_FAILED)
    if not cycle.ledger.is_priced:
        return cycle
    return _grid_laid(replace(cycle, phase=Phase.TRADING), entry.executed, at_ms)


def _never_traded(cycle: Cycle, reason: CloseReason, at_ms: int) -> Cycle:
    if any(not order.is_over for order in cycle.orders) or cycle.fills:
        return close(cycle, reason)
    return replace(cycle, phase=Phase.ENDED, close_reason=reason, ended_at_ms=at_ms)


def _grid_laid(cycle: Cycle, quantity: Decimal, at_ms: int) -> Cycle:
    """Return the cycle with the ladder hung from the real fill; what no longer fits is withdrawn."""
    settings = cycle.settings
    fill_price = _entry_average(cycle)
    initial = fill_price if settings.entry_price is None else settings.entry_price
    grid = calculate_grid_orders(
        settings, initial, cycle.rules, quantity, entry_fill_price=fill_price
    )
    reasons = _unfit_levels(grid, settings.deposit * settings.leverage)
    for number, text in reasons.items():
        cycle = cycle.with_alarm(f"withdrawn-{number}", f"withdrawn: {text}", at_ms)
    grid = _with_hedge_below(grid, cycle, tuple(reasons))
    cycle = replace(cycle, grid=grid, withdrawn=tuple(sorted(reasons)))
    if grid.hedge_trigger is not None and settings.max_hedges:
        fits = (
            grid.hedge_trigger > 0
            and grid.hedge_quantity is not None
            and hedge_fits(grid.hedge_quantity, grid.hedge_trigger, cycle.rules)
        )
        if not fits:
            cycle = fail_hedge(cycle, "none fits below the grid of the real fill", at_ms)
    return cycle


def _entry_average(cycle: Cycle) -> Decimal:
    """Return the average price of the entry's own fills."""
    entry = cycle.entry_order
    assert entry is not None and entry.executed > 0
    fills = [f for f in cycle.fills if f.client_order_id == entry.client_order_id]
    if sum((f.quantity for f in fills), ZERO) >= entry.executed:
        return sum((f.price * f.quantity for f in fills), ZERO) / entry.executed
    return cycle.long.entry if entry.average_price is None else entry.average_price


def _unfit_levels(grid: Grid, limit: Decimal) -> dict[int, str]:
    """Return the levels to withdraw and why: broken filters, then from the last up beyond the funds."""
    unfit = {v.level: v.text for v in grid.violations if v.level}
    if any(v.code is ViolationCode.TOO_LARGE for v in grid.violations):
        return unfit
    total = grid.entry_fill_price * grid.entry_quantity
    total += sum((lv.price * lv.quantity for lv in grid.levels if lv.number not in unfit), ZERO)
    for level in reversed(grid.levels):
        if total <= limit:
            break
        if level.number not in unfit:
            unfit[level.number] = (
                f"level {level.number}: beyond deposit × leverage {to_wire(limit)}"
            )
            total -= level.price * level.quantity
    return unfit


def _with_hedge_below(grid: Grid, cycle: Cycle, withdrawn: tuple[int, ...]) -> Grid:
    """Return the grid with h₁ laid from the last level kept; all withdrawn: from the last laid."""
    offset = cycle.settings.offset_short
    kept = [level for level in grid.levels if level.number not in withdrawn]
    if grid.hedge_trigger is None or offset is None or not kept or len(kept) == len(grid.levels):
        return grid
    exact = percent_below(kept[-1].exact_price, offset)
    trigger = floor_tick(exact, cycle.rules.tick_size)
    quantity = rules.planned_hedge(cycle, trigger) if trigger > 0 else Quantity(ZERO)
    return replace(grid, hedge_trigger=trigger, hedge_quantity=quantity)


def _long_changed(before: Cycle, cycle: Cycle) -> Cycle:
    activation = rules.activation_price(cycle)
    if activation is not None and activation != cycle.activation_price:
        cycle = replace(
            cycle, activation_price=activation, old_activation_price=cycle.activation_price
        )
    is_trailing = cycle.trailing_stop is not None and cycle.phase is Phase.TRADING
    if is_trailing and cycle.long.quantity and cycle.long.entry != cycle.trailing_entry:
        cycle = _trailing_ended(cycle)
    if cycle.close_long_asked and not cycle.long.quantity and before.long.quantity:
        cycle = replace(cycle, close_long_asked=False)
    return cycle


def _short_changed(before: Cycle, cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle after SHORT opened or closed."""
    if cycle.ledger.hedges == before.ledger.hedges:
        return cycle
    known = {h.number: h for h in before.ledger.hedges}
    for hedge in cycle.ledger.hedges:
        earlier = known.get(hedge.number)
        if earlier is None or earlier.is_closed:
            cycle = _hedge_opened(cycle, hedge.number, at_ms)
        if hedge.is_closed and (earlier is None or not earlier.is_closed):
            cycle = _hedge_closed(cycle, hedge.closed_by, at_ms)
    return cycle


def _hedge_opened(cycle: Cycle, number: int, at_ms: int) -> Cycle:
    if not number:
        cycle = cycle.with_alarm(
            f"outside-short-{len(cycle.fills)}", "a SHORT was opened outside", at_ms
        )
        if cycle.settings.sl_short is None:
            cycle = cycle.with_alarm("short-without-stop", "SHORT has no stop-loss price", at_ms)
        return cycle
    if cycle.hedge_fallback is not None and cycle.hedge_fallback.number == number:
        cycle = replace(cycle, hedge_fallback=None)
    return _waiting_levels_withdrawn(cycle)


def _hedge_closed(cycle: Cycle, closed_by: str, at_ms: int) -> Cycle:
    is_by_person = cycle.close_short_asked
    cycle = replace(cycle, short_stop_due=False, stop_needs_slot=False, close_short_asked=False)
    if cycle.phase is not Phase.TRADING:
        return cycle
    closer = cycle.order(closed_by)
    role = Role.FOREIGN if closer is None else closer.role
    if role not in _STOPPED_OUT or is_by_person:
        if role is Role.FOREIGN:
            text = "SHORT was closed outside; no further hedge until the operator says so"
            cycle = cycle.with_alarm(f"short-closed-{len(cycle.fills)}", text, at_ms)
        return replace(cycle, hedges_stopped=True)
    if cycle.settings.max_hedges and not rules.can_hedge(cycle) and cycle.long.quantity:
        left = to_wire(rules.margin_left(cycle))
        text = (
            f"hedge {rules.hedges_done(cycle)} was stopped out and no other is possible: "
            f"max_hedges {cycle.settings.max_hedges}, margin left {left}"
        )
        return fail_hedge(cycle, text, at_ms)
    return cycle


def _hedge_armed(cycle: Cycle) -> Cycle:
    """Return the cycle with the next hedge's trigger fixed, once it is first wanted."""
    number = rules.hedges_done(cycle) + 1
    if cycle.phase is not Phase.TRADING or number <= len(cycle.hedge_triggers):
        return cycle
    trigger = rules.next_trigger(cycle)
    if trigger is None or not rules.is_hedge_due(cycle):
        return cycle
    capped = min(trigger, floor_tick(cycle.long.entry, cycle.rules.tick_size))
    return replace(cycle, hedge_triggers=(*cycle.hedge_triggers, capped))


def _take_profit_passed(cycle: Cycle) -> Cycle:
    """Return the cycle closing if the market is already above the take-profit to be placed."""
    price = rules.take_profit_price(cycle)
    live = cycle.live(Role.TAKE_PROFIT)
    is_out = live is not None and (live.is_resting or live.is_in_flight)
    if price is None or is_out or cycle.is_hands_off or cycle.last_price is None:
        return cycle
    return close(cycle, CloseReason.TAKE_PROFIT) if cycle.last_price >= price else cycle


def _reason_of_flat(cycle: Cycle) -> CloseReason:
    closer = cycle.order(cycle.long.closed_by)
    if closer is not None and closer.role in _CLOSER_REASONS:
        return _CLOSER_REASONS[closer.role]
    if cycle.long.closed_by.startswith("adl_autoclose"):
        return CloseReason.ADL
    if cycle.long.closed_by.startswith("autoclose-"):
        return CloseReason.LIQUIDATION
    return CloseReason.OUTSIDE


def _trailing_ended(cycle: Cycle) -> Cycle:
    return replace(cycle, trailing_stop=None, trailing_entry=None, guard_waits=False)


def _waiting_levels_withdrawn(cycle: Cycle) -> Cycle:
    waiting = rules.waiting_levels(cycle)
    if not waiting:
        return cycle
    return replace(cycle, withdrawn=tuple(sorted({*cycle.withdrawn, *waiting})))


# --- Prices: rules 3, 4, 5, 6 and 7 on one trade ---


def _traded(cycle: Cycle, fact: TradePrice) -> Cycle:
    """Return the cycle after a trade: h₁ first, then the stops, trailing, net PNL."""
    if cycle.phase is not Phase.TRADING or cycle.is_hands_off or not cycle.ledger.is_priced:
        return cycle
    price = fact.price
    threshold = _first_trigger(cycle)
    if threshold is not None and price <= threshold and rules.can_hedge(cycle):
        cycle = _waiting_levels_withdrawn(cycle)
    cycle = _hedge_watched(cycle, price)
    if _is_stop_passed(cycle, price):
        cycle = replace(cycle, short_stop_due=True)
    cycle = _trailed(cycle, price)
    return _net_pnl_passed(cycle, price)


def _first_trigger(cycle: Cycle) -> Decimal | None:
    return None if cycle.grid is None else cycle.grid.hedge_trigger


def _hedge_watched(cycle: Cycle, price: Decimal) -> Cycle:
    trigger = _watched_trigger(cycle)
    number = rules.hedge_number(cycle)
    if trigger is None or number is None or price > trigger:
        return cycle
    return replace(cycle, hedge_passed=number)


def _watched_trigger(cycle: Cycle) -> Decimal | None:
    """Return the trigger that is watched here because no stop order may rest there."""
    number = rules.hedge_number(cycle)
    if not cycle.hedge_by_market or number is None or cycle.hedge_passed == number:
        return None
    return cycle.hedge_triggers[number - 1] if rules.is_hedge_due(cycle) else None


def _is_stop_passed(cycle: Cycle, price: Decimal) -> bool:
    trigger = _unprotected_trigger(cycle)
    return trigger is not None and price >= trigger


def _unprotected_trigger(cycle: Cycle) -> Decimal | None:
    """Return SHORT's stop-loss trigger while no stop-loss rests on the exchange."""
    stop = cycle.live(Role.HEDGE_STOP)
    if cycle.short_stop_due or (stop is not None and stop.is_resting):
        return None
    return rules.short_stop_trigger(cycle)


def _trailed(cycle: Cycle, price: Decimal) -> Cycle:
    if not cycle.long.quantity or not cycle.settings.trail_1 or cycle.close_long_asked:
        return cycle
    proposed = rules.trailing_stop_at(cycle, price)
    stop = cycle.trailing_stop
    if stop is None:
        activation = rules.activation_price(cycle)
        assert activation is not None
        if price < activation or proposed < rules.long_break_even(cycle):
            return cycle
        return replace(cycle, trailing_stop=proposed, trailing_entry=cycle.long.entry)
    if proposed > stop and proposed >= stop * rules.trailing_step_factor(cycle):
        return replace(cycle, trailing_stop=proposed)
    if price > stop:
        return cycle
    if price >= rules.long_break_even(cycle):
        return close(cycle, CloseReason.TRAILING)
    return _trailing_ended(cycle)  # a gap: selling here would lose what rule 2 still may earn


def _net_pnl_passed(cycle: Cycle, price: Decimal) -> Cycle:
    if not cycle.long.quantity and not cycle.short.quantity:
        return cycle
    earned = rules.net_pnl(cycle, price)
    is_hedged = cycle.long.quantity > 0 and cycle.short.quantity > 0
    if is_hedged and earned > cycle.settings.pnl_target:
        return close(cycle, CloseReason.PNL)
    limit = cycle.settings.max_loss
    if limit is not None and earned < -limit:
        return close(cycle, CloseReason.MAX_LOSS)
    return cycle


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Prices between which no trade changes anything; None: no bound on that side."""

    low: Decimal | None
    high: Decimal | None


def band(cycle: Cycle) -> Band:
    """Return the open interval of prices that the hot path may drop; at its ends `apply` judges."""
    if cycle.phase is not Phase.TRADING or cycle.is_hands_off or not cycle.ledger.is_priced:
        return Band(low=None, high=None)
    if cycle.guard_waits and cycle.last_price is not None:
        return Band(low=cycle.last_price, high=cycle.last_price)  # any trade
    lows, highs = _trailing_bounds(cycle)
    live = cycle.live(Role.TAKE_PROFIT)
    take_profit = rules.take_profit_price(cycle)
    if take_profit is not None and (live is None or not live.is_resting):
        highs.append(take_profit)
    first = _first_trigger(cycle)
    if first is not None and rules.waiting_levels(cycle) and rules.can_hedge(cycle):
        lows.append(first)
    watched, unprotected = _watched_trigger(cycle), _unprotected_trigger(cycle)
    lows += [watched] if watched is not None else []
    highs += [unprotected] if unprotected is not None else []
    pnl_low, pnl_high = _net_pnl_bounds(cycle)
    lows += pnl_low
    highs += pnl_high
    return Band(
        low=max((low * (ONE + _INWARD) for low in lows), default=None),
        high=min((high * (ONE - _INWARD) for high in highs), default=None),
    )


def _trailing_bounds(cycle: Cycle) -> tuple[list[Decimal], list[Decimal]]:
    activation = rules.activation_price(cycle)
    if activation is None or cycle.close_long_asked:
        return [], []
    factor = percent_below(ONE, cycle.settings.trail_2)
    stop = cycle.trailing_stop
    if stop is None:
        return [], [max(activation, rules.long_break_even(cycle) / factor)]
    highs = [stop * rules.trailing_step_factor(cycle) / factor]
    guard, live = rules.guard_price(cycle), cycle.live(Role.GUARD)
    if guard is not None and (live is None or not live.is_resting):
        highs.append(guard)  # it may be placed once the market is above it
    return [stop], highs


def _net_pnl_bounds(cycle: Cycle) -> tuple[list[Decimal], list[Decimal]]:
    """Return where rule 7's line crosses its thresholds, as bounds below and above."""
    lows: list[Decimal] = []
    highs: list[Decimal] = []
    slope, base = rules.net_pnl_slope(cycle), rules.net_pnl_at_zero(cycle)
    limit = cycle.settings.max_loss
    if cycle.long.quantity and cycle.short.quantity:
        _bound(lows, highs, slope, base, cycle.settings.pnl_target, is_above=True)
    if limit is not None and (cycle.long.quantity or cycle.short.quantity):
        _bound(lows, highs, slope, base, -limit, is_above=False)
    return lows, highs


def _bound(
    lows: list[Decimal],
    highs: list[Decimal],
    slope: Decimal,
    base: Decimal,
    threshold: Decimal,
    *,
    is_above: bool,
) -> None:
    """Add the price where base + slope × price passes `threshold`, on the side where it acts."""
    if not slope:
        if (base > threshold) is is_above and base != threshold:
            highs.append(ZERO)  # already passed at every price
        return
    price = (threshold - base) / slope
    (highs if (slope > 0) is is_above else lows).append(price)


# --- Positions, fills, money, people ---


def _fills_read(cycle: Cycle, fact: FillsRead) -> Cycle:
    for fill in fact.fills:
        if cycle.order(fill.client_order_id) is None:
            cycle = cycle.with_order(foreign_order_of(fill))
            text = f"an execution that is not ours: {fill.side} {fill.position_side}"
            cycle = cycle.with_alarm(f"foreign-{fill.client_order_id}", text, fact.at_ms)
    return with_fills(cycle, fact.fills)


def _position_checked(cycle: Cycle, fact: PositionChecked) -> Cycle:
    if _is_older_than_fills(cycle, fact):
        return cycle
    cycle = _closes_released(cycle, fact)
    long, short = fact.long.quantity, fact.short.quantity
    if (long, short) == (cycle.long.quantity, cycle.short.quantity):
        return _perhaps_ended(replace(cycle, suspect=None), fact)
    if any(order.is_in_flight for order in cycle.orders):
        return replace(cycle, suspect=None)
    suspect = cycle.suspect
    if suspect is None or (suspect.long, suspect.short) != (long, short):
        suspect = SuspectPosition(long=long, short=short, asked_at_ms=fact.asked_at_ms)
        return replace(cycle, suspect=suspect, flat_read_at_ms=None)
    if fact.asked_at_ms < suspect.asked_at_ms + _READS_OF_A_DIFFERENCE_APART_MS:
        return cycle
    return _outside_change(replace(cycle, suspect=None), fact)


def _is_older_than_fills(cycle: Cycle, fact: PositionChecked) -> bool:
    """Return whether a fill is known that the read cannot have seen."""
    for side, report in ((PositionSide.LONG, fact.long), (PositionSide.SHORT, fact.short)):
        newest = max(
            (f.time_ms for f in cycle.fills if f.position_side is side and not f.is_adjustment),
            default=0,
        )
        if newest > fact.asked_at_ms or (report.updated_at_ms and newest > report.updated_at_ms):
            return True
    return False


def _closes_released(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle with unanswered closes free to be repeated, where the side is still there."""
    for order in cycle.orders:
        if order.role not in CLOSING_ROLES or not order.is_unresolved or order.is_superseded:
            continue
        is_long = order.position_side is PositionSide.LONG
        report, leg = (fact.long, cycle.long) if is_long else (fact.short, cycle.short)
        if fact.asked_at_ms > order.requested_at_ms and report.quantity >= leg.quantity > 0:
            cycle = cycle.with_order(replace(order, is_superseded=True))
    return cycle


def _outside_change(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle with a believed difference booked, as one adjustment a side."""
    anchor = max((f.trade_id for f in cycle.fills), default=0)
    adjustments: list[Fill] = []
    for side, leg, report in (
        (PositionSide.LONG, cycle.long, fact.long),
        (PositionSide.SHORT, cycle.short, fact.short),
    ):
        difference = report.quantity - leg.quantity
        if difference:
            adjustments.append(_adjustment(cycle, side, leg, report, anchor, fact.at_ms))
            text = (
                f"{side} is {to_wire(report.quantity)} on the exchange and "
                f"{to_wire(leg.quantity)} by the fills; the exchange's word is taken"
            )
            cycle = cycle.with_alarm(f"outside-{side}-{len(cycle.fills)}", text, fact.at_ms)
    fills = (*cycle.fills, *adjustments)
    return with_fills(replace(cycle, fills=fills), ())


def _adjustment(
    cycle: Cycle, side: PositionSide, leg: Leg, report: SideReport, anchor: int, at_ms: int
) -> Fill:
    quantity = abs(report.quantity - leg.quantity)
    opens = report.quantity > leg.quantity
    if opens:
        total = report.quantity * report.entry - leg.quantity * leg.entry
        price = max(ZERO, total / quantity)
    else:
        price = cycle.last_price or leg.entry
    return Fill(
        trade_id=anchor,
        client_order_id=f"outside-{cycle.key}-{side}-{len(cycle.fills)}",
        side=Side.BUY if opens is (side is PositionSide.LONG) else Side.SELL,
        position_side=side,
        price=price,
        quantity=quantity,
        commission=ZERO,
        commission_asset=cycle.rules.quote_asset,
        is_maker=False,
        time_ms=at_ms,
        is_adjustment=True,
    )


def _perhaps_ended(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle ended when a second read, late enough, shows both sides flat."""
    step = cycle.rules.step_size
    is_flat = fact.long.quantity < step and fact.short.quantity < step
    if cycle.phase is not Phase.CLOSING or not is_flat:
        return replace(cycle, flat_read_at_ms=None)
    over_since = max((o.over_at_ms for o in cycle.orders), default=0)
    if any(not o.is_over for o in cycle.orders) or fact.asked_at_ms <= over_since:
        return replace(cycle, flat_read_at_ms=None)
    if cycle.flat_read_at_ms is None or cycle.flat_read_at_ms <= over_since:
        return replace(cycle, flat_read_at_ms=fact.asked_at_ms)
    if fact.asked_at_ms < cycle.flat_read_at_ms + _READS_OF_THE_END_APART_MS:
        return cycle
    if cycle.long.quantity or cycle.short.quantity:
        left = f"LONG {to_wire(cycle.long.quantity)}, SHORT {to_wire(cycle.short.quantity)}"
        cycle = cycle.with_alarm("left-over", f"less than one step is left: {left}", fact.at_ms)
    return replace(cycle, phase=Phase.ENDED, ended_at_ms=fact.at_ms)


def _balance_read(cycle: Cycle, fact: BalanceRead) -> Cycle:
    fallback, number = cycle.hedge_fallback, rules.hedge_number(cycle)
    if fallback is None or fallback.available is not None or number is None:
        return cycle
    cycle = replace(cycle, hedge_fallback=replace(fallback, available=fact.available))
    planned = rules.planned_hedge(cycle, cycle.hedge_triggers[number - 1])
    quantity = rules.fallback_quantity(cycle, planned)
    price = cycle.last_price
    if quantity is None or price is None or not hedge_fits(quantity, price, cycle.rules):
        text = f"the available {to_wire(fact.available)} carries none"
        return fail_hedge(cycle, text, fact.at_ms)
    return cycle


def _funding_paid(cycle: Cycle, fact: FundingPaid) -> Cycle:
    if fact.transaction_id in cycle.funding_ids:
        return cycle
    return replace(
        cycle,
        funding=cycle.funding + fact.amount,
        funding_ids=(*cycle.funding_ids, fact.transaction_id),
    )


def _operator_asked(cycle: Cycle, fact: OperatorAsked) -> Cycle:
    match fact.action:
        case OperatorAction.CLOSE:
            return close(cycle, CloseReason.OPERATOR)
        case OperatorAction.SIGNAL_CLOSE:
            return close(cycle, CloseReason.SIGNAL)
        case OperatorAction.CLOSE_LONG:
            return replace(cycle, close_long_asked=cycle.long.quantity > 0)
        case OperatorAction.CLOSE_SHORT:
            asked = cycle.short.quantity > 0
            return replace(cycle, close_short_asked=asked, hedges_stopped=True)
        case OperatorAction.PAUSE:
            return replace(cycle, is_paused=True)
        case OperatorAction.RESUME:
            return replace(cycle, is_paused=False)
        case OperatorAction.HANDS_OFF:
            return replace(cycle, is_hands_off=True)
        case OperatorAction.HANDS_ON:
            return replace(cycle, is_hands_off=False)
        case OperatorAction.ALLOW_HEDGES:
            return replace(cycle, hedges_stopped=False)
        case _:
            assert_never(fact.action)
