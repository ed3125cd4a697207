"""Orders on the symbol that the cycle does not know: a stranger's, or of ours and forgotten here.

The database may be older than the exchange: it was restored from a backup, or a disk lost what it
had promised to keep. An order of ours tells by its client id what it is, so that it takes its place
in the cycle instead of being placed a second time, and its attempt is not given out again. What the
database knew and did since then is lost all the same, which a person is told.

An order of a later cycle of ours means that this one had ended: a symbol has one at a time. Nothing
of the later one is counted here or touched; this one ends as soon as its own orders and fills say
so.
"""

from dataclasses import replace

from core.domain import hedging
from core.domain.alarms import AlarmKind
from core.domain.cycle import (
    ClientOrderId,
    Cycle,
    EndedBy,
    Fill,
    Kind,
    OrderReported,
    OrderState,
    OrderStatus,
    Role,
    parse_client_order_id,
)
from core.domain.ledger import HEDGE_ROLES
from core.money import ZERO, floor_tick

_CONDITIONAL = frozenset({Role.GUARD, Role.HEDGE, Role.HEDGE_STOP})
_CLOSES_ALL = frozenset({Role.GUARD, Role.HEDGE_STOP})
_LIMITS = frozenset({Role.LEVEL, Role.TAKE_PROFIT})


def is_nothing(cycle: Cycle, fact: OrderReported) -> bool:
    """Return whether an order that is not known need not be: a stranger's that came to nothing."""
    own = parse_client_order_id(fact.client_order_id)
    if own is not None and own.key >= cycle.key:
        return False  # its attempt is taken, or it tells that this cycle had ended
    return fact.status.is_terminal and not fact.executed and fact.fill is None


def reported_stranger(cycle: Cycle, fact: OrderReported) -> Cycle:
    """Return the cycle with an order that was not known until this report of it."""
    own = parse_client_order_id(fact.client_order_id)
    if own is not None and own.key > cycle.key:
        return _outlived(cycle, own, fact.at_ms)
    if own is not None and own.key == cycle.key:
        order = OrderState(
            client_order_id=fact.client_order_id,
            role=own.role,
            number=own.number,
            attempt=own.attempt,
            side=fact.side,
            position_side=fact.position_side,
            kind=fact.kind,
            price=fact.price,
            quantity=None if own.role in _CLOSES_ALL else fact.quantity,
            close_position=own.role in _CLOSES_ALL,
            # Nobody knows any more who ended it; that it was somebody else is the unlikely case.
            cancel_asked=fact.status.is_terminal,
            created_at_ms=fact.at_ms,
            reason="found on the exchange",
        )
        return _with_own(cycle, order, own, fact.at_ms)
    text = f"an order that is not ours is on {cycle.symbol}: {fact.side} {fact.position_side}"
    cycle = cycle.with_alarm(AlarmKind.FOREIGN, text, fact.at_ms, about=fact.client_order_id)
    order = OrderState(
        client_order_id=fact.client_order_id,
        role=Role.FOREIGN,
        number=_next_foreign(cycle),
        attempt=0,
        side=fact.side,
        position_side=fact.position_side,
        kind=fact.kind,
        price=fact.price,
        quantity=fact.quantity,
        created_at_ms=fact.at_ms,
        reason="placed outside",
    )
    return cycle.with_order(order)


def stranger_filled(cycle: Cycle, fill: Fill, at_ms: int) -> Cycle:
    """Return the cycle with the order of an execution that it did not know."""
    own = parse_client_order_id(fill.client_order_id)
    if own is not None and own.key > cycle.key:
        return _outlived(cycle, own, at_ms)
    if own is not None and own.key == cycle.key:
        return _with_own(cycle, _own_order_of(fill, own, at_ms), own, at_ms)
    text = f"an execution that is not ours: {fill.side} {fill.position_side}"
    cycle = cycle.with_alarm(AlarmKind.FOREIGN, text, at_ms, about=fill.client_order_id)
    order = OrderState(
        client_order_id=fill.client_order_id,
        role=Role.FOREIGN,
        number=_next_foreign(cycle),
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
    return cycle.with_order(order)


def is_to_be_looked_up(order: OrderState) -> bool:
    """Return whether an order of ours is known from an execution only: its terms are asked for."""
    is_ours = order.role is not Role.FOREIGN and not order.close_position
    return is_ours and order.is_resting and order.quantity is None


def is_stray(order: OrderState) -> bool:
    """Return whether it is of ours, but of another cycle: nobody else looks after it."""
    return order.role is Role.FOREIGN and parse_client_order_id(order.client_order_id) is not None


def _own_order_of(fill: Fill, own: ClientOrderId, at_ms: int) -> OrderState:
    kind = Kind.LIMIT if own.role in _LIMITS else Kind.MARKET
    is_conditional = own.role in _CONDITIONAL
    return OrderState(
        client_order_id=fill.client_order_id,
        role=own.role,
        number=own.number,
        attempt=own.attempt,
        side=fill.side,
        position_side=fill.position_side,
        kind=Kind.STOP_MARKET if is_conditional else kind,
        price=None,
        quantity=None,
        close_position=own.role in _CLOSES_ALL,
        status=OrderStatus.OPEN,
        is_triggered=is_conditional,
        triggered_at_ms=at_ms if is_conditional else 0,
        created_at_ms=fill.time_ms,
        changed_at_ms=fill.time_ms,
        reason="found on the exchange",
    )


def _with_own(cycle: Cycle, order: OrderState, own: ClientOrderId, at_ms: int) -> Cycle:
    text = (
        "the exchange has orders of this cycle that the database does not know: it was restored "
        "from a backup or lost writes; what the exchange shows is taken"
    )
    cycle = cycle.with_alarm(AlarmKind.RESTORED, text, at_ms)
    if own.role in HEDGE_ROLES and own.number > len(cycle.hedge_triggers):
        cycle = _with_triggers(cycle, order, own.number)
    return cycle.with_order(order)


def _with_triggers(cycle: Cycle, order: OrderState, number: int) -> Cycle:
    """Return the cycle with the hedge armed as the exchange shows it."""
    trigger = order.price or hedging.next_trigger(cycle) or cycle.long.entry or ZERO
    trigger = floor_tick(trigger, cycle.rules.tick_size)
    missing = number - len(cycle.hedge_triggers)
    return replace(cycle, hedge_triggers=(*cycle.hedge_triggers, *(trigger,) * missing))


def _outlived(cycle: Cycle, own: ClientOrderId, at_ms: int) -> Cycle:
    text = (
        f"cycle {own.key} of ours was on {cycle.symbol} after this one, and the database does not "
        "know it: it was restored from a backup. Nothing of it is touched"
    )
    cycle = cycle.with_alarm(AlarmKind.OUTLIVED, text, at_ms)
    return replace(cycle, is_outlived=True, is_hands_off=True)


def _next_foreign(cycle: Cycle) -> int:
    return 1 + sum(1 for _ in cycle.of(Role.FOREIGN))
