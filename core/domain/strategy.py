"""The trading cycle's one place for all transitions: facts in, a new cycle out.

Theory of operation. A cycle moves ENTERING → TRADING → CLOSING → ENDED and back only when a late
fill shows that an end was none. It never remembers what it did; it remembers what it knows. Each
fact is applied by `apply`, which first takes the news in, then draws the consequences that the
rules demand, and these from the state, not from the fact: however the news came, in whatever
order, the same knowledge leads to the same consequences. What should be on the exchange then is
`rules.wanted`, a pure function of the cycle; what to send for it is `diff.commands`.

    ENTERING  the entry is intended, sent or executing; only it and what its fills need is wanted
    TRADING   the entry is over and something of it filled: rules 2 to 8
    CLOSING   a reason is saved; nothing is wanted but MARKET closes and the stops still resting
    ENDED     all orders over and two reads showed both sides flat, or nothing was ever placed

    news of orders   order_news, order_refusals      prices      prices
    positions        positions                       figures     thresholds, from the ledger

Facts may not be refused: what fits no rule becomes an alarm on the cycle, never an exception.
Prices come as facts only at or outside `band`; a trade strictly inside it can change nothing.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import assert_never

from core.domain import hedging, rules, thresholds
from core.domain.alarms import AlarmKind
from core.domain.cycle import (
    AccountRefused,
    AssetPriced,
    BalanceRead,
    CloseReason,
    Cycle,
    EndedBy,
    Fact,
    FillsRead,
    FundingPaid,
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
    PriceSeen,
    RequestNotSent,
    RequestsDecided,
    Role,
    RulesRead,
    TimePassed,
    TradePrice,
)
from core.domain.diff import decide
from core.domain.levels import levels_left, waiting_levels
from core.domain.liquidation import averaging_stopped
from core.domain.order_news import (
    order_missing,
    order_over,
    order_reported,
    outcome_unknown,
    request_not_sent,
    with_fills,
)
from core.domain.order_refusals import account_refused, order_refused
from core.domain.positions import position_checked
from core.domain.prices import Band as Band
from core.domain.prices import band as band
from core.domain.prices import traded, trailing_ended
from core.domain.settings import OnHedgeFailed
from core.domain.turns import close, fail_hedge, withdraw_levels
from core.domain.unknown_orders import stranger_filled
from core.domain.wishes import short_number
from core.grid import Grid, ViolationCode, calculate_grid_orders
from core.money import ZERO, Quantity, floor_tick, percent_below, shown

_CLOSER_REASONS = {
    Role.TAKE_PROFIT: CloseReason.TAKE_PROFIT,
    Role.GUARD: CloseReason.TRAILING,
    Role.CLOSE_LONG: CloseReason.OPERATOR,
}
_STOPPED_OUT = (Role.HEDGE_STOP, Role.HEDGE_STOP_MARKET)
_SURELY_LISTED_MS = 86_400_000  # the exchange lists executions for months
# A part sold leaves the average entry as it is; news that only sharpen its last digits count not.
_SAME_ENTRY = Decimal("1e-12")


def apply(cycle: Cycle, fact: Fact) -> Cycle:
    """Return the cycle after one fact. Pure; repeated or late order news changes nothing."""
    if isinstance(fact, RequestsDecided):
        return decide(cycle, fact.at_ms).cycle  # nothing was learnt
    if not cycle.is_open:
        return _after_the_end(cycle, fact)
    return _consequences(cycle, _learn(cycle, fact), fact.at_ms)


def apply_all(cycle: Cycle, facts: tuple[Fact, ...]) -> Cycle:
    """Return the cycle after facts in their order."""
    for fact in facts:
        cycle = apply(cycle, fact)
    return cycle


def _learn(cycle: Cycle, fact: Fact) -> Cycle:  # noqa: C901 - one flat table of all facts
    match fact:
        case OrderReported():
            return order_reported(_read(cycle, fact.asked_at_ms), fact)
        case OrderRefused():
            return order_refused(cycle, fact)
        case RequestNotSent():
            return request_not_sent(cycle, fact)
        case OutcomeUnknown():
            return outcome_unknown(cycle, fact)
        case OrderMissing():
            return order_missing(_read(cycle, fact.asked_at_ms), fact)
        case FillsRead():
            return _fills_read(cycle, fact)
        case PositionChecked():
            return position_checked(_read(cycle, fact.asked_at_ms), fact)
        case TradePrice():
            return traded(replace(cycle, last_price=fact.price, guard_waits=False), fact.price)
        case PriceSeen():
            return replace(cycle, last_price=fact.price)
        case MarkRead():
            return replace(cycle, mark_price=fact.price)
        case BalanceRead():
            return _balance_read(cycle, fact)
        case AssetPriced():
            return _asset_priced(cycle, fact)
        case AccountRefused():
            return account_refused(cycle, "by a request of another symbol", fact.at_ms)
        case RulesRead():
            return _rules_read(cycle, fact)
        case FundingPaid():
            return _funding_paid(cycle, fact)
        case OperatorAsked():
            return _operator_asked(cycle, fact)
        case TimePassed() | RequestsDecided():
            return cycle
        case _:
            assert_never(fact)


# --- Consequences: what must hold after every fact ---


def _consequences(before: Cycle, cycle: Cycle, at_ms: int) -> Cycle:
    cycle = _drawn(before, cycle, at_ms)
    return _ended_before(cycle, at_ms) if cycle.is_outlived else cycle


def _ended_before(cycle: Cycle, at_ms: int) -> Cycle:
    """Return the outlived cycle over, once its own orders and fills say so; no read of positions
    can prove it, for they are the later cycle's.
    """
    is_flat = not cycle.long.quantity and not cycle.short.quantity
    is_over = is_flat and all(order.is_over for order in cycle.orders)
    if cycle.phase is not Phase.CLOSING or not is_over:
        return cycle
    return replace(cycle, phase=Phase.ENDED, ended_at_ms=at_ms)


def _drawn(before: Cycle, cycle: Cycle, at_ms: int) -> Cycle:
    cycle = _entry_settled(cycle, at_ms)
    cycle = _long_changed(cycle)
    cycle = _short_changed(before, cycle, at_ms)
    if cycle.phase is Phase.TRADING:
        if not cycle.long.quantity:
            return close(cycle, _reason_of_flat(cycle))
        cycle = averaging_stopped(before, _levels_withdrawn(cycle), at_ms)
        cycle = _hedge_armed(_hedge_failing(cycle, at_ms))
        if cycle.hedge_failed and not before.hedge_failed and _closes_without_hedge(cycle):
            return close(cycle, CloseReason.HEDGE_FAILED)
    return _take_profit_passed(cycle)


def _entry_settled(cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle with rule 1 applied: expired, failed, or filled and the grid laid."""
    entry = cycle.entry_order
    if cycle.phase is not Phase.ENTERING or entry is None:
        return cycle
    is_late = at_ms >= cycle.accepted_at_ms + rules.ENTRY_DEADLINE_MS
    if entry.status is OrderStatus.INTENDED and not entry.is_in_flight and is_late:
        cycle = cycle.with_order(order_over(entry, EndedBy.WITHDRAWN, at_ms))
        return _never_traded(cycle, CloseReason.ENTRY_EXPIRED, at_ms)
    if not entry.is_over:
        return cycle
    if not entry.executed:
        if entry.ended_by is EndedBy.REFUSED:
            return _never_traded(cycle, CloseReason.ENTRY_FAILED, at_ms)
        return close(cycle, CloseReason.ENTRY_FAILED)
    if not cycle.ledger.is_priced:
        return cycle
    return _grid_laid(replace(cycle, phase=Phase.TRADING), entry.executed, at_ms)


