"""What reported positions do to a cycle: they check the fills, free repeated closes, prove the end.

A reported position is never a source. A difference from the fills is believed only when two reads
agree, and then booked as an adjustment; the end needs two reads after every order is over.
"""

from dataclasses import replace
from decimal import Decimal

from core.domain.alarms import AlarmKind
from core.domain.cycle import (
    Cycle,
    Fill,
    Leg,
    OrderState,
    Phase,
    PositionChecked,
    PositionSide,
    Request,
    Side,
    SideReport,
    SuspectPosition,
)
from core.domain.ledger import needs_fills
from core.domain.liquidation import liquidation_read
from core.domain.order_news import with_fills
from core.domain.wishes import CLOSING_ROLES
from core.money import ZERO, shown

READS_OF_A_DIFFERENCE_APART_MS = 3_000
READS_OF_THE_END_APART_MS = 2_000
# No read is this far behind. One that still claims an older update than a fill has a clock that was
# set back meanwhile: ignored for ever, it would never let the cycle end.
READS_LAG_AT_MOST_MS = 60_000
# After this a request without an answer gets none any more, also where a restart lost the question.
UNANSWERED_AFTER_MS = 5_000


def position_checked(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle after the exchange's own word on both sides."""
    if cycle.is_outlived or _is_older_than_fills(cycle, fact):
        return cycle
    cycle = _closes_released(_update_noticed(cycle, fact), fact)
    long, short = fact.long.quantity, fact.short.quantity
    if (long, short) == (cycle.long.quantity, cycle.short.quantity):
        return _perhaps_ended(liquidation_read(replace(cycle, suspect=None), fact), fact)
    is_answer_due = any(o.is_unresolved or o.request is Request.PLACE for o in cycle.orders)
    if is_answer_due or needs_fills(cycle.orders, cycle.fills):
        return replace(cycle, suspect=None, flat_read_at_ms=None)  # that one may explain it
    suspect = cycle.suspect
    if suspect is None or (suspect.long, suspect.short) != (long, short):
        suspect = SuspectPosition(long=long, short=short, asked_at_ms=fact.asked_at_ms)
        return replace(cycle, suspect=suspect, flat_read_at_ms=None)
    if fact.asked_at_ms < suspect.asked_at_ms + READS_OF_A_DIFFERENCE_APART_MS:
        return cycle
    return _outside_change(replace(cycle, suspect=None), fact)


def is_close_unanswered(order: OrderState) -> bool:
    """Return whether a closing order's outcome is open; it may then be repeated."""
    return (
        order.role in CLOSING_ROLES and order.request is Request.PLACE and not order.is_superseded
    )


def _is_older_than_fills(cycle: Cycle, fact: PositionChecked) -> bool:
    """Return whether a fill is known that the read cannot have seen."""
    for side, report in ((PositionSide.LONG, fact.long), (PositionSide.SHORT, fact.short)):
        newest = max(
            (f.time_ms for f in cycle.fills if f.position_side is side and not f.is_adjustment),
            default=0,
        )
        may_lag = fact.asked_at_ms <= newest + READS_LAG_AT_MOST_MS
        is_behind = bool(report.updated_at_ms) and newest > report.updated_at_ms
        if newest > fact.asked_at_ms or (is_behind and may_lag):
            return True
    return False


def _update_noticed(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle that asks for executions where a side moved after the last one known of it.

    Somebody opened and closed again while nobody told us: the quantities agree, the money does not.
    """
    known_ms = max(cycle.accepted_at_ms, cycle.update_read_ms)
    for side, report in ((PositionSide.LONG, fact.long), (PositionSide.SHORT, fact.short)):
        newest_ms = max((f.time_ms for f in cycle.fills if f.position_side is side), default=0)
        if report.updated_at_ms > max(known_ms, newest_ms):
            cycle = replace(cycle, update_due_ms=max(cycle.update_due_ms, report.updated_at_ms))
    return cycle


def _closes_released(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle with unanswered closes free to be repeated, where the side is there."""
    for order in cycle.orders:
        is_lost = fact.asked_at_ms >= order.requested_at_ms + UNANSWERED_AFTER_MS
        if not is_close_unanswered(order) or not (order.is_unresolved or is_lost):
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
        if report.quantity == leg.quantity:
            continue
        adjustments.append(_adjustment(cycle, side, leg, report, anchor, fact.at_ms))
        text = (
            f"{side} is {shown(report.quantity)} on the exchange and "
            f"{shown(leg.quantity)} by the fills; the exchange's word is taken"
        )
        cycle = cycle.with_alarm(
            AlarmKind.OUTSIDE, text, fact.at_ms, about=f"{side}-{len(cycle.fills)}"
        )
    return with_fills(replace(cycle, fills=(*cycle.fills, *adjustments)), ())


def _adjustment(
    cycle: Cycle, side: PositionSide, leg: Leg, report: SideReport, anchor: int, at_ms: int
) -> Fill:
    quantity = abs(report.quantity - leg.quantity)
    opens = report.quantity > leg.quantity
    price: Decimal
    if opens:
        total = report.quantity * report.entry - leg.quantity * leg.entry
        price = max(ZERO, total / quantity)
    else:
        price = cycle.last_price or leg.entry
    closing_side = Side.SELL if side is PositionSide.LONG else Side.BUY
    return Fill(
        trade_id=anchor,
        client_order_id=f"outside-{cycle.key}-{side}-{len(cycle.fills)}",
        side=side.opening_side if opens else closing_side,
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
    over_since = max((o.over_at_ms for o in cycle.orders), default=0)
    is_over = all(o.is_over for o in cycle.orders) and fact.asked_at_ms > over_since
    is_over = is_over and not cycle.update_due_ms
    if cycle.phase is not Phase.CLOSING or not is_flat or not is_over:
        return replace(cycle, flat_read_at_ms=None)
    if cycle.flat_read_at_ms is None or cycle.flat_read_at_ms <= over_since:
        return replace(cycle, flat_read_at_ms=fact.asked_at_ms)
    if fact.asked_at_ms < cycle.flat_read_at_ms + READS_OF_THE_END_APART_MS:
        return cycle
    if cycle.long.quantity or cycle.short.quantity:
        left = f"LONG {shown(cycle.long.quantity)}, SHORT {shown(cycle.short.quantity)}"
        cycle = cycle.with_alarm(
            AlarmKind.LEFT_OVER, f"less than one step is left: {left}", fact.at_ms
        )
    return replace(cycle, phase=Phase.ENDED, ended_at_ms=fact.at_ms)
