"""How orders change the world: admission, execution, triggers and what follows from them.

A market trade moves the last price along a straight path from the one before. Resting limits fill
at their own price, as makers, in the order in which the path reaches them, and share the trade's
quantity. Conditional orders trigger at their place on the same path; what they send executes at
the prices after the trade, because nothing was traded in between. A taker finds everything it asks
for at the best price, unless `Market.liquidity` says how much there is.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NamedTuple

from paper import errors, events, ledger, margin
from paper.errors import RefusedError
from paper.rules import SymbolRules
from paper.state import (
    ZERO,
    AlgoOrder,
    AlgoStatus,
    Fill,
    Market,
    OrderStatus,
    PlainOrder,
    PositionSide,
    Side,
    State,
)

ER_NONE, ER_IOC, ER_KNOCKED_OUT, ER_LIQUIDATED, ER_MARKET = "0", "2", "4", "5", "9"


class _Touch(NamedTuple):
    """Something that a price path reaches: `at` is its distance from the path's start."""

    at: Decimal
    rank: int  # limits before triggers at one price
    queue: int
    order: PlainOrder | AlgoOrder


class Matching:
    """The only writer of `State`; what it did leaves through `emit`."""

    def __init__(self, state: State, emit: Callable[[events.Event], None]) -> None:
        self._state = state
        self._emit = emit
        self._open: dict[str, dict[int, PlainOrder]] = defaultdict(dict)
        self._armed: dict[str, dict[int, AlgoOrder]] = defaultdict(dict)
        self._latest: dict[str, PlainOrder] = {}
        self._latest_algo: dict[str, AlgoOrder] = {}
        for order in state.orders.values():
            self._latest[order.client_id] = order
            if order.is_open:
                self._open[order.symbol][order.order_id] = order
        for algo in state.algos.values():
            self._latest_algo[algo.client_id] = algo
            if algo.status is AlgoStatus.NEW:
                self._armed[algo.symbol][algo.algo_id] = algo

    # --- questions -------------------------------------------------------------------------

    def open_orders(self, symbol: str | None = None) -> list[PlainOrder]:
        """Return the open plain orders, oldest first."""
        if symbol is not None:
            return list(self._open[symbol].values())
        return [order for orders in self._open.values() for order in orders.values()]

    def armed_algos(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Return the untriggered conditional orders, oldest first."""
        if symbol is not None:
            return list(self._armed[symbol].values())
        return [algo for algos in self._armed.values() for algo in algos.values()]

    def find_plain(self, client_id: str) -> PlainOrder | None:
        """Return the latest plain order of this client id."""
        return self._latest.get(client_id)

    def find_algo(self, client_id: str) -> AlgoOrder | None:
        """Return the latest conditional order of this client id."""
        return self._latest_algo.get(client_id)

    def closable(
        self, symbol: str, position_side: PositionSide, side: Side, *, without: int | None = None
    ) -> Decimal:
        """Return what a closing order may still take: the leg less what resting orders reserve."""
        amount = ledger.leg(self._state.books, symbol, position_side).amount
        held = amount if side is Side.SELL else -amount
        reserved = sum(
            (
                o.remaining
                for o in self._open[symbol].values()
                if o.reduce_only
                and o.position_side is position_side
                and o.side is side
                and o.order_id != without
            ),
            ZERO,
        )
        return max(ZERO, held) - reserved

    def book_notional(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the notional of open buys and sells, as the order event reports it."""
        bids, asks = ZERO, ZERO
        for order in self._open[symbol].values():
            if order.side is Side.BUY:
                bids += order.price * order.remaining
            else:
                asks += order.price * order.remaining
        return bids, asks

    # --- plain orders ----------------------------------------------------------------------

    def admit(self, order: PlainOrder) -> None:
        """Raise unless the exchange would take this order; may cut a close to what is closable."""
        rules, market = self._known(order.symbol)
        self._check_filters(order, rules, market)
        self._check_unique(order.client_id)
        if len(self._open[order.symbol]) >= rules.max_orders:
            raise RefusedError(-2025, "Reach max open order limit.")
        if order.reduce_only:
            order.quantity = self._closable_part(order)
        else:
            self._check_room(order, rules)
        self._check_immediate(order, market)

    def place(self, order: PlainOrder, now_ms: int) -> None:
        """Accept an admitted order: number it, announce it, execute what crosses."""
        self._number(order)
        self._announce(order, "NEW", now_ms)
        self._take(order, now_ms)

    def cancel(self, order: PlainOrder, now_ms: int) -> None:
        """Cancel an open order."""
        self._end(order, OrderStatus.CANCELED, now_ms)

    def expire(self, order: PlainOrder, now_ms: int, *, expiry: str, status: OrderStatus) -> None:
        """End an open order on the exchange's account."""
        self._end(order, status, now_ms, expiry=expiry)

    def amend(
        self,
        order: PlainOrder,
        price: Decimal,
        quantity: Decimal,
        now_ms: int,
        modify_id: int | None,
    ) -> None:
        """Give an open LIMIT another price and total quantity; a refusal leaves it as it was."""
        rules, market = self._known(order.symbol)
        if price == order.price and quantity == order.quantity:
            raise RefusedError(-5027, "No need to modify the order.")
        if order.amendments >= 10_000:
            raise RefusedError(-5026, "Exceed maximum modify order limit.")
        rules.check_price(price)
        rules.check_quantity(quantity, market=False)
        rules.check_percent_price(order.side, price, market.mark or ZERO)
        if quantity <= order.executed:
            self.cancel(order, now_ms)
            return
        if not order.reduce_only:
            rules.check_notional(price, quantity)
        self._check_amended_room(order, rules, price, quantity)
        order.price, order.quantity = price, quantity
        order.updated_ms = now_ms
        order.amendments += 1
        order.queue = self._next_queue()
        order.stp_mode = "NONE"
        self._announce(order, "AMENDMENT", now_ms, modify_id=modify_id)
        if order.time_in_force == "GTX" and self._crosses(order, market):
            self.cancel(order, now_ms)
        else:
            self._take(order, now_ms)

    # --- conditional orders ----------------------------------------------------------------

    def admit_algo(self, algo: AlgoOrder) -> None:
        """Raise unless the exchange would take this conditional order; margin is not looked at."""
        rules, market = self._known(algo.symbol)
        rules.check_trigger(algo.trigger)
        is_market = algo.type.endswith("MARKET")
        if not algo.close_position:
            rules.check_quantity(algo.quantity, market=is_market)
        if not is_market:
            rules.check_price(algo.price)
        if not algo.reduce_only:
            rules.check_notional(algo.trigger if is_market else algo.price, algo.quantity)
        self._check_unique(algo.client_id)
        if len(self.armed_algos()) >= self._state.options.max_open_algos:
            raise RefusedError(-4045, "Reach max stop order limit.")
        price = self._working_price(algo, market)
        if price is not None and _is_reached(algo, price):
            raise RefusedError(*errors.WOULD_TRIGGER)
        if algo.close_position and any(_same_exit(algo, o) for o in self.armed_algos(algo.symbol)):
            raise RefusedError(
                -4130,
                "An open stop or take profit order with GTE and closePosition in the direction is "
                "existing.",
            )

    def place_algo(self, algo: AlgoOrder, now_ms: int) -> None:
        """Arm an admitted conditional order."""
        algo.algo_id = self._state.next_algo_id
        self._state.next_algo_id += 1
        self._state.algos[algo.algo_id] = algo
        self._latest_algo[algo.client_id] = algo
        self._armed[algo.symbol][algo.algo_id] = algo
        self._emit(events.algo_update(algo, now_ms))

    def end_algo(self, algo: AlgoOrder, status: AlgoStatus, now_ms: int, reason: str = "") -> None:
        """End an untriggered conditional order."""
        self._armed[algo.symbol].pop(algo.algo_id, None)
        algo.status, algo.updated_ms, algo.reason = status, now_ms, reason
        self._emit(events.algo_update(algo, now_ms))

    # --- the market ------------------------------------------------------------------------

    def trade(
        self,
        symbol: str,
        price: Decimal,
        quantity: Decimal,
        *,
        is_buyer_maker: bool,
        time_ms: int,
        now_ms: int,
    ) -> None:
        """Let the market trade: prices move, resting orders fill, conditional orders trigger."""
        rules, market = self._known(symbol)
        before = market.last if market.last is not None else price
        mark_before = market.mark if market.mark is not None else price
        market.last, market.last_ms = price, time_ms
        spread = rules.tick * self._state.options.spread_ticks
        market.bid = price if is_buyer_maker else price - spread
        market.ask = price + spread if is_buyer_maker else price
        if market.mark_follows_last or market.mark is None:
            market.mark = price
        trade_id = self._next_trade_id(market)
        self._emit(
            events.agg_trade(
                symbol,
                market,
                price,
                quantity,
                trade_id=trade_id,
                is_buyer_maker=is_buyer_maker,
                time_ms=time_ms,
            )
        )
        market.next_aggregate_id += 1
        touches = [*self._limits_reached(symbol, before, price)]
        touches += self._triggers_reached(symbol, "CONTRACT_PRICE", before, price)
        touches += self._triggers_reached(symbol, "MARK_PRICE", mark_before, market.mark)
        self._walk(touches, quantity, now_ms)

    def move_mark(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Set the mark price; from then on it no longer follows the last trade."""
        _, market = self._known(symbol)
        before = market.mark if market.mark is not None else price
        market.mark, market.mark_follows_last = price, False
        self._walk([*self._triggers_reached(symbol, "MARK_PRICE", before, price)], ZERO, now_ms)

    def force(
        self, order: PlainOrder, price: Decimal, now_ms: int, *, execution_type: str, fee: Decimal
    ) -> None:
        """Execute an order of the exchange itself (liquidation, ADL) against our position."""
        self._number(order)
        self._announce(order, "NEW", now_ms)
        self._fill(
            order,
            order.quantity,
            price,
            now_ms,
            maker=False,
            fee=fee,
            execution_type=execution_type,
        )

    # --- admission, step by step -----------------------------------------------------------

    def _known(self, symbol: str) -> tuple[SymbolRules, Market]:
        if symbol not in self._state.rules:
            raise RefusedError(-1121, "Invalid symbol.")
        rules = self._state.rules[symbol]
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
            _check_market_bound(order.side, rules, market, market.mark)
        else:
            rules.check_percent_price(order.side, order.price, market.mark)

    def _check_unique(self, client_id: str) -> None:
        plain, algo = self._latest.get(client_id), self._latest_algo.get(client_id)
        if (plain and plain.is_open) or (algo and algo.status is AlgoStatus.NEW):
            raise RefusedError(-4116, "ClientOrderId is duplicated.")

    def _closable_part(self, order: PlainOrder) -> Decimal:
        """Return what of a closing order may be accepted; raise when that is nothing."""
        room = self.closable(order.symbol, order.position_side, order.side)
        if room >= order.quantity:
            return order.quantity
        cuts = self._state.options.over_close == "cut" or order.position_side is PositionSide.BOTH
        if not cuts or room <= 0:
            raise RefusedError(*errors.REDUCE_ONLY_REJECTED)
        return room

    def _check_room(self, order: PlainOrder, rules: SymbolRules) -> None:
        state, orders = self._state, self.open_orders()
        is_market = order.type == "MARKET"
        market = state.markets[order.symbol]
        price = (market.mark or ZERO) if is_market else order.price
        quantity = self._exposing(order)
        if price * quantity > margin.bracket_room(state, rules, order.position_side, orders):
            raise RefusedError(*errors.POSITION_TOO_LARGE)
        cost = margin.order_cost(
            state, order.symbol, order.side, quantity, order.price, market=is_market
        )
        if cost > margin.available(state, orders):
            raise RefusedError(*errors.MARGIN_INSUFFICIENT)

    def _exposing(self, order: PlainOrder) -> Decimal:
        """Return the part that adds exposure: in one-way mode an order may close first."""
        held = ledger.leg(self._state.books, order.symbol, order.position_side).amount
        opposite = -held if order.side is Side.BUY else held
        return max(ZERO, order.quantity - max(ZERO, opposite))

    def _check_amended_room(
        self, order: PlainOrder, rules: SymbolRules, price: Decimal, quantity: Decimal
    ) -> None:
        rest = quantity - order.executed
        if order.reduce_only:
            room = self.closable(
                order.symbol, order.position_side, order.side, without=order.order_id
            )
            if rest > room:
                raise RefusedError(*errors.REDUCE_ONLY_REJECTED)
            return
        others = [o for o in self.open_orders() if o is not order]
        state = self._state
        if price * rest > margin.bracket_room(state, rules, order.position_side, others):
            raise RefusedError(*errors.POSITION_TOO_LARGE)
        cost = margin.order_cost(state, order.symbol, order.side, rest, price, market=False)
        if cost > margin.available(state, others):
            raise RefusedError(*errors.MARGIN_INSUFFICIENT)

    def _check_immediate(self, order: PlainOrder, market: Market) -> None:
        crosses = self._crosses(order, market)
        if order.time_in_force == "GTX" and crosses:
            raise RefusedError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be "
                "rejected. The order will not be recorded in the order history",
            )
        if order.time_in_force == "FOK":
            found = market.liquidity
            if not crosses or (found is not None and found < order.quantity):
                raise RefusedError(
                    -5021,
                    "Due to the order could not be filled immediately, the FOK order has been "
                    "rejected. The order will not be recorded in the order history",
                )

    # --- execution -------------------------------------------------------------------------

    def _number(self, order: PlainOrder) -> None:
        order.order_id = self._state.next_order_id
        self._state.next_order_id += 1
        order.queue = self._next_queue()
        self._state.orders[order.order_id] = order
        self._latest[order.client_id] = order
        self._open[order.symbol][order.order_id] = order

    def _next_queue(self) -> int:
        self._state.next_queue += 1
        return self._state.next_queue

    @staticmethod
    def _next_trade_id(market: Market) -> int:
        market.next_trade_id += 1
        return market.next_trade_id

    @staticmethod
    def _crosses(order: PlainOrder, market: Market) -> bool:
        if order.side is Side.BUY:
            return order.price >= market.ask
        return order.price <= market.bid

    def _take(self, order: PlainOrder, now_ms: int) -> None:
        """Execute what crosses as a taker; what then may not rest expires."""
        market = self._state.markets[order.symbol]
        is_market = order.type == "MARKET"
        if is_market or self._crosses(order, market):
            quantity = order.remaining
            if market.liquidity is not None:
                quantity = self._whole_steps(order, min(quantity, market.liquidity))
                market.liquidity -= quantity
            if quantity > 0:
                price = market.ask if order.side is Side.BUY else market.bid
                fee = self._state.options.taker_fee
                self._fill(order, quantity, price, now_ms, maker=False, fee=fee)
        if order.is_open and is_market:
            self._end(order, OrderStatus.EXPIRED, now_ms, expiry=ER_MARKET)
        elif order.is_open and order.time_in_force in ("IOC", "FOK"):
            self._end(order, OrderStatus.EXPIRED, now_ms, expiry=ER_IOC)

    def _fill(
        self,
        order: PlainOrder,
        quantity: Decimal,
        price: Decimal,
        now_ms: int,
        *,
        maker: bool,
        fee: Decimal,
        execution_type: str = "TRADE",
    ) -> None:
        state, market = self._state, self._state.markets[order.symbol]
        fill = ledger.fill(
            state.books,
            order,
            quantity=quantity,
            price=price,
            trade_id=self._next_trade_id(market),
            maker=maker,
            fee_rate=fee,
            now_ms=now_ms,
        )
        order.executed += quantity
        order.quote += quantity * price
        order.updated_ms = now_ms
        done = not order.remaining
        order.status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        if done:
            self._open[order.symbol].pop(order.order_id, None)
        self._emit_fill(order, fill, now_ms, execution_type)
        if done:
            self._finish_algo(order, now_ms)
        self._after_position_change(order.symbol, order.position_side, now_ms)

    def _emit_fill(self, order: PlainOrder, fill: Fill, now_ms: int, execution_type: str) -> None:
        if execution_type == "TRADE":
            self._emit(events.trade_lite(order, fill, now_ms))
        update = events.order_update(
            order, execution_type, now_ms, fill=fill, book=self.book_notional(order.symbol)
        )
        account = self._account_event("ORDER", order.symbol, order.position_side, now_ms)
        pair = (account, update) if self._state.options.account_first else (update, account)
        for event in pair:
            self._emit(event)

    def _account_event(
        self, reason: str, symbol: str, position_side: PositionSide, now_ms: int
    ) -> events.Event:
        state, market = self._state, self._state.markets[symbol]
        current = ledger.leg(state.books, symbol, position_side)
        rows = [events.position_row(current, market, state.options.taker_fee)]
        if position_side is not PositionSide.BOTH:
            rows.insert(0, events.both_row(symbol, market))
        return events.account_update(reason, ledger.wallet(state.books), rows, now_ms)

    def _announce(
        self,
        order: PlainOrder,
        execution_type: str,
        now_ms: int,
        *,
        expiry: str = ER_NONE,
        modify_id: int | None = None,
    ) -> None:
        book = self.book_notional(order.symbol)
        self._emit(
            events.order_update(
                order, execution_type, now_ms, expiry=expiry, modify_id=modify_id, book=book
            )
        )

    def _end(
        self, order: PlainOrder, status: OrderStatus, now_ms: int, *, expiry: str = ER_NONE
    ) -> None:
        self._open[order.symbol].pop(order.order_id, None)
        order.status, order.updated_ms = status, now_ms
        execution_type = "CANCELED" if status is OrderStatus.CANCELED else "EXPIRED"
        self._announce(order, execution_type, now_ms, expiry=expiry)
        self._finish_algo(order, now_ms)

    def _after_position_change(self, symbol: str, position_side: PositionSide, now_ms: int) -> None:
        """Expire what a smaller position no longer carries: closing orders, closePosition stops."""
        for side in Side:
            resting = [
                o
                for o in self.open_orders(symbol)
                if o.reduce_only and o.side is side and o.position_side is position_side
            ]
            for order in sorted(resting, key=lambda o: -o.queue):
                if self.closable(symbol, position_side, side) >= 0:
                    break
                self._end(order, OrderStatus.EXPIRED, now_ms, expiry=ER_KNOCKED_OUT)
        if ledger.leg(self._state.books, symbol, position_side).amount:
            return
        for algo in self.armed_algos(symbol):
            if algo.close_position and algo.position_side is position_side:
                self.end_algo(algo, AlgoStatus.EXPIRED, now_ms)

    # --- triggers --------------------------------------------------------------------------

    def _limits_reached(self, symbol: str, before: Decimal, price: Decimal) -> Iterator[_Touch]:
        for order in self._open[symbol].values():
            is_buy = order.side is Side.BUY
            if price <= order.price if is_buy else price >= order.price:
                distance = before - order.price if is_buy else order.price - before
                yield _Touch(max(ZERO, distance), 0, order.queue, order)

    def _triggers_reached(
        self, symbol: str, working_type: str, before: Decimal, price: Decimal
    ) -> Iterator[_Touch]:
        for algo in self._armed[symbol].values():
            if algo.working_type == working_type and _is_reached(algo, price):
                yield _Touch(abs(before - algo.trigger), 1, algo.algo_id, algo)

    def _walk(self, touches: list[_Touch], quantity: Decimal, now_ms: int) -> None:
        for touch in sorted(touches, key=lambda t: t[:3]):
            order = touch.order
            if isinstance(order, AlgoOrder):
                if order.status is AlgoStatus.NEW:
                    self._trigger(order, now_ms)
            elif order.is_open and quantity > 0:
                part = self._whole_steps(order, min(quantity, order.remaining))
                if not part:
                    continue
                quantity -= part
                fee = self._state.options.maker_fee
                self._fill(order, part, order.price, now_ms, maker=True, fee=fee)

    def _whole_steps(self, order: PlainOrder, quantity: Decimal) -> Decimal:
        """Return what of `quantity` can execute: recordings know finer steps than the rules."""
        return quantity - quantity % self._state.rules[order.symbol].step

    @staticmethod
    def _working_price(algo: AlgoOrder, market: Market) -> Decimal | None:
        return market.mark if algo.working_type == "MARK_PRICE" else market.last

    def _trigger(self, algo: AlgoOrder, now_ms: int) -> None:
        self._armed[algo.symbol].pop(algo.algo_id, None)
        algo.status, algo.triggered_ms, algo.updated_ms = AlgoStatus.TRIGGERING, now_ms, now_ms
        self._emit(events.algo_update(algo, now_ms))
        child = self._child(algo, now_ms)
        try:
            self._admit_child(algo, child)
        except RefusedError as refusal:
            self.end_algo(algo, AlgoStatus.REJECTED, now_ms, refusal.text)
            return
        self._number(child)
        algo.order_id = child.order_id
        algo.status = AlgoStatus.TRIGGERED
        if not self._state.options.child_first:
            self._emit(events.algo_update(algo, now_ms, child=child))
        self._announce(child, "NEW", now_ms)
        self._take(child, now_ms)
        if self._state.options.child_first and child.is_open:
            self._emit(events.algo_update(algo, now_ms, child=child))

    def _child(self, algo: AlgoOrder, now_ms: int) -> PlainOrder:
        is_market = algo.type.endswith("MARKET")
        quantity = algo.quantity
        if algo.close_position:
            held = ledger.leg(self._state.books, algo.symbol, algo.position_side).amount
            quantity = max(ZERO, held if algo.side is Side.SELL else -held)
        return PlainOrder(
            order_id=0,
            client_id=algo.client_id,
            symbol=algo.symbol,
            side=algo.side,
            position_side=algo.position_side,
            type="MARKET" if is_market else "LIMIT",
            time_in_force=algo.time_in_force,
            price=ZERO if is_market else algo.price,
            quantity=quantity,
            reduce_only=algo.reduce_only,
            close_position=algo.close_position,
            created_ms=now_ms,
            updated_ms=now_ms,
            queue=0,
            algo_id=algo.algo_id,
            stp_mode=algo.stp_mode,
        )

    def _admit_child(self, algo: AlgoOrder, child: PlainOrder) -> None:
        """Raise when a triggered order is refused; margin and leg are looked at only now."""
        rules, market = self._known(algo.symbol)
        if not child.reduce_only:
            self._check_room(child, rules)
            return
        # A stop outranks resting closing orders: those are knocked out after it filled.
        held = ledger.leg(self._state.books, algo.symbol, algo.position_side).amount
        child.quantity = min(child.quantity, max(ZERO, held if child.side is Side.SELL else -held))
        if not child.quantity:
            raise RefusedError(*errors.REDUCE_ONLY_REJECTED)
        if market.last is None:
            raise RefusedError(*errors.EMPTY_BOOK)

    def _finish_algo(self, child: PlainOrder, now_ms: int) -> None:
        """Report the conditional order behind a plain order that is over."""
        if child.algo_id is None:
            return
        algo = self._state.algos[child.algo_id]
        if self._state.options.child_first and child.type == "MARKET":
            self._emit(events.algo_update(algo, now_ms, child=child))
        algo.status, algo.updated_ms = AlgoStatus.FINISHED, now_ms
        self._emit(events.algo_update(algo, now_ms, child=child))


def _is_reached(algo: AlgoOrder, price: Decimal) -> bool:
    """STOP: BUY at or above, SELL at or below its trigger; TAKE_PROFIT the other way round."""
    upwards = (algo.side is Side.BUY) == algo.type.startswith("STOP")
    return price >= algo.trigger if upwards else price <= algo.trigger


def _same_exit(one: AlgoOrder, other: AlgoOrder) -> bool:
    return (
        other.close_position
        and other.position_side is one.position_side
        and other.side is one.side
        and other.type.startswith("STOP") == one.type.startswith("STOP")
    )


def _check_market_bound(side: Side, rules: SymbolRules, market: Market, mark: Decimal) -> None:
    """MARKET needs a best price within PERCENT_PRICE and the take bound of the mark price."""
    up = min(rules.multiplier_up, 1 + rules.market_take_bound)
    down = max(rules.multiplier_down, 1 - rules.market_take_bound)
    outside = market.ask > mark * up if side is Side.BUY else market.bid < mark * down
    if outside:
        raise RefusedError(
            -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
        )
