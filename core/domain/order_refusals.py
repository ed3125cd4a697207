"""What a refused request does to the cycle, by role and reason (strategy.md section 7).

Entry, levels and hedges may be given up; whatever protects or closes is tried again without end.
"""

from dataclasses import replace

from core.domain.alarms import AlarmKind
from core.domain.cycle import (
    CloseReason,
    Cycle,
    EndedBy,
    OrderRefused,
    OrderState,
    Request,
    Role,
)
from core.domain.order_news import (
    MAX_ATTEMPTS_IN_A_ROW,
    hedge_without_margin,
    idle,
    is_answered,
    now_at,
    order_over,
    watch_hedge,
)
from core.domain.refusals import BELOW_LOWEST_PRICE, Refusal, is_refused, refusal
from core.domain.turns import close, fail_hedge, quick_ms, slow_ms, withdraw_levels

_MARGIN_AGAIN_MS = 30_000  # levels that lacked margin
_RULES_WITHIN_MS = 5_000  # how long a retry waits for the rules to be read again


def order_refused(cycle: Cycle, fact: OrderRefused) -> Cycle:
    """Return the cycle after the exchange said no; what follows depends on role and reason."""
    before = cycle.order(fact.client_order_id)
    if before is None or before.request is not fact.request or not is_answered(before, fact):
        return cycle
    why = refusal(fact.code)
    order = replace(before, refusal_code=fact.code, refusal_text=fact.text)
    if why in (Refusal.DUPLICATE, Refusal.UNKNOWN_ORDER):
        return cycle.with_order(replace(order, is_unresolved=True))  # it exists, or did: ask
    order = replace(idle(order), refusals=order.refusals + 1)
    if why is Refusal.ACCOUNT:
        cycle = account_refused(cycle, f"{fact.code} {fact.text}", fact.at_ms)
    if fact.request is Request.AMEND:
        return _amend_refused(cycle, order, why, fact)
    if fact.request is Request.CANCEL or why in (Refusal.MOMENT, Refusal.CLOCK):
        return _again_soon(cycle, order, why, fact)
    is_again = is_refused(before, Refusal.FOR_GOOD, Refusal.HALTED)
    match order.role:
        case Role.ENTRY:
            return _over(cycle, order, fact)
        case Role.LEVEL:
            return _level_refused(cycle, order, fact, is_again=is_again)
        case Role.HEDGE:
            return _hedge_refused(cycle, order, fact, is_again=is_again)
        case Role.HEDGE_MARKET:
            return _hedge_market_refused(cycle, order, fact, is_again=is_again)
        case _:
            return _protection_refused(cycle, order, fact, is_again=is_again)


def account_refused(cycle: Cycle, text: str, at_ms: int) -> Cycle:
    """Return the cycle that places nothing new until a read succeeds."""
    is_told = cycle.account_refused_at_ms
    cycle = replace(cycle, account_refused_at_ms=at_ms)
    if is_told:
        return cycle
    text = f"the account is refused: {text}"
    return cycle.with_another_alarm(AlarmKind.ACCOUNT_REFUSED, text, at_ms)


