"""What a step did, in words: the lines that the monitor logs and the launcher shows. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.domain.cycle import Cycle, EndedBy, Leg, OrderState, OrderStatus, Phase, Role
from core.domain.step import Step
from core.money import ZERO, shown

_NAMES = {
    Role.ENTRY: "entry",
    Role.TAKE_PROFIT: "take-profit",
    Role.GUARD: "trailing guard",
    Role.CLOSE_LONG: "close of LONG",
    Role.CLOSE_SHORT: "close of SHORT",
    Role.FOREIGN: "order placed outside",
}
_NUMBERED = {
    Role.LEVEL: "level",
    Role.HEDGE: "hedge",
    Role.HEDGE_MARKET: "hedge by market,",
    Role.HEDGE_STOP: "hedge stop-loss",
    Role.HEDGE_STOP_MARKET: "hedge stop by market,",
}
_ENDS = {
    EndedBy.US: "cancelled",
    EndedBy.EXCHANGE: "ended by the exchange",
    EndedBy.PERSON: "cancelled by someone else",
    EndedBy.REFUSED: "refused",
    EndedBy.ABSENT: "forgotten by the exchange",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened; alarms are worth more attention."""

    text: str
    is_alarm: bool = False


def narrate(step: Step) -> tuple[Line, ...]:
    """Return what changed between the two states of the cycle, as one would tell it."""
    return tuple(_lines(step.before, step.cycle))


def net_pnl(cycle: Cycle) -> Decimal:
    """Return what the cycle earned so far, commissions and funding included, open sides apart."""
    return cycle.ledger.realised + cycle.funding - cycle.ledger.commissions


def shown_result(cycle: Cycle) -> str:
    """Return what the cycle earned, part by part."""
    ledger = cycle.ledger
    return (
        f"realised {shown(ledger.realised)}, fees {shown(ledger.commissions)}, "
        f"funding {shown(cycle.funding)}, net {shown(net_pnl(cycle))} {cycle.rules.quote_asset}"
    )


def shown_sides(cycle: Cycle) -> str:
    """Return what both sides hold, and at which average prices."""
    return f"LONG {_leg(cycle.long)}, SHORT {_leg(cycle.short)}"


def _lines(before: Cycle, after: Cycle) -> Iterator[Line]:
    known = {order.client_order_id: order for order in before.orders}
    for order in after.orders:
        earlier = known.get(order.client_order_id)
        if order != earlier:
            yield from _order_lines(earlier, order, after)
    if after.trailing_stop != before.trailing_stop:
        yield Line(text=_trailing(before, after))
    if set(after.withdrawn) - set(before.withdrawn):
        numbers = ", ".join(str(n) for n in sorted(set(after.withdrawn) - set(before.withdrawn)))
        yield Line(text=f"levels withdrawn: {numbers}")
    if after.phase is not before.phase:
        yield from _phase_lines(after)
    for alarm in after.alarms[len(before.alarms) :]:
        yield Line(text=f"ALARM {alarm.kind}: {alarm.text}. {alarm.guide.action}", is_alarm=True)


def _order_lines(before: OrderState | None, order: OrderState, cycle: Cycle) -> Iterator[Line]:
    name = _name(order)
    executed = order.executed - (before.executed if before is not None else ZERO)
    was_open = before is not None and before.status is not OrderStatus.INTENDED
    if order.status is not OrderStatus.INTENDED and not was_open and _existed(order):
        yield Line(text=f"{name} placed: {_terms(order)}  ({order.reason})")
    elif before is not None and was_open and _terms(before) != _terms(order):
        yield Line(text=f"{name} moved: {_terms(order)}  ({order.reason})")
    if _has_triggered(order) and not (before is not None and _has_triggered(before)):
        yield Line(text=f"{name} triggered")
    if executed:
        yield Line(text=f"{name} filled {_progress(order, executed)}: {shown_sides(cycle)}")
    if order.is_over and not (before is not None and before.is_over):
        end = _ENDS.get(order.ended_by) if order.ended_by is not None else None
        if end is not None:
            is_refused = order.ended_by is EndedBy.REFUSED
            why = f": {order.refusal_code} {order.refusal_text}" if is_refused else ""
            yield Line(text=f"{name} {end}{why}")
    if order.is_unresolved and not (before is not None and before.is_unresolved):
        yield Line(text=f"{name}: no answer to its {order.request}; finding out")


def _existed(order: OrderState) -> bool:
    return order.ended_by not in (EndedBy.REFUSED, EndedBy.WITHDRAWN)


def _has_triggered(order: OrderState) -> bool:
    # The two streams' news may arrive the other way round; what executes has triggered.
    return order.is_triggered or (order.is_algo and order.executed > 0)


def _name(order: OrderState) -> str:
    if order.role in _NUMBERED:
        return f"{_NUMBERED[order.role]} {order.number}"
    return _NAMES[order.role]


def _terms(order: OrderState) -> str:
    quantity = "all" if order.quantity is None else shown(order.quantity)
    at = "market" if order.price is None else shown(order.price)
    return f"{order.side} {quantity} at {at}"


def _progress(order: OrderState, executed: Decimal) -> str:
    """Return what is new and, unless that is all of it, how far the order is."""
    now, so_far, whole = shown(executed), shown(order.executed), order.quantity
    if order.executed != executed:
        return f"{now} ({so_far} {'in all' if whole is None else f'of {shown(whole)}'})"
    return now if whole is None or whole == executed else f"{now} of {shown(whole)}"


def _leg(leg: Leg) -> str:
    if not leg.quantity:
        return "0"
    # An entry of 0: the execution is known, its price is still being read.
    return shown(leg.quantity) + (f" at {shown(leg.entry)}" if leg.entry else "")


def _trailing(before: Cycle, after: Cycle) -> str:
    if after.trailing_stop is None:
        return "trailing ended"
    verb = "starts" if before.trailing_stop is None else "moved"
    return f"trailing {verb}: stop {shown(after.trailing_stop)}"


def _phase_lines(cycle: Cycle) -> Iterator[Line]:
    if cycle.phase is Phase.CLOSING:
        yield Line(text=f"closing ({cycle.close_reason})")
    elif cycle.phase is Phase.ENDED:
        yield Line(text=f"closed ({cycle.close_reason}): {shown_result(cycle)}")
