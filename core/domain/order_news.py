"""What news of one order does to the cycle: acceptance, progress, end, silence.

The exchange tells the same story through several mouths, late, twice or not at all. Reports carry
totals, so applying one again changes nothing; what a request asked for is believed only when a
report shows it. Refusals stand in `order_refusals`; consequences for the strategy (a filled entry,
a closed side) are `strategy`'s.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal

from core.domain.alarms import AlarmKind
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
    Phase,
    PositionSide,
    ReportedStatus,
    Request,
    RequestNotSent,
    Role,
)
from core.domain.ledger import HEDGE_ROLES, filled_by, fold, in_trade_order
from core.domain.turns import fail_hedge, withdraw_levels
from core.domain.unknown_orders import is_nothing, reported_stranger
from core.domain.wishes import CLOSING_ROLES, close_failures
from core.money import ZERO

# The exchange refuses a request this long after its timestamp (receive window 5 s); the rest is
# room for clocks that differ and for reads that lag behind.
PROVEN_AFTER_MS = 8_000
ASK_AFTER_MS = 2_000
MAX_ATTEMPTS_IN_A_ROW = 3  # rule 10: orders that the exchange ended
_ABSENT_READS_APART_MS = 1_000
# Binance forgets an order that ended unfilled three days after its creation.
_FORGOTTEN_AFTER_MS = 3 * 24 * 3600 * 1000
_FORGOTTEN_READS = 3
FORGOTTEN_READS_APART_MS = 2_000

_ENDED_BY = {
    ReportedStatus.FILLED: EndedBy.FILLED,
    ReportedStatus.CANCELED: EndedBy.PERSON,
    ReportedStatus.EXPIRED: EndedBy.EXCHANGE,
    ReportedStatus.REJECTED: EndedBy.EXCHANGE,
}


def order_reported(cycle: Cycle, fact: OrderReported) -> Cycle:
    """Return the cycle after a report of one of its orders, or of a foreign one."""
    known = cycle.order(fact.client_order_id)
    if known is None:
        if is_nothing(cycle, fact):
            return cycle
        cycle = reported_stranger(cycle, fact)
        known = cycle.order(fact.client_order_id)
        if known is None:
            return cycle  # of a later cycle
    order = _progressed(_request_answered(_accepted(known, fact), fact), fact)
    if fact.status.is_terminal or fact.answers is Request.CANCEL:
        order = _ended(order, fact, known.request)
    if order.role is Role.LEVEL and fact.fill is not None and fact.fill not in cycle.fills:
        # It is a trade, too, and may be told before the market stream tells how far it has fallen:
        # the take-profit that now lies lower is not to be taken for passed.
        cycle = replace(cycle, last_price=fact.fill.price)
    cycle = with_fills(cycle.with_order(order), () if fact.fill is None else (fact.fill,))
    if known.status is OrderStatus.INTENDED and order.role in (*CLOSING_ROLES, Role.LEVEL):
        cycle = replace(cycle, mark_price=None)  # it was read for this placing only
    if order.role is Role.HEDGE_STOP and order.is_resting:
        cycle = replace(cycle, stop_needs_slot=False)
    if known.is_over or not order.is_over:
        return cycle
    if order.ended_by is EndedBy.PERSON and _went_with_its_side(cycle, order):
        order = replace(order, ended_by=EndedBy.EXCHANGE)
        cycle = cycle.with_order(order)
    return _order_ended(cycle, order, fact)


def with_fills(cycle: Cycle, fills: Iterable[Fill]) -> Cycle:
    """Return the cycle with new executions counted, each trade once, and the ledger folded anew."""
    known = {fill.trade_id for fill in cycle.fills if not fill.is_adjustment}
    new = {fill.trade_id: fill for fill in fills if fill.trade_id not in known}
    if new:
        earlier = _unexplained(cycle.fills, new.values())
        cycle = replace(cycle, fills=in_trade_order((*earlier, *new.values())))
    for client_order_id in sorted({fill.client_order_id for fill in new.values()}):
        order = cycle.order(client_order_id)
        explained = filled_by(client_order_id, cycle.fills)
        if order is not None and explained > order.executed:
            order = _accepted_by_fill(order)
            cycle = cycle.with_order(replace(order, executed=explained, average_price=None))
    ledger = fold(cycle.orders, cycle.fills, cycle.rules, dict(cycle.asset_prices))
    if ledger == cycle.ledger:
        return cycle
    return _levels_retried(replace(cycle, ledger=ledger))


def _unexplained(fills: Iterable[Fill], new: Collection[Fill]) -> Iterator[Fill]:
    """Yield the fills without what of their adjustments executions now explain: not counted twice.

    An adjustment was booked because nobody could show its fills. One that is told only later, but
    happened before, is one of them.
    """
    explaining = {fill.trade_id: fill.quantity for fill in new}
    for fill in fills:
        left = fill.quantity
        for told in new if fill.is_adjustment else ():
            is_alike = (told.side, told.position_side) == (fill.side, fill.position_side)
            if is_alike and told.time_ms <= fill.time_ms:
                used = min(left, explaining[told.trade_id])
                explaining[told.trade_id] -= used
                left -= used
        if left:
            yield fill if left == fill.quantity else replace(fill, quantity=left)


def outcome_unknown(cycle: Cycle, fact: OutcomeUnknown) -> Cycle:
    """Return the cycle with the order's request marked as without an answer."""
    order = cycle.order(fact.client_order_id)
    if order is None or not is_answered(order, fact):
        return cycle
    return cycle.with_order(replace(order, is_unresolved=True))