def _again_soon(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    """Return the cycle that repeats a cancel, or what was refused for the moment only."""
    if why not in (Refusal.MOMENT, Refusal.CLOCK) and order.refusals >= MAX_ATTEMPTS_IN_A_ROW:
        text = f"cancelling {order.role} {order.number} was refused: {fact.code} {fact.text}"
        text, about = f"{text}; it is tried again without end", f"cancel-{order.client_order_id}"
        cycle = cycle.with_alarm(AlarmKind.REFUSED, text, fact.at_ms, about=about)
    return _later(cycle, order, fact.at_ms + quick_ms(order.refusals))


def _level_refused(cycle: Cycle, order: OrderState, fact: OrderRefused, *, is_again: bool) -> Cycle:
    name, text = f"level {order.number}", f"{fact.code} {fact.text}"
    match refusal(fact.code):
        case Refusal.MARGIN | Refusal.STOP_LIMIT:
            alarm = f"{name} was refused: {text}; tried again every 30 s"
            cycle = cycle.with_alarm(AlarmKind.MARGIN, alarm, fact.at_ms, about=order.number)
            return _later(cycle, order, fact.at_ms + _MARGIN_AGAIN_MS)
        case Refusal.ACCOUNT:
            return _later(cycle, order, fact.at_ms + _MARGIN_AGAIN_MS)
        case Refusal.PRICE_BOUND:
            cycle = replace(cycle, mark_price=None)  # to be read again
            return _later(cycle, order, fact.at_ms + quick_ms(order.refusals))
    if not is_again:
        return _after_rules(cycle, order, fact)
    cycle = cycle.with_alarm(
        AlarmKind.WITHDRAWN, f"withdrawn: {name}, {text}", fact.at_ms, about=order.number
    )
    return withdraw_levels(_over(cycle, order, fact), (order.number,))


def _hedge_refused(cycle: Cycle, order: OrderState, fact: OrderRefused, *, is_again: bool) -> Cycle:
    """Return the cycle after the stop that opens the hedge was refused; its trigger lies ahead."""
    text = f"{fact.code} {fact.text}"
    match refusal(fact.code):
        case Refusal.TRIGGER_PASSED:
            return replace(_over(cycle, order, fact), hedge_passed=order.number)
        case Refusal.PRICE_BOUND | Refusal.STOP_LIMIT | Refusal.MARGIN:
            alarm = f"its stop was refused ({text}): watched here, sent by MARKET at its trigger"
            return watch_hedge(_over(cycle, order, fact), order.number, alarm, fact.at_ms)
        case Refusal.ACCOUNT:
            return _later(cycle, order, fact.at_ms + _MARGIN_AGAIN_MS)
    return _hedge_refused_for_good(cycle, order, fact, is_again=is_again)


def _hedge_market_refused(
    cycle: Cycle, order: OrderState, fact: OrderRefused, *, is_again: bool
) -> Cycle:
    """Return the cycle after the hedge by MARKET was refused: once more with what there is."""
    text = f"{fact.code} {fact.text}"
    match refusal(fact.code):
        case Refusal.MARGIN | Refusal.STOP_LIMIT:
            over = _over(cycle, order, fact)
            return hedge_without_margin(over, order.number, text, fact.at_ms)
        case Refusal.PRICE_BOUND:
            return _later(cycle, order, fact.at_ms + quick_ms(order.refusals))
        case Refusal.ACCOUNT:
            return _later(cycle, order, fact.at_ms + _MARGIN_AGAIN_MS)
    if cycle.hedge_fallback is not None:
        return fail_hedge(_over(cycle, order, fact), text, fact.at_ms)
    return _hedge_refused_for_good(cycle, order, fact, is_again=is_again)


def _hedge_refused_for_good(
    cycle: Cycle, order: OrderState, fact: OrderRefused, *, is_again: bool
) -> Cycle:
    text = f"{fact.code} {fact.text}"
    if is_again:
        return fail_hedge(_over(cycle, order, fact), text, fact.at_ms)
    cycle = cycle.with_alarm(
        AlarmKind.HEDGE_REFUSED, f"hedge: {text}", fact.at_ms, about=order.number
    )
    return _after_rules(cycle, order, fact)


def _protection_refused(
    cycle: Cycle, order: OrderState, fact: OrderRefused, *, is_again: bool
) -> Cycle:
    why = refusal(fact.code)
    if why is Refusal.TRIGGER_PASSED and order.role is Role.GUARD:
        return replace(_over(cycle, order, fact), guard_waits=True)
    if why is Refusal.TRIGGER_PASSED and order.role is Role.HEDGE_STOP:
        return replace(_over(cycle, order, fact), short_stop_due=True)
    if fact.code == BELOW_LOWEST_PRICE and order.role is Role.TAKE_PROFIT:
        # The market is above the take-profit by more than the exchange allows: rule 2.
        return close(_over(cycle, order, fact), CloseReason.TAKE_PROFIT)
    if why in (Refusal.PRICE_BOUND, Refusal.CLOSE_RESERVED):
        if order.refusals >= MAX_ATTEMPTS_IN_A_ROW:
            cycle = _with_alarm(cycle, order, fact)
        cycle = replace(cycle, mark_price=None)  # to be read again
        return _later(cycle, order, fact.at_ms + quick_ms(order.refusals))
    cycle = _with_alarm(cycle, order, fact)
    if why is Refusal.STOP_LIMIT and order.role is Role.HEDGE_STOP:
        cycle = replace(cycle, stop_needs_slot=True)
    elif why in (Refusal.FOR_GOOD, Refusal.HALTED) and not is_again:
        cycle = replace(cycle, rules_are_stale=True)
    return _later(cycle, order, fact.at_ms + slow_ms(order.refusals))


def _amend_refused(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    match why:
        case Refusal.NO_CHANGE:
            at_target = now_at(order, order.target_price, order.target_quantity, fact.at_ms)
            return cycle.with_order(at_target)
        case Refusal.MOMENT | Refusal.CLOCK:
            return _later(cycle, order, fact.at_ms + quick_ms(order.refusals))
        case Refusal.ACCOUNT:  # what rests protects; a new one would be refused, too
            return _later(cycle, order, fact.at_ms + slow_ms(order.refusals))
        case Refusal.HALTED:
            cycle = _with_alarm(cycle, order, fact)
            return _later(cycle, order, fact.at_ms + slow_ms(order.refusals))
        case Refusal.CLOSE_RESERVED if order.refusals < MAX_ATTEMPTS_IN_A_ROW:
            return _later(cycle, order, fact.at_ms + quick_ms(order.refusals))
    return cycle.with_order(replace(order, amend_refused=True))


def _later(cycle: Cycle, order: OrderState, at_ms: int) -> Cycle:
    return cycle.with_order(replace(order, retry_at_ms=at_ms))


def _after_rules(cycle: Cycle, order: OrderState, fact: OrderRefused) -> Cycle:
    """Return the cycle that asks for the symbol's rules; the order is tried again after them."""
    cycle = replace(cycle, rules_are_stale=True)
    return _later(cycle, order, fact.at_ms + _RULES_WITHIN_MS)


def _over(cycle: Cycle, order: OrderState, fact: OrderRefused) -> Cycle:
    return cycle.with_order(order_over(order, EndedBy.REFUSED, fact.at_ms))


def _with_alarm(cycle: Cycle, order: OrderState, fact: OrderRefused) -> Cycle:
    text = f"{order.role} was refused: {fact.code} {fact.text}; it is tried again without end"
    return cycle.with_alarm(AlarmKind.REFUSED, text, fact.at_ms, about=order.client_order_id)
