"""Positions, realised PNL and commissions as the fills make them.

Orders tell cumulative totals, fills tell prices. Quantities follow from whichever of the two knows
more; entries and PNL are folded from the fills in order of trade id, so that a late fill counts at
its own place. Where an order's total is ahead of its known fills, the missing part is filled in
provisionally from its average price until the fills were read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from core.domain.cycle import (
    Fill,
    Hedge,
    Kind,
    Ledger,
    Leg,
    OrderState,
    PositionSide,
    Role,
    Side,
)
from core.domain.settings import SymbolRules
from core.money import ZERO

_OPENING_SIDE = {PositionSide.LONG: Side.BUY, PositionSide.SHORT: Side.SELL}
_HEDGE_ROLES = (Role.HEDGE, Role.HEDGE_MARKET)


def is_opening(fill: Fill | OrderState) -> bool:
    """Return whether it adds to its position side."""
    return fill.side is _OPENING_SIDE[fill.position_side]


def in_trade_order(fills: Iterable[Fill]) -> tuple[Fill, ...]:
    """Return fills by trade id; an adjustment stands behind the trade that it was anchored to."""
    return tuple(sorted(fills, key=lambda f: (f.trade_id, f.is_adjustment, f.time_ms, f.side)))


def filled_by(client_order_id: str, fills: Sequence[Fill]) -> Decimal:
    """Return how much of an order its known fills explain."""
    return sum((f.quantity for f in fills if f.client_order_id == client_order_id), ZERO)


def needs_fills(orders: Sequence[OrderState], fills: Sequence[Fill]) -> bool:
    """Return whether some order's total is ahead of its known fills."""
    return any(o.executed > filled_by(o.client_order_id, fills) for o in orders if o.executed)


def fold(orders: Sequence[OrderState], fills: Sequence[Fill], rules: SymbolRules) -> Ledger:
    """Return the ledger of these orders and fills; the same for any order and repetition of them."""
    by_id = {order.client_order_id: order for order in orders}
    opening, closing, is_priced = _provisional(orders, fills)
    legs = {PositionSide.LONG: _LegFold(), PositionSide.SHORT: _LegFold()}
    hedges: dict[int, _HedgeFold] = {}
    current = 0
    for fill in (*opening, *in_trade_order(fills), *closing):
        leg = legs[fill.position_side]
        cost = _commission(fill, rules)
        if fill.position_side is PositionSide.SHORT and is_opening(fill):
            number = _hedge_number(by_id.get(fill.client_order_id))
            current = number if number or not leg.quantity else current
        realised = leg.book(fill, cost)
        if fill.position_side is PositionSide.SHORT:
            hedge = hedges.setdefault(current, _HedgeFold())
            hedge.book(fill, realised=realised, commission=cost, is_flat=leg.quantity == 0)
    long, short = legs[PositionSide.LONG], legs[PositionSide.SHORT]
    return Ledger(
        long=long.leg(),
        short=short.leg(),
        realised=long.realised(PositionSide.LONG) + short.realised(PositionSide.SHORT),
        commissions=long.commissions + short.commissions,
        hedges=tuple(h.hedge(number) for number, h in sorted(hedges.items())),
        is_priced=is_priced,
    )