def request_not_sent(cycle: Cycle, fact: RequestNotSent) -> Cycle:
    """Return the cycle with the request taken back: it never left us."""
    order = cycle.order(fact.client_order_id)
    if order is None or not is_answered(order, fact):
        return cycle
    return cycle.with_order(replace(idle(order), retry_at_ms=fact.retry_at_ms))


def is_answered(order: OrderState, fact: OrderRefused | RequestNotSent | OutcomeUnknown) -> bool:
    """Return whether news of a request are about the one under way, not about one before it.

    Whoever sent the first may tell late, from another process (the entry's was the API's), when the
    order has long been asked for anew under the same id.
    """
    return order.is_in_flight and fact.requested_at_ms in (None, order.requested_at_ms)


def order_missing(cycle: Cycle, fact: OrderMissing) -> Cycle:
    """Return the cycle after a look-up that found nothing; only late, repeated ones are proof."""
    order = cycle.order(fact.client_order_id)
    if order is None or order.is_over:
        return cycle
    if order.status is OrderStatus.OPEN:
        return _perhaps_forgotten(cycle, order, fact)
    return _perhaps_absent(cycle, order, fact) if order.request is Request.PLACE else cycle


def order_over(order: OrderState, ended_by: EndedBy, at_ms: int) -> OrderState:
    """Return the order as over."""
    return replace(
        idle(order), status=OrderStatus.OVER, ended_by=ended_by, over_at_ms=at_ms, retry_at_ms=0
    )


def idle(order: OrderState) -> OrderState:
    """Return the order with no request under way."""
    return replace(order, request=Request.NONE, is_unresolved=False)


def now_at(
    order: OrderState, price: Decimal | None, quantity: Decimal | None, at_ms: int
) -> OrderState:
    """Return the order with the price and total that the exchange holds it at."""
    return replace(
        idle(order),
        price=price,
        quantity=quantity,
        changed_at_ms=at_ms,
        refusals=0,
        refusal_code=None,
        refusal_text="",
        retry_at_ms=0,
    )


def hedge_without_margin(cycle: Cycle, number: int, text: str, at_ms: int) -> Cycle:
    """Return the cycle on rule 4's second try, or without a hedge if that was it."""
    fallback = cycle.hedge_fallback
    if fallback is not None and fallback.number == number:
        return fail_hedge(cycle, text, at_ms)
    return replace(cycle, hedge_fallback=HedgeFallback(number=number))


def watch_hedge(cycle: Cycle, number: int, text: str, at_ms: int) -> Cycle:
    """Return the cycle that watches the hedge's trigger itself: no stop order may rest there."""
    if cycle.phase is not Phase.TRADING:
        return cycle  # no hedge is wanted any more
    cycle = replace(cycle, hedge_watched=number)
    cycle = cycle.with_alarm(
        AlarmKind.HEDGE_WATCHED, f"hedge {number}: {text}", at_ms, about=number
    )
    trigger, last = cycle.hedge_triggers[number - 1], cycle.last_price
    return replace(cycle, hedge_passed=number) if last is not None and last <= trigger else cycle


# --- Reports ---


