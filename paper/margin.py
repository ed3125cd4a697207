"""Margin maths: what is used, what is free, where it is liquidated, cross and isolated."""

from decimal import Decimal

from paper import depth
from paper.ledger import cross_wallet, held_legs, leg
from paper.rules import SymbolRules
from paper.state import ZERO, Leg, PlainOrder, PositionSide, Side, State

SHORT_PREMIUM = Decimal("1.0015")  # the exchange's assumed price of a limit SHORT, over last


def mark_of(state: State, symbol: str) -> Decimal:
    """Return the mark price, 0 while the symbol has none."""
    return state.markets[symbol].mark or ZERO


def unrealised(state: State) -> Decimal:
    """Return the profit of all open legs at mark."""
    return _profit(state, open_legs(state))


def cross_unrealised(state: State) -> Decimal:
    """Return the profit of the cross-margined legs at mark."""
    return _profit(state, cross_legs(state))


def open_legs(state: State) -> list[Leg]:
    """Return every leg that is not flat."""
    return [one for legs in held_legs(state.books) for one in legs]


def cross_legs(state: State) -> list[Leg]:
    """Return every cross-margined leg that is not flat."""
    return [one for one in open_legs(state) if not is_isolated(state, one.symbol)]


def is_isolated(state: State, symbol: str) -> bool:
    """Return whether a symbol is margined leg by leg."""
    return state.markets[symbol].margin_type == "ISOLATED"


def _profit(state: State, legs: list[Leg]) -> Decimal:
    return sum((one.profit_at(mark_of(state, one.symbol)) for one in legs), ZERO)


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
        best = depth.best(state, symbol, side)
        assumed = best if side is Side.BUY else max(best, mark)
        price = assumed
    else:
        assumed = price if side is Side.BUY else max(last * SHORT_PREMIUM, mark, price)
    distance = mark - price if side is Side.BUY else price - mark
    return assumed * quantity / book.leverage + quantity * max(ZERO, -distance)


def open_order_margin(state: State, orders: list[PlainOrder]) -> Decimal:
    """Return the margin that resting opening orders hold: `order_cost` of each, in one loop."""
    total = ZERO
    for order in orders:
        if order.reduce_only:
            continue
        market, price = state.markets[order.symbol], order.price
        mark = market.mark or ZERO
        if order.side is Side.BUY:
            assumed, loss = price, price - mark
        else:
            assumed = max((market.last or ZERO) * SHORT_PREMIUM, mark, price)
            loss = mark - price
        quantity = order.quantity - order.executed
        total += assumed * quantity / market.leverage
        if loss > 0:
            total += quantity * loss
    return total


def available(state: State, orders: list[PlainOrder]) -> Decimal:
    """Return what is free for new orders; may be negative. `orders`: all open plain orders."""
    used = sum((position_margin(state, one) for one in cross_legs(state)), ZERO)
    balance = cross_wallet(state.books) + cross_unrealised(state)
    return balance - used - open_order_margin(state, orders)


def must_liquidate(state: State) -> bool:
    """Return whether the cross margin balance no longer covers the maintenance margin."""
    balance, needed = cross_health(state)
    return needed > 0 and balance <= needed


def cross_health(state: State) -> tuple[Decimal, Decimal]:
    """Return margin balance and maintenance margin of everything cross-margined."""
    legs = cross_legs(state)
    if not legs:
        return ZERO, ZERO
    needed = sum((maintenance_margin(state, one) for one in legs), ZERO)
    return cross_wallet(state.books) + _profit(state, legs), needed


def isolated_health(state: State, current: Leg) -> tuple[Decimal, Decimal]:
    """Return margin balance and maintenance margin of one isolated leg."""
    balance = current.isolated + current.profit_at(mark_of(state, current.symbol))
    return balance, maintenance_margin(state, current)


def liquidation_price(state: State, current: Leg) -> Decimal:
    """Return the price at which a leg would be liquidated; 0 for none.

    Cross: both legs of a symbol share it: LP = (WB − TMM + UPNL + cumL + cumS − L·EL + S·ES)
    / (L·mmrL + S·mmrS − L + S), with TMM and UPNL of all other cross symbols. Isolated: the same
    with the leg alone and its own wallet.
    """
    if not current.amount:
        return ZERO
    symbol = current.symbol
    if is_isolated(state, symbol):
        return _solve(state, [current], current.isolated)
    legs = [one for one in cross_legs(state) if one.symbol == symbol]
    others = [one for one in cross_legs(state) if one.symbol != symbol]
    kept = sum((maintenance_margin(state, one) for one in others), ZERO)
    return _solve(state, legs, cross_wallet(state.books) + _profit(state, others) - kept)


def _solve(state: State, legs: list[Leg], balance: Decimal) -> Decimal:
    """Return the price at which these legs of one symbol use up `balance`.

    The bracket depends on the price: start with that of the mark price, then with the found one's.
    """
    price = mark_of(state, legs[0].symbol)
    for _ in range(3):
        numerator, denominator = balance, ZERO
        for one in legs:
            bracket = state.rules[one.symbol].bracket_at(abs(one.amount) * price)
            numerator += bracket.cum - (one.cost if one.amount > 0 else -one.cost)
            denominator += abs(one.amount) * bracket.maintenance - one.amount
        found = numerator / denominator if denominator else ZERO
        if found <= 0 or found == price:
            return max(ZERO, found)
        price = found
    return price


def bracket_room(
    state: State, rules: SymbolRules, position_side: PositionSide, orders: list[PlainOrder]
) -> Decimal:
    """Return how much notional the leg (or both legs) may still take at the symbol's leverage."""
    symbol = rules.symbol
    counts_both = state.options.bracket_counts == "both"
    sides = list(PositionSide) if counts_both else [position_side]
    held = sum((abs(leg(state.books, symbol, side).amount) for side in sides), ZERO)
    taken = held * mark_of(state, symbol) + sum(
        (
            o.price * o.remaining
            for o in orders
            if o.symbol == symbol and o.position_side in sides and not o.reduce_only
        ),
        ZERO,
    )
    return rules.max_notional(state.markets[symbol].leverage) - taken
