"""What people are told of a cycle beyond its alarms: opened, averaged, hedged, closed. Pure.

A step is committed by one process only, so each piece of news is told once, whichever process (the
API records the entry, the monitor all else) has made the step.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from core.domain.cycle import Cycle, OrderState, Phase, Role
from core.domain.step import Step
from core.money import ZERO, shown
from core.narration import net_pnl, shown_result, shown_sides
from core.ports import Notice, Topic

_HEDGES: Final = (Role.HEDGE, Role.HEDGE_MARKET)


def news_of(step: Step) -> tuple[Notice, ...]:
    """Return what a step has brought about that people may want to hear of."""
    at_ms = max((fact.at_ms for fact in step.facts), default=0)
    return tuple(_news(step.before, step.cycle, at_ms))


def _news(before: Cycle, after: Cycle, at_ms: int) -> Iterator[Notice]:
    entry = _priced_entry(after)
    if entry is not None and _priced_entry(before) is None:
        what = f"LONG {_amount(entry, after)} bought"
        yield _notice(after, at_ms, Topic.CYCLE, "opened", what)
    for order in _ended_with_executions(before, after):
        if order.role is Role.LEVEL:
            what = f"level {order.number} bought {_amount(order, after)}; {shown_sides(after)}"
            yield _notice(after, at_ms, Topic.DETAIL, "averaged", what)
        elif order.role in _HEDGES:
            what = f"hedge {order.number} sold {_amount(order, after)}; {shown_sides(after)}"
            yield _notice(after, at_ms, Topic.DETAIL, "hedged", what)
    if before.short.quantity and not after.short.quantity and after.phase is Phase.TRADING:
        what = f"SHORT is closed; {shown_sides(after)}, net so far {_net(after)}"
        yield _notice(after, at_ms, Topic.DETAIL, "hedge closed", what)
    if after.phase is Phase.ENDED and before.phase is not Phase.ENDED:
        what = f"{after.close_reason}: {shown_result(after)}"
        yield _notice(after, at_ms, Topic.CYCLE, f"closed, net {_net(after)}", what)


def _priced_entry(cycle: Cycle) -> OrderState | None:
    """Return the entry once it is over and what it cost is known, or will not be known in time.

    That an order is filled is often known before its fills, which say at which price.
    """
    for order in cycle.of(Role.ENTRY):
        is_known = _average(order, cycle) is not None or cycle.phase is Phase.ENDED
        if order.is_over and order.executed and is_known:
            return order
    return None


def _average(order: OrderState, cycle: Cycle) -> Decimal | None:
    """Return the order's average price, as its fills or else the exchange's answer tell it."""
    fills = [fill for fill in cycle.fills if fill.client_order_id == order.client_order_id]
    quantity = sum((fill.quantity for fill in fills), ZERO)
    if not quantity:
        return order.average_price
    return sum((fill.price * fill.quantity for fill in fills), ZERO) / quantity


def _ended_with_executions(before: Cycle, after: Cycle) -> Iterator[OrderState]:
    known = {order.client_order_id: order for order in before.orders}
    for order in after.orders:
        earlier = known.get(order.client_order_id)
        was_over = earlier is not None and earlier.is_over
        if order.is_over and order.executed and not was_over:
            yield order


def _notice(cycle: Cycle, at_ms: int, topic: Topic, what: str, text: str) -> Notice:
    return Notice(
        kind=what.partition(",")[0].replace(" ", "-"),
        symbol=cycle.symbol,
        cycle=cycle.key,
        title=f"{cycle.symbol}: {what}",
        text=f"{text} (cycle {cycle.key})",
        severity=None,
        at_ms=at_ms,
        topic=topic,
    )


def _amount(order: OrderState, cycle: Cycle) -> str:
    average = _average(order, cycle)
    at = f" at {shown(average)}" if average else ""
    return f"{shown(order.executed)} {cycle.rules.base_asset}{at}"


def _net(cycle: Cycle) -> str:
    return f"{shown(net_pnl(cycle))} {cycle.rules.quote_asset}"
