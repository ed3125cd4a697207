"""Which orders the exchange takes: every check that needs filters, margin or what is open.

The order of the checks follows the exchange as far as it is known: filters, notional, percent
price, client id, closable quantity, leverage cap, margin, then post-only and fill-or-kill.
"""

from decimal import Decimal

from paper import depth, errors, ledger, margin, trailing
from paper.book import Book
from paper.errors import RefusedError
from paper.rules import SymbolRules
from paper.state import ZERO, AlgoOrder, Market, PlainOrder, PositionSide, Side, State

MAX_AMENDMENTS = 10_000


class Admission:
    """Judges orders; changes nothing but the quantity of a close that is cut."""

    def __init__(self, state: State, book: Book) -> None:
        self._state = state
        self._book = book

    def admit(self, order: PlainOrder) -> None:
        """Raise unless the exchange would take this order; may cut a close to what is closable."""
        rules, market = self._known(order.symbol)
        self.match_price(order)
        self._check_filters(order, rules, market)
        self._check_unique(order.client_id, by_algo=False)
        if len(self._book.open_orders(order.symbol)) >= rules.max_orders:
            raise RefusedError(-2025, "Reach max open order limit.")
        if order.reduce_only:
            order.quantity = self._closable_part(order)
        else:
            self._check_room(order, order.quantity, order.price, self._book.open_orders())
        self._check_immediate(order)

    def admit_amendment(self, order: PlainOrder, price: Decimal, quantity: Decimal) -> None:
        """Raise unless an open LIMIT may get another price and total quantity."""
        rules = self._state.rules[order.symbol]
        if rules.status != "TRADING":
            raise RefusedError(-5024, "Symbol is not in trading status.")
        market = self._state.markets[order.symbol]
        if price == order.price and quantity == order.quantity:
            raise RefusedError(-5027, "No need to modify the order.")
        if order.amendments >= MAX_AMENDMENTS:
            raise RefusedError(-5026, "Exceed maximum modify order limit.")
        rules.check_price(price)
        rules.check_quantity(quantity, market=False)
        rules.check_percent_price(order.side, price, market.mark or ZERO)
        rest = quantity - order.executed
        if rest <= 0:
            return  # the exchange cancels it instead
        if order.reduce_only:
            where = (order.symbol, order.position_side, order.side)
            if rest > self._book.closable(*where, without=order.order_id):
                raise RefusedError(*errors.REDUCE_ONLY_REJECTED)
            return
        if price * quantity < rules.min_notional:
            raise RefusedError(-5029, "The modified order's notional is too small.")
        others = [o for o in self._book.open_orders() if o is not order]
        self._check_room(order, rest, price, others)

    def admit_algo(self, algo: AlgoOrder) -> None:
        """Raise unless the exchange would take this conditional order; margin is not looked at."""
        rules, market = self._known(algo.symbol)
        price = market.mark if algo.working_type == "MARK_PRICE" else market.last
        if trailing.is_trailing(algo):
            if algo.activate_price:
                rules.check_trigger(algo.activate_price)
        else:
            rules.check_trigger(algo.trigger)
        is_market = algo.type.endswith("MARKET")
        if not algo.close_position:
            rules.check_quantity(algo.quantity, market=is_market)
        has_price = not is_market and algo.price_match == "NONE"
        if has_price:
            rules.check_price(algo.price)
        if not algo.reduce_only:
            at = algo.price if has_price else algo.trigger or algo.activate_price or price or ZERO
            rules.check_notional(at, algo.quantity)
        self._check_unique(algo.client_id, by_algo=True)
        if len(self._book.armed_algos()) >= self._state.options.max_open_algos:
            raise RefusedError(-4045, "Reach max stop order limit.")
        if trailing.is_trailing(algo):
            trailing.admit(algo, price)
        elif price is not None and is_reached(algo, price):
            raise RefusedError(*errors.WOULD_TRIGGER)
        others = self._book.armed_algos(algo.symbol)
        if algo.close_position and any(_is_same_exit(algo, other) for other in others):
            raise RefusedError(
                -4130,
                "An open stop or take profit order with GTE and closePosition in the direction is "
                "existing.",
            )

    def admit_child(self, child: PlainOrder) -> None:
        """Raise when a triggered order is refused; margin and leg are looked at only now."""
        self.match_price(child)
        if not child.reduce_only:
            self._check_room(child, child.quantity, child.price, self._book.open_orders())
            return
        where = (child.symbol, child.position_side, child.side)
        room = self._book.closable(*where)
        if child.type == "MARKET":
            # A stop outranks resting closing orders: they are knocked out when it fills.
            held = ledger.leg(self._state.books, child.symbol, child.position_side).amount
            room = held if child.side is Side.SELL else -held
        child.quantity = min(child.quantity, max(ZERO, room))
        if not child.quantity:
            raise RefusedError(*errors.REDUCE_ONLY_REJECTED)

    def check_protection(self, algo: AlgoOrder) -> None:
        """Raise when priceProtect forbids the trigger: mark and last price are too far apart."""
        market, rules = self._state.markets[algo.symbol], self._state.rules[algo.symbol]
        if not algo.price_protect or not market.last or not market.mark:
            return
        if abs(market.mark / market.last - 1) > rules.trigger_protect:
            raise RefusedError(-2021, "Price protection: mark and last price are too far apart.")

    def match_price(self, order: PlainOrder) -> None:
        """Take the price of an order with priceMatch from the book."""
        if order.price_match == "NONE":
            return
        kind, _, place = order.price_match.partition("_")
        side = order.side
        if kind == "QUEUE":
            side = Side.SELL if side is Side.BUY else Side.BUY
        price = depth.price_at(self._state, order.symbol, side, int(place or 1))
        if price is None or price <= 0:
            raise RefusedError(-5041, "No depth matches this BBO order.")
        order.price = price

    # --- step by step ----------------------------------------------------------------------

    def _known(self, symbol: str) -> tuple[SymbolRules, Market]:
        rules = self._state.rules[symbol]
        if rules.status == "CLOSE":
            raise RefusedError(-4141, "Symbol is closed.")
        if rules.status != "TRADING":
            raise RefusedError(-4140, "Invalid symbol status for opening position.")
        return rules, self._state.markets[symbol]

    def _check_filters(self, order: PlainOrder, rules: SymbolRules, market: Market) -> None:
        is_market = order.type == "MARKET"
        rules.check_quantity(order.quantity, market=is_market)
        if not is_market:
            rules.check_price(order.price)
        if market.last is None or market.mark is None:
            raise RefusedError(*errors.EMPTY_BOOK)
        if not order.reduce_only:
            rules.check_notional(market.mark if is_market else order.price, order.quantity)
        if is_market:
            self._check_market_bound(order, rules, market.mark)
        else:
            rules.check_percent_price(order.side, order.price, market.mark)

    def _check_market_bound(self, order: PlainOrder, rules: SymbolRules, mark: Decimal) -> None:
        lowest, highest = _market_bounds(rules, mark)
        best = depth.best(self._state, order.symbol, order.side)
        outside = best > highest if order.side is Side.BUY else best < lowest
        if outside:
            raise RefusedError(
                -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
            )

    def _check_immediate(self, order: PlainOrder) -> None:
        takes = crosses(self._state, order)
        if order.time_in_force in ("GTX", "RPI") and takes:
            raise RefusedError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be "
                "rejected. The order will not be recorded in the order history",
            )
        if order.time_in_force != "FOK":
            return
        found = depth.reach(self._state, order, order.quantity, order.price) if takes else []
        if sum((level.quantity for level in found), ZERO) < order.quantity:
            raise RefusedError(
                -5021,
                "Due to the order could not be filled immediately, the FOK order has been "
                "rejected. The order will not be recorded in the order history",
            )

    def _check_unique(self, client_id: str, *, by_algo: bool) -> None:
        if self._book.is_taken(client_id, by_algo=by_algo):
            raise RefusedError(-4116, "ClientOrderId is duplicated.")

    def _closable_part(self, order: PlainOrder) -> Decimal:
        """Return what of a closing order may be accepted; raise when that is nothing."""
        room = self._book.closable(order.symbol, order.position_side, order.side)
        if room >= order.quantity:
            return order.quantity
        cuts = self._state.options.over_close == "cut" or order.position_side is PositionSide.BOTH
        if cuts and room > 0:
            return room
        amount = ledger.leg(self._state.books, order.symbol, order.position_side).amount
        is_covered = (amount if order.side is Side.SELL else -amount) >= order.quantity
        if is_covered and self._state.options.covered_close == "-4118":
            raise RefusedError(*errors.CLOSE_COVERED)
        raise RefusedError(*errors.REDUCE_ONLY_REJECTED)

    def _check_room(
        self, order: PlainOrder, quantity: Decimal, price: Decimal, others: list[PlainOrder]
    ) -> None:
        """Raise when the leverage cap or the margin does not carry this much more."""
        state, rules = self._state, self._state.rules[order.symbol]
        is_market = order.type == "MARKET"
        if is_market:
            price = state.markets[order.symbol].mark or ZERO
        quantity = self._exposing(order, quantity)
        if price * quantity > margin.bracket_room(state, rules, order.position_side, others):
            raise RefusedError(*errors.POSITION_TOO_LARGE)
        cost = margin.order_cost(state, order.symbol, order.side, quantity, price, market=is_market)
        if cost > margin.available(state, others):
            raise RefusedError(*errors.MARGIN_INSUFFICIENT)

    def _exposing(self, order: PlainOrder, quantity: Decimal) -> Decimal:
        """Return the part that adds exposure: in one-way mode an order may close first."""
        held = ledger.leg(self._state.books, order.symbol, order.position_side).amount
        opposite = -held if order.side is Side.BUY else held
        return max(ZERO, quantity - max(ZERO, opposite))