def _accepted(order: OrderState, fact: OrderReported) -> OrderState:
    """Return the order as one that the exchange holds."""
    order = replace(
        order,
        exchange_order_id=fact.exchange_order_id or order.exchange_order_id,
        absent_reads=order.absent_reads if order.is_over else 0,
    )
    if order.is_over and not _is_contradicted(order, fact):
        return order
    if order.status is OrderStatus.OPEN:
        return order
    is_ours = order.request is Request.PLACE
    price = order.target_price if is_ours else fact.price
    told = None if order.close_position else fact.quantity
    quantity = order.target_quantity if is_ours else told
    if order.kind is Kind.LIMIT and fact.quantity is not None:
        quantity = fact.quantity  # the exchange may have cut it to what was left to close
    order = replace(order, status=OrderStatus.OPEN, ended_by=None, over_at_ms=0)
    return now_at(order, price, quantity, fact.at_ms)


def _is_contradicted(order: OrderState, fact: OrderReported) -> bool:
    """Return whether an order believed over lives after all: nobody told its end by itself."""
    if fact.status.is_terminal or order.ended_by is None:
        return False
    if order.role is Role.FOREIGN:
        return order.quantity is None  # known from one execution only
    return order.ended_by.was_inferred


def _accepted_by_fill(order: OrderState) -> OrderState:
    """Return the order as one that the exchange held: it executed."""
    if order.status is not OrderStatus.INTENDED:
        return order
    order = replace(order, status=OrderStatus.OPEN)
    if order.request is Request.PLACE:
        order = now_at(order, order.target_price, order.target_quantity, order.requested_at_ms)
    return order


def _request_answered(order: OrderState, fact: OrderReported) -> OrderState:
    """Return the order with an amendment or cancellation resolved, where the report shows it."""
    if order.is_over:
        return order
    read_after = -1 if fact.asked_at_ms is None else fact.asked_at_ms - order.requested_at_ms
    if order.request is Request.AMEND:
        target = (order.target_price, order.target_quantity)
        if (fact.price, fact.quantity) == target:
            return now_at(order, *target, fact.at_ms)
        if read_after >= PROVEN_AFTER_MS:  # it did not take effect, and cannot any more
            return now_at(order, fact.price, fact.quantity, fact.at_ms)
    elif order.request is Request.CANCEL:
        if read_after >= ASK_AFTER_MS:  # still there: ask again
            return idle(order)
    elif _is_changed_outside(order, fact):
        return now_at(order, fact.price, fact.quantity, order.changed_at_ms)
    return order


def _is_changed_outside(order: OrderState, fact: OrderReported) -> bool:
    """Return whether a read shows the order at another price or total than we left it."""
    is_news = fact.asked_at_ms is not None and fact.asked_at_ms > order.changed_at_ms
    if not is_news or order.kind is not Kind.LIMIT or fact.price is None or fact.quantity is None:
        return False
    return (fact.price, fact.quantity) != (order.price, order.quantity)


def _progressed(order: OrderState, fact: OrderReported) -> OrderState:
    if fact.status is ReportedStatus.TRIGGERED and not order.is_triggered:
        order = replace(order, is_triggered=True, triggered_at_ms=fact.at_ms)
    executed = fact.executed or ZERO
    if executed > order.executed:
        return replace(order, executed=executed, average_price=fact.average_price)
    if executed == order.executed and order.average_price is None and executed:
        return replace(order, average_price=fact.average_price)
    return order


def _ended(order: OrderState, fact: OrderReported, request: Request) -> OrderState:
    if order.is_over:
        return order
    ended_by = _ENDED_BY.get(fact.status, EndedBy.US)
    if order.quantity is not None and order.executed >= order.quantity > 0:
        ended_by = EndedBy.FILLED
    elif ended_by is EndedBy.PERSON and (order.cancel_asked or request is Request.AMEND):
        # An amendment below what was executed meanwhile cancels, too.
        ended_by = EndedBy.US
    return order_over(order, ended_by, fact.at_ms)


def _went_with_its_side(cycle: Cycle, order: OrderState) -> bool:
    """Return whether the exchange took a close-position stop away because nothing is left."""
    leg = cycle.long if order.position_side is PositionSide.LONG else cycle.short
    return order.close_position and not leg.quantity


