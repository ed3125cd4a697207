"""From what is wanted and what is there to what to ask for, and when.

`commands` is the difference, whatever the clock says. `decide` is one turn of it in time: commands
that may go now become requests on their orders' rows, the others say when to look again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.domain import rules
from core.domain.cycle import (
    Amend,
    Cancel,
    Command,
    Cycle,
    EndedBy,
    Kind,
    OrderState,
    OrderStatus,
    Place,
    Request,
    Role,
    WantedOrder,
    Withdraw,
    client_order_id,
)
from core.domain.order_news import PROTECTING_ROLES, back_off_ms
from core.domain.rules import MAX_ATTEMPTS_IN_A_ROW

AMEND_APART_MS = 1_000  # rule 2: at most once a second per symbol
GUARD_MOVES_APART_MS = 5_000  # rule 6


def commands(wanted: Sequence[WantedOrder], orders: Sequence[OrderState]) -> tuple[Command, ...]:
    """Return what to ask for, so that `orders` become `wanted`; empty when they already are.

    What is wanted comes in order of importance and keeps it; cancellations stand first, because
    placements may wait for what they free. An order with a request under way is left alone: the
    answer is a fact and brings us back here.
    """
    live = [o for o in orders if not o.is_over and not o.is_superseded]
    by_key = {(o.role, o.number): o for o in live}
    wishes = {(w.role, w.number) for w in wanted}
    unwanted = tuple(_unwanted(order) for order in live if (order.role, order.number) not in wishes)
    needed = tuple(_towards(wish, by_key.get((wish.role, wish.number))) for wish in wanted)
    return tuple(command for command in (*unwanted, *needed) if command is not None)


def _unwanted(order: OrderState) -> Command | None:
    if order.is_in_flight or order.is_triggered:
        return None
    if order.status is OrderStatus.INTENDED:
        return Withdraw(client_order_id=order.client_order_id)
    return Cancel(client_order_id=order.client_order_id)


def _towards(wish: WantedOrder, order: OrderState | None) -> Command | None:
    """Return the next step from an order (or none) to the wish."""
    if order is None:
        return Place(wanted=wish, client_order_id=None)
    if order.is_in_flight or order.is_triggered:
        return None
    if order.status is OrderStatus.INTENDED:
        return Place(wanted=wish, client_order_id=order.client_order_id)
    if not wish.follows or (order.price == wish.price and order.quantity == wish.quantity):
        return None
    if order.kind is Kind.LIMIT and not order.amend_refused:
        assert wish.price is not None and wish.quantity is not None
        return Amend(
            client_order_id=order.client_order_id,
            price=wish.price,
            quantity=wish.quantity,
            reason=wish.reason,
        )
    return Cancel(client_order_id=order.client_order_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The cycle with its new requests, the orders that carry them, and when to decide again."""

    cycle: Cycle
    requests: tuple[OrderState, ...] = ()
    wake_at_ms: int | None = None


def decide(cycle: Cycle, now_ms: int) -> Decision:
    """Return the requests that are due now, marked on their orders with `now_ms` as timestamp."""
    if cycle.is_hands_off or not cycle.is_open:
        return Decision(cycle=cycle)
    requests: list[OrderState] = []
    wake: int | None = None
    for command in commands(rules.wanted(cycle), cycle.orders):
        due = due_at_ms(command, cycle)
        if due > now_ms:
            wake = due if wake is None else min(wake, due)
            continue
        cycle, order = _issued(cycle, command, now_ms)
        if order.is_in_flight:
            requests.append(order)
    return Decision(cycle=cycle, requests=tuple(requests), wake_at_ms=wake)


