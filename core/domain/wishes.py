"""What the rules' wishes have in common: keeping an order as it is, closing a side by MARKET."""

from decimal import Decimal

from core.domain.cycle import (
    Cycle,
    EndedBy,
    Kind,
    OrderState,
    PositionSide,
    Role,
    Side,
    WantedOrder,
)
from core.domain.refusals import Refusal, is_refused
from core.money import ceil_tick, floor_step, floor_tick

CLOSING_ROLES = frozenset({Role.CLOSE_LONG, Role.CLOSE_SHORT, Role.HEDGE_STOP_MARKET})
PROTECTING_ROLES = CLOSING_ROLES | {Role.TAKE_PROFIT, Role.HEDGE_STOP, Role.GUARD}


def kept(order: OrderState) -> WantedOrder:
    """Return the wish that an order stays exactly as it is."""
    return WantedOrder(
        role=order.role,
        number=order.number,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=order.quantity,
        close_position=order.close_position,
        reason=order.reason,
    )


def market_close(cycle: Cycle, role: Role, number: int, reason: str) -> WantedOrder:
    """Return the MARKET order that closes a side, or the most of it that one order may carry."""
    is_long = role is Role.CLOSE_LONG
    live = cycle.live(role, number)
    if live is not None and live.is_out:
        return kept(live)
    leg = cycle.long if is_long else cycle.short
    bound = _price_bound(cycle, role, number)
    most = min(leg.quantity, cycle.rules.market_max_quantity)
    return WantedOrder(
        role=role,
        number=number,
        side=Side.SELL if is_long else Side.BUY,
        position_side=PositionSide.LONG if is_long else PositionSide.SHORT,
        kind=Kind.MARKET if bound is None else Kind.LIMIT_IOC,
        price=bound,
        quantity=floor_step(most, cycle.rules.step_size),
        reason=reason,
    )


def close_failures(cycle: Cycle, role: Role, number: int) -> int:
    """Return how often in a row closing orders ended without filling, or were out of bounds."""
    count = 0
    for order in sorted(cycle.of(role, number), key=lambda o: -o.attempt):
        if not order.is_over:
            count += order.refusals if is_refused(order, Refusal.PRICE_BOUND) else 0
        elif order.ended_by is EndedBy.EXCHANGE:
            count += 1
        else:
            break
    return count


def short_number(cycle: Cycle) -> int:
    """Return the number of the hedge that SHORT belongs to; 0: a person's."""
    return max((h.number for h in cycle.ledger.hedges if h.opened and not h.is_closed), default=0)


def _price_bound(cycle: Cycle, role: Role, number: int) -> Decimal | None:
    """Return the PERCENT_PRICE bound to close at, after a MARKET close found no counterparty."""
    if cycle.mark_price is None or not close_failures(cycle, role, number):
        return None
    tick = cycle.rules.tick_size
    if role is Role.CLOSE_LONG:
        return ceil_tick(cycle.mark_price * cycle.rules.multiplier_down, tick)
    return floor_tick(cycle.mark_price * cycle.rules.multiplier_up, tick)