def _never_traded(cycle: Cycle, reason: CloseReason, at_ms: int) -> Cycle:
    if any(not order.is_over for order in cycle.orders) or cycle.fills:
        return close(cycle, reason)
    return replace(cycle, phase=Phase.ENDED, close_reason=reason, ended_at_ms=at_ms)


def _grid_laid(cycle: Cycle, quantity: Decimal, at_ms: int) -> Cycle:
    """Return the cycle with the ladder hung from the real fill; what does not fit is withdrawn."""
    settings = cycle.settings
    fill_price = _entry_average(cycle)
    initial = fill_price if settings.entry_price is None else settings.entry_price
    grid = calculate_grid_orders(
        settings, initial, cycle.rules, quantity, entry_fill_price=fill_price
    )
    reasons = _unfit_levels(grid, settings.deposit * settings.leverage)
    for number, text in reasons.items():
        cycle = cycle.with_alarm(AlarmKind.WITHDRAWN, f"withdrawn: {text}", at_ms, about=number)
    for violation in grid.violations:
        if violation.code is ViolationCode.TOO_LARGE:
            cycle = cycle.with_alarm(
                AlarmKind.NO_GRID, f"no level is laid: {violation.text}", at_ms
            )
    return replace(
        cycle,
        grid=_with_hedge_below(grid, cycle, tuple(reasons)),
        withdrawn=tuple(sorted({*cycle.withdrawn, *reasons})),
    )


