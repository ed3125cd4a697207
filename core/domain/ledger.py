"""Positions, realised PNL and commissions as the fills make them.

Orders tell cumulative totals, fills tell prices. Quantities follow from whichever of the two knows
more; entries and PNL are folded from the fills in order of trade id, so that a late fill counts at
its own place. Where an order's total is ahead of its known fills, a stand-in takes the place of the
missing ones until they were read. It is booked as late as possible: an opening one before a close
that needs it, a closing one of SHORT before the next hedge opens, all others at the end.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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

HEDGE_ROLES = (Role.HEDGE, Role.HEDGE_MARKET)


def in_trade_order(fills: Iterable[Fill]) -> tuple[Fill, ...]:
    """Return fills by trade id; an adjustment stands behind the trade that it was anchored to."""
    return tuple(sorted(fills, key=lambda f: (f.trade_id, f.is_adjustment, f.time_ms, f.side)))


def filled_by(client_order_id: str, fills: Sequence[Fill]) -> Decimal:
    """Return how much of an order its known fills explain."""
    return sum((f.quantity for f in fills if f.client_order_id == client_order_id), ZERO)


def needs_fills(orders: Sequence[OrderState], fills: Sequence[Fill]) -> bool:
    """Return whether some order's total is ahead of its known fills."""
    return any(o.executed > filled_by(o.client_order_id, fills) for o in orders if o.executed)


def fold(
    orders: Sequence[OrderState],
    fills: Sequence[Fill],
    rules: SymbolRules,
    asset_prices: Mapping[str, Decimal],
) -> Ledger:
    """Return the ledger of these orders and fills; the same for any order and repetition."""
    stand_ins, is_priced = _stand_ins(orders, fills)
    book = _Book(
        rules=rules,
        asset_prices=asset_prices,
        hedge_of={o.client_order_id: o.number for o in orders if o.role in HEDGE_ROLES},
        openings=[f for f in stand_ins if f.is_opening],
        closings=[f for f in stand_ins if not f.is_opening],
    )
    for fill in in_trade_order(fills):
        book.take(fill)
    return book.ledger(is_priced=is_priced)


@dataclass(slots=True)
class _LegFold:
    quantity: Decimal = ZERO
    entry: Decimal = ZERO  # does not move when a part is closed
    cost: Decimal = ZERO  # quote paid (received) for what is held
    cash: Decimal = ZERO  # quote received minus paid
    held_commission: Decimal = ZERO
    commissions: Decimal = ZERO
    closed_by: str = ""
    is_over_closed: bool = False

    def book(self, fill: Fill, commission: Decimal) -> Decimal:
        """Take one fill in and return what it realised, gross."""
        self.commissions += commission
        if fill.is_opening:
            notional = fill.price * fill.quantity
            self.cash += notional if fill.side is Side.SELL else -notional
            self.quantity += fill.quantity
            self.cost += notional
            self.entry = self.cost / self.quantity
            self.held_commission += commission
            return ZERO
        # A close of more than is held: its opening is still to come, and all is folded anew then.
        closed = min(fill.quantity, self.quantity)
        self.is_over_closed |= closed < fill.quantity
        if not closed:
            return ZERO
        left = self.quantity - closed
        cost_left = self.cost * left / self.quantity
        released, received = self.cost - cost_left, fill.price * closed
        self.held_commission = self.held_commission * left / self.quantity
        self.quantity, self.cost = left, cost_left
        self.cash += received if fill.side is Side.SELL else -received
        if not left:
            self.closed_by = fill.client_order_id
        return received - released if fill.side is Side.SELL else released - received

    def realised(self, side: PositionSide) -> Decimal:
        """Return cash flow plus what is still tied up; exact whenever the leg is flat."""
        return self.cash + (self.cost if side is PositionSide.LONG else -self.cost)

    def leg(self) -> Leg:
        """Return the side as it stands."""
        if not self.quantity:
            return Leg(closed_by=self.closed_by)
        return Leg(quantity=self.quantity, entry=self.entry, held_commission=self.held_commission)


@dataclass(slots=True)
class _HedgeFold:
    opened: Decimal = ZERO
    opened_quote: Decimal = ZERO
    realised: Decimal = ZERO
    commissions: Decimal = ZERO
    is_closed: bool = False
    closed_by: str = ""

    def book(self, fill: Fill, *, realised: Decimal, commission: Decimal) -> None:
        if fill.is_opening:
            self.opened += fill.quantity
            self.opened_quote += fill.price * fill.quantity
            self.is_closed, self.closed_by = False, ""
        self.realised += realised
        self.commissions += commission

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


