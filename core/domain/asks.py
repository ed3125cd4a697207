"""What has to be asked of the exchange because a fact is missing: unanswered requests, fills, ends."""

from dataclasses import dataclass

from core.domain import rules
from core.domain.cycle import Cycle, Phase, Request, Role
from core.domain.ledger import needs_fills
from core.domain.order_news import ASK_AFTER_MS, CLOSING_ROLES
from core.domain.refusals import Refusal, refusal


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
        return _fills_asked(cycle)
    return (
        *_orders_asked(cycle),
        *_fills_asked(cycle),
        *_positions_asked(cycle),
        *_bounds_asked(cycle),
        *((Ask(question=ReadRules(), every_ms=5_000),) if cycle.rules_are_stale else ()),
    )


def _orders_asked(cycle: Cycle) -> tuple[Ask, ...]:
    found: list[Ask] = []
    for order in cycle.orders:
        if order.is_over:
            continue
        question = FindOrder(client_order_id=order.client_order_id)
        if order.is_in_flight:
            # A placement that was refused as a duplicate, or a cancel as unknown, is asked about now.
            at_once = order.is_unresolved and order.refusal_code is not None
            wait = 0 if at_once and order.request is not Request.PLACE else ASK_AFTER_MS
            found.append(Ask(question=question, not_before_ms=order.requested_at_ms + wait))
        elif order.is_triggered:
            since = order.triggered_at_ms + ASK_AFTER_MS
            found.append(Ask(question=question, not_before_ms=since, every_ms=2_000))
    return tuple(found)


def _fills_asked(cycle: Cycle) -> tuple[Ask, ...]:
    if needs_fills(cycle.orders, cycle.fills) or cycle.suspect is not None:
        return (Ask(question=ReadFills()),)
    return ()


def _positions_asked(cycle: Cycle) -> tuple[Ask, ...]:
    asked: list[Ask] = []
    if cycle.suspect is not None:
        again = cycle.suspect.asked_at_ms + 3_000
        asked.append(Ask(question=ReadPosition(), not_before_ms=again))
    elif any(o.is_unresolved and o.role in CLOSING_ROLES for o in cycle.orders):
        asked.append(Ask(question=ReadPosition()))
    elif cycle.phase is Phase.CLOSING and all(o.is_over for o in cycle.orders):
        since = 0 if cycle.flat_read_at_ms is None else cycle.flat_read_at_ms + 2_000
        asked.append(Ask(question=ReadPosition(), not_before_ms=since))
    is_reserved = any(
        not o.is_over
        and o.refusal_code is not None
        and refusal(o.refusal_code) is Refusal.CLOSE_RESERVED
        for o in cycle.orders
    )
    if is_reserved:
        asked += [Ask(question=ReadOpenOrders()), Ask(question=ReadFills())]
        asked += [] if asked and cycle.suspect else [Ask(question=ReadPosition())]
    return tuple(asked)


def _bounds_asked(cycle: Cycle) -> tuple[Ask, ...]:
    asked: list[Ask] = []
    if cycle.hedge_fallback is not None and cycle.hedge_fallback.available is None:
        asked.append(Ask(question=ReadBalance()))
    bounded = any(
        not o.is_over
        and not o.is_resting
        and o.refusal_code is not None
        and refusal(o.refusal_code) is Refusal.PRICE_BOUND
        for o in cycle.orders
    )
    expired = any(
        rules.close_failures(cycle, role, o.number)
        for role in (Role.CLOSE_LONG, Role.CLOSE_SHORT, Role.HEDGE_STOP_MARKET)
        for o in cycle.of(role)
    )
    needs_price = cycle.hedge_fallback is not None and cycle.last_price is None
    if cycle.mark_price is None and (bounded or (expired and _has_something(cycle))):
        asked.append(Ask(question=ReadMark()))
    elif needs_price:
        asked.append(Ask(question=ReadMark()))
    return tuple(asked)


def _has_something(cycle: Cycle) -> bool:
    return cycle.long.quantity > 0 or cycle.short.quantity > 0
