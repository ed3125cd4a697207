"""What the exchange does on its own: liquidation, ADL, funding, margin calls."""

from collections.abc import Callable
from decimal import Decimal

from paper import events, ledger, margin
from paper.desk import Desk
from paper.market_streams import MarketStreams
from paper.matching import ER_LIQUIDATED
from paper.state import ZERO, AlgoStatus, FundingRate, Leg, OrderStatus, PlainOrder, Side


class Forced:
    """Acts on the account without having been asked."""

    def __init__(
        self, desk: Desk, emit: Callable[[events.Event], None], streams: MarketStreams
    ) -> None:
        self._desk = desk
        self._state = desk.state
        self._matching = desk.matching
        self._emit = emit
        self._streams = streams

    def look_after(self, symbol: str, now_ms: int) -> None:
        """Warn or liquidate after the price of a symbol moved."""
        if symbol not in self._state.books.held:
            return
        if margin.is_isolated(self._state, symbol):
            for leg in [one for one in margin.open_legs(self._state) if one.symbol == symbol]:
                balance, needed = margin.isolated_health(self._state, leg)
                if balance <= needed:
                    self._liquidate_isolated(leg, now_ms)
                else:
                    self._warn(symbol, [leg], balance, needed, now_ms)
            return
        balance, needed = margin.cross_health(self._state)
        if needed > 0 and balance <= needed:
            self.liquidate(now_ms)
        else:
            self._warn("", margin.cross_legs(self._state), balance, needed, now_ms)

    def liquidate(self, now_ms: int) -> None:
        """Liquidate everything: all orders end, all legs are closed at the mark price."""
        for order in self._matching.book.open_orders():
            self._end(order, now_ms)
        for leg in margin.cross_legs(self._state):
            self._close(leg, now_ms)
        missing = -ledger.cross_wallet(self._state.books)
        self._cover(missing, now_ms)
        for leg in margin.open_legs(self._state):
            self._liquidate_isolated(leg, now_ms)

    def _liquidate_isolated(self, leg: Leg, now_ms: int) -> None:
        for order in self._matching.book.open_orders(leg.symbol):
            if order.position_side is leg.position_side:
                self._end(order, now_ms)
        own, paid = leg.isolated, leg.realised - leg.commission
        self._close(leg, now_ms)
        self._cover(-(own + leg.realised - leg.commission - paid), now_ms)

    def adl(self, leg: Leg, quantity: Decimal, now_ms: int) -> None:
        """Auto-deleverage part of a leg at the mark price, without commission."""
        self._force(leg, quantity, f"adl_autoclose-{self._desk.serial()}", ZERO, now_ms)

    def settle(self, symbol: str, now_ms: int) -> None:
        """Close a symbol for good: its orders end, its legs are closed at the mark price."""
        for order in self._matching.book.open_orders(symbol):
            self._end(order, now_ms)
        for algo in self._matching.book.armed_algos(symbol):
            self._matching.end_algo(algo, AlgoStatus.EXPIRED, now_ms)
        for leg in margin.open_legs(self._state):
            if leg.symbol == symbol:
                name = f"settlement_autoclose-{self._desk.serial()}"
                self._force(leg, abs(leg.amount), name, ZERO, now_ms)

    def settle_funding(self, symbol: str, rate: Decimal, now_ms: int, time_ms: int) -> None:
        """Settle funding on the legs of a symbol; LONG pays a positive rate.

        The books have a posting for each leg; what is told may be their sum.
        """
        market = self._state.markets[symbol]
        mark = margin.mark_of(self._state, symbol)
        market.fundings.append(FundingRate(time_ms=time_ms, rate=rate, mark=mark))
        del market.fundings[:-1000]
        legs = [leg for leg in margin.open_legs(self._state) if leg.symbol == symbol]
        is_net = self._state.options.funding_posting == "net"
        for told in [legs] if is_net and legs else [[leg] for leg in legs]:
            paid = [
                ledger.fund(self._state.books, leg, mark=mark, rate=rate, now_ms=now_ms)
                for leg in told
            ]
            self._emit(
                events.account_update(
                    "FUNDING_FEE",
                    self._state.books,
                    [self._matching.position_row(leg) for leg in told if leg.isolated],
                    now_ms,
                    change=sum((entry.amount for entry in paid), ZERO),
                    symbol=symbol,
                )
            )

    def settle_due(self, symbol: str, time_ms: int, now_ms: int) -> None:
        """Settle funding once market time has passed the symbol's next settlement."""
        market, interval = self._state.markets[symbol], self._state.options.funding_interval_ms
        following = (time_ms // interval + 1) * interval
        due = market.next_funding_ms
        if due and time_ms < due <= following:
            return
        market.next_funding_ms = following
        if due and due <= time_ms:
            self._settle_scheduled(symbol, due, now_ms)

    def take_over(self, symbol: str, rate: Decimal, next_funding_ms: int, now_ms: int) -> None:
        """Follow another exchange's funding: when its next settlement moves on, one was due."""
        market = self._state.markets[symbol]
        due, market.next_funding_ms = market.next_funding_ms, next_funding_ms
        if 0 < due < next_funding_ms and due <= now_ms:
            self._settle_scheduled(symbol, due, now_ms)
        market.funding_rate = rate

    def _settle_scheduled(self, symbol: str, due_ms: int, now_ms: int) -> None:
        if self._state.options.funding_schedule:
            rate = self._state.markets[symbol].funding_rate
            self.settle_funding(symbol, rate, now_ms, due_ms)
            self.look_after(symbol, now_ms)

    # --- step by step ----------------------------------------------------------------------

    def _warn(
        self, what: str, legs: list[Leg], balance: Decimal, needed: Decimal, now_ms: int
    ) -> None:
        """Send MARGIN_CALL once when the risk gets high; again only after it was low."""
        warned, is_high = (
            self._state.warned,
            needed > 0 and (needed >= balance * self._state.options.margin_call_ratio),
        )
        if is_high and what not in warned:
            warned.append(what)
            cross = None if what else ledger.cross_wallet(self._state.books)
            rows = [
                (leg, self._state.markets[leg.symbol], margin.maintenance_margin(self._state, leg))
                for leg in legs
            ]
            self._emit(events.margin_call(rows, cross, now_ms))
        elif not is_high and what in warned:
            warned.remove(what)

    def _end(self, order: PlainOrder, now_ms: int) -> None:
        self._matching.expire(order, now_ms, expiry=ER_LIQUIDATED, status=OrderStatus.EXPIRED)

    def _close(self, leg: Leg, now_ms: int) -> None:
        fee = self._state.rules[leg.symbol].liquidation_fee
        name = f"autoclose-{now_ms}-{self._desk.serial()}"
        self._streams.forced(self._force(leg, abs(leg.amount), name, fee, now_ms), now_ms)

    def _cover(self, missing: Decimal, now_ms: int) -> None:
        if ledger.cover_deficit(self._state.books, now_ms, missing) is not None:
            self._emit(events.account_update("INSURANCE_CLEAR", self._state.books, [], now_ms))

    def _force(
        self, leg: Leg, quantity: Decimal, client_id: str, fee: Decimal, now_ms: int
    ) -> PlainOrder:
        quantity = min(quantity, abs(leg.amount))
        price = margin.mark_of(self._state, leg.symbol)
        if not quantity or not price:
            raise ValueError(f"{leg.symbol} {leg.position_side}: nothing to close")
        order = PlainOrder(
            order_id=0,
            client_id=client_id,
            symbol=leg.symbol,
            side=Side.SELL if leg.amount > 0 else Side.BUY,
            position_side=leg.position_side,
            type="LIMIT",
            time_in_force="IOC",
            price=price,
            quantity=quantity,
            reduce_only=True,
            created_ms=now_ms,
            updated_ms=now_ms,
            queue=0,
            stp_mode="NONE",
        )
        self._matching.force(order, price, now_ms, execution_type="CALCULATED", fee=fee)
        return order