@dataclass(slots=True)
class _LegFold:
    quantity: Decimal = ZERO
    cost: Decimal = ZERO  # quote paid (received) for what is held
    cash: Decimal = ZERO  # quote received minus paid
    held_commission: Decimal = ZERO
    commissions: Decimal = ZERO
    closed_by: str = ""

    def book(self, fill: Fill, commission: Decimal) -> Decimal:
        """Take one fill in and return what it realised, gross."""
        notional = fill.price * fill.quantity
        self.commissions += commission
        self.cash += notional if fill.side is Side.SELL else -notional
        if is_opening(fill):
            self.quantity += fill.quantity
            self.cost += notional
            self.held_commission += commission
            return ZERO
        # A close whose opening is not known yet: the opening's news puts it right, being folded anew.
        closed = min(fill.quantity, self.quantity)
        if not closed:
            return ZERO
        left = self.quantity - closed
        cost_left = self.cost * left / self.quantity
        released = self.cost - cost_left
        self.held_commission = self.held_commission * left / self.quantity
        self.quantity, self.cost = left, cost_left
        if not left:
            self.closed_by = fill.client_order_id
        received = fill.price * closed
        return received - released if fill.side is Side.SELL else released - received

    def realised(self, side: PositionSide) -> Decimal:
        """Return cash flow plus what is still tied up; exact whenever the leg is flat."""
        return self.cash + (self.cost if side is PositionSide.LONG else -self.cost)

    def leg(self) -> Leg:
        """Return the side as it stands."""
        if not self.quantity:
            return Leg(closed_by=self.closed_by)
        return Leg(
            quantity=self.quantity,
            entry=self.cost / self.quantity,
            held_commission=self.held_commission,
        )


@dataclass(slots=True)
class _HedgeFold:
    opened: Decimal = ZERO
    opened_quote: Decimal = ZERO
    realised: Decimal = ZERO
    commissions: Decimal = ZERO
    is_closed: bool = False
    closed_by: str = field(default="")

    def book(self, fill: Fill, *, realised: Decimal, commission: Decimal, is_flat: bool) -> None:
        if is_opening(fill):
            self.opened += fill.quantity
            self.opened_quote += fill.price * fill.quantity
        self.realised += realised
        self.commissions += commission
        self.is_closed = is_flat
        self.closed_by = fill.client_order_id if is_flat else ""

    def hedge(self, number: int) -> Hedge:
        return Hedge(
            number=number,
            opened=self.opened,
            average_price=self.opened_quote / self.opened if self.opened else ZERO,
            realised=self.realised,
            commissions=self.commissions,
            is_closed=self.is_closed,
            closed_by=self.closed_by,
        )


def _hedge_number(order: OrderState | None) -> int:
    return order.number if order is not None and order.role in _HEDGE_ROLES else 0


def _commission(fill: Fill, rules: SymbolRules) -> Decimal:
    """Return the commission in quote; another asset's is estimated at the account's rates."""
    if fill.commission_asset == rules.quote_asset:
        return fill.commission
    rate = rules.maker_rate if fill.is_maker else rules.taker_rate
    return fill.price * fill.quantity * rate


def _provisional(
    orders: Sequence[OrderState], fills: Sequence[Fill]
) -> tuple[list[Fill], list[Fill], bool]:
    """Return stand-ins for fills not yet read: openings, closings, and whether all have a price."""
    opening: list[Fill] = []
    closing: list[Fill] = []
    is_priced = True
    for order in orders:
        known = [f for f in fills if f.client_order_id == order.client_order_id]
        missing = order.executed - sum((f.quantity for f in known), ZERO)
        if missing <= 0:
            continue
        price = _missing_price(order, known, missing)
        is_priced = is_priced and price is not None
        stand_in = Fill(
            trade_id=0,
            client_order_id=order.client_order_id,
            side=order.side,
            position_side=order.position_side,
            price=ZERO if price is None else price,
            quantity=missing,
            commission=ZERO,
            commission_asset="",  # unknown: estimated
            is_maker=order.kind is Kind.LIMIT,
            time_ms=0,
        )
        (opening if is_opening(stand_in) else closing).append(stand_in)
    return opening, closing, is_priced


def _missing_price(order: OrderState, known: Sequence[Fill], missing: Decimal) -> Decimal | None:
    if order.average_price is not None:
        told = order.average_price * order.executed
        return (told - sum((f.price * f.quantity for f in known), ZERO)) / missing
    return order.price if order.kind in (Kind.LIMIT, Kind.LIMIT_IOC) else None
