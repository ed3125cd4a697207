"""What news of one order does to the cycle: acceptance, progress, end, refusal, silence.

The exchange tells the same story through several mouths, late, twice or not at all. Reports carry
totals, so applying one again changes nothing; what a request asked for is believed only when a
report shows it. Consequences for the strategy (a filled entry, a closed side) are `strategy`'s.
"""

from dataclasses import replace
from decimal import Decimal

from core.domain.cycle import (
    Cycle,
    EndedBy,
    Fill,
    HedgeFallback,
    Kind,
    OrderMissing,
    OrderRefused,
    OrderReported,
    OrderState,
    OrderStatus,
    OutcomeUnknown,
    PositionSide,
    ReportedStatus,
    Request,
    RequestNotSent,
    Role,
)
from core.domain.ledger import filled_by, fold, in_trade_order
from core.domain.refusals import Refusal, refusal
from core.domain.rules import MAX_ATTEMPTS_IN_A_ROW
from core.money import ZERO

# The exchange refuses a request this long after its timestamp (receive window 5 s); the rest is room
# for clocks that differ and for reads that lag behind.
PROVEN_AFTER_MS = 8_000
_ABSENT_READS_APART_MS = 1_000
ASK_AFTER_MS = 2_000
# Binance forgets an order that ended unfilled three days after its creation.
_FORGOTTEN_AFTER_MS = 3 * 24 * 3600 * 1000
_FORGOTTEN_READS = 3
_FORGOTTEN_READS_APART_MS = 2_000

CLOSING_ROLES = frozenset({Role.CLOSE_LONG, Role.CLOSE_SHORT, Role.HEDGE_STOP_MARKET})
PROTECTING_ROLES = CLOSING_ROLES | {Role.TAKE_PROFIT, Role.HEDGE_STOP, Role.GUARD}

_ENDED_BY = {
    ReportedStatus.FILLED: EndedBy.FILLED,
    ReportedStatus.CANCELED: EndedBy.PERSON,
    ReportedStatus.EXPIRED: EndedBy.EXCHANGE,
    ReportedStatus.REJECTED: EndedBy.EXCHANGE,
}


def order_reported(cycle: Cycle, fact: OrderReported) -> Cycle:
    """Return the cycle after a report of one of its orders, or of a foreign one."""
    order = cycle.order(fact.client_order_id)
    if order is None:
        if _is_irrelevant(fact):
            return cycle
        order = _foreign_order(fact)
        text = f"an order that is not ours is on {cycle.symbol}: {fact.side} {fact.position_side}"
        cycle = cycle.with_alarm(f"foreign-{fact.client_order_id}", text, fact.at_ms)
    was_over = order.is_over
    order = _accepted(order, fact)
    order = _request_answered(order, fact)
    order = _progressed(order, fact)
    if fact.status.is_terminal or fact.answers is Request.CANCEL:
        order = _ended(order, fact)
    cycle = with_fills(cycle.with_order(order), () if fact.fill is None else (fact.fill,))
    if order.role in (*CLOSING_ROLES, Role.LEVEL) and order.is_resting:
        cycle = replace(cycle, mark_price=None)  # it was read for this placing only
    if order.role is Role.HEDGE_STOP and order.is_resting:
        cycle = replace(cycle, stop_needs_slot=False)
    return cycle if was_over or not order.is_over else _order_ended(cycle, order, fact.at_ms)


def with_fills(cycle: Cycle, fills: tuple[Fill, ...]) -> Cycle:
    """Return the cycle with new executions counted, each trade once, and the ledger folded anew."""
    known = {fill.trade_id for fill in cycle.fills if not fill.is_adjustment}
    new = {fill.trade_id: fill for fill in fills if fill.trade_id not in known}
    if new:
        cycle = replace(cycle, fills=in_trade_order((*cycle.fills, *new.values())))
    for client_order_id in {fill.client_order_id for fill in new.values()}:
        order = cycle.order(client_order_id)
        explained = filled_by(client_order_id, cycle.fills)
        if order is not None and explained > order.executed:
            cycle = cycle.with_order(replace(order, executed=explained, average_price=None))
    ledger = fold(cycle.orders, cycle.fills, cycle.rules)
    if ledger == cycle.ledger:
        return cycle
    return _retry_levels(replace(cycle, ledger=ledger))