def _entry_average(cycle: Cycle) -> Decimal:
    """Return the average price of the entry's own fills; until they were read, the one told."""
    entry = cycle.entry_order
    assert entry is not None
    fills = [f for f in cycle.fills if f.client_order_id == entry.client_order_id]
    if sum((f.quantity for f in fills), ZERO) >= entry.executed:
        return sum((f.price * f.quantity for f in fills), ZERO) / entry.executed
    assert entry.average_price is not None, "the ledger would not be priced"
    return entry.average_price


def _unfit_levels(grid: Grid, limit: Decimal) -> dict[int, str]:
    """Return the levels to withdraw and why: broken filters, then the last beyond the funds."""
    unfit = {v.level: v.text for v in grid.violations if v.level}
    total = grid.entry_fill_price * grid.entry_quantity
    total += sum((lv.price * lv.quantity for lv in grid.levels if lv.number not in unfit), ZERO)
    for level in reversed(grid.levels):
        if total > limit and level.number not in unfit:
            text = f"level {level.number}: beyond deposit × leverage {shown(limit)}"
            unfit[level.number] = text
            total -= level.price * level.quantity
    return unfit


def _with_hedge_below(grid: Grid, cycle: Cycle, withdrawn: tuple[int, ...]) -> Grid:
    """Return the grid with h₁ laid from the last level kept; all withdrawn: from the last laid."""
    offset = cycle.settings.offset_short
    kept = [level for level in grid.levels if level.number not in withdrawn]
    if grid.hedge_trigger is None or offset is None or not kept:
        return grid
    trigger = floor_tick(percent_below(kept[-1].exact_price, offset), cycle.rules.tick_size)
    quantity = hedging.planned_hedge(cycle, trigger) if trigger > 0 else Quantity(ZERO)
    return replace(grid, hedge_trigger=trigger, hedge_quantity=quantity)


def _long_changed(cycle: Cycle) -> Cycle:
    activation = thresholds.activation_price(cycle)
    if activation is not None and activation != cycle.activation_price:
        cycle = replace(
            cycle, activation_price=activation, old_activation_price=cycle.activation_price
        )
    is_trailing = cycle.trailing_stop is not None and cycle.phase is Phase.TRADING
    if is_trailing and cycle.long.quantity and _has_new_entry(cycle):
        cycle = trailing_ended(cycle)
    is_filling = cycle.phase is Phase.ENTERING  # what is asked for now is meant for all of it
    if cycle.close_long_asked and not cycle.long.quantity and not is_filling:
        cycle = replace(cycle, close_long_asked=False)
    return cycle


def _has_new_entry(cycle: Cycle) -> bool:
    started = cycle.trailing_entry
    return started is None or abs(cycle.long.entry - started) > started * _SAME_ENTRY