def due_at_ms(command: Command, cycle: Cycle) -> int:
    """Return when the command may go, by its pace and its back-off; 0 is at once."""
    match command:
        case Withdraw():
            return 0
        case Place(wanted=wish, client_order_id=None):
            return _next_attempt_at(cycle, wish)
        case Place(wanted=wish, client_order_id=str() as known):
            order = cycle.order(known)
            paced = _next_guard_at(cycle) if wish.role is Role.GUARD else 0
            return max(paced, 0 if order is None else order.retry_at_ms)
        case Amend():
            order = cycle.order(command.client_order_id)
            assert order is not None
            newest = max((o.requested_at_ms for o in cycle.of(Role.TAKE_PROFIT)), default=0)
            return max(order.retry_at_ms, newest + AMEND_APART_MS)
        case Cancel():
            order = cycle.order(command.client_order_id)
            assert order is not None
            is_move = order.role is Role.GUARD and rules.guard_price(cycle) is not None
            return max(order.retry_at_ms, _next_guard_at(cycle) if is_move else 0)
        case _:
            raise AssertionError(command)


def _next_guard_at(cycle: Cycle) -> int:
    placed = [o.created_at_ms for o in cycle.of(Role.GUARD)]
    return max(placed, default=-GUARD_MOVES_APART_MS) + GUARD_MOVES_APART_MS


def _next_attempt_at(cycle: Cycle, wish: WantedOrder) -> int:
    """Return when a new attempt is due: later and later after attempts that came to nothing."""
    attempts = sorted(cycle.of(wish.role, wish.number), key=lambda o: -o.attempt)
    failed = 0
    for order in attempts:
        if order.ended_by not in (EndedBy.EXCHANGE, EndedBy.REFUSED) or order.executed:
            break
        failed += 1
    if not failed:
        return 0
    if wish.role in (Role.CLOSE_LONG, Role.CLOSE_SHORT, Role.HEDGE_STOP_MARKET):
        return attempts[0].over_at_ms + back_off_ms(failed, first=200, most=5_000)
    if wish.role in PROTECTING_ROLES and failed >= MAX_ATTEMPTS_IN_A_ROW:
        late = back_off_ms(failed - MAX_ATTEMPTS_IN_A_ROW + 1, first=1_000, most=60_000)
        return attempts[0].over_at_ms + late
    return 0


def _issued(cycle: Cycle, command: Command, now_ms: int) -> tuple[Cycle, OrderState]:
    """Return the cycle with the command written down as a request on its order."""
    match command:
        case Place(wanted=wish, client_order_id=known):
            order = None if known is None else cycle.order(known)
            order = _new_attempt(cycle, wish, now_ms) if order is None else order
            order = replace(
                order,
                kind=wish.kind,
                price=wish.price,
                quantity=wish.quantity,
                reason=wish.reason,
                request=Request.PLACE,
                target_price=wish.price,
                target_quantity=wish.quantity,
                requested_at_ms=now_ms,
                absent_reads=0,
            )
        case Amend():
            order = _existing(cycle, command.client_order_id)
            order = replace(
                order,
                request=Request.AMEND,
                target_price=command.price,
                target_quantity=command.quantity,
                requested_at_ms=now_ms,
                reason=command.reason,
            )
        case Cancel():
            order = _existing(cycle, command.client_order_id)
            order = replace(
                order, request=Request.CANCEL, requested_at_ms=now_ms, cancel_asked=True
            )
        case Withdraw():
            order = _existing(cycle, command.client_order_id)
            order = replace(
                order, status=OrderStatus.OVER, ended_by=EndedBy.WITHDRAWN, over_at_ms=now_ms
            )
    return cycle.with_order(order), order


def _new_attempt(cycle: Cycle, wish: WantedOrder, now_ms: int) -> OrderState:
    newest = cycle.last(wish.role, wish.number)
    attempt = 1 if newest is None else newest.attempt + 1
    return OrderState(
        client_order_id=client_order_id(
            key=cycle.key, role=wish.role, number=wish.number, attempt=attempt
        ),
        role=wish.role,
        number=wish.number,
        attempt=attempt,
        side=wish.side,
        position_side=wish.position_side,
        kind=wish.kind,
        price=wish.price,
        quantity=wish.quantity,
        close_position=wish.close_position,
        created_at_ms=now_ms,
    )


def _existing(cycle: Cycle, known: str) -> OrderState:
    order = cycle.order(known)
    assert order is not None, f"no order {known}"
    return order
