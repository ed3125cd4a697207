"""What people are told of a cycle beyond its alarms: opened, averaged, hedged, closed. Pure.

A step is committed by one process only, so each piece of news is told once, whichever process (the
API records the entry, the monitor all else) has made the step.
"""

from collections.abc import Iterator
from typing import Final

from core.domain.cycle import Cycle, OrderState, Phase, Role
from core.domain.step import Step
from core.money import shown
from core.narration import net_pnl, shown_leg, shown_result
from core.ports import Notice, Topic

_HEDGES: Final = (Role.HEDGE, Role.HEDGE_MARKET)


def news_of(step: Step) -> tuple[Notice, ...]:
    """Return what a step has brought about that people may want to hear of."""
    at_ms = max((fact.at_ms for fact in step.facts), default=0)
    return tuple(_news(step.before, step.cycle, at_ms))


def _news(before: Cycle, after: Cycle, at_ms: int) -> Iterator[Notice]:
    for order in _ended_with_executions(before, after):
        if order.role is Role.ENTRY:
            what = f"LONG {_amount(order, after)} bought"
            yield _notice(after, at_ms, Topic.CYCLE, "opened", what)
        elif order.role is Role.LEVEL:
            what = f"level {order.number} bought {_amount(order, after)}; {_sides(after)}"
            yield _notice(after, at_ms, Topic.DETAIL, "averaged", what)
        elif order.role in _HEDGES:
            what = f"hedge {order.number} sold {_amount(order, after)}; {_sides(after)}"
            yield _notice(after, at_ms, Topic.DETAIL, "hedged", what)
    if before.short.quantity and not after.short.quantity and after.phase is Phase.TRADING:
        what = f"SHORT is closed; {_sides(after)}, net so far {_net(after)}"
        yield _notice(after, at_ms, Topic.DETAIL, "hedge closed", what)
    if after.phase is Phase.ENDED and before.phase is not Phase.ENDED:
        what = f"{after.close_reason}: {shown_result(after)}"
        yield _notice(after, at_ms, Topic.CYCLE, f"closed, net {_net(after)}", what)


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
    # The answer to an order tells its average; the fills that tell the side's may come later.
    at = f" at {shown(order.average_price)}" if order.average_price else ""
    return f"{shown(order.executed)} {cycle.rules.base_asset}{at}"


def _sides(cycle: Cycle) -> str:
    return f"LONG {shown_leg(cycle.long)}, SHORT {shown_leg(cycle.short)}"


def _net(cycle: Cycle) -> str:
    return f"{shown(net_pnl(cycle))} {cycle.rules.quote_asset}"
