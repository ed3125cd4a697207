"""Margin maths of a cross-margined account: what is used, what is free, where it is liquidated."""

from decimal import Decimal

from paper.ledger import leg, wallet
from paper.rules import SymbolRules
from paper.state import ZERO, Leg, PlainOrder, PositionSide, Side, State

SHORT_PREMIUM = Decimal("1.0015")  # the exchange's assumed price of a limit SHORT, over last


def mark_of(state: State, symbol: str) -> Decimal:
    """Return the mark price, 0 while the symbol has none."""
    return state.markets[symbol].mark or ZERO


def unrealised(state: State) -> Decimal:
    """Return the profit of all open legs at mark."""
    return sum((one.profit_at(mark_of(state, one.symbol)) for one in open_legs(state)), ZERO)


def open_legs(state: State) -> list[Leg]:
    """Return every leg that is not flat."""
    return [one for legs in state.books.legs.values() for one in legs.values() if one.amount]


def position_margin(state: State, current: Leg) -> Decimal:
    """Return the initial margin of a leg."""
    market = state.markets[current.symbol]
    return abs(current.amount) * mark_of(state, current.symbol) / market.leverage


def maintenance_margin(state: State, current: Leg) -> Decimal:
    """Return the maintenance margin of a leg."""
    notional = abs(current.amount) * mark_of(state, current.symbol)
    bracket = state.rules[current.symbol].bracket_at(notional)
    return max(ZERO, notional * bracket.maintenance - bracket.cum)


def order_cost(
    state: State, symbol: str, side: Side, quantity: Decimal, price: Decimal, *, market: bool
) -> Decimal:
    """Return the margin that an opening order takes: initial margin plus open loss."""
    book = state.markets[symbol]
    last, mark = book.last or ZERO, book.mark or ZERO
    if market:
        assumed = book.ask if side is Side.BUY else max(book.bid, mark)
        price = assumed
    else:
        assumed = price if side is Side.BUY else max(last * SHORT_PREMIUM, mark, price)
    distance = mark - price if side is Side.BUY else price - mark
    return assumed * quantity / book.leverage + quantity * max(ZERO, -distance)


def open_order_margin(state: State, orders: list[PlainOrder]) -> Decimal:
    """Return the margin that resting opening orders hold."""
    return sum(
        (
            order_cost(state, o.symbol, o.side, o.remaining, o.price, market=False)
            for o in orders
            if not o.reduce_only
        ),
        ZERO,
    )


def available(state: State, orders: list[PlainOrder]) -> Decimal:
    """Return what is free for new orders; may be negative. `orders`: all open plain orders."""
    used = sum((position_margin(state, one) for one in open_legs(state)), ZERO)
    return wallet(state.books) + unrealised(state) - used - open_order_margin(state, orders)


def must_liquidate(state: State) -> bool:
    """Return whether the margin balance no longer covers the maintenance margin."""
    legs = open_legs(state)
    if not legs:
        return False
    needed = sum((maintenance_margin(state, one) for one in legs), ZERO)
    return wallet(state.books) + unrealised(state) <= needed


def liquidation_price(state: State, symbol: str) -> Decimal:
    """Return the price at which the account would be liquidated by this symbol; 0 for none.

    Both legs of a symbol share it: LP = (WB − TMM + UPNL + cumL + cumS − L·EL + S·ES)
    / (L·mmrL + S·mmrS − L + S), with TMM and UPNL of all other symbols.
    """
    rules = state.rules[symbol]
    both = leg(state.books, symbol, PositionSide.BOTH)
    legs = [
        leg(state.books, symbol, PositionSide.LONG),
        leg(state.books, symbol, PositionSide.SHORT),
    ]
    if both.amount:
        legs = [both]
    others = [one for one in open_legs(state) if one.symbol != symbol]
    numerator = wallet(state.books) + sum(
        (
            one.profit_at(mark_of(state, one.symbol)) - maintenance_margin(state, one)
            for one in others
        ),
        ZERO,
    )
    denominator = ZERO
    for one in legs:
        bracket = rules.bracket_at(abs(one.amount) * mark_of(state, symbol))
        numerator += bracket.cum - (one.cost if one.amount > 0 else -one.cost)
        denominator += abs(one.amount) * bracket.maintenance - one.amount
    if not denominator:
        return ZERO
    return max(ZERO, numerator / denominator)


def bracket_room(
    state: State, rules: SymbolRules, position_side: PositionSide, orders: list[PlainOrder]
) -> Decimal:
    """Return how much notional the leg may still take at the symbol's leverage."""
    symbol = rules.symbol
    current = leg(state.books, symbol, position_side)
    taken = abs(current.amount) * mark_of(state, symbol) + sum(
        (
            o.price * o.remaining
            for o in orders
            if o.symbol == symbol and o.position_side == position_side and not o.reduce_only
        ),
        ZERO,
    )
    return rules.max_notional(state.markets[symbol].leverage) - taken