@dataclass(slots=True, kw_only=True)
class _Book:
    """Both sides, while fills are booked one after the other."""

    rules: SymbolRules
    asset_prices: Mapping[str, Decimal]
    hedge_of: dict[str, int]  # client id → number of the hedge that the order opens
    openings: list[Fill]  # stand-ins not booked yet
    closings: list[Fill]
    legs: dict[PositionSide, _LegFold] = field(
        default_factory=lambda: {side: _LegFold() for side in PositionSide}
    )
    hedges: dict[int, _HedgeFold] = field(default_factory=dict)
    current: int = 0  # number of the hedge that SHORT belongs to; 0: a person's

    def take(self, fill: Fill) -> None:
        """Book one fill, and before it what must have come earlier."""
        leg = self.legs[fill.position_side]
        if not fill.is_opening:
            while leg.quantity < fill.quantity and self._pull(self.openings, fill.position_side):
                pass
        elif self._number(fill) not in (0, self.current):
            while self._pull(self.closings, fill.position_side, most=leg.quantity):
                pass
        self._book(fill)

    def ledger(self, *, is_priced: bool) -> Ledger:
        """Book the stand-ins that are left and return the whole."""
        for waiting in (self.openings, self.closings):
            while waiting:
                self.take(waiting.pop(0))
        long, short = self.legs[PositionSide.LONG], self.legs[PositionSide.SHORT]
        return Ledger(
            long=long.leg(),
            short=short.leg(),
            realised=long.realised(PositionSide.LONG) + short.realised(PositionSide.SHORT),
            commissions=long.commissions + short.commissions,
            hedges=tuple(hedge.hedge(number) for number, hedge in sorted(self.hedges.items())),
            is_priced=is_priced,
            is_over_closed=long.is_over_closed or short.is_over_closed,
        )

    def _pull(
        self, waiting: list[Fill], side: PositionSide, *, most: Decimal | None = None
    ) -> bool:
        """Book the oldest waiting stand-in of a side, of `most` at most; False: there is none."""
        found = next(
            (
                f
                for f in waiting
                if f.position_side is side and (most is None or f.quantity <= most)
            ),
            None,
        )
        if found is None:
            return False
        waiting.remove(found)
        self._book(found)
        return True

    def _book(self, fill: Fill) -> None:
        leg = self.legs[fill.position_side]
        cost = self._commission(fill)
        if fill.position_side is PositionSide.LONG:
            leg.book(fill, cost)
            return
        if fill.is_opening:
            number = self._number(fill)
            self.current = number if number or not leg.quantity else self.current
        realised = leg.book(fill, cost)
        hedge = self.hedges.setdefault(self.current, _HedgeFold())
        hedge.book(fill, realised=realised, commission=cost)
        if not leg.quantity:
            for hedge in self.hedges.values():
                if not hedge.is_closed:
                    hedge.is_closed, hedge.closed_by = True, fill.client_order_id

    def _number(self, fill: Fill) -> int:
        return self.hedge_of.get(fill.client_order_id, 0)

    def _commission(self, fill: Fill) -> Decimal:
        """Return the commission in quote; without the asset's price, estimated at our rates."""
        if fill.commission_asset == self.rules.quote_asset:
            return fill.commission
        price = self.asset_prices.get(fill.commission_asset)
        if price is not None:
            return fill.commission * price
        rate = self.rules.maker_rate if fill.is_maker else self.rules.taker_rate
        return fill.price * fill.quantity * rate


def _stand_ins(orders: Sequence[OrderState], fills: Sequence[Fill]) -> tuple[list[Fill], bool]:
    """Return stand-ins for fills not yet read, oldest order first, and whether all have a price."""
    known: dict[str, list[Fill]] = defaultdict(list)
    for fill in fills:
        known[fill.client_order_id].append(fill)
    found: list[Fill] = []
    is_priced = True
    for order in sorted(orders, key=lambda o: (o.created_at_ms, o.client_order_id)):
        explained = known[order.client_order_id]
        missing = order.executed - sum((f.quantity for f in explained), ZERO)
        if missing <= 0:
            continue
        price = _missing_price(order, explained, missing)
        is_priced = is_priced and price is not None
        found.append(_stand_in(order, quantity=missing, price=ZERO if price is None else price))
    return found, is_priced


def _stand_in(order: OrderState, *, quantity: Decimal, price: Decimal) -> Fill:
    return Fill(
        trade_id=0,
        client_order_id=order.client_order_id,
        side=order.side,
        position_side=order.position_side,
        price=price,
        quantity=quantity,
        commission=ZERO,
        commission_asset="",  # unknown: estimated
        is_maker=order.kind is Kind.LIMIT,
        time_ms=0,
    )


def _missing_price(order: OrderState, known: Sequence[Fill], missing: Decimal) -> Decimal | None:
    if order.average_price is not None:
        told = order.average_price * order.executed
        return (told - sum((f.price * f.quantity for f in known), ZERO)) / missing
    return order.price if order.kind in (Kind.LIMIT, Kind.LIMIT_IOC) else None
