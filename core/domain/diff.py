"""From what is wanted and what is there to what to ask for, and when.

`commands` is the difference, whatever the clock says. `decide` is one turn of it in time: commands
that may go now become requests on their orders' rows, the others say when to look again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from core.domain import rules, thresholds
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
from core.domain.order_news import MAX_ATTEMPTS_IN_A_ROW, order_over
from core.domain.refusals import Refusal, is_refused
from core.domain.turns import quick_ms, slow_ms
from core.domain.wishes import CLOSING_ROLES, PROTECTING_ROLES

AMEND_APART_MS = 1_000  # rule 2: at most once a second per symbol
GUARD_MOVES_APART_MS = 5_000  # rule 6
# What may be given up waits while the account itself is refused; what protects is tried anyway.
_NEW_RISK = frozenset({Role.ENTRY, Role.LEVEL, Role.HEDGE, Role.HEDGE_MARKET})


def commands(wanted: Sequence[WantedOrder], orders: Sequence[OrderState]) -> tuple[Command, ...]:
    """Return what to ask for, so that `orders` become `wanted`; empty when they already are.

    What is wanted comes in order of importance and keeps it; cancellations stand first, because
    placements may wait for what they free. An order with a request under way is left alone: the
    answer is a fact and brings us back here.
    """
    live = [o for o in orders if not o.is_over and not o.is_superseded]
    newest = {(o.role, o.number): o for o in sorted(live, key=lambda o: o.attempt)}
    wishes = {(w.role, w.number) for w in wanted}
    unwanted = [
        order
        for order in live
        if (order.role, order.number) not in wishes
        or order is not newest[order.role, order.number]  # an earlier one that lives after all
    ]
    unwanted += [o for o in orders if o.is_superseded and o.status is OrderStatus.INTENDED]
    needed = tuple(_towards(wish, newest.get((wish.role, wish.number))) for wish in wanted)
    found = (*(_away(order) for order in unwanted), *needed)
    return tuple(command for command in found if command is not None)


def _away(order: OrderState) -> Command | None:
    """Return the next step towards an order's end."""
    if order.is_in_flight or order.is_triggered:
        return None
    if order.status is OrderStatus.INTENDED:
        return Withdraw(client_order_id=order.client_order_id)
    if order.kind in (Kind.MARKET, Kind.LIMIT_IOC):
        return None  # it ends by itself
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
        assert wish.price is not None
        assert wish.quantity is not None
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
    found = commands(rules.wanted(cycle), cycle.orders)
    gone = next((command for command in found if isinstance(command, Withdraw)), None)
    if gone is not None:
        order = order_over(_existing(cycle, gone.client_order_id), EndedBy.WITHDRAWN, now_ms)
        return decide(cycle.with_order(order), now_ms)  # others may have waited for this
    requests: list[OrderState] = []
    wake: int | None = None
    for command in found:
        assert not isinstance(command, Withdraw)
        due = due_at_ms(command, cycle)
        if due is None or _is_too_late(command, cycle, now_ms):
            continue
        if due > now_ms:
            wake = due if wake is None else min(wake, due)
            continue
        cycle, order = _issued(cycle, command, now_ms)
        requests.append(order)
    return Decision(cycle=cycle, requests=tuple(requests), wake_at_ms=wake)


def due_at_ms(command: Place | Amend | Cancel, cycle: Cycle) -> int | None:
    """Return when the command may go, by its pace and its back-off; 0 is at once, None not now."""
    match command:
        case Place(wanted=wish, client_order_id=known):
            if cycle.account_refused_at_ms and wish.role in _NEW_RISK:
                return None  # a read that succeeds brings us back here
            if known is None:
                return _next_attempt_at(cycle, wish)
            return _existing(cycle, known).retry_at_ms
        case Amend():
            order = _existing(cycle, command.client_order_id)
            newest = max(o.requested_at_ms for o in cycle.of(order.role))
            return max(order.retry_at_ms, newest + AMEND_APART_MS)
        case Cancel():
            order = _existing(cycle, command.client_order_id)
            is_move = order.role is Role.GUARD and thresholds.guard_price(cycle) is not None
            return max(order.retry_at_ms, _next_guard_at(cycle) if is_move else 0)
        case _:
            assert_never(command)


def _is_too_late(command: Place | Amend | Cancel, cycle: Cycle, now_ms: int) -> bool:
    """Return whether it is the entry and its time is over; time itself then ends the cycle."""
    is_entry = isinstance(command, Place) and command.wanted.role is Role.ENTRY
    return is_entry and now_ms >= cycle.accepted_at_ms + rules.ENTRY_DEADLINE_MS


def _next_guard_at(cycle: Cycle) -> int:
    # One that was proven absent and sent again is younger than its row.
    placed_at = (max(o.created_at_ms, o.changed_at_ms) for o in cycle.of(Role.GUARD))
    return max(placed_at) + GUARD_MOVES_APART_MS


def _next_attempt_at(cycle: Cycle, wish: WantedOrder) -> int:
    """Return when a new attempt is due: later and later after attempts that came to nothing."""
    attempts = sorted(cycle.of(wish.role, wish.number), key=lambda o: -o.attempt)
    is_close = wish.role in CLOSING_ROLES
    failed = 0
    for order in attempts:
        # Of a close it is the remainder that counts: rule 9.
        if not _came_to_nothing(order) or (order.executed and not is_close):
            break
        failed += 1
    if not failed:
        return 0
    if is_close:
        return attempts[0].over_at_ms + quick_ms(failed)
    if wish.role in PROTECTING_ROLES and failed >= MAX_ATTEMPTS_IN_A_ROW:
        return attempts[0].over_at_ms + slow_ms(failed - MAX_ATTEMPTS_IN_A_ROW + 1)
    return 0


def _came_to_nothing(order: OrderState) -> bool:
    """Return whether others ended it; a trigger already passed is answered by another order."""
    if order.ended_by is EndedBy.REFUSED:
        return not is_refused(order, Refusal.TRIGGER_PASSED)
    return order.ended_by in (EndedBy.EXCHANGE, EndedBy.PERSON)


def _issued(cycle: Cycle, command: Place | Amend | Cancel, now_ms: int) -> tuple[Cycle, OrderState]:
    """Return the cycle with the command written down as a request on its order."""
    match command:
        case Place(wanted=wish, client_order_id=known):
            order = _new_attempt(cycle, wish, now_ms) if known is None else _existing(cycle, known)
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
        case _:
            assert_never(command)
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
