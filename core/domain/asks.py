"""What has to be asked of the exchange because a fact is missing: outcomes, fills, ends."""

from dataclasses import dataclass

from core.domain.cycle import Cycle, EndedBy, Kind, OrderState, Phase, PositionSide
from core.domain.ledger import needs_fills
from core.domain.liquidation import is_liquidation_asked
from core.domain.order_news import ASK_AFTER_MS, FORGOTTEN_READS_APART_MS
from core.domain.positions import (
    READS_OF_A_DIFFERENCE_APART_MS,
    READS_OF_THE_END_APART_MS,
    UNANSWERED_AFTER_MS,
    is_close_unanswered,
)
from core.domain.refusals import Refusal, is_refused
from core.domain.unknown_orders import is_to_be_looked_up
from core.domain.wishes import CLOSING_ROLES, close_failures

# Within the 60 s that an ended cycle stays watched, and late enough to see nearly all of them.
LAST_LOOK_MS = 50_000
_LOOKS_APART_MS = 5_000  # an earlier cycle of the symbol may have just asked the same
_OVER_CLOSED_READS_APART_MS = 5_000
_NEVER_SENT = (EndedBy.REFUSED, EndedBy.WITHDRAWN)  # or it would have been asked about


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOrder:
    """Look the order up: its request has no outcome yet."""

    client_order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFills:
    """Read the symbol's executions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPosition:
    """Read both sides of the symbol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOpenOrders:
    """Read the symbol's open orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBalance:
    """Read the available balance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMark:
    """Read the mark price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRules:
    """Read the symbol's rules again."""