def foreign_order_of(fill: Fill) -> OrderState:
    """Return the order row that stands for a stranger's execution."""
    return OrderState(
        client_order_id=fill.client_order_id,
        role=Role.FOREIGN,
        number=0,
        attempt=0,
        side=fill.side,
        position_side=fill.position_side,
        kind=Kind.MARKET,
        price=None,
        quantity=None,
        status=OrderStatus.OVER,
        ended_by=EndedBy.FILLED,
        created_at_ms=fill.time_ms,
        over_at_ms=fill.time_ms,
        reason="placed outside",
    )


def outcome_unknown(cycle: Cycle, fact: OutcomeUnknown) -> Cycle:
    """Return the cycle with the order's request marked as without an answer."""
    order = cycle.order(fact.client_order_id)
    if order is None or not order.is_in_flight:
        return cycle
    return cycle.with_order(replace(order, is_unresolved=True))


def request_not_sent(cycle: Cycle, fact: RequestNotSent) -> Cycle:
    """Return the cycle with the request taken back: it never left us."""
    order = cycle.order(fact.client_order_id)
    if order is None or not order.is_in_flight:
        return cycle
    order = replace(_idle(order), retry_at_ms=fact.retry_at_ms)
    return cycle.with_order(order)


def order_missing(cycle: Cycle, fact: OrderMissing) -> Cycle:
    """Return the cycle after a look-up that found nothing; only two late ones prove absence."""
    order = cycle.order(fact.client_order_id)
    if order is None or order.is_over:
        return cycle
    if order.request is Request.PLACE and order.status is OrderStatus.INTENDED:
        return _perhaps_absent(cycle, order, fact)
    return _perhaps_forgotten(cycle, order, fact)


def order_refused(cycle: Cycle, fact: OrderRefused) -> Cycle:
    """Return the cycle after the exchange said no; what follows depends on role and reason."""
    order = cycle.order(fact.client_order_id)
    if order is None or order.request is not fact.request:
        return cycle
    why = refusal(fact.code)
    order = replace(order, refusal_code=fact.code, refusal_text=fact.text)
    if why in (Refusal.DUPLICATE, Refusal.UNKNOWN_ORDER):
        return cycle.with_order(replace(order, is_unresolved=True))  # it exists, or did: ask
    if why is Refusal.CLOCK:
        return cycle.with_order(replace(_idle(order), retry_at_ms=fact.at_ms))
    order = replace(order, refusals=order.refusals + 1)
    if fact.request is Request.PLACE:
        return _place_refused(cycle, _idle(order), why, fact)
    if fact.request is Request.AMEND:
        return _amend_refused(cycle, order, why, fact)
    retry = fact.at_ms + back_off_ms(order.refusals, first=200, most=5_000)
    return cycle.with_order(replace(_idle(order), retry_at_ms=retry))


def back_off_ms(times: int, *, first: int, most: int) -> int:
    """Return `first` doubled with every time after the first, up to `most`."""
    return int(min(most, first * 2 ** min(max(0, times - 1), 20)))


def fail_hedge(cycle: Cycle, text: str, at_ms: int) -> Cycle:
    """Return the cycle without the hedge that was asked for: alarm once; `strategy` closes if told."""
    cycle = replace(cycle, hedge_failed=True, hedge_fallback=None)
    return cycle.with_alarm("hedge-failed", f"no hedge: {text}", at_ms)


# --- Reports ---


def _is_irrelevant(fact: OrderReported) -> bool:
    return fact.status.is_terminal and not fact.executed and fact.fill is None


def _foreign_order(fact: OrderReported) -> OrderState:
    return OrderState(
        client_order_id=fact.client_order_id,
        role=Role.FOREIGN,
        number=0,
        attempt=0,
        side=fact.side,
        position_side=fact.position_side,
        kind=fact.kind,
        price=fact.price,
        quantity=fact.quantity,
        created_at_ms=fact.at_ms,
        reason="placed outside",
    )


def _accepted(order: OrderState, fact: OrderReported) -> OrderState:
    """Return the order as one that the exchange holds."""
    order = replace(order, exchange_order_id=fact.exchange_order_id or order.exchange_order_id)
    is_reopened = order.role is Role.FOREIGN and order.is_over and not fact.status.is_terminal
    if order.status is not OrderStatus.INTENDED and not is_reopened:
        return order
    is_ours = order.request is Request.PLACE
    return replace(
        _idle(order) if is_ours else order,
        status=OrderStatus.OPEN,
        price=order.target_price if is_ours else fact.price,
        quantity=order.target_quantity if is_ours else fact.quantity,
        ended_by=None,
        refusals=0,
        refusal_code=None,
        refusal_text="",
        retry_at_ms=0,
        absent_reads=0,
        changed_at_ms=fact.at_ms,
    )