def crosses(state: State, order: PlainOrder) -> bool:
    """Return whether a limit order meets the best opposite price."""
    best = depth.best(state, order.symbol, order.side)
    if order.side is Side.BUY:
        return best > 0 and order.price >= best
    return order.price <= best


def take_bound(state: State, order: PlainOrder) -> Decimal:
    """Return the worst price at which an order may take: its own, or MARKET's bound."""
    if order.type != "MARKET":
        return order.price
    if state.options.book == "exact":
        return depth.best(state, order.symbol, order.side)
    rules, mark = state.rules[order.symbol], state.markets[order.symbol].mark or ZERO
    lowest, highest = _market_bounds(rules, mark)
    return highest if order.side is Side.BUY else lowest


def is_reached(algo: AlgoOrder, price: Decimal) -> bool:
    """STOP: BUY at or above, SELL at or below its trigger; TAKE_PROFIT the other way round."""
    if trailing.is_trailing(algo) and not algo.is_activated:
        return False
    upwards = (algo.side is Side.BUY) != algo.type.startswith("TAKE_PROFIT")
    return price >= algo.trigger if upwards else price <= algo.trigger


def _is_same_exit(one: AlgoOrder, other: AlgoOrder) -> bool:
    return (
        other.close_position
        and other.position_side is one.position_side
        and other.side is one.side
        and other.type.startswith("STOP") == one.type.startswith("STOP")
    )


def _market_bounds(rules: SymbolRules, mark: Decimal) -> tuple[Decimal, Decimal]:
    """Return the prices between which MARKET takes: PERCENT_PRICE and the take bound."""
    up = min(rules.multiplier_up, 1 + rules.market_take_bound)
    down = max(rules.multiplier_down, 1 - rules.market_take_bound)
    return mark * down, mark * up