def _short_changed(before: Cycle, cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle after SHORT opened or closed."""
    opened = [h.number for h in cycle.ledger.hedges if h.number and h.opened]
    if opened:
        cycle = replace(cycle, levels_stopped=True)
    if cycle.hedge_fallback is not None and cycle.hedge_fallback.number in opened:
        cycle = replace(cycle, hedge_fallback=None)
    if cycle.short.quantity:
        is_outside = not before.short.quantity and not short_number(cycle)
        return _short_from_outside(cycle, at_ms) if is_outside else cycle
    if cycle.short_stop_due or cycle.stop_needs_slot or cycle.close_short_asked:
        cycle = replace(cycle, short_stop_due=False, stop_needs_slot=False, close_short_asked=False)
    return _short_closed(cycle, at_ms)


def _short_from_outside(cycle: Cycle, at_ms: int) -> Cycle:
    text = "a SHORT was opened outside"
    cycle = cycle.with_alarm(AlarmKind.OUTSIDE_SHORT, text, at_ms, about=len(cycle.fills))
    if cycle.settings.sl_short is not None:
        return cycle
    return cycle.with_alarm(AlarmKind.SHORT_WITHOUT_STOP, "SHORT has no stop-loss price", at_ms)


def _short_closed(cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle after SHORT's last closing: who closed it decides about further hedges."""
    closed_by = cycle.short.closed_by
    if closed_by in ("", cycle.short_closer) or cycle.phase is not Phase.TRADING:
        return cycle
    cycle = replace(cycle, short_closer=closed_by)
    closer = cycle.order(closed_by)
    role = Role.FOREIGN if closer is None else closer.role
    if role in _STOPPED_OUT:
        return cycle
    if role is Role.FOREIGN:
        text = "SHORT was closed outside; no further hedge until the operator says so"
        cycle = cycle.with_alarm(AlarmKind.SHORT_CLOSED, text, at_ms, about=closed_by)
    return replace(cycle, hedges_stopped=True)


def _levels_withdrawn(cycle: Cycle) -> Cycle:
    """Return the cycle with rule 3's stop applied: what waits is out, what rests stays."""
    waiting = waiting_levels(cycle) if cycle.levels_stopped else ()
    return withdraw_levels(cycle, waiting)


def _hedge_failing(cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle with an alarm where a hedge was asked for and none can be had (any more)."""
    is_settled = cycle.hedges_stopped or cycle.hedge_failed or not hedging.is_hedge_asked(cycle)
    if is_settled or cycle.short.quantity or not cycle.ledger.is_priced:
        return cycle
    obstacle = hedging.hedge_obstacle(cycle)
    return cycle if obstacle is None else fail_hedge(cycle, obstacle, at_ms)


def _hedge_armed(cycle: Cycle) -> Cycle:
    """Return the cycle with the next hedge's trigger fixed, once it is first wanted."""
    trigger = hedging.next_trigger(cycle)
    is_armed = hedging.hedge_number(cycle) is not None or not cycle.ledger.is_priced
    if is_armed or trigger is None or not hedging.is_hedge_due(cycle):
        return cycle
    capped = min(trigger, floor_tick(cycle.long.entry, cycle.rules.tick_size))
    return replace(cycle, hedge_triggers=(*cycle.hedge_triggers, capped))


def _closes_without_hedge(cycle: Cycle) -> bool:
    return cycle.policy.on_hedge_failed is OnHedgeFailed.CLOSE


def _take_profit_passed(cycle: Cycle) -> Cycle:
    """Return the cycle closing if the market is already above the take-profit to be placed."""
    price, last = thresholds.take_profit_price(cycle), cycle.last_price
    if price is None or last is None or last < price or cycle.is_hands_off:
        return cycle
    return close(cycle, CloseReason.TAKE_PROFIT) if rules.is_take_profit_due(cycle) else cycle


def _reason_of_flat(cycle: Cycle) -> CloseReason:
    closed_by = cycle.long.closed_by
    closer = cycle.order(closed_by)
    if closer is not None and closer.role in _CLOSER_REASONS:
        return _CLOSER_REASONS[closer.role]
    if closed_by.startswith("adl_autoclose"):
        return CloseReason.ADL
    return CloseReason.LIQUIDATION if closed_by.startswith("autoclose-") else CloseReason.OUTSIDE


# --- After the end ---


def _after_the_end(cycle: Cycle, fact: Fact) -> Cycle:
    """Return the ended cycle, closing again if one of its own orders lives or filled after all."""
    match fact:
        case FundingPaid():
            return _funding_paid(cycle, fact)
        case FillsRead():
            ours = tuple(f for f in fact.fills if _is_ours(cycle, f.client_order_id))
            later = with_fills(cycle, ours)
        case OrderReported() if _is_ours(cycle, fact.client_order_id):
            later = order_reported(cycle, fact)
        case _:
            return cycle
    held = later.long.quantity + later.short.quantity
    grew = held >= cycle.rules.step_size and held > cycle.long.quantity + cycle.short.quantity
    if not grew and all(order.is_over for order in later.orders):
        return later
    text = f"an order of the ended cycle came to life; {shown(held)} {cycle.symbol} are closed"
    later = later.with_alarm(AlarmKind.LATE, text, fact.at_ms, about=len(later.fills))
    return replace(later, phase=Phase.CLOSING, ended_at_ms=None, flat_read_at_ms=None)


def _is_ours(cycle: Cycle, client_order_id: str) -> bool:
    order = cycle.order(client_order_id)
    return order is not None and order.role is not Role.FOREIGN


# --- Reads, money, people ---


def _read(cycle: Cycle, asked_at_ms: int | None) -> Cycle:
    """Return the cycle after a signed read succeeded: the account answers (again)."""
    if cycle.account_refused_at_ms and (asked_at_ms or 0) > cycle.account_refused_at_ms:
        return replace(cycle, account_refused_at_ms=0)
    return cycle


def _fills_read(cycle: Cycle, fact: FillsRead) -> Cycle:
    if cycle.update_due_ms and not _is_blank(cycle, fact):
        cycle = replace(cycle, update_read_ms=cycle.update_due_ms, update_due_ms=0)
    counted = tuple(
        f for f in fact.fills if not _is_from_before(cycle, f.client_order_id, f.time_ms)
    )
    for fill in counted:
        if cycle.order(fill.client_order_id) is None:
            cycle = stranger_filled(cycle, fill, fact.at_ms)
    return with_fills(cycle, (f for f in counted if cycle.order(f.client_order_id) is not None))


def _is_blank(cycle: Cycle, fact: FillsRead) -> bool:
    """Return whether the list is empty although it must hold what is known already.

    It says nothing then, and is asked for again. (The exchange forgets executions, months later.)
    """
    since_ms = fact.at_ms - _SURELY_LISTED_MS
    return not fact.fills and any(f.time_ms > since_ms for f in cycle.fills if not f.is_adjustment)


def _is_from_before(cycle: Cycle, client_order_id: str, time_ms: int) -> bool:
    """Return whether a stranger's execution is older than the cycle, which began flat."""
    return time_ms < cycle.accepted_at_ms and cycle.order(client_order_id) is None


def _balance_read(cycle: Cycle, fact: BalanceRead) -> Cycle:
    fallback = cycle.hedge_fallback
    if fallback is None or fallback.quantity is not None:
        return cycle
    quantity = hedging.fallback_quantity(cycle, fallback.number, fact.available)
    if quantity is None:
        text = f"the available {shown(fact.available)} carries none"
        return fail_hedge(cycle, text, fact.at_ms)
    return replace(cycle, hedge_fallback=replace(fallback, quantity=quantity))


def _asset_priced(cycle: Cycle, fact: AssetPriced) -> Cycle:
    prices = {**dict(cycle.asset_prices), fact.asset: fact.price}
    return with_fills(replace(cycle, asset_prices=tuple(sorted(prices.items()))), ())


def _rules_read(cycle: Cycle, fact: RulesRead) -> Cycle:
    """Return the cycle under newer rules; what was refused under the old ones is tried at once."""
    for order in cycle.orders if cycle.rules_are_stale else ():
        if order.status is OrderStatus.INTENDED and not order.is_in_flight and order.refusals == 1:
            cycle = cycle.with_order(replace(order, retry_at_ms=0))
    return replace(cycle, rules=fact.rules, rules_are_stale=False)


def _funding_paid(cycle: Cycle, fact: FundingPaid) -> Cycle:
    if fact.transaction_id in cycle.funding_ids:
        return cycle
    return replace(
        cycle,
        funding=cycle.funding + fact.amount,
        funding_ids=(*cycle.funding_ids, fact.transaction_id),
    )


def _operator_asked(cycle: Cycle, fact: OperatorAsked) -> Cycle:  # noqa: C901 - one flat table
    match fact.action:
        case OperatorAction.CLOSE:
            return close(cycle, CloseReason.OPERATOR)
        case OperatorAction.SIGNAL_CLOSE:
            return close(cycle, CloseReason.SIGNAL)
        case OperatorAction.CLOSE_LONG:
            return replace(cycle, close_long_asked=True)
        case OperatorAction.CLOSE_SHORT:
            return replace(cycle, close_short_asked=True, hedges_stopped=True)
        case OperatorAction.PAUSE:
            return replace(cycle, is_paused=True)
        case OperatorAction.RESUME:
            return _resumed(replace(cycle, is_paused=False)) if cycle.is_paused else cycle
        case OperatorAction.CANCEL_LEVELS:
            return withdraw_levels(cycle, _levels_unfilled(cycle))
        case OperatorAction.HANDS_OFF:
            return replace(cycle, is_hands_off=True)
        case OperatorAction.HANDS_ON:
            is_off = cycle.is_hands_off and not cycle.is_outlived
            return _resumed(replace(cycle, is_hands_off=False)) if is_off else cycle
        case OperatorAction.ALLOW_HEDGES:
            return replace(cycle, hedges_stopped=False, hedge_failed=False)
        case OperatorAction.FORGET_MISSING:
            return replace(cycle, forgets_missing=True)
        case _:
            assert_never(fact.action)


def _levels_unfilled(cycle: Cycle) -> Iterable[int]:
    """Return the levels left; all that the alert asks for while the ladder is not laid yet."""
    return range(1, cycle.settings.order_quan + 1) if cycle.grid is None else levels_left(cycle)


def _resumed(cycle: Cycle) -> Cycle:
    """Return the cycle whose hedge begins anew: the price may have come back meanwhile."""
    return replace(cycle, hedge_passed=0, hedge_fallback=None)