def _request_answered(order: OrderState, fact: OrderReported) -> OrderState:
    """Return the order with an amendment or cancellation resolved, where the report shows it."""
    if order.is_over or order.status is OrderStatus.INTENDED:
        return order
    asked_after = -1 if fact.asked_at_ms is None else fact.asked_at_ms - order.requested_at_ms
    reported = (fact.price, fact.quantity)
    if order.request is Request.AMEND:
        if fact.answers is Request.AMEND or reported == (order.target_price, order.target_quantity):
            return _now_at(order, order.target_price, order.target_quantity, fact.at_ms)
        if asked_after >= PROVEN_AFTER_MS:  # it did not take effect, and cannot any more
            return _now_at(order, fact.price, fact.quantity, fact.at_ms)
    elif order.request is Request.CANCEL:
        if asked_after >= ASK_AFTER_MS:  # still there: ask again
            return _idle(order)
    elif fact.asked_at_ms is not None and fact.asked_at_ms > order.changed_at_ms:
        if not order.is_algo and not order.close_position and reported[1] is not None:
            return _now_at(order, fact.price or order.price, fact.quantity, order.changed_at_ms)
    return order


def _now_at(
    order: OrderState, price: Decimal | None, quantity: Decimal | None, at_ms: int
) -> OrderState:
    if order.request is Request.NONE and (price, quantity) == (order.price, order.quantity):
        return order
    return replace(
        _idle(order), price=price, quantity=quantity, changed_at_ms=at_ms, refusals=0, retry_at_ms=0
    )


def _progressed(order: OrderState, fact: OrderReported) -> OrderState:
    if fact.status is ReportedStatus.TRIGGERED and not order.is_triggered:
        order = replace(order, is_triggered=True, triggered_at_ms=fact.at_ms)
    executed = fact.executed or ZERO
    if executed > order.executed:
        return replace(order, executed=executed, average_price=fact.average_price)
    if executed == order.executed and order.average_price is None and executed:
        return replace(order, average_price=fact.average_price)
    return order


def _ended(order: OrderState, fact: OrderReported) -> OrderState:
    if order.is_over:
        return order
    ended_by = _ENDED_BY.get(fact.status, EndedBy.US)
    is_full = order.quantity is not None and order.executed >= order.quantity > 0
    if is_full:
        ended_by = EndedBy.FILLED
    elif fact.answers is Request.CANCEL or (
        ended_by is EndedBy.PERSON and (order.cancel_asked or order.request is Request.AMEND)
    ):
        # An amendment below what was executed meanwhile cancels, too.
        ended_by = EndedBy.US
    return replace(_idle(order), status=OrderStatus.OVER, ended_by=ended_by, over_at_ms=fact.at_ms)


def _order_ended(cycle: Cycle, order: OrderState, at_ms: int) -> Cycle:
    """Return the cycle with what an order's end means for its role (rule 10)."""
    if order.ended_by is EndedBy.PERSON and order.role is not Role.FOREIGN:
        text = f"{order.role} {order.number} was cancelled by someone else"
        cycle = cycle.with_alarm(f"cancelled-{order.client_order_id}", text, at_ms)
    match order.role:
        case Role.LEVEL if order.ended_by is EndedBy.PERSON:
            return _withdraw_level(cycle, order.number)
        case Role.LEVEL if order.ended_by is EndedBy.EXCHANGE and _is_third(cycle, order):
            text = f"level {order.number} was ended by the exchange {MAX_ATTEMPTS_IN_A_ROW} times"
            cycle = cycle.with_alarm(f"withdrawn-{order.number}", text, at_ms)
            return _withdraw_level(cycle, order.number)
        case Role.HEDGE if order.ended_by is EndedBy.PERSON and not order.executed:
            return replace(cycle, hedges_stopped=True)
        case Role.HEDGE | Role.HEDGE_MARKET if (
            order.ended_by is EndedBy.EXCHANGE and not order.executed
        ):
            return _hedge_without_margin(cycle, order, "the exchange ended it unfilled", at_ms)
    return cycle


def _is_third(cycle: Cycle, order: OrderState) -> bool:
    attempts = sorted(cycle.of(order.role, order.number), key=lambda o: o.attempt)
    newest = attempts[-MAX_ATTEMPTS_IN_A_ROW:]
    return len(newest) == MAX_ATTEMPTS_IN_A_ROW and all(
        o.ended_by is EndedBy.EXCHANGE for o in newest
    )


