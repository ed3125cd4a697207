"""How orders change the world: admission, execution, triggers and what follows from them.

A market trade moves the last price along a straight path from the one before. Resting limits fill
at their own price, as makers, in the order in which the path reaches them, and share the trade's
quantity. Conditional orders trigger at their place on the same path; what they send executes at
the prices after the trade, because nothing was traded in between. What a taker finds, `depth` says;
`Market.liquidity` bounds it.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from paper import depth, events, ledger, margin, trailing
from paper.admission import Admission, crosses, is_reached, take_bound
from paper.book import Book
from paper.errors import RefusedError
from paper.state import (
    OPEN,
    ZERO,
    AlgoOrder,
    AlgoStatus,
    Fill,
    Leg,
    Market,
    OrderStatus,
    PlainOrder,
    PositionSide,
    Side,
    State,
)

ER_NONE, ER_SELF_TRADE, ER_IOC, ER_IOC_SELF_TRADE = "0", "1", "2", "3"
ER_KNOCKED_OUT, ER_LIQUIDATED, ER_GTE, ER_MARKET = "4", "5", "6", "9"


class _Touch(NamedTuple):
    """Something that a price path reaches: `at` is its distance from the path's start."""

    at: Decimal
    rank: int  # limits before triggers at one price
    queue: int
    order: PlainOrder | AlgoOrder


class Ids(NamedTuple):
    """The numbers that a recording gives one aggregated trade: its own, first and last trade's."""

    aggregate: int
    first: int
    last: int