def _order_ended(cycle: Cycle, order: OrderState, fact: OrderReported) -> Cycle:
    """Return the cycle with what an order's end means for its role (rule 10)."""
    name, at_ms = f"{order.role} {order.number}", fact.at_ms
    if order.role is Role.FOREIGN:
        return cycle
    if order.ended_by is EndedBy.PERSON:
        text = f"{name} was cancelled by someone else"
        cycle = cycle.with_alarm(AlarmKind.CANCELLED, text, at_ms, about=order.client_order_id)
        if order.role is Role.LEVEL:
            return withdraw_levels(cycle, (order.number,))
        is_hedge_gone = order.role in HEDGE_ROLES and not order.executed
        return replace(cycle, hedges_stopped=True) if is_hedge_gone else cycle
    if order.ended_by is not EndedBy.EXCHANGE:
        return cycle
    if order.role in HEDGE_ROLES:
        return cycle if order.executed else _hedge_ended(cycle, order, fact)
    if _ended_in_a_row(cycle, order) < MAX_ATTEMPTS_IN_A_ROW:
        return cycle
    text = f"{name} was ended by the exchange {MAX_ATTEMPTS_IN_A_ROW} times in a row"
    if order.role is Role.LEVEL:
        cycle = cycle.with_alarm(
            AlarmKind.WITHDRAWN, f"withdrawn: {text}", at_ms, about=order.number
        )
        return withdraw_levels(cycle, (order.number,))
    return cycle.with_alarm(AlarmKind.ENDED, text, at_ms, about=f"{order.role}-{order.number}")


def _hedge_ended(cycle: Cycle, order: OrderState, fact: OrderReported) -> Cycle:
    """Return the cycle after the exchange ended a hedge unfilled, at its trigger or before."""
    text, trigger = "the exchange ended it unfilled", order.price
    is_passed = trigger is None or (cycle.last_price is not None and cycle.last_price <= trigger)
    is_rejected = order.is_triggered or fact.status is ReportedStatus.REJECTED
    if is_rejected or is_passed:
        return hedge_without_margin(cycle, order.number, text, fact.at_ms)
    if _ended_in_a_row(cycle, order) < MAX_ATTEMPTS_IN_A_ROW:
        return cycle
    return watch_hedge(cycle, order.number, f"{text} before its trigger", fact.at_ms)


def _ended_in_a_row(cycle: Cycle, order: OrderState) -> int:
    """Return how many attempts in a row the exchange ended; closing ones maybe partly filled."""
    if order.role in CLOSING_ROLES:
        return close_failures(cycle, order.role, order.number)
    count = 0
    for attempt in sorted(cycle.of(order.role, order.number), key=lambda o: -o.attempt):
        if attempt.ended_by is not EndedBy.EXCHANGE:
            break
        count += 1
    return count


def _levels_retried(cycle: Cycle) -> Cycle:
    """Return the cycle with levels that lacked margin free to be tried: a fill changes it."""
    for order in tuple(cycle.of(Role.LEVEL)):
        if order.retry_at_ms and order.status is OrderStatus.INTENDED and not order.is_in_flight:
            cycle = cycle.with_order(replace(order, retry_at_ms=0))
    return cycle


# --- Silence ---


def _perhaps_absent(cycle: Cycle, order: OrderState, fact: OrderMissing) -> Cycle:
    """Return the cycle with a placement known not to have happened, once two late reads say so."""
    if fact.asked_at_ms < order.requested_at_ms + PROVEN_AFTER_MS:
        return cycle
    if not order.absent_reads:
        order = replace(order, absent_reads=1, absent_read_at_ms=fact.asked_at_ms)
        return cycle.with_order(order)
    if fact.asked_at_ms < order.absent_read_at_ms + _ABSENT_READS_APART_MS:
        return cycle
    return cycle.with_order(replace(idle(order), absent_reads=0))


def _perhaps_forgotten(cycle: Cycle, order: OrderState, fact: OrderMissing) -> Cycle:
    """Return the cycle with an accepted order over that three reads do not show any more."""
    if order.absent_reads and fact.asked_at_ms < order.absent_read_at_ms + FORGOTTEN_READS_APART_MS:
        return cycle
    reads = order.absent_reads + 1
    order = replace(order, absent_reads=reads, absent_read_at_ms=fact.asked_at_ms)
    if reads < _FORGOTTEN_READS:
        return cycle.with_order(order)
    name = f"{order.role} {order.number}"
    is_old = fact.at_ms >= order.created_at_ms + _FORGOTTEN_AFTER_MS
    if not is_old and not cycle.forgets_missing:
        text = f"{name} cannot be found on the exchange; it is asked for again"
        cycle = cycle.with_alarm(AlarmKind.MISSING, text, fact.at_ms, about=order.client_order_id)
        return cycle.with_order(order)
    text = f"{name} is shown by no read of the exchange and taken as over"
    cycle = cycle.with_alarm(AlarmKind.FORGOTTEN, text, fact.at_ms, about=order.client_order_id)
    return cycle.with_order(order_over(order, EndedBy.ABSENT, fact.at_ms))
