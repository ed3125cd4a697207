"""The order book around the feed's price: exact (one price holds everything) or modelled.

The model, for `Options.book == "model"`: the best bid and ask stand one spread apart, the last
trade on the side that it took. Behind the best price the levels lie half a basis point apart (a
tick at least). The best level holds `Options.depth_quote` of quote asset, each further one a
quarter of that more. So an order of 1 % of a million walks one level and one of five millions
about 40 of them, 0.2 %. What takers take is gone until the next trade of the feed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, Decimal
from itertools import islice
from typing import NamedTuple

from paper.options import Options
from paper.rules import SymbolRules
from paper.state import ZERO, Market, PlainOrder, Side, State

GAP = Decimal("0.00005")
GROWTH = Decimal("0.25")
MAX_LEVELS = 200
EXACT_QUANTITY = Decimal(1000)  # what the one price of the exact book is said to hold


class Level(NamedTuple):
    """A price and what can be had there."""

    price: Decimal
    quantity: Decimal


def asks(state: State, symbol: str) -> Iterator[Level]:
    """Yield what buyers find, the best price first."""
    return _levels(state, symbol, Side.BUY)


def bids(state: State, symbol: str) -> Iterator[Level]:
    """Yield what sellers find, the best price first."""
    return _levels(state, symbol, Side.SELL)


def opposite(state: State, symbol: str, side: Side) -> Iterator[Level]:
    """Yield what an order of `side` finds."""
    return _levels(state, symbol, side)


def best(state: State, symbol: str, side: Side) -> Decimal:
    """Return the best price that an order of `side` finds."""
    market = state.markets[symbol]
    if state.options.book == "exact":
        return market.ask if side is Side.BUY else market.bid
    level = next(_levels(state, symbol, side), None)
    return ZERO if level is None else level.price


def price_at(state: State, symbol: str, side: Side, place: int) -> Decimal | None:
    """Return the price of the `place`-th level (from 1) that an order of `side` finds."""
    levels = _levels(state, symbol, side)
    if state.options.book == "exact":
        rules, found = state.rules[symbol], next(levels, None)
        if found is None:
            return None
        away = (place - 1) * rules.tick
        return found.price + away if side is Side.BUY else found.price - away
    level = next(islice(levels, place - 1, None), None)
    return None if level is None else level.price


def reach(state: State, order: PlainOrder, quantity: Decimal, bound: Decimal) -> list[Level]:
    """Return where `quantity` of an order executes at once, no further than the price `bound`."""
    market, found = state.markets[order.symbol], []
    if market.liquidity is not None:
        quantity = min(quantity, market.liquidity)
    for level in _levels(state, order.symbol, order.side):
        beyond = level.price > bound if order.side is Side.BUY else level.price < bound
        if quantity <= 0 or beyond:
            break
        part = quantity if state.options.book == "exact" else min(quantity, level.quantity)
        found.append(Level(level.price, part))
        quantity -= part
    return found


def take(state: State, symbol: str, side: Side, quantity: Decimal) -> None:
    """Take this much off the book; the next trade of the feed brings it back."""
    market = state.markets[symbol]
    if market.liquidity is not None:
        market.liquidity -= quantity
    if side is Side.BUY:
        market.taken_ask += quantity
    else:
        market.taken_bid += quantity


def refill(market: Market) -> None:
    """Bring the book back: somebody traded."""
    market.taken_ask = market.taken_bid = ZERO
    market.update_id += 1


def shown(
    state: State, symbol: str, own: Iterable[PlainOrder], count: int
) -> tuple[list[Level], list[Level]]:
    """Return bids and asks as the public sees them, with our own resting orders in them.

    An order that the market has moved past and not filled yet, because too little was traded, is
    not among them: a book is never crossed.
    """
    if state.markets[symbol].last is None:
        return [], []
    bid, ask = best(state, symbol, Side.SELL), best(state, symbol, Side.BUY)
    own_levels: dict[Side, dict[Decimal, Decimal]] = {s: defaultdict(lambda: ZERO) for s in Side}
    for order in own:
        is_buy, price = order.side is Side.BUY, order.price
        is_passed = 0 < ask <= price > bid if is_buy else ask > price <= bid
        # retail price improvement stays out of the public book
        if not is_passed and order.time_in_force != "RPI":
            own_levels[order.side][price] += order.remaining
    buyers = _merged(bids(state, symbol), own_levels[Side.BUY], count)
    sellers = _merged(asks(state, symbol), own_levels[Side.SELL], count)
    buyers.sort(key=lambda level: -level.price)
    sellers.sort(key=lambda level: level.price)
    return buyers[:count], sellers[:count]


def _merged(levels: Iterator[Level], own: dict[Decimal, Decimal], count: int) -> list[Level]:
    found = dict(islice(levels, count))
    for price, quantity in own.items():
        found[price] = found.get(price, ZERO) + quantity
    return [Level(price, quantity) for price, quantity in found.items() if quantity > 0]


def _levels(state: State, symbol: str, side: Side) -> Iterator[Level]:
    market = state.markets[symbol]
    if market.last is None:
        return
    if state.options.book == "exact":
        price = market.ask if side is Side.BUY else market.bid
        if price > 0:
            yield Level(price, EXACT_QUANTITY)
        return
    yield from _modelled(state.options, state.rules[symbol], market, side)


def _modelled(options: Options, rules: SymbolRules, market: Market, side: Side) -> Iterator[Level]:
    start = market.ask if side is Side.BUY else market.bid
    if start <= 0:
        return
    ticks = (start * GAP / rules.tick).to_integral_value(ROUND_CEILING)
    gap = max(ticks, Decimal(1)) * rules.tick * (1 if side is Side.BUY else -1)
    taken = market.taken_ask if side is Side.BUY else market.taken_bid
    for number in range(MAX_LEVELS):
        price = start + gap * number
        if price <= 0:
            return
        quote = options.depth_quote * (1 + GROWTH * number)
        quantity = max(rules.step, quote / price // rules.step * rules.step)
        gone = min(taken, quantity)
        taken -= gone
        if quantity > gone:
            yield Level(price, quantity - gone)