class Matching:
    """The only writer of `State`; what it did leaves through `emit`."""

    def __init__(self, state: State, emit: Callable[[events.Event], None]) -> None:
        self._state = state
        self._emit = emit
        self.book = Book(state)
        self.admission = Admission(state, self.book)
        self.moved: set[str] = set()  # symbols whose public book changed; the streams empty it

    # --- plain orders ----------------------------------------------------------------------

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
        self.admission.admit_amendment(order, price, quantity)
        if quantity <= order.executed:
            self.cancel(order, now_ms)
            return
        order.price, order.quantity = price, quantity
        order.updated_ms = now_ms
        order.amendments += 1
        order.queue = self._next_queue()
        order.stp_mode = "NONE"
        self._announce(order, "AMENDMENT", now_ms, modify_id=modify_id)
        self._touch_book(order.symbol)
        if order.time_in_force in ("GTX", "RPI") and crosses(self._state, order):
            self.cancel(order, now_ms)
        else:
            self._take(order, now_ms)

    # --- conditional orders ----------------------------------------------------------------

    def place_algo(self, algo: AlgoOrder, now_ms: int) -> None:
        """Arm an admitted conditional order."""
        algo.algo_id = self._state.next_algo_id
        self._state.next_algo_id += 1
        self._state.algos[algo.algo_id] = algo
        self.book.arm(algo)
        self._emit(events.algo_update(algo, now_ms))
        if trailing.is_trailing(algo):
            market = self._state.markets[algo.symbol]
            price = market.mark if algo.working_type == "MARK_PRICE" else market.last
            if price is not None:
                self._trail(algo, price, now_ms)

    def end_algo(self, algo: AlgoOrder, status: AlgoStatus, now_ms: int, reason: str = "") -> None:
        """End an untriggered conditional order."""
        self.book.disarm(algo)
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
        ids: Ids | None = None,
    ) -> Ids:
        """Let the market trade; return the trade's numbers.

        Prices move, resting orders fill, conditional orders trigger.
        """
        market = self._state.markets[symbol]
        before = market.last if market.last is not None else price
        mark_before = market.mark if market.mark is not None else price
        market.last, market.last_ms = price, time_ms
        spread = self._state.rules[symbol].tick * self._state.options.spread_ticks
        market.bid = price if is_buyer_maker else price - spread
        market.ask = price + spread if is_buyer_maker else price
        if market.mark_follows_last or market.mark is None:
            market.mark = price
        depth.refill(market)
        self.moved.add(symbol)
        numbers = self._count_trade(market, ids)
        self._emit(
            events.agg_trade(
                symbol,
                price,
                quantity,
                ids=numbers,
                is_buyer_maker=is_buyer_maker,
                time_ms=time_ms,
            )
        )
        if self.book.is_idle(symbol):
            return numbers
        touches = [*self._limits_reached(symbol, before, price)]
        touches += self._triggers_reached(symbol, "CONTRACT_PRICE", before, price, now_ms)
        touches += self._triggers_reached(symbol, "MARK_PRICE", mark_before, market.mark, now_ms)
        self._walk(touches, quantity, now_ms)
        return numbers

    def move_mark(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Set the mark price; from then on it no longer follows the last trade."""
        market = self._state.markets[symbol]
        before = market.mark if market.mark is not None else price
        market.mark, market.mark_follows_last = price, False
        reached = self._triggers_reached(symbol, "MARK_PRICE", before, price, now_ms)
        self._walk([*reached], ZERO, now_ms)

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

    # --- execution -------------------------------------------------------------------------

    def _number(self, order: PlainOrder) -> None:
        order.order_id = self._state.next_order_id
        self._state.next_order_id += 1
        order.queue = self._next_queue()
        self._state.orders[order.order_id] = order
        self.book.add(order)
        self._touch_book(order.symbol)

    def _touch_book(self, symbol: str) -> None:
        self._state.markets[symbol].update_id += 1
        self.moved.add(symbol)

    @staticmethod
    def _count_trade(market: Market, ids: Ids | None) -> Ids:
        """Return the numbers of a trade; a recording's own ones move ours past them."""
        if ids is None:
            market.next_trade_id += 1
            ids = Ids(market.next_aggregate_id, market.next_trade_id, market.next_trade_id)
        market.next_aggregate_id = max(market.next_aggregate_id, ids.aggregate) + 1
        market.next_trade_id = max(market.next_trade_id, ids.last)
        return ids

    def _next_queue(self) -> int:
        self._state.next_queue += 1
        return self._state.next_queue

    @staticmethod
    def _next_trade_id(market: Market) -> int:
        market.next_trade_id += 1
        return market.next_trade_id

    def _take(self, order: PlainOrder, now_ms: int) -> None:
        """Execute what crosses as a taker; what then may not rest expires."""
        state, is_market = self._state, order.type == "MARKET"
        fee = state.options.taker_fee
        met_own = False
        if is_market or crosses(state, order):
            bound = take_bound(state, order)
            for level in depth.reach(state, order, order.remaining, bound):
                met_own = self._meet_own(order, level.price, now_ms) or met_own
                quantity = self._whole_steps(order, min(level.quantity, order.remaining))
                if quantity > 0 and order.status in OPEN:
                    depth.take(state, order.symbol, order.side, quantity)
                    self._touch_book(order.symbol)
                    self._fill(order, quantity, level.price, now_ms, maker=False, fee=fee)
        if order.is_open and is_market:
            self._end(order, OrderStatus.EXPIRED, now_ms, expiry=ER_MARKET)
        elif order.is_open and order.time_in_force in ("IOC", "FOK"):
            expiry = ER_IOC_SELF_TRADE if met_own else ER_IOC
            self._end(order, OrderStatus.EXPIRED, now_ms, expiry=expiry)

    def _meet_own(self, order: PlainOrder, price: Decimal, now_ms: int) -> bool:
        """Let a taker meet our own resting orders down to `price`; return whether it met one."""
        if not self._state.options.self_trade_prevention or order.time_in_force in ("FOK", "GTX"):
            return False
        is_buy, met = order.side is Side.BUY, False
        own = [
            o
            for o in self.book.open_orders(order.symbol)
            if o.side is not order.side
            and o is not order
            and (o.price <= price if is_buy else o.price >= price)
        ]
        for maker in sorted(own, key=lambda o: (o.price if is_buy else -o.price, o.queue)):
            if not order.is_open:
                break
            if not maker.is_open:
                continue
            met = True
            if order.stp_mode == "NONE":
                self._trade_with_own(order, maker, now_ms)
                continue
            if order.stp_mode in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
                self._end(maker, OrderStatus.EXPIRED_IN_MATCH, now_ms, expiry=ER_SELF_TRADE)
            if order.stp_mode in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                self._end(order, OrderStatus.EXPIRED_IN_MATCH, now_ms, expiry=ER_SELF_TRADE)
        return met

    def _trade_with_own(self, taker: PlainOrder, maker: PlainOrder, now_ms: int) -> None:
        quantity, price, options = (
            min(taker.remaining, maker.remaining),
            maker.price,
            (self._state.options),
        )
        self._fill(taker, quantity, price, now_ms, maker=False, fee=options.taker_fee)
        quantity = min(quantity, maker.remaining) if maker.is_open else ZERO
        if quantity:  # the taker's fill may have knocked it out
            self._fill(maker, quantity, price, now_ms, maker=True, fee=options.maker_fee)

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
            isolate_at=market.leverage if margin.is_isolated(state, order.symbol) else None,
        )
        order.executed += quantity
        order.quote += quantity * price
        order.updated_ms = now_ms
        if maker:
            self._touch_book(order.symbol)
        done = not order.remaining
        order.status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        if done:
            self.book.remove(order)
        self._emit_fill(order, fill, now_ms, execution_type)
        if done:
            self._finish_algo(order, now_ms)
        self._after_position_change(order.symbol, order.position_side, now_ms)

    def _emit_fill(self, order: PlainOrder, fill: Fill, now_ms: int, execution_type: str) -> None:
        if execution_type == "TRADE":
            self._emit(events.trade_lite(order, fill, now_ms))
        update = events.order_update(
            order, execution_type, now_ms, fill=fill, book=self.book.notional(order.symbol)
        )
        account = self._account_event("ORDER", order.symbol, order.position_side, now_ms)
        pair = (account, update) if self._state.options.account_first else (update, account)
        for event in pair:
            self._emit(event)

    def _account_event(
        self, reason: str, symbol: str, position_side: PositionSide, now_ms: int
    ) -> events.Event:
        state, market = self._state, self._state.markets[symbol]
        rows = [self.position_row(ledger.leg(state.books, symbol, position_side))]
        if position_side is not PositionSide.BOTH:
            rows.insert(0, events.both_row(symbol, market))
        return events.account_update(reason, state.books, rows, now_ms)

    def position_row(self, current: Leg) -> dict[str, Any]:
        """Return a leg as ACCOUNT_UPDATE shows it."""
        market = self._state.markets[current.symbol]
        return events.position_row(current, market, self._state.options.taker_fee)

    def _announce(
        self,
        order: PlainOrder,
        execution_type: str,
        now_ms: int,
        *,
        expiry: str = ER_NONE,
        modify_id: int | None = None,
    ) -> None:
        book = self.book.notional(order.symbol)
        self._emit(
            events.order_update(
                order, execution_type, now_ms, expiry=expiry, modify_id=modify_id, book=book
            )
        )

    def _end(
        self, order: PlainOrder, status: OrderStatus, now_ms: int, *, expiry: str = ER_NONE
    ) -> None:
        self.book.remove(order)
        self._touch_book(order.symbol)
        order.status, order.updated_ms = status, now_ms
        execution_type = "CANCELED" if status is OrderStatus.CANCELED else "EXPIRED"
        self._announce(order, execution_type, now_ms, expiry=expiry)
        self._finish_algo(order, now_ms)

    def _after_position_change(self, symbol: str, position_side: PositionSide, now_ms: int) -> None:
        """Expire what a smaller position no longer carries: closing orders, closePosition stops."""
        for side in Side:
            resting = [
                o
                for o in self.book.open_orders(symbol)
                if o.type == "LIMIT"  # a MARKET order in execution outranks them
                and o.reduce_only
                and o.side is side
                and o.position_side is position_side
            ]
            for order in sorted(resting, key=lambda o: -o.queue):
                if self.book.closable(symbol, position_side, side) >= 0:
                    break
                self._end(order, OrderStatus.EXPIRED, now_ms, expiry=ER_KNOCKED_OUT)
        if ledger.leg(self._state.books, symbol, position_side).amount:
            return
        for algo in self.book.armed_algos(symbol):
            tied = algo.close_position or algo.time_in_force == "GTE_GTC"
            if tied and algo.position_side is position_side:
                self.end_algo(algo, AlgoStatus.EXPIRED, now_ms)

    # --- triggers --------------------------------------------------------------------------

    def _limits_reached(self, symbol: str, before: Decimal, price: Decimal) -> Iterator[_Touch]:
        through = self._state.options.maker_fill == "through"
        for order in self.book.open_orders(symbol):
            is_buy = order.side is Side.BUY
            beyond = order.price - price if is_buy else price - order.price
            if beyond > 0 or (beyond == 0 and not through):
                distance = before - order.price if is_buy else order.price - before
                yield _Touch(max(ZERO, distance), 0, order.queue, order)

    def _triggers_reached(
        self, symbol: str, working_type: str, before: Decimal, price: Decimal, now_ms: int
    ) -> Iterator[_Touch]:
        for algo in self.book.armed_algos(symbol):
            if algo.working_type != working_type:
                continue
            if trailing.is_trailing(algo):
                self._trail(algo, price, now_ms)
            if is_reached(algo, price):
                yield _Touch(abs(before - algo.trigger), 1, algo.algo_id, algo)

    def _trail(self, algo: AlgoOrder, price: Decimal, now_ms: int) -> None:
        """Let a trailing stop follow the price; its activation is told."""
        if trailing.follow(algo, price, self._state.rules[algo.symbol]):
            algo.updated_ms = now_ms
            self._emit(events.algo_update(algo, now_ms))

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
        finer = quantity % self._state.rules[order.symbol].step
        return quantity - finer if finer else quantity

    def _trigger(self, algo: AlgoOrder, now_ms: int) -> None:
        self.book.disarm(algo)
        algo.status, algo.triggered_ms, algo.updated_ms = AlgoStatus.TRIGGERING, now_ms, now_ms
        self._emit(events.algo_update(algo, now_ms))
        child = self._child(algo, now_ms)
        try:
            self.admission.check_protection(algo)
            self.admission.admit_child(child)
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
            # tied to the position only while it waits
            time_in_force="GTC" if algo.time_in_force == "GTE_GTC" else algo.time_in_force,
            good_till_ms=algo.good_till_ms,
            price=ZERO if is_market else algo.price,
            price_match=algo.price_match,
            quantity=quantity,
            reduce_only=algo.reduce_only,
            close_position=algo.close_position,
            created_ms=now_ms,
            updated_ms=now_ms,
            queue=0,
            algo_id=algo.algo_id,
            stp_mode=algo.stp_mode,
            origin=algo.type if self._state.options.child_origin == "algo" else "",
        )

    def _finish_algo(self, child: PlainOrder, now_ms: int) -> None:
        """Report the conditional order behind a plain order that is over."""
        if child.algo_id is None:
            return
        algo = self._state.algos[child.algo_id]
        if self._state.options.child_first and child.type == "MARKET":
            self._emit(events.algo_update(algo, now_ms, child=child))
        algo.status, algo.updated_ms = AlgoStatus.FINISHED, now_ms
        self._emit(events.algo_update(algo, now_ms, child=child))