def _withdraw_level(cycle: Cycle, number: int) -> Cycle:
    return replace(cycle, withdrawn=tuple(sorted({*cycle.withdrawn, number})))


def _retry_levels(cycle: Cycle) -> Cycle:
    """Return the cycle with levels that lacked margin free to be tried: a fill changes the margin."""
    for order in tuple(cycle.of(Role.LEVEL)):
        if order.retry_at_ms and not order.is_over and not order.is_in_flight:
            cycle = cycle.with_order(replace(order, retry_at_ms=0))
    return cycle


# --- Refusals (strategy.md's table by role) ---


def _place_refused(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    if why is Refusal.MOMENT:
        retry = fact.at_ms + back_off_ms(order.refusals, first=200, most=5_000)
        return cycle.with_order(replace(order, retry_at_ms=retry))
    if why is Refusal.ACCOUNT:
        text = f"the account is refused: {fact.code} {fact.text}"
        cycle = cycle.with_alarm("account-refused", text, fact.at_ms)
    match order.role:
        case Role.ENTRY:
            return cycle.with_order(_refused_for_good(order, fact.at_ms))
        case Role.LEVEL:
            return _level_refused(cycle, order, why, fact)
        case Role.HEDGE | Role.HEDGE_MARKET:
            return _hedge_refused(cycle, order, why, fact)
        case _:
            return _protection_refused(cycle, order, why, fact)


def _level_refused(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    name = f"level {order.number}"
    if why in (Refusal.MARGIN, Refusal.ACCOUNT):
        text = f"{name} was refused: {fact.code} {fact.text}; tried again every 30 s"
        cycle = cycle.with_alarm(f"margin-{order.number}", text, fact.at_ms)
        return cycle.with_order(replace(order, retry_at_ms=fact.at_ms + 30_000))
    if why is Refusal.PRICE_BOUND:
        retry = fact.at_ms + back_off_ms(order.refusals, first=200, most=5_000)
        return replace(cycle, mark_price=None).with_order(replace(order, retry_at_ms=retry))
    if order.refusals < 2:
        return replace(cycle, rules_are_stale=True).with_order(order)
    text = f"{name} is withdrawn: {fact.code} {fact.text}"
    cycle = cycle.with_alarm(f"withdrawn-{order.number}", text, fact.at_ms)
    return _withdraw_level(cycle.with_order(_refused_for_good(order, fact.at_ms)), order.number)


def _hedge_refused(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    text = f"{fact.code} {fact.text}"
    over = cycle.with_order(_refused_for_good(order, fact.at_ms))
    if why is Refusal.ACCOUNT:
        return cycle.with_order(replace(order, retry_at_ms=fact.at_ms + 30_000))
    if order.role is Role.HEDGE:
        if why is Refusal.TRIGGER_PASSED:
            return over
        if why is Refusal.PRICE_BOUND:
            return replace(over, hedge_passed=order.number)
        if why is Refusal.STOP_LIMIT:
            alarm = "too many conditional orders on the account: the hedge is watched here"
            return replace(over, hedge_by_market=True).with_alarm("hedge-slot", alarm, fact.at_ms)
    elif why is Refusal.PRICE_BOUND:
        retry = fact.at_ms + back_off_ms(order.refusals, first=200, most=5_000)
        return cycle.with_order(replace(order, retry_at_ms=retry))
    if why is Refusal.MARGIN or cycle.hedge_fallback is not None:
        return _hedge_without_margin(over, order, text, fact.at_ms)
    if order.refusals < 2:
        cycle = cycle.with_alarm(f"hedge-refused-{order.number}", f"hedge: {text}", fact.at_ms)
        return replace(cycle, rules_are_stale=True).with_order(order)
    return fail_hedge(over, text, fact.at_ms)


def _hedge_without_margin(cycle: Cycle, order: OrderState, text: str, at_ms: int) -> Cycle:
    if cycle.hedge_fallback is not None:
        return fail_hedge(cycle, text, at_ms)
    return replace(cycle, hedge_fallback=HedgeFallback(number=order.number))


def _protection_refused(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    quick = back_off_ms(order.refusals, first=200, most=5_000)
    if why is Refusal.TRIGGER_PASSED and order.role is Role.GUARD:
        cycle = cycle.with_order(_refused_for_good(order, fact.at_ms))
        return replace(cycle, guard_waits=True)
    if why is Refusal.TRIGGER_PASSED and order.role is Role.HEDGE_STOP:
        cycle = cycle.with_order(_refused_for_good(order, fact.at_ms))
        return replace(cycle, short_stop_due=True)
    if why in (Refusal.PRICE_BOUND, Refusal.CLOSE_RESERVED):
        if order.refusals >= MAX_ATTEMPTS_IN_A_ROW:
            cycle = _alarm_refused(cycle, order, fact)
        cycle = replace(cycle, mark_price=None)
        return cycle.with_order(replace(order, retry_at_ms=fact.at_ms + quick))
    if why is Refusal.STOP_LIMIT:
        cycle = replace(cycle, stop_needs_slot=order.role is Role.HEDGE_STOP)
    elif order.refusals == 1:
        cycle = replace(cycle, rules_are_stale=True)
    cycle = _alarm_refused(cycle, order, fact)
    slow = back_off_ms(order.refusals, first=1_000, most=60_000)
    return cycle.with_order(replace(order, retry_at_ms=fact.at_ms + slow))


def _alarm_refused(cycle: Cycle, order: OrderState, fact: OrderRefused) -> Cycle:
    text = f"{order.role} was refused: {fact.code} {fact.text}; it is tried again without end"
    return cycle.with_alarm(f"refused-{order.client_order_id}", text, fact.at_ms)


def _amend_refused(cycle: Cycle, order: OrderState, why: Refusal, fact: OrderRefused) -> Cycle:
    if why is Refusal.NO_CHANGE:
        return cycle.with_order(
            _now_at(order, order.target_price, order.target_quantity, fact.at_ms)
        )
    if why is Refusal.MOMENT:
        retry = fact.at_ms + back_off_ms(order.refusals, first=200, most=5_000)
        return cycle.with_order(replace(_idle(order), retry_at_ms=retry))
    return cycle.with_order(replace(_idle(order), amend_refused=True))


def _refused_for_good(order: OrderState, at_ms: int) -> OrderState:
    return replace(
        order, status=OrderStatus.OVER, ended_by=EndedBy.REFUSED, over_at_ms=at_ms, retry_at_ms=0
    )


def _idle(order: OrderState) -> OrderState:
    return replace(order, request=Request.NONE, is_unresolved=False)


# --- Silence ---


def _perhaps_absent(cycle: Cycle, order: OrderState, fact: OrderMissing) -> Cycle:
    if fact.asked_at_ms < order.requested_at_ms + PROVEN_AFTER_MS:
        return cycle
    if not order.absent_reads:
        order = replace(order, absent_reads=1, absent_read_at_ms=fact.asked_at_ms)
        return cycle.with_order(order)
    if fact.asked_at_ms < order.absent_read_at_ms + _ABSENT_READS_APART_MS:
        return cycle
    order = replace(_idle(order), absent_reads=0)
    if order.is_superseded:
        order = replace(
            order, status=OrderStatus.OVER, ended_by=EndedBy.WITHDRAWN, over_at_ms=fact.at_ms
        )
    return cycle.with_order(order)


def _perhaps_forgotten(cycle: Cycle, order: OrderState, fact: OrderMissing) -> Cycle:
    if fact.at_ms < order.created_at_ms + _FORGOTTEN_AFTER_MS:
        text = f"{order.role} {order.number} cannot be found on the exchange; it is asked for again"
        return cycle.with_alarm(f"missing-{order.client_order_id}", text, fact.at_ms)
    is_next = fact.asked_at_ms >= order.absent_read_at_ms + _FORGOTTEN_READS_APART_MS
    if order.absent_reads and not is_next:
        return cycle
    order = replace(order, absent_reads=order.absent_reads + 1, absent_read_at_ms=fact.asked_at_ms)
    if order.absent_reads < _FORGOTTEN_READS:
        return cycle.with_order(order)
    text = f"{order.role} {order.number} is forgotten by the exchange and taken as over"
    cycle = cycle.with_alarm(f"forgotten-{order.client_order_id}", text, fact.at_ms)
    return cycle.with_order(
        replace(
            _idle(order), status=OrderStatus.OVER, ended_by=EndedBy.ABSENT, over_at_ms=fact.at_ms
        )
    )


def has_unresolved_close(cycle: Cycle, side: PositionSide) -> bool:
    """Return whether a closing MARKET order of that side waits for its outcome."""
    return any(
        o.is_unresolved and o.role in CLOSING_ROLES and o.position_side is side
        for o in cycle.orders
    )