Question = (
    FindOrder | ReadFills | ReadPosition | ReadOpenOrders | ReadBalance | ReadMark | ReadRules
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question, from when on it may be asked, and how far apart repetitions are."""

    question: Question
    not_before_ms: int = 0
    every_ms: int = 1_000


def asks(cycle: Cycle) -> tuple[Ask, ...]:
    """Return every question that stands open; asked again until the answer makes it vanish."""
    if not cycle.is_open:
        return (*_fills_asked(cycle), *_late_fills_asked(cycle))
    return (
        *_orders_asked(cycle),
        *_fills_asked(cycle),
        *_positions_asked(cycle),
        *_bounds_asked(cycle),
        *((Ask(question=ReadRules(), every_ms=5_000),) if cycle.rules_are_stale else ()),
    )


def unpriced_assets(cycle: Cycle) -> tuple[str, ...]:
    """Return the assets that commissions came in and whose price in quote is not known yet."""
    known = {cycle.rules.quote_asset, *(asset for asset, _ in cycle.asset_prices)}
    return tuple(sorted({f.commission_asset for f in cycle.fills if f.commission} - known))


def _orders_asked(cycle: Cycle) -> tuple[Ask, ...]:
    return tuple(
        Ask(question=FindOrder(client_order_id=order.client_order_id), not_before_ms=since)
        for order in cycle.orders
        if not order.is_over and (since := _asked_since(order)) is not None
    )


def _asked_since(order: OrderState) -> int | None:
    """Return from when on to ask what became of an order; None: it rests, and nothing is due."""
    if order.is_in_flight:
        # The exchange said that it exists already, or no longer: no answer is still on its way.
        is_told = is_refused(order, Refusal.DUPLICATE, Refusal.UNKNOWN_ORDER)
        wait = 0 if order.is_unresolved and is_told else ASK_AFTER_MS
        return order.requested_at_ms + wait
    if order.is_triggered:
        return order.triggered_at_ms + ASK_AFTER_MS
    if is_to_be_looked_up(order):
        return order.changed_at_ms
    if order.absent_reads:
        return order.absent_read_at_ms + FORGOTTEN_READS_APART_MS
    ends_by_itself = order.kind in (Kind.MARKET, Kind.LIMIT_IOC) or order.quantity == order.executed
    return order.changed_at_ms + ASK_AFTER_MS if order.is_resting and ends_by_itself else None


def _fills_asked(cycle: Cycle) -> tuple[Ask, ...]:
    is_reserved = any(_is_close_reserved(order) for order in cycle.orders)
    is_moved = cycle.suspect is not None or cycle.update_due_ms > 0
    if needs_fills(cycle.orders, cycle.fills) or is_moved or is_reserved:
        return (Ask(question=ReadFills()),)
    if cycle.ledger.is_over_closed:  # somebody opened it while we could not hear
        return (Ask(question=ReadFills(), every_ms=_OVER_CLOSED_READS_APART_MS),)
    return ()


def _late_fills_asked(cycle: Cycle) -> tuple[Ask, ...]:
    """Return a last look at what executed after the end: its news may have been lost."""
    if cycle.ended_at_ms is None or all(o.ended_by in _NEVER_SENT for o in cycle.orders):
        return ()
    last_look_ms = cycle.ended_at_ms + LAST_LOOK_MS
    return (Ask(question=ReadFills(), not_before_ms=last_look_ms, every_ms=_LOOKS_APART_MS),)


def _positions_asked(cycle: Cycle) -> tuple[Ask, ...]:
    if any(_is_close_reserved(order) for order in cycle.orders):
        return (Ask(question=ReadOpenOrders()), Ask(question=ReadPosition()))
    if cycle.suspect is not None:
        again = cycle.suspect.asked_at_ms + READS_OF_A_DIFFERENCE_APART_MS
        return (Ask(question=ReadPosition(), not_before_ms=again),)
    unanswered = [o for o in cycle.orders if is_close_unanswered(o)]
    if any(o.is_unresolved for o in unanswered):
        return (Ask(question=ReadPosition()),)
    if unanswered:  # a restart may have lost the answer
        since = min(o.requested_at_ms for o in unanswered) + UNANSWERED_AFTER_MS
        return (Ask(question=ReadPosition(), not_before_ms=since),)
    if cycle.phase is Phase.CLOSING and _is_flat(cycle) and all(o.is_over for o in cycle.orders):
        first = cycle.flat_read_at_ms
        since = 0 if first is None else first + READS_OF_THE_END_APART_MS
        return (Ask(question=ReadPosition(), not_before_ms=since),)
    if cycle.account_refused_at_ms:
        return (Ask(question=ReadPosition(), every_ms=5_000),)
    if cycle.phase is Phase.TRADING and is_liquidation_asked(cycle):
        return (Ask(question=ReadPosition()),)
    return ()


def _is_flat(cycle: Cycle) -> bool:
    """Return whether the fills leave less than one step: only then can reads prove the end."""
    return max(cycle.long.quantity, cycle.short.quantity) < cycle.rules.step_size


def _is_close_reserved(order: OrderState) -> bool:
    return not order.is_over and is_refused(order, Refusal.CLOSE_RESERVED)


def _bounds_asked(cycle: Cycle) -> tuple[Ask, ...]:
    asked: list[Ask] = []
    fallback = cycle.hedge_fallback
    if fallback is not None and fallback.quantity is None and cycle.phase is Phase.TRADING:
        asked.append(Ask(question=ReadBalance()))
    is_bounded = any(
        not o.is_over and not o.is_resting and is_refused(o, Refusal.PRICE_BOUND)
        for o in cycle.orders
    )
    if cycle.mark_price is None and (is_bounded or _has_close_expired(cycle)):
        asked.append(Ask(question=ReadMark(), every_ms=200))  # as often as a close is tried again
    return tuple(asked)


def _has_close_expired(cycle: Cycle) -> bool:
    """Return whether a side is left whose last closing order found no counterparty."""
    held = {PositionSide.LONG: cycle.long.quantity, PositionSide.SHORT: cycle.short.quantity}
    return any(
        held[order.position_side] > 0 and close_failures(cycle, order.role, order.number) > 0
        for order in cycle.orders
        if order.role in CLOSING_ROLES
    )
